"""Verify DVC's store: read every object again and compare its hash with dvc.lock.

An object's name is the MD5 of its bytes, but DVC 3.67 does not always look: it trusts an object of the cache that is
read-only, a file in the workspace whose time and size it remembers, and an object of a remote without `verify = true`.
A bit that flips in any of them goes unseen, and `dvc pull` does not bring an object that seems to be there.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

from spiro_diffusion.core.errors import SpiroError

LISTING = ".dir"  # how the name of an object ends that lists a folder's files
WEB = ("http", "https")  # remotes that are only read
PATIENCE_S = 20  # until a web server counts as one that does not answer


@dataclass(frozen=True)
class Stored:
    """One place where the bytes of an output, or of a file in it, should be."""

    path: str  # of the output in the workspace
    where: str  # "workspace", "cache", or the name of a remote
    file: str  # what was read there
    state: str  # whole, damaged, missing


def examine(folder: Path, remote: str | None = None, remove: bool = False) -> list[Stored]:
    """Read what the lock files name, in cache and workspace, or in `remote`.

    `remove` deletes what is damaged, so that the next `dvc pull` brings it again or, for a remote, the next
    `dvc push` from a machine that holds it. A file that the workspace lacks is left out.

    Raises SpiroError where DVC is not installed, `folder` is no DVC repository, the remote cannot be reached, or
    `remove` is to delete from a web server.
    """
    with _open(folder) as repo:
        store = _remote(repo, remote) if remote else repo.cache.local
        if remove and store.fs.protocol in WEB:
            raise SpiroError(
                f"remote {remote}: a web server is only read; where its folder is, add that as a remote and give it "
                "in place of this one"
            )
        found: list[Stored] = []
        outs = [out for out in repo.index.outs if out.use_cache and out.hash_info]
        for out in tqdm(outs, desc="read", unit="output", leave=False, delay=1, disable=None):
            path = os.path.relpath(out.fs_path, folder)
            objects, files = _objects(store, remote or "cache", path, out.hash_info.value)
            found += objects
            if remove:
                _remove_objects(store, objects)
            if not remote:
                found += _files(folder, files, remove)
    return found


def reach(folder: Path, remote: str | None) -> None:
    """Raise SpiroError where a remote, by default the default one, cannot be reached."""
    with _open(folder) as repo:
        name = remote or repo.config["core"].get("remote")
        if name:
            _remote(repo, name)


def _objects(store: Any, where: str, path: str, oid: str) -> tuple[list[Stored], dict[str, str]]:
    """The objects of one output, a folder's listing first; and the MD5 of each of its files, by path."""

    def read(name: str, oid: str) -> Stored:
        file = store.oid_to_path(oid)
        return Stored(name, where, file, _state(partial(_read, store, file), oid.removesuffix(LISTING)))

    first = read(path, oid)
    if not oid.endswith(LISTING):
        return [first], {path: oid}
    files = {}
    if first.state == "whole":
        with _read(store, first.file) as source:
            files = {os.path.join(path, entry["relpath"]): entry["md5"] for entry in json.load(source)}
    return [first, *(read(name, md5) for name, md5 in files.items())], files


def _read(store: Any, file: str) -> Any:
    """An object to read from its begin; of a web server as a stream, since not every one gives ranges."""
    return store.fs.open(file, "rb", **({"block_size": 0} if store.fs.protocol in WEB else {}))


def _remove_objects(store: Any, objects: list[Stored]) -> None:
    """Delete what is damaged, and the listing of a folder that is not whole: DVC takes a listing for all its files."""
    listing = {objects[0].file} if any(s.state != "whole" for s in objects) and objects[0].state != "missing" else set()
    for file in listing | {s.file for s in objects if s.state == "damaged"}:
        store.fs.remove(file)


def _files(folder: Path, files: dict[str, str], remove: bool) -> list[Stored]:
    """The files that are there in the workspace."""
    found = []
    for path, md5 in files.items():
        state = _state(partial((folder / path).open, "rb"), md5)
        if state != "missing":
            found.append(Stored(path, "workspace", path, state))
        if state == "damaged" and remove:
            (folder / path).unlink()
    return found


def _state(opened: Callable[[], Any], md5: str) -> str:
    read = hashlib.md5(usedforsecurity=False)
    try:
        with opened() as source:
            while part := source.read(1 << 20):
                read.update(part)
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    return "whole" if read.hexdigest() == md5 else "damaged"


def _open(folder: Path) -> Any:
    try:
        from dvc.exceptions import NotDvcRepoError  # noqa: PLC0415 (an extra: generating needs no DVC)
        from dvc.repo import Repo  # noqa: PLC0415
    except ImportError:
        raise SpiroError("DVC is not installed; pip install 'spiro-diffusion[pipeline]'") from None
    try:
        return Repo(str(folder))
    except NotDvcRepoError:
        raise SpiroError(
            f"{folder}: no DVC repository; run from the root of the repository, or give --folder"
        ) from None


def _remote(repo: Any, name: str) -> Any:
    from dvc.exceptions import DvcException  # noqa: PLC0415

    try:
        store = repo.cloud.get_remote_odb(name)
        if store.fs.protocol in WEB:  # for DVC, and for fsspec, what does not answer holds nothing
            requests.head(store.path, timeout=PATIENCE_S)
        else:
            store.fs.exists(store.path)  # with wrong credentials this fails, before any object is called missing
    except DvcException as error:
        raise SpiroError(f"remote {name}: {error}") from None
    except requests.RequestException:
        raise SpiroError(
            f"remote {name}: {store.path} does not answer; see the network, and the address (`dvc remote list`)"
        ) from None
    except Exception as error:  # each kind of remote has its own
        raise SpiroError(f"remote {name}: cannot be reached: {error}") from None
    return store
