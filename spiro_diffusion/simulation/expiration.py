"""Smooth forced expirations through given volumes (FEV0.5, FEV1, FEV3, FEV6, FVC, PEF, BEV), shaped as real ones.

A lung that has given the share x of its FVC has emptied by E = log((1 + a) / (1 + a - x)), where a is a
little air left at the end. A single compartment empties by E = s / tau; a real lung by a line that bends
slowly between log E and log s (a locally stretched exponential), which is what is interpolated here,
monotonically, so that flow is positive and smooth. What the given volumes leave open between them is a
`Shape`: how the line leaves the steepest tangent before 0.5 s, and how far it lies from the smoothest line later.

Muscles drive a lung by a share g of the flow it could give, from 0 to 1: driven time s is the integral of g.
Time is counted from the steepest tangent's zero, in units of BEV / PEF: in these the integral of g before it
and of 1 - g after it are both 1, whatever the form of g.

All functions work on n expirations at once; volumes are shares of FVC, flows 1/s, times s.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from spiro_diffusion.physiology import monotone_cubic
from spiro_diffusion.physiology.spirometry import SAMPLE_PERIOD_S

Floats = NDArray[np.float64]

LEFT = 0.004  # a: air left at the end of expiration, over FVC
EARLY_S = 0.04 * 12.5 ** (np.arange(7) / 7)  # driven times before 0.5 s at which a shape says how flow falls
BETWEEN = (
    (0, 1 / 2),
    (1, 1 / 3),
    (1, 2 / 3),
    (2, 1 / 2),
    (3, 1 / 2),
)  # after which knot, how far to the next, in log s
ONSET = np.arange(-6, 6.25, 0.5)  # where a shape says how much of the drive is there, in BEV / PEF
FINE_STEP = 0.1
FINE = ONSET[0] + FINE_STEP * np.arange(121)
TO_FINE = np.stack([np.interp(FINE, ONSET, unit) for unit in np.eye(len(ONSET))])
SOONER_STEPS = 6
FADE_S = 0.2  # a deficit of the drive fades so fast: peak flow falls more than FEV1, as within real sessions
PEAK_STEPS, PEAK_SAMPLES = 4, 70  # corrections of the steepest tangent; the peak lies in the first 0.7 s


class Knots(NamedTuple):
    """Values of the best effort; each (n,), over FVC where they are volumes or flows."""

    pef: Floats
    fev05: Floats
    fev1: Floats
    fev3: Floats
    fev6: Floats
    fet: Floats
    bev: Floats


class Shape(NamedTuple):
    """What knots leave open."""

    early: Floats  # (n, EARLY_S), of the distance below the steepest tangent at 0.5 s, in log volume: from 0 to 1
    between: Floats  # (n, BETWEEN), log E above the smoothest line through the knots
    onset: Floats  # (n, ONSET), log odds of the share g of the drive


class Lung(NamedTuple):
    """Emptying by driven time: knots (n, k) of log s and log E, slopes between them."""

    log_s: Floats
    log_e: Floats
    slopes: Floats


class Effort(NamedTuple):
    """How a lung was driven."""

    onset: Floats  # (n, ONSET), as in Shape
    unit: Floats  # (n,) s, BEV / PEF
    deficit: Floats  # (n,) share of the drive missing at the start; it fades with FADE_S
    head_start: Floats  # (n,) s of driven time already gone: an incomplete breath in
    pace: Floats  # (n,) log of how fast the lung empties after peak flow, over its usual rate; it comes with FADE_S


def lungs(knots: Knots, shape: Shape) -> Lung:
    """Lungs whose full effort (see `best_effort`) has these values.

    An expiration shorter than 8 s has its FEV3 and FEV6 earlier, in proportion. Wishes that contradict
    each other (a peak below the mean flow before it) are met as nearly as a smooth curve can.
    """
    times = knot_times(knots.fet)
    shares = np.stack([knots.fev05, knots.fev1, knots.fev3, knots.fev6, np.ones(len(times))], axis=1)
    effort = best_effort(knots.pef, knots.bev, shape.onset)
    tangent = knots.pef
    for _ in range(PEAK_STEPS):
        lung = smoothest(early_volumes(tangent, shares, shape.early), times, shares)
        peak = flow(lung, effort, PEAK_SAMPLES).max(axis=1)
        tangent = tangent * np.clip(knots.pef / peak, 0.7, 1.4)
    lung = smoothest(early_volumes(tangent, shares, shape.early), times, shares)
    more = between_times(times)
    at = np.concatenate([lung.log_s, np.log(more)], axis=1)
    emptied = np.concatenate([lung.log_e, log_emptied(volume(lung, more)) + shape.between], axis=1)
    order = np.argsort(at, axis=1, kind="stable")
    at, emptied = np.take_along_axis(at, order, axis=1), np.take_along_axis(emptied, order, axis=1)
    return _lung(at, np.minimum(np.maximum.accumulate(emptied, axis=1), emptied[:, -1:]))


def knot_times(fet: Floats) -> Floats:
    """Driven times (n, 5) of FEV0.5, FEV1, FEV3, FEV6 and FVC."""
    end = np.maximum(fet, 1.3)
    third, sixth = np.minimum(3, 1 + 0.45 * (end - 1)), np.minimum(6, 1 + 0.75 * (end - 1))
    return np.stack([np.full(len(end), 0.5), np.ones(len(end)), third, sixth, end], axis=1)


def between_times(times: Floats) -> Floats:
    """Driven times (n, BETWEEN) between knots at times (n, 5)."""
    log_s = np.log(times)
    return np.exp(np.stack([log_s[:, k] + part * (log_s[:, k + 1] - log_s[:, k]) for k, part in BETWEEN], axis=1))


def bend(tangent: Floats, fev05: Floats) -> Floats:
    """Log of FEV0.5 over the steepest tangent's volume at 0.5 s, (n,); below 0 in all that can be."""
    return np.log(fev05 / (0.5 * tangent))


def early_volumes(tangent: Floats, shares: Floats, early: Floats) -> Floats:
    """Volumes (n, EARLY_S) that leave the steepest tangent by shares `early` of the bend at 0.5 s.

    They leave it sooner where flow would else fall below the mean flow from 0.5 to 1 s and rise again: a real lung's
    does not, and of the obstructed the loops know nothing. `shares` (n, 5) are the knots'.
    """
    form = np.maximum.accumulate(np.clip(early, 0, 1), axis=1)
    below = bend(tangent, shares[:, 0])[:, None]
    after = (shares[:, 1] - shares[:, 0]) / 0.5
    sooner = np.ones((len(form), 1))
    for _ in range(SOONER_STEPS):
        volumes = tangent[:, None] * EARLY_S * np.exp(np.where(below > 0, below, below * form**sooner))
        before = (shares[:, 0] - volumes[:, -1]) / (0.5 - EARLY_S[-1])
        sooner = np.where((before < after)[:, None], 0.7 * sooner, sooner)
    return volumes


def smoothest(early: Floats, times: Floats, shares: Floats) -> Lung:
    """Lungs through volumes `early` at EARLY_S and `shares` (n, k) at times (n, k)."""
    shares = np.concatenate([early, shares], axis=1)
    shares = np.minimum(np.maximum.accumulate(shares, axis=1) + 1e-4 * np.arange(shares.shape[1]), 1)
    at = np.concatenate([np.broadcast_to(EARLY_S, early.shape), times], axis=1)
    return _lung(np.log(at), log_emptied(shares))


def log_emptied(share: Floats) -> Floats:
    """Log E of lungs that gave these shares of FVC."""
    return np.log(np.log((1 + LEFT) / (1 + LEFT - np.minimum(share, 1))))


def best_effort(pef: Floats, bev: Floats, onset: Floats) -> Effort:
    """Full drive from full lungs, as slow to come that the volume at time zero is `bev`."""
    zero = np.zeros(len(pef))
    return Effort(onset, np.clip(bev / pef, 0.003, 0.034), zero, zero, zero)


def time_zero(effort: Effort) -> Floats:
    """Seconds (n,) from the start of the effort to time zero."""
    _, zero, unit = _onset(effort)
    return unit * (zero - FINE[0])


def flow(lung: Lung, effort: Effort, samples: int) -> Floats:
    """Flow (n, samples) over FVC, 1/s, mean of each 10 ms from the start of the effort."""
    given, zero, unit = _onset(effort)
    t = np.arange(samples + 1) * SAMPLE_PERIOD_S / unit[:, None]
    driven = t - (zero - FINE[0])[:, None]
    rising = min(int((t < FINE[-1] - FINE[0]).sum(axis=1).max()), samples + 1)
    place = np.minimum(t[:, :rising] / FINE_STEP, len(FINE) - 1.001)
    left = place.astype(np.int64)
    low = np.take_along_axis(given, left, axis=1)
    inside = low + (place - left) * (np.take_along_axis(given, left + 1, axis=1) - low)
    driven[:, :rising] = np.where(t[:, :rising] < FINE[-1] - FINE[0], inside, driven[:, :rising])
    driven *= unit[:, None]
    if effort.deficit.any():
        driven -= effort.deficit[:, None] * FADE_S * (1 - np.exp(-driven / FADE_S))
    if effort.pace.any():
        driven *= np.exp(effort.pace[:, None] * (1 - np.exp(-driven / FADE_S)))
    driven += effort.head_start[:, None]
    return np.diff(volume(lung, driven), axis=1) / SAMPLE_PERIOD_S


def take(lung: Lung, rows: NDArray[np.int64]) -> Lung:
    """The lungs of some rows."""
    return Lung(*(knots[rows] for knots in lung))


def volume(lung: Lung, driven: Floats) -> Floats:
    """Volume (n, m) over FVC at driven times (n, m) that do not fall; 1 at the last knot and after."""
    x = np.log(np.maximum(driven, 1e-12))
    n, m = x.shape
    h = np.diff(lung.log_s, axis=1)
    secant = np.diff(lung.log_e, axis=1) / h
    first, last = lung.slopes[:, :-1], lung.slopes[:, 1:]
    square, cube = (3 * secant - 2 * first - last) / h, (first + last - 2 * secant) / h**2
    # Of each row, how many samples lie between two knots: x + 100 row is sorted over all rows.
    row = 100.0 * np.arange(n)[:, None]
    edges = np.searchsorted((x + row).ravel(), (lung.log_s[:, 1:-1] + row).ravel()).reshape(n, -1)
    start = m * np.arange(n)[:, None]
    counts = np.diff(edges, axis=1, prepend=start, append=start + m).ravel()

    def spread(table: Floats) -> Floats:
        return np.repeat(table.ravel(), counts).reshape(n, m)

    z = x - spread(lung.log_s[:, :-1])
    np.minimum(z, spread(h), out=z)
    y = spread(lung.log_e[:, :-1]) + z * (spread(first) + z * (spread(square) + z * spread(cube)))
    before = x < lung.log_s[:, :1]
    y = np.where(before, lung.log_e[:, :1] + x - lung.log_s[:, :1], y)
    return np.minimum((1 + LEFT) * -np.expm1(-np.exp(y)), 1)


def _onset(effort: Effort) -> tuple[Floats, Floats, Floats]:
    """The integral of the drive (n, FINE), where time zero is on its axis (n,), and the axis's unit (n,) s."""
    share = expit(effort.onset @ TO_FINE)
    given = np.zeros_like(share)
    np.cumsum((share[:, 1:] + share[:, :-1]) * (FINE_STEP / 2), axis=1, out=given[:, 1:])
    zero = FINE[-1] - given[:, -1]
    place = np.clip((zero - FINE[0]) / FINE_STEP, 0, len(FINE) - 1.001)
    left = place.astype(np.int64)
    row = np.arange(len(given))
    before = given[row, left] + (place - left) * (given[row, left + 1] - given[row, left])
    return given, zero, effort.unit / before


def _lung(log_s: Floats, log_e: Floats) -> Lung:
    """Knots with the slopes of Fritsch and Butland (1984): monotone; straight before the first and at the last."""
    h = np.diff(log_s, axis=1)
    d = np.maximum(np.diff(log_e, axis=1) / h, 1e-6)
    inner = monotone_cubic.inner_slopes(h, d)
    return Lung(log_s, log_e, np.column_stack([np.minimum(3 * d[:, 0], 1), inner, d[:, -1]]))
