"""What stands on the page of a session: values, curves and sentences, in one language and without a layout."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.vocabulary import INDICES, Index

Floats = NDArray[np.floating]
Phase = Literal["pre", "post"]  # before and after the bronchodilator
PHASES: tuple[Phase, ...] = ("pre", "post")
DECIMALS = {"de": ","}
Z_ENDS = (-5.0, 3.0)  # of the z-score scale
Z_ZONES = (-4.0, -2.5, -1.645)  # severe, moderate and mild end here (ERS/ATS 2022)


class Best(NamedTuple):
    """The best value of an index in one phase; `blow` is the number of the blow that gave it, None where it is of
    two (FEV1/FVC). z and percent of predicted are None where no reference has the index or the person."""

    value: float
    z: float | None = None
    percent: float | None = None
    blow: int | None = None


class Change(NamedTuple):
    """After minus before: in the index's unit, in percent of the first value, in percent of predicted."""

    absolute: float
    percent_of_first: float
    percent_of_predicted: float | None = None


@dataclass(frozen=True)
class Row:
    """An index in the table of best values; `derived`: its z is computed from a normal distribution that the source
    of the reference does not give as such."""

    name: str
    pre: Best | None = None
    post: Best | None = None
    predicted: float | None = None
    lln: float | None = None
    change: Change | None = None
    derived: bool = False

    @property
    def index(self) -> Index:
        """How it is written."""
        return INDICES[self.name]


@dataclass(frozen=True, eq=False)
class Interval:
    """A completion of a blow: volume (T,) in L at `time` (T,) s from time zero, median and ends of the 90 % interval;
    flow (T,) in L/s, the median; and the FVC that it gives, median and ends (L)."""

    time: Floats
    low: Floats
    median: Floats
    high: Floats
    flow: Floats
    fvc: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Blow:
    """One blow in the order in which they were blown; `flow` (T,) L/s at BTPS of each 10 ms, `t0` s from its start.

    `words`: why it, or a part of it, does not count, in the page's language; `overridden`: by whom, and why.
    """

    number: int
    name: str
    phase: Phase
    flow: Floats
    t0: float
    values: dict[str, float]  # by index, NaN where undetermined
    counts_fev1: bool
    counts_fvc: bool
    words: tuple[str, ...] = ()
    overridden: str = ""
    completed: Interval | None = None

    @property
    def counts(self) -> bool:
        """Whether something of it counts."""
        return self.counts_fev1 or self.counts_fvc

    @property
    def volume(self) -> Floats:
        """(T,) L expired at the middle of each sample."""
        ends = np.concatenate([[0.0], np.cumsum(self.flow) * 0.01])
        return (ends[1:] + ends[:-1]) / 2

    @property
    def time(self) -> Floats:
        """(T,) s from time zero, of the same."""
        return (np.arange(len(self.flow)) + 0.5) * 0.01 - self.t0


@dataclass(frozen=True)
class Contents:
    """The page. `head`: what is given of person, device and drug, (name, value) in order; `grades`: in a line;
    `pattern`: the sentences that say what the values mean; `method`: how it was computed; `comments`: the user's."""

    language: str
    head: list[tuple[str, str]]
    rows: list[Row]
    blows: list[Blow]
    pattern: list[str]
    grades: list[str]
    method: list[str]
    comments: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Those that hold a blow."""
        return tuple(phase for phase in PHASES if any(blow.phase == phase for blow in self.blows))

    def number(self, value: float | None, decimals: int, sign: bool = False) -> str:
        """A number as the language prints it: with a minus of the figures' width, and a dash where there is none."""
        if value is None or not np.isfinite(value):
            return "–"
        text = f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"
        if float(text) == 0:
            text = text.lstrip("+-")
        return text.replace("-", "−").replace(".", DECIMALS.get(self.language, "."))

    def row(self, name: str) -> Row | None:
        """The row of an index, if it is there."""
        return next((row for row in self.rows if row.name == name), None)


def z_place(z: float) -> float:
    """Where a z-score stands on the scale, from 0 at its left end to 1 at its right."""
    low, high = Z_ENDS
    return float((np.clip(z, low, high) - low) / (high - low))
