"""Smooth forced expirations through wanted volumes: FEV0.5, FEV1, FEV3, FEV6, FVC, PEF and BEV.

A lung that has given the share x of its FVC has emptied by E = log((1 + a) / (1 + a - x)), where a is a
little air left at the end. A single compartment empties by E = s / tau; a real lung by a line that bends
slowly between log E and log s (a locally stretched exponential), which is what is interpolated here,
monotonically, so that flow is positive and smooth. The muscles take a rise time R to drive it: driven
time s runs as the integral of sin^2(pi t / 2R), so that time zero comes out at R/2.

All functions work on n expirations at once; volumes are shares of FVC, flows 1/s, times s.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.physiology import monotone_cubic
from spiro_diffusion.physiology.spirometry import SAMPLE_PERIOD_S

Floats = NDArray[np.float64]

LEFT = 0.004  # a: air left at the end of expiration, over FVC
FIRST_KNOT_S = 0.02  # before it emptying is linear in time: flow is near its peak
RISE_OF_BEV = 11.8  # R = this x BEV / PEF, from the model's own curves
PEAK_STEPS, PEAK_SAMPLES = 5, 60  # corrections of the first knot; the peak lies in the first 0.6 s


class Lung(NamedTuple):
    """Emptying by driven time: knots (n, k) of log s and log E, slopes between them."""

    log_s: Floats
    log_e: Floats
    slopes: Floats


class Effort(NamedTuple):
    """How a lung was driven; each (n,)."""

    rise: Floats  # s, R
    deficit: Floats  # share of the drive missing at the start; it fades with 0.35 s
    head_start: Floats  # s of driven time already gone: an incomplete breath in


def lungs(pef: Floats, fev05: Floats, fev1: Floats, fev3: Floats, fev6: Floats, fet: Floats, bev: Floats) -> Lung:
    """Lungs whose full effort (see `best_effort`) has these values, each (n,), over FVC.

    An expiration shorter than 8 s has its FEV3 and FEV6 earlier, in proportion. Wishes that contradict
    each other (a peak below the mean flow before it) are met as nearly as a smooth curve can.
    """
    end = np.maximum(fet, 1.3)
    times = [FIRST_KNOT_S + 0 * end, 0.5 + 0 * end, 1 + 0 * end]
    times += [np.minimum(3, 1 + 0.45 * (end - 1)), np.minimum(6, 1 + 0.75 * (end - 1)), end]
    shares = np.stack([fev05, fev1, fev3, fev6, np.ones(len(end))], axis=1)
    shares = np.minimum(np.maximum.accumulate(shares, axis=1) + 1e-4 * np.arange(5), 1)
    emptied = np.log((1 + LEFT) / (1 + LEFT - shares))
    effort = best_effort(pef, bev)
    first = pef * FIRST_KNOT_S
    ceiling = 0.2 * emptied[:, 0]
    for _ in range(PEAK_STEPS):
        lung = _lung(np.stack(times, axis=1), np.column_stack([np.minimum(first, ceiling), emptied]))
        peak = flow(lung, effort, PEAK_SAMPLES).max(axis=1)
        first *= np.clip(pef / peak, 0.7, 1.4)
    return lung


def best_effort(pef: Floats, bev: Floats) -> Effort:
    """Full drive from full lungs, its rise time such that the volume at time zero is `bev`."""
    zero = np.zeros(len(pef))
    return Effort(np.clip(RISE_OF_BEV * bev / pef, 0.04, 0.4), zero, zero)


def flow(lung: Lung, effort: Effort, samples: int) -> Floats:
    """Flow (n, samples) over FVC, 1/s, mean of each 10 ms from the start of the effort."""
    t = np.arange(samples + 1) * SAMPLE_PERIOD_S
    rise = effort.rise[:, None]
    turn = np.minimum(t / rise, 1)
    driven = np.where(t < rise, t / 2 - rise / (2 * np.pi) * np.sin(np.pi * turn), t - rise / 2)
    driven -= effort.deficit[:, None] * 0.35 * (1 - np.exp(-driven / 0.35))
    volume = _volume(lung, effort.head_start[:, None] + driven)
    return np.diff(volume, axis=1) / SAMPLE_PERIOD_S


def take(lung: Lung, rows: NDArray[np.int64]) -> Lung:
    """The lungs of some rows."""
    return Lung(*(knots[rows] for knots in lung))


def _lung(times: Floats, emptied: Floats) -> Lung:
    """Knots with the slopes of Fritsch and Butland (1984): monotone; straight before the first and at the last."""
    x, y = np.log(times), np.log(emptied)
    h = np.diff(x, axis=1)
    d = np.maximum(np.diff(y, axis=1) / h, 1e-6)
    return Lung(x, y, np.column_stack([np.minimum(3 * d[:, 0], 1), monotone_cubic.inner_slopes(h, d), d[:, -1]]))


def _volume(lung: Lung, driven: Floats) -> Floats:
    """Volume (n, m) over FVC at driven times (n, m); 1 at the last knot and after."""
    x = np.log(np.maximum(driven, 1e-12))
    last = lung.log_s.shape[1] - 1
    left = np.zeros(x.shape, dtype=np.int64)
    for knot in range(1, last):
        left += x >= lung.log_s[:, knot, None]
    row = np.arange(len(x))[:, None]

    def at(table: Floats, offset: int) -> Floats:
        return table[row, left + offset]

    start, h = at(lung.log_s, 0), at(lung.log_s, 1) - at(lung.log_s, 0)
    u = np.minimum((x - start) / h, 1)
    y = monotone_cubic.piece(u, h, (at(lung.log_e, 0), at(lung.log_e, 1)), (at(lung.slopes, 0), at(lung.slopes, 1)))
    before = x < lung.log_s[:, :1]
    y = np.where(before, lung.log_e[:, :1] + x - lung.log_s[:, :1], y)
    return np.minimum((1 + LEFT) * -np.expm1(-np.exp(y)), 1)
