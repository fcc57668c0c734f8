"""Monotone cubic interpolation: slopes of Fritsch and Butland (1984), as in SciPy's PCHIP, and a cubic piece."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def inner_slopes(widths: Floats, secants: Floats) -> Floats:
    """Slopes (n, k - 1) at the inner knots of k pieces, weighted harmonic means of the secants (n, k) beside them."""
    near, far = 2 * widths[:, 1:] + widths[:, :-1], widths[:, 1:] + 2 * widths[:, :-1]
    with np.errstate(divide="ignore"):
        return np.asarray((near + far) / (near / secants[:, :-1] + far / secants[:, 1:]), dtype=np.float64)


def piece(u: Floats, width: Floats, ends: tuple[Floats, Floats], slopes: tuple[Floats, Floats]) -> Floats:
    """Values at the share `u` (0 to 1) of a cubic piece between two ends with these slopes."""
    rise = ends[0] * (1 + 2 * u) * (1 - u) ** 2 + ends[1] * u**2 * (3 - 2 * u)
    rise += width * u * (1 - u) * (slopes[0] * (1 - u) - slopes[1] * u)
    return rise
