"""Drawn curves: long or wide tables, arrays, indices with z-scores, and a plot."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.vocabulary import SEXES
from spiro_diffusion.generation.columns import NAMES, Z_NAMES, indices_table
from spiro_diffusion.physiology import spirometry, time_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Grid = Literal["10ms", "512"]
OF_EFFORT = ("effort", "test_type", "grade", "best")  # columns of sessions
RESERVED = ("time_s", "edges_s", "flow_l_s", "volume_l", "person", "draw", "extrapolation", *NAMES, *Z_NAMES)  # columns
CHUNK = 256  # curves a piece of a long table: 524,288 rows, 20 MB
LEGEND = 6  # subjects; with more, colours cannot be distinguished


class Sampled(NamedTuple):
    """Some curves on one grid: `time` (T,) s from time zero, `flow` (m, T) L/s, `volume` (m, T) L."""

    time: NDArray[np.float64]
    flow: NDArray[np.float32]
    volume: NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class Curves:
    """N generated curves of the subjects in a table.

    `people` has the conditions of the draws (`subjects.conditioned`), `given` the columns that the user gave,
    unchanged. `signals` (N, 512) float32, L/s at BTPS: mean flow of each bin of the warped grid, between
    `grid.EDGES_S`. `person` (N,): row of `people`, `draw` (N,): number of the draw of that person; for sessions the
    number of the lung, and `efforts` (N rows) gives the place of each curve in its session, its test type and grade,
    and whether it is the best.

    On the 10 ms axis, computed on first use: `time` (2048,), s from time zero, from -0.50; `flow` (N, 2048) float32,
    L/s: mean of the 10 ms that begin at each of `time`; `volume` (N, 2048) float32, L: expired until then.
    """

    people: pd.DataFrame
    person: NDArray[np.int64]
    draw: NDArray[np.int64]
    signals: NDArray[np.float32]
    given: pd.DataFrame
    efforts: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.person)

    @functools.cached_property
    def _fine(self) -> Sampled:
        return sampled(self.signals, "10ms")

    @property
    def time(self) -> NDArray[np.float64]:
        return self._fine.time

    @property
    def flow(self) -> NDArray[np.float32]:
        return self._fine.flow

    @property
    def volume(self) -> NDArray[np.float32]:
        return self._fine.volume

    @property
    def keys(self) -> pd.DataFrame:
        """Person, draw, and the given columns of the person: a row for each curve."""
        keys = pd.DataFrame({"person": self.person, "draw": self.draw})
        if self.efforts is not None:
            keys = keys.join(self.efforts.reset_index(drop=True))
        given = self.given.drop(columns=keys.columns, errors="ignore")
        return keys.join(given.iloc[self.person].reset_index(drop=True))

    def indices(self) -> pd.DataFrame:
        """`keys`, the indices of `columns.COLUMNS` (L, L/s, s) and GLI Global z-scores: a row for each curve."""
        people = self.people.iloc[self.person].reset_index(drop=True)
        found = spirometry.indices(self.flow, spirometry.end_of_flow(self.flow))
        return self.keys.join(indices_table(found, people["age"], people["height"], people["sex"]))

    def to_pandas(self, *, wide: bool = False, grid: Grid = "10ms") -> pd.DataFrame:
        """A row for each sample: person, draw, time_s, flow_l_s, volume_l; for sessions test_type and effort too. With
        `wide`, a row for each curve: `keys`, and flow (L/s) in a column for each sample, t_-0.50 and so on, named by
        the time (s) at which it begins.

        `grid` "512" gives the 512 samples of the warped grid instead of samples of 10 ms.
        """
        return piece(self, slice(None), wide, grid)

    def plot(self, path: str | Path | None = None) -> "Figure":
        """Plot flow against volume and volume against time, a colour for each person; with `path`, write a PNG too."""
        from spiro_diffusion.plotting import curves, style  # noqa: PLC0415 (half a second of imports)

        few = 1 < len(self.people) <= LEGEND
        names = [describe(person) for _, person in self.people.iterrows()] if few else []
        colours = style.SUBJECTS if few else style.SUBJECTS[:1]
        title = f"{counted(len(self), 'generated curve')}: {summary(self.people)}"
        return style.figure(lambda: curves.subjects(self.time, self.flow, self.person, names, colours, title), path)


def from_signals(signals: NDArray, people: pd.DataFrame, given: pd.DataFrame | None = None) -> Curves:
    """Curves of signals (people, draws, 512) in L/s; without `given`, age, height and sex of `people` stand for it."""
    n, draws, samples = signals.shape
    given = people[["age", "height", "sex"]] if given is None else given
    person, draw = np.repeat(np.arange(n), draws), np.tile(np.arange(draws), n)
    return Curves(people, person, draw, signals.reshape(-1, samples), given.reset_index(drop=True))


def sampled(signals: NDArray[np.float32], on: Grid) -> Sampled:
    """Signals (m, 512) in L/s on the axis of 10 ms from -0.50 s, or as they are, with the volumes at each begin."""
    if on == "512":
        return Sampled(time_grid.EDGES_S[:-1].round(4), signals, time_grid.volume(signals)[:, :-1].astype(np.float32))
    time = np.round(np.arange(time_grid.N_10MS) * spirometry.SAMPLE_PERIOD_S - time_grid.LEAD_S, 2)
    flow = time_grid.to_10ms(signals)
    volume = np.empty_like(flow)
    for start in range(0, len(flow), CHUNK):
        rows = slice(start, start + CHUNK)
        volume[rows] = spirometry.volume(flow[rows])[:, :-1]
    return Sampled(time, flow, volume)


def check_columns(people: pd.DataFrame, given: Sequence[str] = RESERVED) -> None:
    """Raises SpiroError if a column of the subjects has the name of an output column."""
    taken = [name for name in given if name in people]
    if taken:
        raise SpiroError(f"people: column {taken[0]!r} is a name of the output; rename it")


def counted(n: int, what: str = "curve") -> str:
    """The number of curves, in words."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def summary(people: pd.DataFrame) -> str:
    """One subject in words, or the number of subjects."""
    return describe(people.iloc[0]) if len(people) == 1 else f"{len(people)} people"


def describe(person: pd.Series) -> str:
    """A subject in words."""
    return f"{SEXES[int(person['sex'])]}, {person['age']:g} y, {person['height']:g} cm"


def piece(curves: Curves, rows: slice, wide: bool, on: Grid) -> pd.DataFrame:
    """Some curves in the form of `Curves.to_pandas`."""
    time, exact, volume = sampled(curves.signals[rows], on)
    flow = exact.astype(np.float64).round(4)  # 0.1 mL/s
    if wide:
        names = [f"t_{t:.{2 if on == '10ms' else 4}f}" for t in time]
        return curves.keys.iloc[rows].reset_index(drop=True).join(pd.DataFrame(flow, columns=names))
    keys = {"person": curves.person[rows], "draw": curves.draw[rows]}
    if curves.efforts is not None:
        keys |= {name: curves.efforts[name].to_numpy()[rows] for name in ("test_type", "effort")}
    return pd.DataFrame(
        {
            **{name: np.repeat(values, len(time)) for name, values in keys.items()},
            "time_s": np.tile(time, len(flow)),
            "flow_l_s": flow.ravel(),
            "volume_l": volume.ravel().astype(np.float64).round(5),  # 0.01 mL
        }
    )
