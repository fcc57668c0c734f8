"""The three sources of raw files: simulated, the CDC, a folder.

Each ends as files under the CDC's names in one folder, with `manifest.json`: source, and size, SHA-256 and
(from a server) address of each file. Nothing is read or changed on the way; that is `repair`.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from spiro_diffusion.core.artifacts import atomic, sha256
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.formats.sniff import HEAD, Kind, kind
from spiro_diffusion.nhanes import codebook
from spiro_diffusion.nhanes.codebook import File

MANIFEST = "manifest.json"
SERVERS = ("http://", "https://")


def facts(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file."""
    return {"size": path.stat().st_size, "sha256": sha256(path)}


# --- the CDC --------------------------------------------------------------------------------------------------


def from_server(host: str, files: list[File], raw: Path) -> dict[str, Any]:
    from spiro_diffusion.nhanes.http import fetch  # noqa: PLC0415, loads requests, which no other source needs

    brought = {}
    for file in files:
        # Only the CDC's own files have to have the published rows.
        path, fetched = fetch(file if host == codebook.HOST else replace(file, rows=None), host=host)
        _copy(path, raw / file.filename)
        brought[file.filename] = {"size": fetched.size, "sha256": fetched.sha256, "address": fetched.address}
    return brought


# --- a folder -------------------------------------------------------------------------------------------------


def from_folder(folder: Path, files: list[File], raw: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise SpiroError(f"download.source is {folder}, which is no folder; give simulated, nhanes or a folder")
    if folder.resolve() == raw.resolve():
        raise SpiroError(f"download.source is {folder}, where the files go to; give the folder they come from")
    found = [(file, find(folder, file)) for file in files]
    brought = {}
    for file, path in found:
        target = raw / (file.filename if path.suffix.lower() == Path(file.filename).suffix else path.name)
        _copy(path, target)
        brought[target.name] = facts(target)
    return brought


def find(folder: Path, file: File) -> Path:
    """The file of a folder under the CDC's name in any letter case, or else with another suffix.

    Raises SpiroError where it is not there, or several could be it.
    """
    named = [path for path in sorted(folder.iterdir()) if path.name.split(".")[0].upper() == file.name]
    exact = [path for path in named if path.name.lower() == file.filename.lower()]
    choice = [path for path in exact or named if path.is_file()]
    if len(choice) > 1:  # the codebook's page, saved beside it
        choice = [path for path in choice if not _is_page(path)]
    if not choice:
        raise SpiroError(f"{folder}: holds no {file.filename}; put it there or change download.source")
    if len(choice) > 1:
        names = ", ".join(path.name for path in choice)
        raise SpiroError(f"{folder}: holds several files for {file.name} ({names}); keep one")
    return choice[0]


def _is_page(path: Path) -> bool:
    with path.open("rb") as file:
        return kind(file.read(HEAD)) is Kind.HTML


def _copy(source: Path, target: Path) -> None:
    with atomic(target) as part:
        try:
            shutil.copyfile(source, part)
        except PermissionError:
            raise SpiroError(f"{source}: cannot be read; change its permissions") from None
