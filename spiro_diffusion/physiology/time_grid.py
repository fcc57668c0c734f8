"""The time grid of 512 samples, and resampling to and from 10 ms.

The warped grid keeps the first 1.5 s as the counter gave them, where FEV1 and the peak are made, and
widens after: 150 bins of 10 ms from half a second before time zero, then 362 bins that grow by 0.75 %
each, to 19.98 s. A bin holds its mean flow, so volume is kept exactly at every edge. The origin's grid,
each curve stretched to 512 equal bins, is here as `to_stretch`, to compare with.
"""

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.physiology import spirometry
from spiro_diffusion.physiology.spirometry import SAMPLE_PERIOD_S

N_SAMPLES = 512
LEAD_S = 0.5  # before time zero; volume passes there too: a lead of 0.2 s would cost 39 % of grade D over 5 mL
FINE_BINS = 150  # of 10 ms: the latest peak of the data lies 0.48 s after time zero
GROWTH = 1.00754975  # of each later bin over the one before: the last is 152 ms wide and ends at 20.48 s
# (512,); products in order, since a power's last digit is the processor's
WIDTHS_S = SAMPLE_PERIOD_S * np.cumprod(np.where(np.arange(N_SAMPLES) < FINE_BINS, 1, GROWTH))
EDGES_S = np.concatenate([[0.0], np.cumsum(WIDTHS_S)]) - LEAD_S  # (513,), s after time zero
N_10MS = 2048  # samples of 10 ms in the window
LEAD_SAMPLES = 50  # of 10 ms before time zero
CHUNK = 512  # curves at a time, for the processor's cache

# Edges after the fine bins, in samples after the window's begin: the whole part and the rest.
_COARSE = (EDGES_S[FINE_BINS:] + LEAD_S) / SAMPLE_PERIOD_S
_WHOLE = np.floor(_COARSE + 1e-6).astype(np.int64)
_REST = np.maximum(_COARSE - _WHOLE, 0.0)
# A 10 ms sample lies in one bin or across two, since none is narrower: the first, and its part of the sample.
_TICKS = np.arange(N_10MS) * SAMPLE_PERIOD_S - LEAD_S
_BIN = np.clip(np.searchsorted(EDGES_S, _TICKS + 1e-9, side="right") - 1, 0, N_SAMPLES - 1)
_PART = np.clip((EDGES_S[_BIN + 1] - _TICKS) / SAMPLE_PERIOD_S, 0, 1).astype(np.float32)
_NEXT = np.minimum(_BIN + 1, N_SAMPLES - 1)


def zero_sample(t0: NDArray) -> NDArray[np.int64]:
    """Time zero (n,), s from the first sample, as the nearest whole sample."""
    return np.rint(np.asarray(t0) / SAMPLE_PERIOD_S).astype(np.int64)


def to_grid(flow: NDArray, t0: NDArray, points: NDArray | None = None) -> NDArray[np.float32]:
    """Mean flow of each bin of the warped grid.

    Time zero is rounded to the nearest sample, so that the fine bins are samples of the counter.
    Volume before the window is in the first bin (see `lead_volume`), volume after it in the last.

    Args:
        flow: (n, T), L/s, mean of each 10 ms.
        t0: (n,), s from the first sample, finite.
        points: (n,), samples of each row that are the curve; without it, all.

    Returns:
        (n, 512) float32, L/s.
    """
    signals = np.empty((len(flow), N_SAMPLES), dtype=np.float32)
    opens = zero_sample(t0) - LEAD_SAMPLES
    ends = np.full(len(flow), flow.shape[1]) if points is None else np.asarray(points)
    for start in range(0, len(flow), CHUNK):
        rows = slice(start, start + CHUNK)
        v = spirometry.volume(flow[rows])
        first, end = opens[rows, None], ends[rows, None]
        sample = first + np.arange(FINE_BINS)
        inside = (sample >= 0) & (sample < end)
        signals[rows, :FINE_BINS] = np.where(inside, _take(flow[rows], np.where(inside, sample, 0)), 0)
        left = np.clip(first + _WHOLE, 0, end)
        low = _take(v, left)
        at_edges = low + _REST * (_take(v, np.minimum(left + 1, end)) - low)
        at_edges[:, -1] = _take(v, end)[:, 0]
        signals[rows, FINE_BINS:] = np.diff(at_edges, axis=1) / WIDTHS_S[FINE_BINS:]
        early = np.flatnonzero(first[:, 0] > 0)
        signals[rows, 0][early] = _take(v[early], np.minimum(first + 1, end)[early])[:, 0] / SAMPLE_PERIOD_S
    return signals


def lead_volume(flow: NDArray, t0: NDArray) -> NDArray[np.float64]:
    """Volume (n,) in L of flow (n, T) that passed before the window of `to_grid` opens."""
    opens = zero_sample(t0) - LEAD_SAMPLES
    lead = np.zeros(len(flow))
    for row in np.flatnonzero(opens > 0):
        lead[row] = flow[row, : opens[row]].sum(dtype=np.float64) * SAMPLE_PERIOD_S
    return lead


def volume(signals: NDArray) -> NDArray[np.float64]:
    """Volume (n, 513) in L at the edges of the warped grid, of signals (n, 512) in L/s; 0 at the first."""
    v = np.zeros((len(signals), N_SAMPLES + 1))
    np.cumsum(signals * WIDTHS_S, axis=1, out=v[:, 1:])
    return v


def to_10ms(signals: NDArray, samples: int = N_10MS) -> NDArray[np.float32]:
    """Flow (n, samples) in L/s of each 10 ms from 0.5 s before time zero, of signals (n, 512) in L/s.

    Volume runs straight between the edges of the grid: linear in the signal, no flow that was not there, and the
    indices come back as well as with splines (docs/spirometry.md).
    """
    signals = np.asarray(signals, dtype=np.float32)
    flow = np.empty((len(signals), samples), dtype=np.float32)
    here, after, part = _BIN[:samples], _NEXT[:samples], _PART[:samples]
    for start in range(0, len(signals), CHUNK):
        rows = slice(start, start + CHUNK)
        flow[rows] = part * signals[rows].take(here, axis=1)
        flow[rows] += (1 - part) * signals[rows].take(after, axis=1)
    return flow


def indices_of_signals(signals: NDArray) -> spirometry.Indices:
    """Indices of n curves from their signals (n, 512) in L/s, at 10 ms; each ends with its last flow."""
    found = spirometry.empty(len(signals))
    for start in range(0, len(signals), CHUNK):
        rows = slice(start, start + CHUNK)
        flow = to_10ms(signals[rows])
        there = flow != 0
        points = np.where(there.any(axis=1), N_10MS - there[:, ::-1].argmax(axis=1), 0)
        spirometry.put(found, rows, spirometry.indices(flow, points))
    return found


def to_stretch(flow: NDArray, points: NDArray) -> NDArray[np.float32]:
    """Mean flow (n, 512) in L/s of 512 equal parts of each whole curve of `points` samples (n,).

    It needs `points` to come back, and then costs up to 0.2 % of FEV1 and 5 % of PEF.
    """
    share = np.arange(N_SAMPLES + 1) / N_SAMPLES
    signals = np.empty((len(flow), N_SAMPLES), dtype=np.float32)
    for start in range(0, len(flow), CHUNK):
        rows = slice(start, start + CHUNK)
        end = np.asarray(points)[rows, None]
        at_edges = _between(spirometry.volume(flow[rows]), end * share)
        signals[rows] = np.diff(at_edges, axis=1) / (end * (SAMPLE_PERIOD_S / N_SAMPLES))
    return signals


def from_stretch(signals: NDArray, points: NDArray) -> NDArray[np.float32]:
    """Flow (n, 2048) in L/s of each 10 ms from the first sample, 0 after `points` (n,): back from `to_stretch`."""
    flow = np.empty((len(signals), N_10MS), dtype=np.float32)
    for start in range(0, len(signals), CHUNK):
        rows = slice(start, start + CHUNK)
        end = np.asarray(points)[rows, None]
        v = spirometry.volume(signals[rows]) * (end / N_SAMPLES)
        position = np.minimum(np.arange(N_10MS + 1) / end, 1) * N_SAMPLES
        flow[rows] = np.diff(_between(v, position), axis=1) / SAMPLE_PERIOD_S
    return flow


def _take(table: NDArray, column: NDArray) -> NDArray:
    """table[i, column[i, j]] for all i, j."""
    return table.ravel()[np.arange(len(table))[:, None] * table.shape[1] + column]


def _between(v: NDArray, position: NDArray) -> NDArray[np.float64]:
    """Volume (n, m) at fractional columns (n, m) of v."""
    left = np.minimum(position.astype(np.int64), v.shape[1] - 2)
    low = _take(v, left)
    return low + (position - left) * (_take(v, left + 1) - low)
