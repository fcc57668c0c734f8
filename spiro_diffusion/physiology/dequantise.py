"""Undo the spirometer's counter: a smooth flow that the counter would have recorded as given.

A model that learns counted flow learns the rounding with it, and its curves are then rounded twice: on the
full-size stand-in, a two-sample test separated real curves from those of a VQ-VAE that reproduced counts to within
0.03 L/s, with an AUC of 0.91.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from spiro_diffusion.core.batching import batches, in_parallel
from spiro_diffusion.physiology import time_grid
from spiro_diffusion.physiology.counter import ML_PER_L

WINDOWS = (7, 11, 15)  # bins over which the volume may be a parabola; longer ones lose the tremor
DOUBT = 0.4  # counts, RMS: how far a parabola may lie from what was counted; rounding alone makes 0.29
CHUNK = 512  # curves at a time: 512 x 513 float64 is 2 MB


def before(signals: NDArray, btps: NDArray) -> NDArray[np.float32]:
    """Signals (n, 512) in L/s without the counter's rounding.

    Around each edge of the grid the volume is a parabola over as many bins as the counts allow (7, 11 or 15; a
    local fit that widens until the data speak against it, Lepski 1991), and as counted where they allow none, as in
    the onset. Before the first and after the last flow it is zero.

    Args:
        btps: (n,), the factor from ATPS to BTPS of each curve.
    """
    flow = np.empty(signals.shape, dtype=np.float32)
    unit = np.asarray(btps, dtype=np.float64)[:, None] / ML_PER_L  # L a count
    parts = list(batches(len(signals), CHUNK))

    def smoothed(i: int) -> None:
        rows = parts[i]
        smooth = _parabolas(time_grid.volume(signals[rows]) / unit[rows])
        there = signals[rows] != 0
        begun = np.maximum.accumulate(there, axis=1)
        going = np.maximum.accumulate(there[:, ::-1], axis=1)[:, ::-1]
        flow[rows] = np.diff(smooth, axis=1) * unit[rows] / time_grid.WIDTHS_S
        flow[rows][~(begun & going)] = 0

    for _ in in_parallel(smoothed, len(parts)):
        pass
    return flow


def _parabolas(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Volume (n, edges) in counts, replaced by the widest local parabola that stays within DOUBT of it."""
    best = v.copy()
    for width in WINDOWS:
        half = width // 2
        powers = np.vander(np.arange(-half, half + 1) / half, 3)
        basis = np.linalg.qr(powers)[0].T  # (3, width), orthonormal
        ones = np.ones(width)
        total, squares = (correlate1d(x, ones, axis=1, mode="nearest") for x in (v, v**2))
        squares += width * v**2 - 2 * v * total  # around the middle, where numbers are small
        fit, explained = np.zeros_like(v), np.zeros_like(v)
        for axis in basis:
            share = correlate1d(v, axis, axis=1, mode="nearest") - axis.sum() * v
            fit += share * axis[half]
            explained += share**2
        misfit = np.sqrt(np.maximum(squares - explained, 0) / (width - 3))
        allowed = misfit < DOUBT
        allowed[:, :half] = allowed[:, -half:] = False  # the window would leave the record
        best = np.where(allowed, v + fit, best)
    return best
