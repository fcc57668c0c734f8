"""The three sources of raw files: simulated, the CDC, a folder."""

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spiro_diffusion import sas7bdat, spxraw, xport
from spiro_diffusion.artifacts import atomic, sha256
from spiro_diffusion.column import Column, placed
from spiro_diffusion.errors import SpiroError
from spiro_diffusion.nhanes import File

ZIP_DATE = (2014, 1, 1, 0, 0, 0)  # fixed, so that bytes are reproducible
ROWS_AT_ONCE = 1024  # curves turned into text together: 12 MB


def write_simulated(tables: dict[str, pd.DataFrame], cycle: str, raw: Path) -> None:
    """Write the simulator's tables as the CDC's files of a cycle."""
    for table in ("DEMO", "BMX", "SPX"):
        with atomic(raw / File(table, cycle).filename) as part, part.open("wb") as out:
            xport.write(out, f"{table}_{cycle}", tables[table])
    write_spxraw(tables["SPXRAW"], cycle, raw / File("SPXRAW", cycle).filename)


def write_spxraw(curves: pd.DataFrame, cycle: str, path: Path) -> None:
    """Write curves as `spxraw_g.sas7bdat` in a zip, as a stream; numbers first, SPXRAW as text."""
    texts = [spxraw.text(np.asarray(curve)) for curve in curves["SPXRAW"]]
    values: dict[str, np.ndarray] = {}
    columns = []
    for name in curves.columns:
        numeric = pd.api.types.is_numeric_dtype(curves[name])
        column = np.array(texts) if name == "SPXRAW" else curves[name].to_numpy()
        values[name] = column.astype(np.float64) if numeric else column.astype(bytes)
        width = 8 if numeric else max(1, values[name].dtype.itemsize)
        columns.append(Column(name, "", not numeric, width))
    columns = placed(sorted(columns, key=lambda c: (c.text, c.name == "SPXRAW")))
    member = zipfile.ZipInfo(f"spxraw_{cycle.lower()}.sas7bdat", ZIP_DATE)
    member.compress_type = zipfile.ZIP_DEFLATED
    with atomic(path) as part, zipfile.ZipFile(part, "w") as archive, archive.open(member, "w") as out:

        def batches() -> Iterator[np.ndarray]:
            for start in range(0, len(curves), ROWS_AT_ONCE):
                yield sas7bdat.row_bytes(columns, {k: v[start : start + ROWS_AT_ONCE] for k, v in values.items()})

        sas7bdat.write(out, f"SPXRAW_{cycle}", columns, batches(), len(curves))  # type: ignore[arg-type]


def copy_folder(folder: Path, files: list[File], raw: Path) -> None:
    """Copy the files of a folder, found by the CDC's names in any letter case."""
    if not folder.is_dir():
        raise SpiroError(f"download.source: {folder} is no folder; give simulated, nhanes or a folder with the files")
    present = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    for file in files:
        source = present.get(file.filename.lower())
        if source is None:
            raise SpiroError(f"{folder}: holds no {file.filename}")
        with atomic(raw / file.filename) as part:
            shutil.copyfile(source, part)


def manifest(raw: Path, files: list[File]) -> dict[str, Any]:
    """Name, size and SHA-256 of each file."""
    paths = [raw / file.filename for file in files]
    return {path.name: {"size": path.stat().st_size, "sha256": sha256(path)} for path in paths}
