"""The files of an exported model but its `sample.py`, with their SHA-256, checked before anything is drawn."""

from collections.abc import Iterable
from pathlib import Path

from spiro_diffusion.core.artifacts import read_json, sha256, write_json
from spiro_diffusion.core.errors import SpiroError

FILE = "manifest.json"


def write(folder: Path, files: Iterable[Path]) -> Path:
    """Write the manifest of a folder's files; its path."""
    write_json(folder / FILE, {file.name: sha256(file) for file in files})
    return folder / FILE


def check(folder: Path) -> None:
    """Raises SpiroError where a file of an exported model is missing or other than it was written."""
    if not (folder / FILE).is_file():
        raise SpiroError(f"{folder / FILE}: no such file; export the model again with `spiro export`")
    hashes = read_json(folder / FILE)
    if not isinstance(hashes, dict):
        raise SpiroError(f"{folder / FILE}: no list of files; export or fetch the model again")
    for name, expected_hash in hashes.items():
        file = folder / Path(name).name
        if not file.is_file() or sha256(file) != expected_hash:
            what = "is damaged" if file.is_file() else "no such file"
            raise SpiroError(f"{file}: {what}; export or fetch the model again")
