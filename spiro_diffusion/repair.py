"""Raw files into verified tables: damage that can be undone exactly is undone, any other is refused."""

import gzip
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spiro_diffusion import sas7bdat, spxraw, xport
from spiro_diffusion.artifacts import atomic
from spiro_diffusion.errors import SpiroError
from spiro_diffusion.filekind import HEAD, Kind, kind
from spiro_diffusion.nhanes import CYCLES, File

PAGES_AT_ONCE = 64  # pages of SAS7BDAT parsed together: 8 MB, 704 curves


def repair_file(path: Path, file: File, out: Path) -> dict[str, Any]:
    """Write the table in `path` as Parquet to `out`; what was found and done, for the metrics.

    Raises SpiroError that names the file, what it really is and what to do.
    """
    try:
        with open_content(path) as (stream, found):
            if found is Kind.XPORT:
                rows = _write_xport(stream.read(), file, out)
            elif found is Kind.SAS7BDAT:
                rows = _write_sas7bdat(stream, file, out)
            else:
                raise SpiroError(f"is {found}; fetch it again: dvc repro -f download")
    except SpiroError as error:
        raise SpiroError(f"{path}: {error}") from None
    return {"kind": str(found), "rows": rows}


@contextmanager
def open_content(path: Path) -> Iterator[tuple[BinaryIO, Kind]]:
    """Open a file, or the one file in a zip or gzip, with its kind."""
    try:
        with path.open("rb") as raw:
            found = kind(raw.read(HEAD))
            raw.seek(0)
            if found is Kind.ZIP:
                with zipfile.ZipFile(raw) as archive:
                    members = [m for m in archive.infolist() if not m.is_dir()]
                    if len(members) != 1:
                        raise SpiroError(f"is a zip of {len(members)} files; one is expected")
                    with archive.open(members[0]) as stream:
                        found = kind(stream.read(HEAD))
                    with archive.open(members[0]) as stream:
                        yield cast(BinaryIO, stream), found
            elif found is Kind.GZIP:
                with gzip.open(raw) as stream:
                    found = kind(stream.read(HEAD))
                    stream.seek(0)
                    yield cast(BinaryIO, stream), found
            else:
                yield raw, found
    except FileNotFoundError:
        raise SpiroError("no such file; make it with `dvc repro download`") from None
    except (zipfile.BadZipFile, gzip.BadGzipFile, EOFError) as error:
        raise SpiroError(f"is damaged ({error}); fetch it again: dvc repro -f download") from None


def _write_xport(data: bytes, file: File, out: Path) -> int:
    table = xport.read(data)
    arrays = {}
    for column in table.columns:
        if column.text:
            arrays[column.name] = pa.array(xport.texts(table.rows, column))
        else:
            values = xport.numbers(table.rows, column)
            arrays[column.name] = pa.array(values, mask=np.isnan(values))
    seqn = arrays["SEQN"].to_numpy(zero_copy_only=False)
    _check_seqn(seqn, file, unique=True)
    with atomic(out) as part:
        pq.write_table(pa.table(arrays), part)
    return len(table.rows)


def _check_seqn(seqn: np.ndarray, file: File, unique: bool) -> None:
    cycle = CYCLES[file.cycle]
    if np.isnan(seqn).any() or (seqn < cycle.first_seqn).any() or (seqn > cycle.last_seqn).any():
        raise SpiroError(
            f"holds SEQN {np.nanmin(seqn):.0f} to {np.nanmax(seqn):.0f}; "
            f"cycle {file.cycle} has {cycle.first_seqn} to {cycle.last_seqn}: another cycle's file under this name?"
        )
    values, counts = np.unique(seqn, return_counts=True)
    if unique and len(values) < len(seqn):
        raise SpiroError(
            f"holds SEQN {values[counts > 1][0]:.0f} {counts.max()} times; one row a participant is expected"
        )


def _write_sas7bdat(stream: BinaryIO, file: File, out: Path) -> int:
    table, batches = sas7bdat.read(stream)
    writer, done = None, 0
    with atomic(out) as part:
        try:
            for rows in _joined(batches):
                arrays: dict[str, pa.Array] = {}
                for column in table.columns:
                    if not column.text:
                        values = table.numbers(rows, column)
                        arrays[column.name] = pa.array(values, mask=np.isnan(values))
                    elif column.name != "SPXRAW":
                        arrays[column.name] = pa.array(
                            [t.decode("latin-1").rstrip() for t in table.texts(rows, column)]
                        )
                raw = next(c for c in table.columns if c.name == "SPXRAW")
                points = arrays["SPXPTS"].to_numpy(zero_copy_only=False)
                arrays["SPXRAW"] = spxraw.curves(table.texts(rows, raw), points, done)
                _check_seqn(arrays["SEQN"].to_numpy(zero_copy_only=False), file, unique=False)
                group = pa.table(arrays)
                writer = writer or pq.ParquetWriter(part, group.schema)
                writer.write_table(group)
                done += len(rows)
        finally:
            if writer:
                writer.close()
    return done


def _joined(batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    waiting = []
    for batch in batches:
        waiting.append(batch)
        if len(waiting) == PAGES_AT_ONCE:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)
