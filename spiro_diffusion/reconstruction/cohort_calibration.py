"""Calibration of completions to the recorded efforts of a user's people and device.

Records end at different times, many before the lung is empty, and people who stop early have less volume left than the
densities expect. The error of the volume where a record ends is therefore not one number. In halves of the density's
90 % interval it is taken as

    shift + by_expected * (e - middle of e) + by_time * (t - middle of t)

where e is the logarithm of the remaining volume that the density expects, over that before the cut, and t that of the
time (s) after the cut, both held within the range of these people. It is fitted by a ridge regression with Huber's loss
(Huber 1964), which single efforts with odd ends do not move. Intervals are then widened about their median, in volume,
as in `calibration`: the factor that a person needs is measured by a regression without that person. Between the ranks
of few people it is interpolated, so that the interval of a new person holds with a probability of about 0.90.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.errors import printable
from spiro_diffusion.reconstruction.calibration import (
    HOLDS,
    LARGEST_FACTOR,
    LARGEST_SHIFT,
    LEAST_PEOPLE,
    Calibration,
    Floats,
    bound,
    equal_people,
    needed,
)

PENALTY = 3.0  # of the slopes, in people: as if as many had shown that there is none (docs/experiments.md, row 169)
HUBER = 0.5  # halves of an interval, beyond which an error counts by its size and not by its square
ROUNDS = 30  # of reweighting; the last change nothing
LEAST_SHARE = 1e-3  # of the expected remaining volume, that is left where an interval is widened below zero
LEAST_S = 0.01  # after a cut
LARGEST_SLOPE = 20.0  # halves of an interval for each factor of e
Range = list[float]  # lowest, middle, highest


class RecordedCase(NamedTuple):
    """Recorded efforts cut at a time `at_s`: remaining volumes as logarithms over the volume before the cut."""

    at_s: float
    true: Floats  # (n,) where the record ends
    quantiles: Floats  # (n, 3) of the completions there, at `calibration.LEVELS`
    expected: Floats  # (n, 3) of the density of the whole remaining volume
    after_s: Floats  # (n,) from the cut to the end of the record
    person: NDArray  # (n,)

    def some(self, rows: NDArray) -> "RecordedCase":
        """Those of some efforts."""
        return RecordedCase(self.at_s, *(column[rows] for column in self[1:]))


@dataclass(frozen=True)
class CohortCalibration(Calibration):
    """A correction at each of some cuts whose shift depends on the effort; shift and factor as of `Calibration`."""

    by_expected: list[float] = field(default_factory=list)
    by_time: list[float] = field(default_factory=list)
    expected: list[Range] = field(default_factory=list)  # logarithm of the expected remaining volume over that before
    time: list[Range] = field(default_factory=list)  # logarithm of s after the cut

    def __post_init__(self) -> None:
        super().__post_init__()
        columns: tuple[list, ...] = (self.by_expected, self.by_time, self.expected, self.time)
        if any(len(column) != len(self.cut_s) for column in columns):
            raise ValueError(f"has columns of {', '.join(str(len(column)) for column in columns)} numbers")
        for name in ("by_expected", "by_time"):
            if any(not abs(by) <= LARGEST_SLOPE for by in getattr(self, name)):
                raise ValueError(f"{name} is {printable(getattr(self, name))}; expected at most {LARGEST_SLOPE:g}")
        for name in ("expected", "time"):
            if any(len(one) != 3 or one != sorted(one) or not np.isfinite(one).all() for one in getattr(self, name)):
                raise ValueError(f"{name} is {printable(getattr(self, name))}; expected rising ranges")

    def corrected(self, drawn: Floats, quantiles: Floats, cut_s: Floats, wider: Floats | float = 1.0) -> Floats:
        """Correct draws (n,) of whole remaining volumes; see `Calibration.corrected`."""
        if not self.cut_s:
            return drawn
        middle, half = quantiles[:, 1], (quantiles[:, 2] - quantiles[:, 0]) / 2
        shift, factor = self._at(cut_s)
        trend = self._column(self.by_expected, cut_s) * self._from_middle(middle, self.expected, cut_s)
        moved = middle + np.clip(shift + trend, -LARGEST_SHIFT, LARGEST_SHIFT) * half
        return np.asarray(moved + np.log(np.maximum(1 + factor * wider * np.expm1(drawn - middle), LEAST_SHARE)))

    def in_time(self, after_s: Floats, quantiles: Floats, cut_s: Floats) -> Floats:
        """Factors (n, k) of the volumes that come until `after_s` (n, k) s after the cuts."""
        if not self.cut_s:
            return np.ones_like(after_s)
        half = (quantiles[:, 2] - quantiles[:, 0]) / 2
        off = self._from_middle(np.log(np.maximum(after_s, LEAST_S)), self.time, cut_s)
        return np.asarray(np.exp((self._column(self.by_time, cut_s) * half)[:, None] * off))

    def _from_middle(self, values: Floats, ranges: list[Range], cut_s: Floats) -> Floats:
        """Values (n, ...) within their ranges, counted from the middle of these."""
        low, middle, high = (self._column([one[i] for one in ranges], cut_s) for i in range(3))
        shape = (-1,) + (1,) * (values.ndim - 1)
        return np.asarray(np.clip(values, low.reshape(shape), high.reshape(shape)) - middle.reshape(shape))


def fit(cases: Sequence[RecordedCase]) -> CohortCalibration:
    """Fit the correction to recorded efforts; cuts with fewer than LEAST_PEOPLE people are left out."""
    rows = [_correction(case) for case in cases if len(np.unique(case.person)) >= LEAST_PEOPLE]
    return CohortCalibration(*(list(column) for column in zip(*rows, strict=True))) if rows else CohortCalibration()


def _correction(case: RecordedCase) -> tuple[Any, ...]:
    """The columns of `CohortCalibration` for one cut."""
    half = (case.expected[:, 2] - case.expected[:, 0]) / 2
    off = (case.true - case.quantiles[:, 1]) / half
    x = np.column_stack([case.expected[:, 1], np.log(np.maximum(case.after_s, LEAST_S))])
    weight = equal_people(case.person)
    middle, slopes, shift = _regression(x, off, weight)
    without = np.empty(len(off))
    for one in np.unique(case.person):
        rows = case.person == one
        others = ~rows
        centre, by, at = _regression(x[others], off[others], weight[others])
        held = np.clip(x[rows], x[others].min(axis=0), x[others].max(axis=0))
        without[rows] = at + (held - centre) @ by
    moved = case.quantiles + (np.clip(without, -LARGEST_SHIFT, LARGEST_SHIFT) * half)[:, None]
    factor = bound(needed(np.exp(case.true), np.exp(moved)), case.person, HOLDS, between=True)
    ranges = [[round(float(v), 4) for v in (c.min(), m, c.max())] for c, m in zip(x.T, middle, strict=True)]
    return (
        case.at_s,
        round(float(np.clip(shift, -LARGEST_SHIFT, LARGEST_SHIFT)), 4),
        round(float(np.clip(factor, 0.01, LARGEST_FACTOR)), 4),
        len(np.unique(case.person)),
        *(round(float(np.clip(by, -LARGEST_SLOPE, LARGEST_SLOPE)), 4) for by in slopes),
        *ranges,
    )


def _regression(x: Floats, y: Floats, weight: Floats) -> tuple[Floats, Floats, float]:
    """The middle (f,) of features x (n, f), slopes (f,), and the value at the middle, of a ridge regression with
    Huber's loss."""
    middle, spread = np.average(x, axis=0, weights=weight), x.std(axis=0) + 1e-6
    design = np.column_stack([np.ones(len(x)), (x - middle) / spread])
    penalty = np.diag([0.0] + [PENALTY] * x.shape[1])
    found = np.array([np.median(y)] + [0.0] * x.shape[1])
    for _ in range(ROUNDS):
        counted = weight * np.minimum(1, HUBER / np.maximum(np.abs(y - design @ found), 1e-9))
        found = np.linalg.solve((design.T * counted) @ design + penalty, (design.T * counted) @ y)
    return middle, found[1:] / spread, float(found[0])
