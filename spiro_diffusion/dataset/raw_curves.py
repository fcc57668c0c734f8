"""Read tables and raw curves of earlier stages in batches."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm import tqdm

from spiro_diffusion.core.artifacts import atomic
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.physiology import counter

R = TypeVar("R")

WORKERS = 2  # threads: numpy lets them run side by side
BATCH = 1024  # curves at a time: 1,024 x 2,044 float32 is 8 MB
# Arrow waits for ever for threads that the system refuses it, as where memory ends; with no `pre_buffer` it needs none
ONE_THREAD = {"use_threads": False}


class Batch(NamedTuple):
    """Some curves of a table."""

    rows: slice | NDArray[np.int64]  # of the table; a batch from `batches` is a slice, in its order
    counts: NDArray[np.int16]  # (m, T) mL per 10 ms at ATPS, 0 after the last point
    points: NDArray[np.int64]  # (m,)
    btps: NDArray[np.float64]  # (m,)

    @property
    def flow(self) -> NDArray[np.float32]:
        """(m, T) L/s at BTPS."""
        return counter.flow(self.counts, self.btps)


def by_length(batch: Batch, size: int = 256) -> Iterator[Batch]:
    """The curves of a batch in groups of like length, each as wide as its longest: half the work of one width."""
    order = np.argsort(batch.points, kind="stable")
    first = batch.rows.start if isinstance(batch.rows, slice) else 0
    for start in range(0, len(order), size):
        group = order[start : start + size]
        longest = batch.points[group[-1]]
        rows = group + first if isinstance(batch.rows, slice) else batch.rows[group]
        yield Batch(rows, batch.counts[group, :longest], batch.points[group], batch.btps[group])


def each(function: Callable[[Batch], R], parts: Iterator[Batch]) -> Iterator[R]:
    """What `function` gives for each batch, in order, computed on two threads; few batches are held at a time."""
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting: deque[Future[R]] = deque()
        for batch in parts:
            waiting.append(pool.submit(function, batch))
            if len(waiting) > WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def read_table(path: Path, columns: list[str] | None = None, optional: tuple[str, ...] = ()) -> pd.DataFrame:
    """A Parquet table, or some of its columns; of `optional` those that it has.

    Raises SpiroError where the file is missing, is no Parquet file, or lacks a column.
    """
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:  # see ONE_THREAD
            names = file.schema_arrow.names
            if columns is not None:
                columns = columns + [name for name in optional if name in names]
                missing = [name for name in columns if name not in names]
                if missing:
                    raise SpiroError(f"{path}: has no column {missing[0]}; make it again with `dvc repro`")
            return file.read(columns, **ONE_THREAD).to_pandas(**ONE_THREAD)
    except FileNotFoundError:
        raise SpiroError(f"{path}: no such file; make it with `dvc repro` or fetch it with `dvc pull`") from None
    except pa.ArrowInvalid as error:
        raise SpiroError(f"{path}: not a Parquet table ({error}); make it again with `dvc repro --force`") from None


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a Parquet table, whole or not at all."""
    with atomic(path) as part:
        table.to_parquet(part, index=False, compression="zstd")


def batches(repaired: Path, table: pd.DataFrame, label: str, size: int = BATCH) -> Iterator[Batch]:
    """The raw curves of `table` (cycle, raw_row, btps, points), in its order, with a progress bar.

    Memory does not grow with the table. Raises SpiroError where the table is not in the order of the files, or
    a curve has not as many samples as `points` says.
    """
    with tqdm(total=len(table), desc=label, unit="curve", delay=1) as bar:
        done = 0
        for cycle in table["cycle"].unique():
            part = table[table["cycle"] == cycle]
            needed = part["raw_row"].to_numpy()
            if (np.diff(needed) <= 0).any() or not (table["cycle"].iloc[done : done + len(part)] == cycle).all():
                raise SpiroError(f"curves of cycle {cycle} are not in the order of SPXRAW_{cycle}; run `dvc repro`")
            for start, counts, points in _raw(repaired / f"SPXRAW_{cycle}.parquet", needed, size):
                first = done + start
                rows = slice(first, first + len(points))
                wrong = np.flatnonzero(points != table["points"].to_numpy()[rows])
                if len(wrong):
                    row = first + int(wrong[0])
                    raise SpiroError(
                        f"SPXRAW_{cycle}: row {table['raw_row'].iloc[row]} has {points[wrong[0]]} samples, "
                        f"the table says {table['points'].iloc[row]}; run `dvc repro`"
                    )
                yield Batch(rows, counts, points, table["btps"].to_numpy()[rows])
                bar.update(len(points))
            done += len(part)


def _raw(path: Path, needed: NDArray, size: int) -> Iterator[tuple[int, NDArray[np.int16], NDArray[np.int64]]]:
    """Counts and lengths of the needed rows of a file, with the position of the first among them."""
    try:
        file = pq.ParquetFile(path, pre_buffer=False)
    except FileNotFoundError:
        raise SpiroError(f"{path}: no such file; make it with `dvc repro`") from None
    begin = 0
    for batch in file.iter_batches(batch_size=size, columns=["SPXRAW"], **ONE_THREAD):
        low, high = np.searchsorted(needed, [begin, begin + len(batch)])
        if high > low:
            yield low, *_dense(batch.column(0), needed[low:high] - begin)
        begin += len(batch)
    if len(needed) and needed[-1] >= begin:
        raise SpiroError(f"{path}: has {begin} rows, row {needed[-1]} is required; run `dvc repro`")


def _dense(lists: pa.ListArray, rows: NDArray) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Lists of the given rows as an array (m, longest), 0 after each end, and their lengths (m,)."""
    offsets = lists.offsets.to_numpy()
    values = lists.values.to_numpy()
    points = np.diff(offsets)[rows].astype(np.int64)
    counts = np.zeros((len(rows), int(points.max(initial=0))), dtype=np.int16)
    for line, start, length in zip(counts, offsets[rows], points, strict=True):
        line[:length] = values[start : start + length]
    return counts, points
