"""Files of curves and indices: checks of output paths, and writing."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from spiro_diffusion.core.artifacts import TOKEN_BYTES, atomic
from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.generation.drawn_curves import CHUNK, Curves, Grid, piece, sampled
from spiro_diffusion.physiology import time_grid

ENDINGS = (".csv", ".parquet", ".npz")
LONGEST_NAME = 255 - len("...part") - 2 * TOKEN_BYTES  # bytes; a file is written beside its place under a longer name


def check_files(force: bool, *files: tuple[Path | None, tuple[str, ...]]) -> list[Path]:
    """Check output files, given as paths with the endings they may have; a path may be None. Returns the paths.

    Raises SpiroError if one has another ending, exists and `force` is not given, cannot be a file, or has too long a
    name.
    """
    requested = [(path, endings) for path, endings in files if path is not None]
    for path, endings in requested:
        if endings and path.suffix.lower() not in endings:
            raise SpiroError(f"{path}: ending {path.suffix!r} is not known; expected {', '.join(endings)}")
        if len(path.name.encode()) > LONGEST_NAME:
            raise SpiroError(f"{printable(path.name)}: the name has more than {LONGEST_NAME} bytes; give a shorter one")
        if path.is_dir():
            raise SpiroError(f"{path}: is a folder; name a file")
        if path.exists() and not path.is_file():
            raise SpiroError(f"{path}: is a device, not a file; name a file")
        if path.exists() and not force:
            raise SpiroError(f"{path}: exists already; give another name, or --force to overwrite it")
    return [path for path, _ in requested]


def indices_path(out: Path) -> Path:
    """The path of the table of indices that goes with the curves."""
    return out.with_name(f"{out.stem}_indices.csv")


def write_curves(
    path: Path, curves: Curves, progress: bool = False, *, wide: bool = False, grid: Grid = "10ms"
) -> None:
    """Write curves by the file's ending: a CSV or Parquet table as of `Curves.to_pandas`, or NPZ arrays.

    NPZ has time_s (T,), flow_l_s and volume_l (N, T), person and draw (N,), on the 512-sample grid edges_s (513,), and
    the columns of the subjects (n,): first the given ones as they were, then the conditions of the draws; texts are ""
    where unknown.
    """
    with atomic(path) as part:
        if path.suffix.lower() == ".npz":
            _write_npz(part, curves, grid)
            return
        starts = range(0, len(curves), CHUNK)
        bar = tqdm(starts, desc=f"write {path.name}", unit="piece", disable=not progress, delay=1)
        pieces = (piece(curves, slice(start, start + CHUNK), wide, grid) for start in bar)
        if path.suffix.lower() == ".csv":
            with part.open("w", encoding="utf-8", newline="") as file:
                for i, table in enumerate(pieces):
                    table.to_csv(file, index=False, header=i == 0, lineterminator="\n")
        else:
            write_parquet(part, pieces)


def write_indices(path: Path, table: pd.DataFrame) -> None:
    """Write a table of indices as CSV: volumes to 0.1 mL."""
    with atomic(path) as part:
        table.round(4).to_csv(part, index=False, lineterminator="\n")


def write_parquet(path: Path, pieces: Iterator[pd.DataFrame]) -> None:
    """Write tables of the same columns as one Parquet table, a row group each."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    writer = None
    for table in pieces:
        rows = pa.Table.from_pandas(table, preserve_index=False)
        writer = writer or pq.ParquetWriter(path, rows.schema, compression="zstd")
        writer.write_table(rows)
    if writer is not None:
        writer.close()


def _write_npz(part: Path, curves: Curves, on: Grid) -> None:
    arrays: dict[str, NDArray] = {}
    conditions = curves.people[[name for name in curves.people if name not in curves.given]]
    for name, column in [*curves.given.items(), *conditions.items()]:
        plain = column.dtype.kind in "iufb"
        texts = ["" if pd.isna(v) else str(v) for v in column]
        arrays[str(name)] = column.to_numpy() if plain else np.array(texts, dtype=np.str_)
    time, flow, volume = sampled(curves.signals, on)
    arrays |= {"time_s": time, "flow_l_s": flow, "volume_l": volume, "person": curves.person, "draw": curves.draw}
    if curves.efforts is not None:
        arrays |= {name: curves.efforts[name].to_numpy() for name in ("effort", "best")}
        arrays |= {name: curves.efforts[name].to_numpy(np.str_) for name in ("test_type", "grade")}
    if on == "512":
        arrays["edges_s"] = time_grid.EDGES_S
    with part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
