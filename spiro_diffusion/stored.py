"""Whether what DVC stores is whole: every object read again and its hash held against dvc.lock.

An object's name is the MD5 of its bytes, but DVC 3.67 does not always look: it trusts an object of the cache that is
read-only, a file in the workspace whose time and size it remembers, and an object of a remote without `verify = true`.
A bit that flips in any of them goes unseen, and `dvc pull` does not bring an object that seems to be there.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from spiro_diffusion.errors import SpiroError


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

    Raises SpiroError where DVC is not installed, `folder` is no DVC repository, or the remote cannot be reached.
    """
    repo = _open(folder)
    with repo:
        store = _remote(repo, remote) if remote else repo.cache.local
        found: list[Stored] = []
        outs = [out for out in repo.index.outs if out.use_cache and out.hash_info]
        for out in tqdm(outs, desc="read", unit="output", leave=False, delay=1):
            found += _examine(out, store, remote, os.path.relpath(out.fs_path, folder), remove)
    return found


def _examine(out: Any, store: Any, remote: str | None, path: str, remove: bool) -> list[Stored]:
    where, found, damaged = remote or "cache", [], False

    def look(name: str, oid: str) -> str:
        nonlocal damaged
        file = store.oid_to_path(oid)
        state = _state(lambda: store.fs.open(file, "rb"), oid)
        found.append(Stored(name, where, file, state))
        if state == "damaged":
            damaged = True
            if remove:
                store.fs.remove(file)
        if not remote and (folder := Path(out.fs_path)).exists():
            here = folder / Path(name).relative_to(path)
            if (state := _state(lambda: here.open("rb"), oid)) != "missing":
                found.append(Stored(name, "workspace", name, state))
                if state == "damaged" and remove:
                    here.unlink()
        return file

    oid = out.hash_info.value
    if not out.hash_info.isdir:
        look(path, oid)
        return found
    listing = store.oid_to_path(oid)
    state = _state(lambda: store.fs.open(listing, "rb"), oid.removesuffix(".dir"))
    found.append(Stored(path, where, listing, state))
    if state == "whole":
        with store.fs.open(listing, "rb") as source:
            for entry in json.load(source):
                look(os.path.join(path, entry["relpath"]), entry["md5"])
    if remove and (damaged or state == "damaged"):  # else DVC takes a listing that is there for all of its files
        store.fs.remove(listing)
    return found


def _state(opened: Any, md5: str) -> str:
    try:
        read = hashlib.md5(usedforsecurity=False)
        with opened() as source:
            while part := source.read(1 << 20):
                read.update(part)
        return "whole" if read.hexdigest() == md5 else "damaged"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"


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
        store.fs.exists(store.path)  # with wrong credentials this fails, before any object is called missing
    except DvcException as error:
        raise SpiroError(f"remote {name}: {error}") from None
    except Exception as error:  # each kind of remote has its own
        raise SpiroError(f"remote {name}: cannot be reached: {error}") from None
    return store
