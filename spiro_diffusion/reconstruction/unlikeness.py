"""How unlike an interrupted effort is to those that the densities learned from.

The score is the mean square of what is seen of the effort, on axes on which the training efforts vary alike (a
Mahalanobis distance with a small ridge, over the number of features). Efforts of people whom the densities have not
seen say which score 99 of 100 of them stay below, and by how much the intervals of the most unlike tenth of them had to
be wider to hold.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.errors import shown
from spiro_diffusion.reconstruction.calibration import LEAST_PEOPLE, Calibration, Case, needed, quantile

Floats = NDArray[np.float64]

USUAL_SHARE = 0.99  # of people whose efforts count as like those of the training
MOST_UNLIKE = 0.1  # of people, by whom the wider intervals are measured
RIDGE = 0.01  # of the variance of a standardised feature
FARTHEST = 20.0  # SDs: a feature beyond is as unlike as can be


@dataclass(frozen=True)
class Limits:
    """The score that is usual at each of some cuts; without any, no effort is unlike."""

    cut_s: list[float]  # s after time zero
    score: list[float]
    wider: float  # factor of the intervals of an unlike effort

    def __post_init__(self) -> None:
        if len(self.cut_s) != len(self.score) or self.cut_s != sorted(self.cut_s) or not all(self.cut_s):
            raise ValueError(f"cut_s is {shown(self.cut_s)}, score {shown(self.score)}; expected a score for each")
        if not 1 <= self.wider <= 10:
            raise ValueError(f"wider is {self.wider}; expected 1 to 10")

    def passed(self, score: Floats, cut_s: Floats) -> NDArray[np.bool_]:
        """Which scores (n,) of efforts cut at (n,) s are beyond."""
        if not self.cut_s:
            return np.zeros(len(score), dtype=bool)
        return score > np.interp(np.log(np.maximum(cut_s, 0.01)), np.log(self.cut_s), self.score)


def axes(standardised: Floats) -> Floats:
    """Axes (f, f) on which training features (n, f), standardised, have a variance of about one."""
    sizes, directions = np.linalg.eigh(standardised.T @ standardised / len(standardised))
    return np.asarray(directions / np.sqrt(np.maximum(sizes, 0) + RIDGE), dtype=np.float64)


def scores(standardised: Floats, axes: Floats) -> Floats:
    """Scores (n,) of features (n, f)."""
    if not len(axes):
        return np.zeros(len(standardised))
    return np.asarray(np.square(np.clip(standardised, -FARTHEST, FARTHEST) @ axes).mean(axis=1), dtype=np.float64)


def limits(cases: Sequence[Case], found: Sequence[Floats], calibration: Calibration) -> Limits:
    """The limits by people whom the densities have not seen: `cases` as of `calibration.fit`, with scores `found`."""
    usual, unlike = [], []
    for (at, true, quantiles, person), of_cut in zip(cases, found, strict=True):
        people, of = np.unique(person, return_inverse=True)
        if len(people) < LEAST_PEOPLE:
            continue
        weight = 1 / np.bincount(of)[of]
        rank = math.ceil(USUAL_SHARE * (len(people) + 1)) / len(people)
        usual.append((at, round(quantile(of_cut, weight, min(rank, 1.0)), 4)))
        far = of_cut > quantile(of_cut, weight, 1 - MOST_UNLIKE)
        held = calibration.interval(quantiles[far], np.full(far.sum(), at))
        unlike.append((needed(true[far], held), person[far]))
    if not usual:
        return Limits([], [], 1.0)
    factors, person = (np.concatenate(column) for column in zip(*unlike, strict=True))
    people, of = np.unique(person, return_inverse=True)
    wider = 1.0
    if len(people) >= LEAST_PEOPLE:
        rank = math.ceil(0.9 * (len(people) + 1)) / len(people)
        wider = min(max(quantile(factors, 1 / np.bincount(of)[of], min(rank, 1.0)), 1.0), 10.0)
    cut_s, least = (list(column) for column in zip(*usual, strict=True))
    return Limits(cut_s, least, round(wider, 4))
