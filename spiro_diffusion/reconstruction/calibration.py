"""Calibration of prediction intervals of completed efforts, on people whose full efforts are known.

The volume still to come after a cut is drawn from a density. People outside its training data show its error: that of
the median (`shift`), and the factor by which its 90 % interval must be wider or narrower to contain nine in ten of the
true values (`factor`). For a person drawn from the same population as the n people of the correction, the corrected
interval contains the true value with a probability of at least 0.90 (split conformal prediction, Vovk et al. 2005):
with a given shift, the factors that the n + 1 people need would be exchangeable, so that the new one takes any rank
among them with the same probability, and `factor` is that of rank ceil(0.9 (n + 1)). The shift is measured on the same
people, and the factor of each person after the shift of the others, as for the new person: the guarantee is off by as
much as one person moves a median.

Factors are measured at a few cuts, and interpolated linearly over the logarithm of time between them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.errors import printable

Floats = NDArray[np.float64]
Case = tuple[float, Floats, Floats, NDArray]  # of a cut, as `fit` takes it

HOLDS = 0.9  # share of people whose interval is to hold
LEVELS = (0.05, 0.5, 0.95)  # of the density: the ends of its 90 % interval around its median
LEAST_PEOPLE = 9  # with fewer there is no rank of ceil(0.9 (n + 1))
LARGEST_SHIFT, LARGEST_FACTOR = 5.0, 10.0  # beyond these it is another quantity that was measured


@dataclass(frozen=True)
class Calibration:
    """A correction at each of some cuts, from the earliest on; an empty one corrects nothing."""

    cut_s: list[float] = field(default_factory=list)  # s after time zero
    shift: list[float] = field(default_factory=list)  # in halves of the density's 90 % interval
    factor: list[float] = field(default_factory=list)
    people: list[int] = field(default_factory=list)  # by which it was measured

    def __post_init__(self) -> None:
        columns = (self.cut_s, self.shift, self.factor, self.people)
        if len({len(column) for column in columns}) > 1:
            raise ValueError(f"has columns of {', '.join(str(len(column)) for column in columns)} numbers")
        if self.cut_s != sorted(self.cut_s) or any(not 0 < at < 60 for at in self.cut_s):
            raise ValueError(f"cut_s is {printable(self.cut_s)}; expected rising times in s")
        if any(not abs(by) <= LARGEST_SHIFT for by in self.shift):
            raise ValueError(f"shift is {printable(self.shift)}; expected at most {LARGEST_SHIFT:g} each way")
        if any(not 0 < by <= LARGEST_FACTOR for by in self.factor):
            raise ValueError(f"factor is {printable(self.factor)}; expected up to {LARGEST_FACTOR:g}")

    @classmethod
    def none(cls) -> "Calibration":
        """The calibration without a correction."""
        return cls()

    def corrected(self, drawn: Floats, quantiles: Floats, cut_s: Floats, wider: Floats | float = 1.0) -> Floats:
        """Correct draws (n,) from densities with quantiles (n, 3) at LEVELS, of efforts cut at (n,) s.

        `wider`: (n,) a further factor of the spread.
        """
        shift, factor = self._at(cut_s)
        low, middle, high = quantiles.T
        return middle + shift * (high - low) / 2 + factor * wider * (drawn - middle)

    def interval(self, quantiles: Floats, cut_s: Floats) -> Floats:
        """The corrected quantiles (n, 3) of densities."""
        return np.stack([self.corrected(column, quantiles, cut_s) for column in quantiles.T], axis=1)

    def in_time(self, after_s: Floats, quantiles: Floats, cut_s: Floats) -> Floats:
        """Factors (n, k) of the volumes that come until `after_s` (n, k) s after the cuts: none here."""
        return np.ones_like(after_s)

    def _at(self, cut_s: Floats) -> tuple[Floats, Floats]:
        if not self.cut_s:
            return np.zeros(len(cut_s)), np.ones(len(cut_s))
        return self._column(self.shift, cut_s), self._column(self.factor, cut_s)

    def _column(self, values: Sequence[float], cut_s: Floats) -> Floats:
        """Values at the cuts, between those that were measured: linear over the logarithm of time."""
        return np.interp(np.log(np.maximum(cut_s, 0.01)), np.log(self.cut_s), values)


def interval_score(true: Floats, low: Floats, high: Floats) -> Floats:
    """Width of 90 % intervals (n,), plus 20 times the distance of a true value outside them (Gneiting and Raftery
    2007)."""
    return high - low + 20 * (np.maximum(low - true, 0) + np.maximum(true - high, 0))


def fit(cases: Sequence[Case]) -> Calibration:
    """Fit the correction to people whose true values are known.

    Args:
        cases: of each cut, its time (s), the true numbers (n,), the densities' quantiles at LEVELS (n, 3), and the
            person (n,) of each effort: several efforts of one person count as much as one. Cuts with fewer than
            LEAST_PEOPLE people are left out.

    Corrections are limited to LARGEST_SHIFT and LARGEST_FACTOR.
    """
    rows = [(at, *_correction(true, quantiles, person)) for at, true, quantiles, person in cases]
    rows = [row for row in rows if row[-1] >= LEAST_PEOPLE]
    return Calibration(*(list(column) for column in zip(*rows, strict=True))) if rows else Calibration.none()


def _correction(true: Floats, quantiles: Floats, person: NDArray) -> tuple[float, float, int]:
    """Shift, factor and number of people of one cut."""
    people, of = np.unique(person, return_inverse=True)
    if len(people) < LEAST_PEOPLE:
        return 0.0, 1.0, len(people)
    weight = equal_people(person)
    half = (quantiles[:, 2] - quantiles[:, 0]) / 2
    off = (true - quantiles[:, 1]) / half
    others = np.array([quantile(off, weight * (of != one), 0.5) for one in range(len(people))])
    factor = bound(needed(true, quantiles + (others[of] * half)[:, None]), person, HOLDS)
    shift = float(np.clip(quantile(off, weight, 0.5), -LARGEST_SHIFT, LARGEST_SHIFT))
    return round(shift, 4), round(float(np.clip(factor, 0.01, LARGEST_FACTOR)), 4), len(people)


def needed(true: Floats, quantiles: Floats) -> Floats:
    """The factors (n,) by which each interval must grow around its median to contain the true number."""
    low, middle, high = quantiles.T
    return np.where(true > middle, (true - middle) / (high - middle), (middle - true) / (middle - low))


def bound(values: Floats, person: NDArray, share: float, *, between: bool = False) -> float:
    """The bound below which a new person's value lies with a probability of at least `share`: of n values the one of
    rank ceil(share (n + 1)), or the largest if n is too small for that. `between` ranks it is interpolated, for a
    probability of about `share`, neither more nor less."""
    n = len(np.unique(person))
    rank, weight = share * (n + 1), equal_people(person)
    above = quantile(values, weight, min(math.ceil(rank) / n, 1.0))
    if not between:
        return above
    below = quantile(values, weight, min(math.floor(rank) / n, 1.0))
    return below + (rank - math.floor(rank)) * (above - below)


def equal_people(person: NDArray) -> Floats:
    """Weights (n,) of efforts that give each person the same total weight."""
    of = np.unique(person, return_inverse=True)[1]
    return np.asarray(1 / np.bincount(of)[of], dtype=np.float64)


def quantile(values: Floats, weight: Floats, level: float) -> float:
    """The least value at which the cumulative weight reaches the share."""
    order = np.argsort(values)
    total = np.cumsum(weight[order]) / weight.sum()
    return float(values[order][min(int(np.searchsorted(total, level - 1e-9)), len(order) - 1)])
