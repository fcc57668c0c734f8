"""Write simulated tables as the CDC publishes them: XPORT v5, and SPXRAW as a SAS7BDAT in a zip."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from spiro_diffusion.core.artifacts import atomic
from spiro_diffusion.formats import sas7bdat_writer, spxraw, xport
from spiro_diffusion.formats.column import Column, placed
from spiro_diffusion.nhanes.codebook import File

MOST_ZIP32 = 400_000  # curves of 4.4 kB that stay below the 2 GiB of a zip without 64-bit sizes
ZIP_DATE = (2014, 1, 1, 0, 0, 0)  # fixed, so that bytes are reproducible
ROWS_AT_ONCE = 704  # curves turned into text together: 64 pages, 8 MB


def write_cycle(tables: dict[str, pd.DataFrame], cycle: str, folder: Path) -> list[Path]:
    """Write tables as the CDC's files of a cycle: XPORT v5, and SPXRAW as a SAS7BDAT in a zip.

    `tables` has SPXRAW and others, such as DEMO, with NHANES's column names; SPXRAW.SPXRAW holds arrays of
    whole mL per 10 ms.
    """
    paths = []
    for table in [name for name in tables if name != "SPXRAW"]:
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
    with (
        atomic(path) as part,
        zipfile.ZipFile(part, "w") as archive,
        archive.open(member, "w", force_zip64=len(curves) > MOST_ZIP32) as out,
    ):
        sas7bdat_writer.write(out, f"SPXRAW_{cycle}", columns, rows, len(curves))


def spxraw_rows(curves: pd.DataFrame) -> tuple[list[Column], Iterator[np.ndarray]]:
    """Columns and rows as `sas7bdat_writer.write` takes them: numbers first, then texts, the curves last."""
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
            yield sas7bdat_writer.row_bytes(columns, some)

    return columns, rows()
