"""Peak flow of n curves by a local quadratic fit, robust to a counter's steps and to noise.

Flow is fitted by a parabola over five samples, or 20 ms where that is more (Savitzky and Golay 1964); the peak is the
highest value of these fits at their middle samples, and never more than the highest sample within the fit. The fit
averages noise as a mean of two samples does, and follows a peak's curvature as a mean does not; the limit keeps it
from overshooting a step. Its errors are in docs/spirometry.md.

By NumPy alone: scipy.signal, which has the fit too, takes longer to load than all else that measures a curve.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SAMPLES = 5  # of the fit: five samples of 10 ms average the counter's steps; three do not, seven blunt narrow peaks
SHORTEST_S = 0.02  # of the fit of a fast recorder
LONGEST_S = 0.06  # of five samples; a slower recorder's are taken as they are
EQUAL = 1e-6  # flows that differ by less are equal, as whole millilitres often make them: the first counts


class Peak(NamedTuple):
    """The peaks of n curves."""

    flow: NDArray[np.float64]  # (n,) L/s
    sample: NDArray[np.int64]  # (n,)


def window(period_s: float) -> int:
    """Samples of the fit, an odd number; 3 is no smoothing."""
    if SAMPLES * period_s > LONGEST_S:
        return 3
    return max(2 * round((SHORTEST_S / period_s - 1) / 2) + 1, SAMPLES)


def peak_flow(flow: NDArray, period_s: float) -> Peak:
    """The highest flow of each curve.

    Args:
        flow: (n, T) L/s, finite; before and after a curve flow counts as zero.
        period_s: of the samples, the recorder's own: resampled flow has lost its peak.
    """
    n, samples = flow.shape
    width = window(period_s)
    half = width // 2
    weights = _weights(half)
    fitted = _fitted(np.pad(flow, ((0, 0), (half, half))), weights)
    near = _first_highest(fitted)[:, None] + np.arange(-2 * half, 2 * half + 1)
    around = np.take_along_axis(flow, np.clip(near, 0, samples - 1), axis=1).astype(np.float64)
    around[(near < 0) | (near >= samples)] = 0
    windows = np.lib.stride_tricks.sliding_window_view(around, width, axis=1)  # (n, width, width)
    exact = _fitted(around, weights)  # of float64; `fitted` is of the flow's type
    limited = np.minimum(exact, windows.max(axis=2))
    middle = near[:, half : half + width]
    limited[(middle < 0) | (middle >= samples)] = -np.inf
    best = _first_highest(limited)
    row = np.arange(n)
    return Peak(limited[row, best], middle[row, best])


def _fitted(flow: NDArray, weights: NDArray[np.float64]) -> NDArray:
    """Middle values (n, T + 1 - width) of the parabolas, summed in one order: no digit is the processor's."""
    samples = flow.shape[1] + 1 - len(weights)
    total = float(weights[0]) * flow[:, :samples]
    for place, weight in enumerate(weights[1:], start=1):
        total += float(weight) * flow[:, place : place + samples]
    return total


def _weights(half: int) -> NDArray[np.float64]:
    """Of each of 2 half + 1 samples in the value at their middle of the parabola fitted to them.

    In closed form (Savitzky and Golay 1964): whole numbers and one division, so that no digit is the processor's.
    """
    place = np.arange(-half, half + 1)
    width = len(place)
    return 3 * (3 * half * (half + 1) - 1 - 5 * place**2) / (width * (width**2 - 4))


def _first_highest(values: NDArray) -> NDArray[np.int64]:
    """The first column (n,) whose value is the row's highest, or equal to it within rounding."""
    highest = values.max(axis=1, keepdims=True)
    return (values >= highest - EQUAL * np.abs(highest)).argmax(axis=1)
