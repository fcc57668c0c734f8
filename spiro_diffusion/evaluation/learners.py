"""Simple learners of the judge: ridge regression on standardised features, and boosted trees."""

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]


def ridge(x: NDArray, y: NDArray, new: NDArray, penalty: float, *, clip: float = np.inf) -> NDArray[np.float64]:
    """Predictions (m,) at `new` (m, d) of a fit to `x` (n, d) and `y` (n,).

    Args:
        penalty: on the squared weights of features of SD 1. clip: the largest size of a feature, in its SDs.
    """
    mean, sd = x.mean(axis=0), x.std(axis=0) + 1e-9
    a, b = (np.clip((v - mean) / sd, -clip, clip) for v in (x, new))
    target = y - y.mean()
    if len(a) > a.shape[1]:
        weights = np.linalg.solve(a.T @ a + penalty * np.eye(a.shape[1]), a.T @ target)
    else:
        weights = a.T @ np.linalg.solve(a @ a.T + penalty * np.eye(len(a)), target)
    return b @ weights + y.mean()


def boosting(
    x: NDArray, y: NDArray, new: NDArray, seed: int, *, iterations: int, classify: bool
) -> NDArray[np.float64]:
    """Predictions (m,), or scores of the class 1 where `classify`, of gradient boosting; see `ridge`."""
    from sklearn.ensemble import (  # noqa: PLC0415 (a second, before any work)
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
    )

    options = {"max_leaf_nodes": 8, "min_samples_leaf": 10, "early_stopping": False, "random_state": seed}
    with threadpool_limits(limits=1, user_api="openmp"):  # a few thousand rows: threads wait for each other
        if classify:
            return HistGradientBoostingClassifier(max_iter=iterations, **options).fit(x, y).decision_function(new)
        return HistGradientBoostingRegressor(max_iter=iterations, **options).fit(x, y).predict(new)
