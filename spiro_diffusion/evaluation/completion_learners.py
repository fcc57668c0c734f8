"""Baselines of completion that learn a distribution, tuned on the participants that select our densities.

Boosted quantiles: gradient-boosted trees for a few quantiles (Koenker and Bassett 1978; Friedman 2001) of what is seen
by our densities too. Nearest lungs: a local regression among the training efforts whose whole seen stretch is most
alike (Cleveland 1979), moved by the errors that it makes on these. The number of trees and of neighbours are those with
the least error on the participants to choose by, as is the epoch of our densities.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import ndtri
from sklearn.ensemble import HistGradientBoostingRegressor

from spiro_diffusion.evaluation.completion_baselines import (
    RULES,
    Baseline,
    BaselineData,
    Drawn,
    as_volumes,
    features_of,
    last_value,
    regression_targets,
    seen_volume,
)
from spiro_diffusion.evaluation.conditional import crps
from spiro_diffusion.evaluation.interruptions import Case
from spiro_diffusion.physiology import mean_surface, time_grid

Floats = NDArray[np.float64]

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # of the quantiles that are fitted
TREES = {"learning_rate": 0.15, "max_leaf_nodes": 6, "min_samples_leaf": 20, "early_stopping": False, "random_state": 0}
MOST_TREES = 120
COMPONENTS = 12  # principal components of the seen stretch
NEIGHBOURS = (50, 100, 200, 400)  # among which the local regression chooses
PENALTY = 0.1  # of its ridge, a neighbour, on coordinates of SD 1


def boosted_quantiles(case: Case, data: BaselineData, draws: int, seed: int, trees: int = MOST_TREES) -> Drawn:
    """Draws between quantiles that at most so many boosted trees predict, on straight lines over the normal
    distribution's."""
    trained, checked = (some.interrupted_as(case, seed) for some in data)
    x, check, new = (features_of(one) for one in (trained, checked, case))
    to_check, rng = regression_targets(checked), np.random.default_rng(seed)
    drawn = {}
    for name, y in regression_targets(trained).items():
        quantiles = [_quantile(level, (x, y), (check, to_check[name]), new, trees) for level in LEVELS]
        drawn[name] = _between(np.sort(quantiles, axis=0).T, rng.random((len(new), draws)))
    return as_volumes(case, drawn)


def nearest_lungs(case: Case, data: BaselineData, draws: int, seed: int) -> Drawn:
    """Draws of a regression among the training efforts nearest by all that is seen of each."""
    trained, checked = (some.interrupted_as(case, seed) for some in data)
    x, check, new = _coordinates(trained, checked, case)
    to_check, rng = regression_targets(checked), np.random.default_rng(seed)
    drawn = {}
    for name, y in regression_targets(trained).items():
        good, judged = np.isfinite(y), np.isfinite(to_check[name])
        sizes = sorted({min(k, int(good.sum())) for k in NEIGHBOURS})
        tried = [_local(x[good], y[good], check[judged], k, draws, rng) for k in sizes]
        best = int(np.argmin([crps(to_check[name][judged], one).mean() for one in tried])) if judged.any() else 0
        drawn[name] = _local(x[good], y[good], new, sizes[best], draws, rng)
    return as_volumes(case, drawn)


def baselines(trees: int) -> dict[str, Baseline]:
    """All baselines, with at most `trees` boosted trees."""
    return BASELINES | {"boosted_quantiles": partial(boosted_quantiles, trees=trees)}


BASELINES: dict[str, Baseline] = RULES | {"boosted_quantiles": boosted_quantiles, "nearest_lungs": nearest_lungs}


def _quantile(
    level: float, learned: tuple[Floats, Floats], checked: tuple[Floats, Floats], new: Floats, trees: int = MOST_TREES
) -> Floats:
    """A quantile (m,) at `new` (m, f), by as many of the trees as are best on `checked` rows (features, numbers)."""
    (x, y), (check, true) = ((a[np.isfinite(b)], b[np.isfinite(b)]) for a, b in (learned, checked))
    model = HistGradientBoostingRegressor(loss="quantile", quantile=level, max_iter=trees, **TREES).fit(x, y)
    best = trees - 1
    if len(true):
        off = true - np.stack(list(model.staged_predict(check)))
        best = int(np.maximum(level * off, (level - 1) * off).mean(axis=1).argmin())
    return np.asarray(list(model.staged_predict(new))[best], dtype=np.float64)


def _between(quantiles: Floats, at: Floats) -> Floats:
    """Values (n, draws) at the levels `at` (n, draws) of distributions with quantiles (n, levels); the outermost lines
    go on."""
    places, z = ndtri(LEVELS), ndtri(np.clip(at, 1e-6, 1 - 1e-6))
    piece = np.clip(np.searchsorted(places, z) - 1, 0, len(LEVELS) - 2)
    low, high = (np.take_along_axis(quantiles, piece + end, axis=1) for end in (0, 1))
    return np.asarray(low + (high - low) * (z - places[piece]) / np.diff(places)[piece], dtype=np.float64)


def _coordinates(trained: Case, *others: Case) -> list[Floats]:
    """Of the efforts of each case, (n, f): principal components of the whole seen stretch, its size, and who blew, in
    SDs of the training."""
    cases = (trained, *others)
    seen = [np.log(seen_volume(case)) for case in cases]
    curves = [
        time_grid.volume(last_value(case)) / np.exp(size)[:, None] for case, size in zip(cases, seen, strict=True)
    ]
    middle = curves[0].mean(axis=0)
    axes = np.linalg.svd(curves[0] - middle, full_matrices=False)[2][:COMPONENTS].T
    found = [
        np.column_stack([(curve - middle) @ axes, size, mean_surface.features(case.people)])
        for case, curve, size in zip(cases, curves, seen, strict=True)
    ]
    mean, sd = found[0].mean(axis=0), found[0].std(axis=0)
    return [(one - mean)[:, sd > 1e-9] / sd[sd > 1e-9] for one in found]


def _local(x: Floats, y: Floats, new: Floats, k: int, draws: int, rng: np.random.Generator) -> Floats:
    """Draws (m, draws) at `new` (m, f): a ridge regression on the k nearest rows, moved by what it leaves of them."""
    nearest = cKDTree(x).query(new, k=k)[1].reshape(len(new), k)
    drawn = np.empty((len(new), draws))
    for i, rows in enumerate(nearest):
        near, centre = x[rows] - new[i], y[rows].mean()
        design = np.column_stack([np.ones(k), near])
        penalty = PENALTY * k * np.diag([0.0, *np.ones(near.shape[1])])
        hat = np.linalg.solve(design.T @ design + penalty, design.T)
        weights = hat @ (y[rows] - centre)
        left = (y[rows] - centre - design @ weights) / (1 - np.einsum("ij,ji->i", design, hat))  # each left out
        drawn[i] = centre + weights[0] + rng.choice(left, size=draws)
    return np.clip(drawn, y.min(), y.max())
