"""Dissimilarity of an interrupted effort to the efforts that the densities were trained on.

The score is the mean square of the features of the measured part, on axes on which the training efforts have equal
variance (a Mahalanobis distance with a small ridge, over the number of features). Efforts of people outside the
training data give the score below which 99 of 100 of them lie, and the factor by which the intervals of the most
dissimilar tenth had to be widened to contain the true values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.errors import printable
from spiro_diffusion.reconstruction.calibration import (
    HOLDS,
    LARGEST_FACTOR,
    LEAST_PEOPLE,
    Calibration,
    Case,
    bound,
    equal_people,
    needed,
    quantile,
)

Floats = NDArray[np.float64]

USUAL_SHARE = 0.99  # of people whose efforts count as like those of the training
MOST_UNLIKE = 0.1  # of people, on whom the wider intervals are measured
RIDGE = 0.01  # of the variance of a standardised feature
FARTHEST = 20.0  # SDs: larger values are clipped


@dataclass(frozen=True)
class Limits:
    """The largest usual score at each of some cuts; with empty limits, no effort is dissimilar."""

    cut_s: list[float]  # s after time zero
    score: list[float]
    wider: float  # factor of the intervals of a dissimilar effort

    def __post_init__(self) -> None:
        if len(self.cut_s) != len(self.score) or self.cut_s != sorted(self.cut_s) or not all(self.cut_s):
            raise ValueError(
                f"cut_s is {printable(self.cut_s)}, score {printable(self.score)}; expected a score for each"
            )
        if not 1 <= self.wider <= LARGEST_FACTOR:
            raise ValueError(f"wider is {self.wider}; expected 1 to {LARGEST_FACTOR:g}")

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
    """The limits from people outside the training data: `cases` as for `calibration.fit`, with scores `found`."""
    usual, unlike = [], []
    for (at, true, quantiles, person), of_cut in zip(cases, found, strict=True):
        if len(np.unique(person)) < LEAST_PEOPLE:
            continue
        usual.append((at, round(bound(of_cut, person, USUAL_SHARE), 4)))
        far = of_cut > quantile(of_cut, equal_people(person), 1 - MOST_UNLIKE)
        interval = calibration.interval(quantiles[far], np.full(far.sum(), at))
        unlike.append((needed(true[far], interval), person[far]))
    if not usual:
        return Limits([], [], 1.0)
    factors, person = (np.concatenate(column) for column in zip(*unlike, strict=True))
    wider = bound(factors, person, HOLDS) if len(np.unique(person)) >= LEAST_PEOPLE else 1.0
    cut_s, least = (list(column) for column in zip(*usual, strict=True))
    return Limits(cut_s, least, round(float(np.clip(wider, 1.0, LARGEST_FACTOR)), 4))
