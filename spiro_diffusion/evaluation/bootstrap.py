"""Bootstrap intervals that resample participants, because efforts of one participant are not independent.

A resample draws participants with replacement and takes all their efforts (the cluster bootstrap, Field
and Welsh 2007). Drawn participants are weights, so a statistic made of sums over participants costs one
matrix product for all resamples at once.
"""

import copy

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Resamples:
    """Weights of the participants in B resamples.

    Row 0 of every result is the sample itself, so that one formula gives the value and its resamples.

    Args:
        seqn: (n,), the participant of each row.
        count: B.
        rng: draws the resamples; they depend on the number of participants and nothing else.
    """

    def __init__(self, seqn: ArrayLike, count: int, rng: np.random.Generator) -> None:
        self.people, self.person = np.unique(np.asarray(seqn), return_inverse=True)
        n = len(self.people)
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=count) if n else np.zeros((count, 0))
        self.weights: NDArray[np.float64] = np.vstack([np.ones(n), drawn])  # (1 + B, people)

    def restricted(self, rows: NDArray) -> "Resamples":
        """The same resamples of the same participants, for some of the rows (a mask or positions)."""
        result = copy.copy(self)
        result.person = self.person[rows]
        return result

    def of(self, seqn: ArrayLike) -> "Resamples":
        """The same resamples of the same participants, for other rows; each of `seqn` (n,) is one of `people`."""
        result = copy.copy(self)
        result.person = np.searchsorted(self.people, np.asarray(seqn))
        return result

    def of_people(self) -> "Resamples":
        """The same resamples, for values with one row a participant, in the order of `people`."""
        result = copy.copy(self)
        result.person = np.arange(len(self.people))
        return result

    def per_person(self, values: NDArray) -> NDArray[np.float64]:
        """Sums (people, k) of the rows (n, k) of each participant."""
        values = np.asarray(values, dtype=np.float64)
        return np.stack([np.bincount(self.person, v, minlength=len(self.people)) for v in values.T], axis=1)

    def sums(self, values: NDArray) -> NDArray[np.float64]:
        """Sums (1 + B, k) of rows (n, k) in the sample and in each resample."""
        return self.weights @ self.per_person(values)

    def means(self, values: NDArray, weight: NDArray | None = None) -> NDArray[np.float64]:
        """Weighted means (1 + B,) of values (n,); NaN where a resample has no weight. Values must be finite."""
        w = np.ones(len(values)) if weight is None else weight
        total = self.sums(np.column_stack([w, w * values]))
        with np.errstate(invalid="ignore", divide="ignore"):
            return total[:, 1] / total[:, 0]

    def medians(self, values: NDArray) -> NDArray[np.float64]:
        """Median (1 + B,) of values (n,) in the sample and in each resample."""
        return self.quantiles(values, 0.5)

    def quantiles(self, values: NDArray, share: float) -> NDArray[np.float64]:
        """The value (1 + B,) below or at which this share of values (n,) lies."""
        order = np.argsort(values)
        cumulative = np.cumsum(self.weights[:, self.person[order]], axis=1)
        at = (cumulative >= cumulative[:, -1:] * share).argmax(axis=1)
        return values[order][at]


def paired_sums(first: Resamples, second: Resamples, table: NDArray) -> NDArray[np.float64]:
    """Sums (1 + B,) of a table (people of first, people of second), both resampled at once."""
    return np.einsum("bi,bi->b", first.weights @ table, second.weights)


def auc(score: NDArray, positive: Resamples, negative_score: NDArray, negative: Resamples) -> NDArray[np.float64]:
    """Probability (1 + B,) that a row of the positives scores above a row of the negatives; ties count half."""
    wins, pairs = auc_pairs(score, positive, negative_score, negative)
    with np.errstate(invalid="ignore", divide="ignore"):
        return wins / pairs


def auc_pairs(
    score: NDArray, positive: Resamples, negative_score: NDArray, negative: Resamples
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pairs (1 + B,) of a positive and a negative row in which the positive scores higher, and all pairs.

    They are summed per pair of participants first, so that a resample is a product of matrices.
    """
    # For each positive row and each negative participant: how many of its rows score below.
    below = np.zeros((len(score), len(negative.people)))
    for person in range(len(negative.people)):
        negatives = np.sort(negative_score[negative.person == person])
        below[:, person] = 0.5 * (
            np.searchsorted(negatives, score, "left") + np.searchsorted(negatives, score, "right")
        )
    wins = paired_sums(positive, negative, positive.per_person(below))
    pairs = (positive.weights @ np.bincount(positive.person, minlength=len(positive.people))) * (
        negative.weights @ np.bincount(negative.person, minlength=len(negative.people))
    )
    return wins, pairs
