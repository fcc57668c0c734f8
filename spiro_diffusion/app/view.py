"""What the page shows of some curves of one person: lines, percentile bands, GLI Global's limits, rows of indices."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.app.user_effort import Effort
from spiro_diffusion.generation import drawn_curves
from spiro_diffusion.generation.drawn_curves import Curves
from spiro_diffusion.physiology import reference, spirometry

Floats = NDArray[np.floating]

PERCENTILES = (5, 25, 50, 75, 95)
SHOWN_S = 12.0  # of a curve against time: later volume hardly changes
BEFORE_S = 0.5  # shown before time zero
VOLUME_STEP_L = 0.02  # of the band of flow against volume
FINE_S, COARSE = 1.0, 10  # lines keep each 10 ms until FINE_S after time zero, each 100 ms (4 pixels) after
SMOOTH = np.ones(3) / 3  # 30 ms, as a spirometer's screen shows flow
INDICES = {  # what it is called, unit, decimals
    "fev1": ("FEV₁", "L", 2),
    "fvc": ("FVC", "L", 2),
    "ratio": ("FEV₁/FVC", "", 2),
    "pef": ("PEF", "L/s", 1),
    "fef2575": ("FEF₂₅₋₇₅", "L/s", 2),
    "fev6": ("FEV₆", "L", 2),
    "bev": ("BEV", "L", 2),
    "fet": ("FET", "s", 1),
}


class Line(NamedTuple):
    """A curve: `x` and `y` (T,)."""

    x: Floats
    y: Floats


class Band(NamedTuple):
    """Percentiles (5, T) of the curves, those of PERCENTILES, at `x` (T,)."""

    x: Floats
    percentiles: Floats


class Limit(NamedTuple):
    """A lower limit of normal: in words, and the straight line that shows it, from and to `x` and `y`."""

    words: str
    x: tuple[float, float]
    y: tuple[float, float]


class Shown(NamedTuple):
    """One plot: the generated curves, their band, the user's own curve, GLI Global's limits, the ends of both axes;
    of the own curve what is not trusted.
    """

    lines: list[Line]
    band: Band
    own: Line | None
    limits: list[Limit]
    x: tuple[float, float]
    y: tuple[float, float]
    doubted: Line | None = None


@dataclass(frozen=True)
class Row:
    """An index: 5th, 50th and 95th percentile of the curves and of their z-scores, GLI Global's median and lower limit
    of normal, the own curve's value and z-score. None where there is none, NaN where it is not determined.
    """

    name: str
    label: str
    unit: str
    decimals: int
    generated: tuple[float, float, float]
    z: tuple[float, float, float] | None
    median: float | None
    lln: float | None
    own: float | None
    own_z: float | None

    @property
    def below(self) -> bool:
        """Whether the own curve's value is below the lower limit of normal."""
        return self.own is not None and self.lln is not None and self.own < self.lln


@dataclass(frozen=True, eq=False)
class View:
    """Of `n` curves of `who`: flow (L/s) against volume (L), volume against time (s), rows of indices.

    `acceptable`: whether the own effort's FEV1 and FVC are, by ATS/ERS 2019.
    """

    who: str
    n: int
    loop: Shown
    spirogram: Shown
    rows: list[Row]
    acceptable: tuple[bool, bool] | None


def view(curves: Curves, own: Effort | None = None) -> View:
    """What to show of some curves of one person, and of an own effort as if it were that person's.

    Raises SpiroError where GLI Global has no values for such a person.
    """
    person = curves.people.iloc[0]
    table = curves.indices()
    judged = _own_table(own, person) if own else None
    t0 = _own_t0(own) if own else 0.0
    rows = [_row(name, table, judged, person) for name in INDICES]
    lln = {row.name: row.lln for row in rows if row.lln is not None}
    return View(
        who=drawn_curves.describe(person),
        n=len(curves),
        loop=_loop_view(curves, own, lln["fvc"]),
        spirogram=_spirogram_view(curves, own, t0, lln["fev1"], lln["fvc"]),
        rows=rows,
        acceptable=(bool(judged["acceptable_fev1"]), bool(judged["acceptable_fvc"])) if judged is not None else None,
    )


def loop(flow: Floats) -> Line:
    """Flow (L/s, means of 30 ms) of a curve (T,) against the volume (L) expired by the middle of each 10 ms."""
    volume = spirometry.volume(flow[None])[0]
    return Line((volume[1:] + volume[:-1]) / 2, np.convolve(flow, SMOOTH, mode="same"))


def loop_band(loops: list[Line], last: float) -> Band:
    """Percentiles of flow at each expired volume up to `last` (L); a curve that has ended flows at 0."""
    at = np.arange(0.0, last, VOLUME_STEP_L)
    flows = [np.interp(at, np.maximum.accumulate(x), y, right=0.0) for x, y in loops]
    return Band(at, np.percentile(flows, PERCENTILES, axis=0))


def _loop_view(curves: Curves, own: Effort | None, fvc: float) -> Shown:
    ends = drawn_curves.ends(curves.flow)
    loops = [loop(flow[:end].astype(np.float64)) for flow, end in zip(curves.flow, ends, strict=True) if end]
    mine = loop(own.flow) if own else None
    every = [*loops, mine] if mine else loops
    right = max(fvc, *(float(line.x.max()) for line in every))
    top = max(float(line.y.max()) for line in every)
    bottom = min(0.0, float(mine.y.min())) if mine else 0.0
    kept, ceiling = thinned(curves.time), beyond(top, 1.0)
    return Shown(
        lines=[Line(x[kept[kept < len(x)]], y[kept[kept < len(y)]]) for x, y in loops],
        band=loop_band(loops, right),
        own=mine,
        limits=[Limit(_words("fvc", fvc), (fvc, fvc), (0.0, ceiling))],
        x=(0.0, beyond(right, 0.5)),
        y=(math.floor(bottom) if bottom < -0.3 else 0.0, ceiling),
    )


def _spirogram_view(curves: Curves, own: Effort | None, t0: float, fev1: float, fvc: float) -> Shown:
    kept = thinned(curves.time)
    time, volume = curves.time[kept], curves.volume[:, kept].astype(np.float64)
    ends = drawn_curves.ends(curves.flow)
    mine = None
    if own:
        axis = np.arange(len(own.flow) + 1) * spirometry.SAMPLE_PERIOD_S - t0
        shown = (axis >= -BEFORE_S) & (axis <= SHOWN_S)
        mine = Line(axis[shown], spirometry.volume(own.flow[None])[0][shown])
    top = max(fvc, float(volume.max()), float(mine.y.max()) if mine else 0.0)
    return Shown(
        lines=[Line(time[kept <= end][::2], row[kept <= end][::2]) for row, end in zip(volume, ends, strict=True)],
        band=Band(time, np.percentile(volume, PERCENTILES, axis=0)),
        own=mine,
        limits=[
            Limit(_words("fev1", fev1), (0.4, 1.6), (fev1, fev1)),
            Limit(_words("fvc", fvc), (SHOWN_S / 2, SHOWN_S), (fvc, fvc)),
        ],
        x=(-BEFORE_S, SHOWN_S),
        y=(0.0, beyond(top, 0.5)),
    )


def _words(name: str, lln: float) -> str:
    label, unit, decimals = INDICES[name]
    return f"LLN {label} {lln:.{decimals}f} {unit}"


def thinned(time: Floats) -> NDArray[np.int64]:
    """Samples of the 10 ms axis that lines are drawn through."""
    fine = int((time < FINE_S).sum())
    return np.concatenate([np.arange(fine), np.arange(fine, int((time <= SHOWN_S).sum()), COARSE)])


def beyond(value: float, step: float) -> float:
    """The next multiple of `step` that leaves some room."""
    return step * math.ceil((value + 0.2 * step) / step)


def _own_t0(own: Effort) -> float:
    t0 = float(spirometry.indices(own.flow[None]).t0[0])
    return t0 if math.isfinite(t0) else 0.0


def _own_table(own: Effort, person: pd.Series) -> pd.Series:
    sex = reference.SEXES[int(person["sex"])]
    points = np.array([len(own.flow)])
    return drawn_curves.person_table(own.flow[None], points, person["age"], person["height"], sex).iloc[0]


def _row(name: str, table: pd.DataFrame, own: pd.Series | None, person: pd.Series) -> Row:
    label, unit, decimals = INDICES[name]
    known = name in drawn_curves.Z_SCORES
    limits = reference.gli_global(name, person["age"], person["height"], person["sex"]) if known else None
    return Row(
        name=name,
        label=label,
        unit=unit,
        decimals=decimals,
        generated=_percentiles(table[name]),
        z=_percentiles(table[f"{name}_z"]) if known else None,
        median=float(limits.m) if limits else None,
        lln=float(limits.lln) if limits else None,
        own=float(own[name]) if own is not None else None,
        own_z=float(own[f"{name}_z"]) if own is not None and known else None,
    )


def _percentiles(values: pd.Series) -> tuple[float, float, float]:
    """5th, 50th and 95th percentile of those that are determined; NaN where none is."""
    low, middle, high = values.quantile([0.05, 0.5, 0.95])
    return float(low), float(middle), float(high)
