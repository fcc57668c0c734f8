"""Two-sample tests: whether a classifier separates generated from real curves, and how far both sets overlap.

Embeddings, from coarse to fine: `clinical` (what a spirometry report prints), `detailed` (with the onset and the
end of the effort), `fine` and `whole` (random convolutions of the counts, after ROCKET, Dempster et al. 2020:
what the sensor leaves).
"""

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from spiro_diffusion.core.batching import in_parallel
from spiro_diffusion.evaluation.bootstrap import Resamples, auc_pairs
from spiro_diffusion.evaluation.figures import Figure, Tree, from_resamples, missing
from spiro_diffusion.evaluation.learners import boosting, ridge
from spiro_diffusion.evaluation.measured import Measured
from spiro_diffusion.evaluation.registry import OVERLAPS
from spiro_diffusion.physiology import time_grid

# Volumes at times (s after time zero) and indices. Real curves smoothed over 50 ms are hardly distinguished from
# real ones by the first (AUC 0.53 on the full-size stand-in), but by the second (0.77): their onset is later.
TABLES = {
    "clinical": ((0.5, 0.75, 1, 2, 3, 6), ("fvc", "ratio", "pef", "fef2575", "fef50", "fet")),
    "detailed": (
        (0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 10),
        ("fvc", "ratio", "pef", "fef2575", "fef50", "bev", "t_pef", "fet", "t99", "last_second", "cough"),
    ),
}
FOLDS = 5
NEIGHBOURS = 5  # of precision, recall, density, coverage (Naeem et al. 2020)
# Samples of 10 ms that the random convolutions look at. `fine` ends 1 s after time zero: so far the grid's bins
# are the sensor's own samples. `whole` runs on to 9.74 s, where the bins are wide: real curves sent through the grid
# and back are distinguished there, by rounding that lies within the bins and is then rounded again.
WINDOWS = {"fine": time_grid.FINE_BINS, "whole": 1024}
TAPS = 9  # length of a kernel (ROCKET)
MAX_DILATION = 64  # samples: kernels that span 0.09 to 5.1 s, as far as the window holds them
KERNELS = 128  # in all, an equal number for each dilation 1, 2, 4, ...; smoothed curves: AUC 0.98, more add little
RIDGE = 1e-3  # share of the mean variance of a feature added to it in the fine classifier
COMPONENTS = 32  # principal components of the fine embedding in which neighbours are sought


def table(curves: Measured, kind: str) -> NDArray[np.float64]:
    """Volumes in L and indices (n, 12) or (n, 23) of one of TABLES; NaN where an index is not determined."""
    times, names = TABLES[kind]
    return np.column_stack([curves.volumes(np.array(times)), *(curves.indices[name] for name in names)])


class Convolutions:
    """Random kernels, fixed by the seed; their thresholds come from real curves.

    Args:
        counts: (n, 2048), real curves of which up to 256 set the thresholds.
        window: how many samples from the first are looked at.
    """

    def __init__(self, counts: NDArray, window: int, rng: np.random.Generator) -> None:
        self.window = window
        longest = min(MAX_DILATION, (window // 2) // (TAPS - 1))
        self.dilations = [2**i for i in range(longest.bit_length())]
        each = KERNELS // len(self.dilations)
        kernels = rng.normal(size=(len(self.dilations), TAPS, each))
        self.kernels = (kernels - kernels.mean(axis=1, keepdims=True)).astype(np.float32)
        some = counts[rng.permutation(len(counts))[:256]]
        levels = rng.uniform(0.1, 0.9, size=each)
        self.thresholds = [
            np.array([np.quantile(r[..., k], q) for k, q in enumerate(levels)], dtype=np.float32)
            for r in (self._responses(some, i) for i in range(len(self.dilations)))
        ]

    def __call__(self, counts: NDArray) -> NDArray[np.float32]:
        """Embedding (n, 2 KERNELS): for each kernel the share of responses above its threshold, and the largest."""
        size = 64
        parts = in_parallel(lambda i: self._embed(counts[i * size : (i + 1) * size]), -(-len(counts) // size))
        return np.concatenate(list(parts))

    def _embed(self, counts: NDArray) -> NDArray[np.float32]:
        found = []
        for i, threshold in enumerate(self.thresholds):
            responses = self._responses(counts, i)
            found += [(responses > threshold).mean(axis=1, dtype=np.float32), responses.max(axis=1)]
        return np.hstack(found)

    def _responses(self, counts: NDArray, i: int) -> NDArray[np.float32]:
        """(n, time, kernels)."""
        span = (TAPS - 1) * self.dilations[i] + 1
        windows = sliding_window_view(counts[:, : self.window], span, axis=1)[..., :: self.dilations[i]]
        return windows.astype(np.float32) @ self.kernels[i]


Classifier = Callable[[NDArray, NDArray, NDArray, np.random.Generator], NDArray[np.float64]]  # (x, y, new, rng)


def classifier_auc(
    real: NDArray,
    candidate: NDArray,
    groups: tuple[Resamples, Resamples],
    classifier: Classifier,
    rng: np.random.Generator,
) -> Figure:
    """AUC of a classifier trained to separate the candidate's curves (m, d) from real ones (n, d), out of fold.

    Folds are by participant: all curves of one, real and generated, are in one fold. Scores are compared
    within a fold alone: those of another fold come from another classifier, `trees` or `linear`.
    """
    people = min(len(g.people) for g in groups)
    if people < FOLDS:
        return missing(f"{people} participants, fewer than {FOLDS} folds")
    fold_of = _folds(groups, rng)
    wins, pairs = np.zeros(len(groups[0].weights)), np.zeros(len(groups[0].weights))
    for k in range(FOLDS):
        test = [fold == k for fold in fold_of]
        x = np.vstack([real[~test[0]], candidate[~test[1]]])
        y = np.repeat([0, 1], [(~test[0]).sum(), (~test[1]).sum()])
        new = np.vstack([real[test[0]], candidate[test[1]]])
        score = classifier(x, y, new, rng)
        of_real, of_candidate = np.split(score, [test[0].sum()])
        found = auc_pairs(of_candidate, groups[1].restricted(test[1]), of_real, groups[0].restricted(test[0]))
        wins, pairs = wins + found[0], pairs + found[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return from_resamples(wins / pairs)


def _folds(groups: tuple[Resamples, Resamples], rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Fold of each row of both sides; a participant of both sides is in the same fold on both."""
    shared = np.isin(groups[1].people, groups[0].people)
    first = rng.permutation(len(groups[0].people)) % FOLDS
    second = rng.permutation(len(groups[1].people)) % FOLDS
    at = np.searchsorted(groups[0].people, groups[1].people).clip(max=len(first) - 1)
    second = np.where(shared, first[at], second)
    return [first[groups[0].person], second[groups[1].person]]


def trees(x: NDArray, y: NDArray, new: NDArray, rng: np.random.Generator) -> NDArray[np.float64]:
    """Scores of gradient boosting."""
    return boosting(x, y, new, int(rng.integers(2**31)), iterations=100, classify=True)


def linear(x: NDArray, y: NDArray, new: NDArray, rng: np.random.Generator) -> NDArray[np.float64]:
    """Scores of ridge regression."""
    del rng
    return ridge(x, y - y.mean(), new, RIDGE * len(x))  # around 0: a curve and its round trip differ in last digits


def overlap(real: NDArray, candidate: NDArray, groups: tuple[Resamples, Resamples]) -> Tree:
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020).

    The ball around a curve reaches to its fifth neighbour of another participant: with the efforts of one
    person as neighbours, balls would measure how people repeat themselves.

    Args:
        real: (n, d), candidate: (m, d), points in which distance means something.
    """
    if min(len(g.people) for g in groups) <= NEIGHBOURS:
        return dict.fromkeys(OVERLAPS, missing(f"no more than {NEIGHBOURS} participants"))
    real_radius = _radii(real, groups[0].person)
    candidate_radius = _radii(candidate, groups[1].person)
    between = squared_distances(candidate, real)  # (m, n)
    inside_real = between <= real_radius
    precision = groups[1].means(np.any(inside_real, axis=1))
    density = groups[1].means(inside_real.sum(axis=1) / NEIGHBOURS)
    recall = groups[0].means(np.any(between <= candidate_radius[:, None], axis=0))
    coverage = groups[0].means(np.any(inside_real, axis=0))
    return {
        "precision": from_resamples(precision),
        "recall": from_resamples(recall),
        "density": from_resamples(density),
        "coverage": from_resamples(coverage),
    }


def standardised(real: NDArray, candidate: NDArray, components: int | None = None) -> tuple[NDArray, NDArray]:
    """Both embeddings in units of the real curves' SD (their median where undetermined), or on the leading
    principal components of that, so that distance means the same for every candidate.
    """
    with np.errstate(invalid="ignore"):
        centre, sd = np.nanmedian(real, axis=0), np.nanstd(real, axis=0) + 1e-9
    a, b = ((np.where(np.isnan(x), centre, x) - centre) / sd for x in (real, candidate))
    if components is not None:
        mean = a.mean(axis=0)
        axes = np.linalg.svd(a - mean, full_matrices=False)[2][:components].T
        a, b = (a - mean) @ axes, (b - mean) @ axes
    return a, b


def squared_distances(first: NDArray, second: NDArray) -> NDArray[np.float64]:
    """(n, m), without negative zeros."""
    product = first @ second.T
    d = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * product
    return np.maximum(d, 0.0)


def _radii(points: NDArray, person: NDArray) -> NDArray[np.float64]:
    """Squared distance (n,) to the fifth neighbour of another participant."""
    d = squared_distances(points, points)
    d[person[:, None] == person] = np.inf
    return np.partition(d, NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1]
