"""Locate a model: a folder, a .zip, a URL, a name of the registry, or the model inside the wheel."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import urldefrag

import requests
from platformdirs import user_cache_dir

from spiro_diffusion.core.artifacts import sha256
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.version import VERSION
from spiro_diffusion.engines.choice import CHECKPOINT, EXPORTED

PACKAGED = Path(__file__).parents[1] / "model"  # in a wheel that `make wheel` built
DEFAULT, PACKAGED_NAME = "models", "packaged"  # the folder that is looked for first; the name of the wheel's model
REGISTRY, CACHE = "SPIRO_MODELS", "SPIRO_CACHE"  # environment variables: a JSON file of names, a folder
LARGEST = 2 << 30  # bytes, of an archive and unpacked
TIMEOUT_S = 30
CHUNK = 1 << 16  # bytes; of an unfinished one nothing is kept
HASH = "sha256="  # behind the # of an address


class Entry(NamedTuple):
    """A model of the registry."""

    address: str
    sha256: str


def located(models: str | Path = DEFAULT) -> Path:
    """The folder of a model, fetched and unpacked into the cache where it is an address, a name or a .zip.

    The default is the folder `models` where it holds a model, else the model that the wheel carries.

    Raises SpiroError where there is none, it cannot be fetched, or it is not what its hash says.
    """
    text, path = str(models), Path(models)
    if text.startswith(("http://", "https://")):
        address, fragment = urldefrag(text)
        return _fetched(address, fragment.removeprefix(HASH).lower())
    if path.is_dir() and (text != DEFAULT or holds_model(path) or not holds_model(PACKAGED)):
        return path
    if path.is_file():
        return _unpacked(path)
    if text in (DEFAULT, PACKAGED_NAME) and holds_model(PACKAGED):
        return PACKAGED
    entries = registry()
    if text in entries:
        return _fetched(*entries[text])
    if text == DEFAULT or path.suffix or len(path.parts) > 1:
        return path  # the function that opens it reports what is missing
    raise SpiroError(f"models: {text} is no folder, no .zip, no address and no name of {_names(entries)}")


def holds_model(folder: Path) -> bool:
    """Whether a folder has a generator's checkpoint, or an exported one."""
    return (folder / CHECKPOINT).is_file() or (folder / EXPORTED).is_file()


def registry() -> dict[str, Entry]:
    """Models by name: those of the JSON file that the environment variable SPIRO_MODELS names.

    Raises SpiroError where the file is missing or is no registry.
    """
    file = os.environ.get(REGISTRY)
    if not file:
        return {}
    try:
        entries = json.loads(Path(file).read_text(encoding="utf-8"))
        return {str(name): Entry(str(e["address"]), str(e["sha256"])) for name, e in entries.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpiroError(
            f'{file}: no registry of models ({error!r}); expected {{"name": {{"address": "https://…", "sha256": "…"}}}}'
        ) from None


def _names(entries: dict[str, Entry]) -> str:
    return ", ".join((PACKAGED_NAME, *entries)) + ("" if entries else f" (set {REGISTRY} to a JSON file for more)")


def _cache() -> Path:
    return Path(os.environ.get(CACHE) or user_cache_dir("spiro-diffusion"))


def _fetched(address: str, expected_hash: str) -> Path:
    """The folder of the archive at an address; an archive that is no model is not kept.

    Raises SpiroError as `_archive` and `_unpacked` do.
    """
    archive = _archive(address, expected_hash)
    try:
        return _unpacked(archive)
    except SpiroError as error:
        archive.unlink(missing_ok=True)
        raise SpiroError(str(error).replace(str(archive), address)) from None


def _archive(address: str, expected_hash: str) -> Path:
    """The archive at an address, from the cache where it is there whole; a fetch that broke off goes on.

    Raises SpiroError where the server does not give it, or its SHA-256 is not the expected one.
    """
    name = hashlib.sha256(address.encode()).hexdigest()[:16]
    path = _cache() / "archives" / f"{name}.zip"
    if path.is_file() and (not expected_hash or sha256(path) == expected_hash):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    try:
        _download(address, part)
    except (requests.RequestException, OSError) as error:
        raise SpiroError(
            f"{address}: cannot be fetched ({_reason(error)}); what arrived is kept, and the next call continues"
        ) from None
    found = sha256(part)
    if expected_hash and found != expected_hash:
        part.unlink()
        raise SpiroError(
            f"{address}: its SHA-256 is {found}, expected {expected_hash}; it is another file or was damaged"
        )
    part.replace(path)
    return path


def _download(address: str, part: Path) -> None:
    """Fetch to `part`, from where it ends.

    Raises requests.RequestException and OSError.
    """
    have = part.stat().st_size if part.is_file() else 0
    head = {"User-Agent": f"spiro-diffusion/{VERSION}", "Accept-Encoding": "identity"}
    if have:
        head["Range"] = f"bytes={have}-"
    with requests.get(address, headers=head, stream=True, timeout=TIMEOUT_S) as response:
        if have and response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # it was whole
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        size = have if resumed else 0
        expected = int(response.headers.get("Content-Length", -size)) + size
        with part.open("ab" if resumed else "wb") as file:
            for block in response.iter_content(CHUNK):
                size += file.write(block)
                if size > LARGEST:
                    raise OSError(f"more than {LARGEST:,} bytes")
        if expected and size < expected:
            raise OSError(f"broke off after {size:,} of {expected:,} bytes")


def _reason(error: Exception) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"status {error.response.status_code}"
    if isinstance(error, requests.ConnectionError):
        return "no answer"
    return str(error) or type(error).__name__


def _unpacked(archive: Path) -> Path:
    """The folder with an archive's files, which lie at its top or in one folder.

    Raises SpiroError where it is no sound archive of a model.
    """
    folder = _cache() / "models" / sha256(archive)[:16]
    if holds_model(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as home:
        try:
            with zipfile.ZipFile(archive) as opened:
                _extract(opened, Path(home) / "model", archive)
        except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, RuntimeError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise SpiroError(f"{archive}: cannot be unpacked into {folder.parent} ({error.strerror})") from None
            raise SpiroError(f"{archive}: not a sound .zip ({error}); fetch it again") from None
        if not holds_model(Path(home) / "model"):
            raise SpiroError(f"{archive}: holds no model; expected {CHECKPOINT} or {EXPORTED}")
        shutil.rmtree(folder, ignore_errors=True)
        (Path(home) / "model").rename(folder)
    return folder


def _extract(opened: zipfile.ZipFile, to: Path, archive: Path) -> None:
    """Its files by their names alone: no path leads out of the folder, and nothing unpacks beyond LARGEST."""
    to.mkdir()
    files = [info for info in opened.infolist() if not info.is_dir()]
    if sum(info.file_size for info in files) > LARGEST:
        raise SpiroError(f"{archive}: unpacks to more than {LARGEST:,} bytes")
    places = {str(PurePosixPath(info.filename).parent) for info in files}
    if len(places) > 1 or any(".." in place for place in places):
        raise SpiroError(f"{archive}: its files are in several folders; those of a model are in one")
    for info in files:
        with opened.open(info) as source, (to / PurePosixPath(info.filename).name).open("wb") as file:
            shutil.copyfileobj(source, file)
