"""View of curves of one person: lines, percentile bands, limits of GLI Global, rows of indices."""

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.app.requests import LINES
from spiro_diffusion.app.user_effort import Effort
from spiro_diffusion.core.vocabulary import INDICES, Index
from spiro_diffusion.generation import drawn_curves
from spiro_diffusion.generation.columns import COLUMNS, Z_SCORES, Column
from spiro_diffusion.generation.drawn_curves import Curves
from spiro_diffusion.physiology import reference, spirometry
from spiro_diffusion.plotting.curves import smooth
from spiro_diffusion.user_curves.tables import Person, person_table

Floats = NDArray[np.floating]

PERCENTILES = (5, 25, 50, 75, 95)
PLOTTED_S = 12.0  # of a curve against time: volume changes little after that
BEFORE_S = 0.5  # shown before time zero
VOLUME_STEP_L = 0.02  # of the band of flow against volume
FINE_S, COARSE = 1.0, 10  # lines keep each 10 ms until FINE_S after time zero, each 100 ms (4 pixels) after
SUBSCRIPTS = str.maketrans("0123456789.-", "₀₁₂₃₄₅₆₇₈₉.₋")


class Line(NamedTuple):
    """A curve: `x` and `y` (T,)."""

    x: Floats
    y: Floats


class Band(NamedTuple):
    """Percentiles (5, T) of the curves, those of PERCENTILES, at `x` (T,)."""

    x: Floats
    percentiles: Floats


class Limit(NamedTuple):
    """A lower limit of normal: its label, and its straight line, from and to `x` and `y`."""

    words: str
    x: tuple[float, float]
    y: tuple[float, float]


class CurvePlot(NamedTuple):
    """One plot: some of the generated curves, the band of all, the user's curve and its untrusted part, GLI Global's
    limits, and the ends of both axes.
    """

    lines: list[Line]
    band: Band
    user: Line | None
    limits: list[Limit]
    x: tuple[float, float]
    y: tuple[float, float]
    untrusted: Line | None = None


@dataclass(frozen=True)
class Row:
    """An index: 5th, 50th and 95th percentile of the curves and of their z-scores, GLI Global's median and lower limit
    of normal, the user's value and z-score. None where undefined, NaN where undetermined.
    """

    name: str
    index: Index
    generated: tuple[float, float, float]
    z: tuple[float, float, float] | None
    median: float | None
    lln: float | None
    user: float | None
    user_z: float | None

    @property
    def below(self) -> bool:
        """Whether the user's value is below the lower limit of normal."""
        return self.user is not None and self.lln is not None and self.user < self.lln


@dataclass(frozen=True, eq=False)
class View:
    """Of `n` curves of a `subject`: flow (L/s) against volume (L), volume against time (s), rows of indices.

    `user`: the row of `tables.person_table` of the user's effort.
    """

    subject: str
    n: int
    loop: CurvePlot
    spirogram: CurvePlot
    rows: list[Row]
    user: pd.Series | None


def view(curves: Curves, effort: Effort | None = None) -> View:
    """The view of curves of one person, and of a user's effort, evaluated as an effort of that person.

    Raises SpiroError if GLI Global has no values for such a person.
    """
    person = curves.people.iloc[0]
    table = curves.indices()
    judged = _judged(effort, person) if effort else None
    rows = [_row(column, table, judged, person) for column in COLUMNS]
    lln = {row.name: row.lln for row in rows if row.lln is not None}
    return View(
        subject=drawn_curves.describe(person),
        n=len(curves),
        loop=_loop_view(curves, effort, lln["fvc"]),
        spirogram=_spirogram_view(curves, effort, lln["fev1"], lln["fvc"]),
        rows=rows,
        user=judged,
    )


def loop(flow: Floats) -> Line:
    """Flow (L/s, means of 30 ms) of a curve (T,) against the volume (L) expired by the middle of each 10 ms."""
    volume = spirometry.volume(flow[None])[0]
    return Line((volume[1:] + volume[:-1]) / 2, smooth(flow))


def loop_band(loops: list[Line], last: float) -> Band:
    """Percentiles of flow at each expired volume up to `last` (L); flow is 0 after the end of a curve."""
    at = np.arange(0.0, last, VOLUME_STEP_L)
    flows = [np.interp(at, np.maximum.accumulate(x), y, right=0.0) for x, y in loops]
    return Band(at, np.percentile(flows, PERCENTILES, axis=0))


def _loop_view(curves: Curves, effort: Effort | None, fvc: float) -> CurvePlot:
    ends = spirometry.end_of_flow(curves.flow)
    loops = [loop(flow[:end].astype(np.float64)) for flow, end in zip(curves.flow, ends, strict=True) if end]
    user = loop(effort.flow) if effort else None
    every = [*loops, user] if user else loops
    right = max(fvc, *(float(line.x.max()) for line in every))
    top = max(float(line.y.max()) for line in every)
    bottom = min(0.0, float(user.y.min())) if user else 0.0
    ceiling = beyond(top, 1.0)
    return CurvePlot(
        lines=[thin_loop(line, curves.time) for line in loops[:LINES]],
        band=loop_band(loops, right),
        user=user,
        limits=[loop_limit(fvc, ceiling)],
        x=(0.0, beyond(right, 0.5)),
        y=(math.floor(bottom) if bottom < -0.3 else 0.0, ceiling),
    )


def _spirogram_view(curves: Curves, effort: Effort | None, fev1: float, fvc: float) -> CurvePlot:
    kept = thinned(curves.time)
    time, volume = curves.time[kept], curves.volume[:, kept].astype(np.float64)
    ends = spirometry.end_of_flow(curves.flow)
    user = None
    if effort:
        axis = np.arange(len(effort.flow) + 1) * spirometry.SAMPLE_PERIOD_S - _time_zero(effort)
        in_range = (axis >= -BEFORE_S) & (axis <= PLOTTED_S)
        user = Line(axis[in_range], spirometry.volume(effort.flow[None])[0][in_range])
    top = max(fvc, float(volume.max()), float(user.y.max()) if user else 0.0)
    return CurvePlot(
        lines=[
            Line(time[kept <= end][::2], row[kept <= end][::2])
            for row, end in zip(volume[:LINES], ends[:LINES], strict=True)
        ],
        band=Band(time, np.percentile(volume, PERCENTILES, axis=0)),
        user=user,
        limits=spirogram_limits(fev1, fvc),
        x=(-BEFORE_S, PLOTTED_S),
        y=(0.0, beyond(top, 0.5)),
    )


def label(index: Index) -> str:
    """An index as it is set in print: FEV₁."""
    first, slash, second = index.label.partition("/")
    parts = (re.sub(r"[\d.-]+$", lambda found: found[0].translate(SUBSCRIPTS), part) for part in (first, second))
    return slash.join(parts)


def loop_limit(fvc: float, ceiling: float) -> Limit:
    """The lower limit of FVC (L), up to a flow (L/s)."""
    return Limit(_words("fvc", fvc), (fvc, fvc), (0.0, ceiling))


def spirogram_limits(fev1: float, fvc: float) -> list[Limit]:
    """The lower limits of FEV1 and FVC (L), at the times at which they are read."""
    return [
        Limit(_words("fev1", fev1), (0.4, 1.6), (fev1, fev1)),
        Limit(_words("fvc", fvc), (PLOTTED_S / 2, PLOTTED_S), (fvc, fvc)),
    ]


def _words(name: str, lln: float) -> str:
    index = INDICES[name]
    return f"LLN {label(index)} {lln:.{index.decimals}f} {index.unit}"


def thin_loop(line: Line, time: Floats) -> Line:
    """A loop with a sample every 10 ms, from the begin of `time`, for plotting."""
    kept = thinned(time)
    kept = kept[kept < len(line.x)]
    return Line(line.x[kept], line.y[kept])


def thinned(time: Floats) -> NDArray[np.int64]:
    """Samples of the 10 ms axis that are plotted."""
    fine = int((time < FINE_S).sum())
    return np.concatenate([np.arange(fine), np.arange(fine, int((time <= PLOTTED_S).sum()), COARSE)])


def beyond(value: float, step: float) -> float:
    """The next multiple of `step` above a value, with a margin."""
    return step * math.ceil((value + 0.2 * step) / step)


def _time_zero(effort: Effort) -> float:
    """s from the first sample; 0 where there is none."""
    return float(np.nan_to_num(effort.session.record["t0"].iloc[effort.number]))


def _judged(effort: Effort, person: pd.Series) -> pd.Series:
    drawn_person = Person(person["age"], person["height"], int(person["sex"]))
    return person_table(effort.session, drawn_person).iloc[effort.number]


def _row(column: Column, table: pd.DataFrame, judged: pd.Series | None, person: pd.Series) -> Row:
    name, has_limits = column.name, column.name in Z_SCORES
    limits = reference.gli_global(name, person["age"], person["height"], person["sex"]) if has_limits else None
    return Row(
        name=name,
        index=column.written,
        generated=_percentiles(table[name]),
        z=_percentiles(table[f"{name}_z"]) if has_limits else None,
        median=float(limits.m) if limits else None,
        lln=float(limits.lln) if limits else None,
        user=float(judged[name]) if judged is not None else None,
        user_z=float(judged[f"{name}_z"]) if judged is not None and has_limits else None,
    )


def _percentiles(values: pd.Series) -> tuple[float, float, float]:
    """5th, 50th and 95th percentile of the determined values; NaN if there are none."""
    low, middle, high = values.quantile([0.05, 0.5, 0.95])
    return float(low), float(middle), float(high)
