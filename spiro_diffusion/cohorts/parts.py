"""Measure drawn subjects and write them in parts: Parquet files of bounded size, and running sums."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from spiro_diffusion.cohorts import columns
from spiro_diffusion.cohorts.prevalences import Means, figures, people_of
from spiro_diffusion.generation.columns import indices_table
from spiro_diffusion.generation.engine import Engine
from spiro_diffusion.generation.populations import Visits, draw_visits
from spiro_diffusion.physiology import spirometry, time_grid

PIECE = 1024  # efforts measured at once, and a row group: 18 MB
ROWS = 50_000  # of a part, about 140 MB
EFFORTS, PEOPLE = "efforts", "people.parquet"
ARROW = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "string": pa.string(),
    "bool": pa.bool_(),
    "list<float32>": pa.list_(pa.float32()),
}


class Size(NamedTuple):
    """The number of people and retests."""

    people: int
    retests: int = 0  # further visits of each person


class Drawn(NamedTuple):
    """Counts and figures of the drawn people."""

    people: int
    efforts: int
    seconds: float
    means: Means  # of the first visits


class Parts:
    """A Parquet table written in files `efforts-00000.parquet` and so on, of at most ROWS rows each."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder, self._schema = folder, schema
        self._writer: pq.ParquetWriter | None = None
        self._parts = self._rows = 0
        folder.mkdir()

    def write(self, table: pd.DataFrame) -> None:
        """Add up to ROWS rows, a row group."""
        if self._writer is None or self._rows + len(table) > ROWS:
            self.close()
            name = f"{EFFORTS}-{self._parts:05d}.parquet"
            self._writer = pq.ParquetWriter(self._folder / name, self._schema, compression="zstd")
            self._parts, self._rows = self._parts + 1, 0
        self._writer.write_table(pa.Table.from_pandas(table, self._schema, preserve_index=False))
        self._rows += len(table)

    def close(self) -> None:
        """End the last part."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> "Parts":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def schema(chosen: tuple[columns.Column, ...]) -> pa.Schema:
    """Of a table with these columns."""
    return pa.schema([(column.name, ARROW[column.kind]) for column in chosen])


def write(
    folder: Path, generator: Engine, curves: pd.DataFrame, size: Size, seed: int, progress: bool = False
) -> Drawn:
    """Draw people modelled on the participants `curves`, and write their efforts and people.parquet into a folder.

    Memory does not grow with the people: those of `populations.SESSIONS` visits are in memory at once.
    """
    began, efforts, means = time.monotonic(), 0, Means()
    of_people = schema(columns.PEOPLE)
    bar = tqdm(total=size.people, desc="cohort", unit="person", disable=not progress)
    writer = pq.ParquetWriter(folder / PEOPLE, of_people, compression="zstd")
    with writer, Parts(folder / EFFORTS, schema(columns.EFFORTS)) as parts, bar:
        for visits in draw_visits(generator, curves, size.people, size.retests, seed):
            first = []
            for table, measured in pieces(visits):
                parts.write(table)
                efforts += len(table)
                first.append(measured[measured["session"] == 1])
            people = people_of(pd.concat(first, ignore_index=True)).assign(sessions=1 + size.retests)
            writer.write_table(pa.Table.from_pandas(people, of_people, preserve_index=False))
            means.add(figures(people))
            bar.update(len(people))
    return Drawn(size.people, efforts, time.monotonic() - began, means)


def pieces(visits: Visits) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Up to PIECE efforts at a time, with the columns that are published, and with all of `spirometry.Indices`."""
    for start in range(0, len(visits.table), PIECE):
        some = visits.table.iloc[start : start + PIECE].reset_index(drop=True)
        flow = time_grid.to_10ms(visits.signals[start : start + PIECE])
        points = spirometry.end_of_flow(flow)
        found = spirometry.indices(flow, points)
        table = some.join(indices_table(found, some["age"], some["height"], some["sex"]))
        table = table.assign(flow_l_s=[row[:end] for row, end in zip(flow, points, strict=True)])
        yield table, some.join(found.to_pandas())
