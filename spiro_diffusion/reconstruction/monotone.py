"""Monotone volume paths through given points, and curves bent to follow them.

A drawn curve seldom passes exactly through volumes that were measured or drawn independently of it. `bend` maps its
volume by a smooth monotone function so that it does: flow is multiplied by the slope of that function, which is
continuous, and the fine structure of the curve is kept.
"""

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.batching import by_rows
from spiro_diffusion.physiology import monotone_cubic, time_grid

Floats = NDArray[np.float64]

PLAIN_SHARE = 0.1  # of a plain path in what is bent: a curve that ends too early still reaches the given points
ROWS = 256  # at a time: 256 x 513 float64 is 1 MB
STEEPEST = 3.0  # slope at an end over the secant: a cubic piece with more is not monotone (Fritsch and Carlson 1980)


def volume_at(v: Floats, times: Floats) -> Floats:
    """Volume (n, k) at times (n, k) s after time zero, of volumes (n, 513) at the grid's edges, by straight lines."""
    t = np.clip(times, time_grid.EDGES_S[0], time_grid.EDGES_S[-1])
    left = np.clip(np.searchsorted(time_grid.EDGES_S, t, side="right") - 1, 0, time_grid.N_SAMPLES - 1)
    low = np.take_along_axis(v, left, axis=1)
    high = np.take_along_axis(v, left + 1, axis=1)
    return low + (high - low) * (t - time_grid.EDGES_S[left]) / time_grid.WIDTHS_S[left]


def through(x: Floats, y: Floats, first: Floats, last: Floats, at: Floats) -> Floats:
    """Monotone cubic pieces through rising points, evaluated at `at` (n, m): (n, m); constant beyond both ends.

    Args:
        x, y: (n, k), both rising. first, last: (n,), given slopes at the ends.
    """
    return by_rows(_through, ROWS, x, y, first, last, at)


def _through(x: Floats, y: Floats, first: Floats, last: Floats, at: Floats) -> Floats:
    h = np.maximum(np.diff(x, axis=1), 1e-9)
    secant = np.diff(y, axis=1) / h
    ends = [np.clip(slope, 0, STEEPEST * s) for slope, s in ((first, secant[:, 0]), (last, secant[:, -1]))]
    slopes = np.column_stack([ends[0], np.nan_to_num(monotone_cubic.inner_slopes(h, secant)), ends[1]])
    piece = np.zeros(at.shape, dtype=np.int64)  # in which a place lies
    for inner in range(1, h.shape[1]):
        piece += at >= x[:, inner, None]

    def of(values: Floats, end: int = 0) -> Floats:
        return np.take_along_axis(values, piece + end, axis=1)

    width = of(h)
    u = np.clip((at - of(x)) / width, 0, 1)
    return monotone_cubic.piece(u, width, (of(y), of(y, 1)), (of(slopes), of(slopes, 1)))


def plain(times: Floats, volumes: Floats, first: Floats, last: Floats) -> Floats:
    """Volume (n, 513) at the grid's edges on a plain path through points (n, k) of time (s) and volume (L).

    `first`, `last`: (n,) L/s, flow at the ends.
    """
    return through(
        times, volumes, first, last, np.broadcast_to(time_grid.EDGES_S, (len(times), time_grid.N_SAMPLES + 1))
    )


def bend(drawn: Floats, times: Floats, volumes: Floats, first: Floats, last: Floats) -> Floats:
    """Volume (n, 513) of drawn curves `drawn` (n, 513) L, bent to pass `volumes` (n, k) at `times` (n, k).

    Args:
        first, last: (n,) L/s, flow with which the path begins and ends. Beyond the ends volume is held.
    """
    rising = np.maximum.accumulate(drawn, axis=1)
    drawn_volumes = volume_at(rising, times)
    span = np.maximum(drawn_volumes[:, -1:] - drawn_volumes[:, :1], 1e-6)
    path = plain(times, volumes, first, last)
    share = PLAIN_SHARE * span / np.maximum(volumes[:, -1:] - volumes[:, :1], 1e-6)
    mixed = (1 - PLAIN_SHARE) * rising + share * path
    x = volume_at(mixed, times)
    x = x + 1e-7 * np.arange(x.shape[1])
    width = 0.02  # s, two fine bins: the flow of the drawn curve at the ends
    begin = (volume_at(mixed, times[:, :1] + width) - x[:, :1])[:, 0] / width
    finish = (x[:, -1:] - volume_at(mixed, times[:, -1:] - width))[:, 0] / width
    return through(x, volumes, first / np.maximum(begin, 1e-6), last / np.maximum(finish, 1e-6), mixed)
