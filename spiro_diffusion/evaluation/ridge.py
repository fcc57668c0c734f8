"""Ridge regression on standardised features."""

import numpy as np
from numpy.typing import NDArray


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
