"""The three sources of raw files: simulated, the CDC, a folder.

Each ends as files under the CDC's names in one folder, with `manifest.json`: source, and size, SHA-256 and
(from a server) address of each file. Nothing is read or changed on the way; that is `repair`.
"""

import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from spiro_diffusion import nhanes, sas7bdat, spxraw, xport
from spiro_diffusion.artifacts import atomic, sha256, write_json
from spiro_diffusion.column import Column, placed
from spiro_diffusion.errors import SpiroError
from spiro_diffusion.nhanes import File

MANIFEST = "manifest.json"
SERVERS = ("http://", "https://")
ZIP_DATE = (2014, 1, 1, 0, 0, 0)  # fixed, so that bytes are reproducible
ROWS_AT_ONCE = 704  # curves turned into text together: 64 pages, 8 MB


def bring(source: str, cycles: list[str], participants: int, seed: int, raw: Path) -> None:
    """Bring the files of some cycles into `raw`.

    Args:
        source: `simulated`; `nhanes`, the CDC, or the address of a mirror of its paths; or a folder.
        cycles: of `E`, `F` and `G`.
        participants, seed: of each simulated cycle.
        raw: the folder they go to.

    Raises:
        SpiroError: a file that is not there or cannot be fetched.
    """
    manifest: dict[str, Any] = {"source": source if source in ("simulated", "nhanes") else "folder"}
    files = nhanes.files(cycles)
    if source == "simulated":
        manifest |= {"participants": participants, "seed": seed}
        brought = _simulated(cycles, participants, seed, raw)
    elif source == "nhanes" or source.startswith(SERVERS):
        host = nhanes.HOST if source == "nhanes" else source
        manifest["source"] = source
        brought = _from_server(host, files, raw)
    else:
        brought = _from_folder(Path(source), files, raw)
    write_json(raw / MANIFEST, manifest | {"files": brought})


def _facts(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": sha256(path)}


# --- simulated ------------------------------------------------------------------------------------------------


def _simulated(cycles: list[str], participants: int, seed: int, raw: Path) -> dict[str, Any]:
    from spiro_diffusion.simulator import simulate  # noqa: PLC0415, loads scipy, which no other source needs

    brought = {}
    for cycle in tqdm(cycles, desc="simulating", unit="cycle"):
        for path in write_cycle(simulate(cycle, participants, seed), cycle, raw):
            brought[path.name] = _facts(path)
    return brought


def write_cycle(tables: dict[str, pd.DataFrame], cycle: str, folder: Path) -> list[Path]:
    """Write tables as the CDC's files of a cycle: XPORT v5, and SPXRAW as a SAS7BDAT in a zip.

    `tables` has the keys DEMO, BMX, SPX and SPXRAW, with NHANES's column names; SPXRAW.SPXRAW holds arrays of
    whole mL per 10 ms.
    """
    paths = []
    for table in ("DEMO", "BMX", "SPX"):
        paths.append(folder / File(table, cycle).filename)
        with atomic(paths[-1]) as part, part.open("wb") as out:
            xport.write(out, f"{table}_{cycle}", tables[table])
    paths.append(folder / File("SPXRAW", cycle).filename)
    _write_spxraw(tables["SPXRAW"], cycle, paths[-1])
    return paths


def _write_spxraw(curves: pd.DataFrame, cycle: str, path: Path) -> None:
    columns, rows = spxraw_rows(curves)
    member = zipfile.ZipInfo(f"spxraw_{cycle.lower()}.sas7bdat", ZIP_DATE)
    member.compress_type = zipfile.ZIP_DEFLATED
    with atomic(path) as part, zipfile.ZipFile(part, "w") as archive, archive.open(member, "w") as out:
        sas7bdat.write(out, f"SPXRAW_{cycle}", columns, rows, len(curves))


def spxraw_rows(curves: pd.DataFrame) -> tuple[list[Column], Iterator[np.ndarray]]:
    """Columns and rows as `sas7bdat.write` takes them: numbers first, then texts, the curves last."""
    values: dict[str, np.ndarray] = {}
    for name in curves.columns.drop("SPXRAW"):
        if pd.api.types.is_numeric_dtype(curves[name]):
            values[name] = curves[name].to_numpy(np.float64)
        else:
            values[name] = curves[name].to_numpy(object).astype(bytes)
    columns = [Column(name, "", array.dtype.kind == "S", array.dtype.itemsize) for name, array in values.items()]
    # all texts at once, each as wide as the widest, would take ten times the memory of the curves
    columns.append(Column("SPXRAW", "", True, max(spxraw.width(np.asarray(curve)) for curve in curves["SPXRAW"])))
    columns = placed(sorted(columns, key=lambda column: (column.text, column.name == "SPXRAW")))

    def rows() -> Iterator[np.ndarray]:
        for start in range(0, len(curves), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            some = {name: array[part] for name, array in values.items()}
            some["SPXRAW"] = np.array([spxraw.text(np.asarray(curve)) for curve in curves["SPXRAW"].iloc[part]])
            yield sas7bdat.row_bytes(columns, some)

    return columns, rows()


# --- the CDC --------------------------------------------------------------------------------------------------


def _from_server(host: str, files: list[File], raw: Path) -> dict[str, Any]:
    from spiro_diffusion.fetch import fetch  # noqa: PLC0415, loads requests, which no other source needs

    brought = {}
    for file in files:
        # Only the CDC's own files have to have the published rows.
        path, fetched = fetch(file if host == nhanes.HOST else replace(file, rows=None), host=host)
        _copy(path, raw / file.filename)
        brought[file.filename] = {"size": fetched.size, "sha256": fetched.sha256, "address": fetched.address}
    return brought


# --- a folder -------------------------------------------------------------------------------------------------


def _from_folder(folder: Path, files: list[File], raw: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise SpiroError(f"download.source is {folder}, which is no folder; give simulated, nhanes or a folder")
    if folder.resolve() == raw.resolve():
        raise SpiroError(f"download.source is {folder}, where the files go to; give the folder they come from")
    found = [(file, find(folder, file)) for file in files]
    brought = {}
    for file, path in found:
        target = raw / (file.filename if path.suffix.lower() == Path(file.filename).suffix else path.name)
        _copy(path, target)
        brought[target.name] = _facts(target)
    return brought


def find(folder: Path, file: File) -> Path:
    """The file of a folder under the CDC's name in any letter case, or else with another suffix.

    Raises SpiroError where it is not there, or several could be it.
    """
    named = [path for path in sorted(folder.iterdir()) if path.name.split(".")[0].upper() == file.name]
    exact = [path for path in named if path.name.lower() == file.filename.lower()]
    choice = [path for path in exact or named if path.is_file()]
    if not choice:
        raise SpiroError(f"{folder}: holds no {file.filename}; put it there or change download.source")
    if len(choice) > 1:
        names = ", ".join(path.name for path in choice)
        raise SpiroError(f"{folder}: holds several files for {file.name} ({names}); keep one")
    return choice[0]


def _copy(source: Path, target: Path) -> None:
    with atomic(target) as part:
        try:
            shutil.copyfile(source, part)
        except PermissionError:
            raise SpiroError(f"{source}: cannot be read; change its permissions") from None
