"""Missing segments of an effort as a few numbers, and features of its measured part.

The segments of `Segment` cover any mask over the bins of the grid. A full effort contains each of them wherever it is
hidden, so that any number of training examples can be made from a full effort.

Volumes are (n, 513) in L at the edges of the grid, places are edges of the grid, (n,). Features never depend on the
hidden part. Every constant of this module determines a feature or a number, and is stored in the checkpoint.
"""

from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from spiro_diffusion.physiology import time_grid
from spiro_diffusion.reconstruction.monotone import volume_at

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

WINDOWS_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # over which flow before a cut is read: the counter's noise against decay
TIMES_S = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)  # at which volume is read, where it is seen
PARTS = np.arange(3, 8) / 8  # of the time up to a cut, likewise
SHAPE_FROM_S, SHAPE_DEGREE = 0.4, 10  # from where to a cut the shape is read, and the highest degree of its polynomials
SHAPE_PLACES = 48  # at which it is read: 48 integrate degree 10 and the volume's bends
KNOTS = np.array([0.03, 0.08, 0.18, 0.35, 0.6])  # of the remaining time: where the volume of a tail is drawn
ONSET_KNOTS = np.array([0.0, 0.25, 0.5, 0.75])  # of the time to the join, from time zero: likewise of an onset
BEGIN_S = -0.15  # when the flow of an onset begins
AROUND_S = (0.02, 0.05, 0.1, 0.2, 0.4)  # over which flow is read beside a gap and after an onset
LEAST_L, LEAST_L_S, LEAST_S = 0.005, 0.01, 0.05  # added before logarithms: below them the counter decides
FASTER, BEFORE_S = 1.1, (0.2, 0.4, 0.8)  # a tail's mean flow over the highest of those before it: for noise
EDGE = 0.002  # shares lie within this of 0 and 1


class Segment(StrEnum):
    """A stretch of an effort that may be hidden."""

    TAIL = "tail"  # what came after a cut
    GAP = "gap"  # what passed between two places, as a cough
    ONSET = "onset"  # how fast the begin would have been, instead of a slow start


class Stretch(NamedTuple):
    """A hidden stretch as points of time and volume, its ends included: (n, k) s after time zero, (n, k) L."""

    times: Floats
    volumes: Floats


def end_edge(signals: NDArray) -> Places:
    """Edge (n,) of the grid after the last bin with flow."""
    return last_edge(signals != 0)


def edge_at(time: float) -> int:
    """The first edge of the grid at a time (s) or after it."""
    return int(np.searchsorted(time_grid.EDGES_S, time - 1e-9))


def cut_at(signals: NDArray, time: float, least_rest_s: float = 0.15) -> Places:
    """Rows (m,) of efforts (n, bins) that last long enough after a time (s) to be cut there."""
    return np.flatnonzero(time_grid.EDGES_S[end_edge(signals)] > time + least_rest_s)


def last_edge(marked: NDArray[np.bool_]) -> Places:
    """Edge (n,) of the grid after the last marked bin (n, bins); 0 where none is."""
    return np.where(marked.any(axis=1), time_grid.N_SAMPLES - marked[:, ::-1].argmax(axis=1), 0)


# What came after a cut


def tail_numbers(v: Floats, cut: Places, end: Places) -> Floats:
    """Numbers (n, 7) of the tails of whole efforts, cut at `cut`, that end at `end`: the remaining volume over the
    volume before the cut, the remaining time, and the shares of the remaining volume expired at each of KNOTS."""
    seen, last = at(v, cut), at(v, end)
    begin = time_grid.EDGES_S[cut]
    time = time_grid.EDGES_S[end] - begin
    rest = np.maximum(last - seen, 0)
    out = (volume_at(v, begin[:, None] + time[:, None] * KNOTS) - seen[:, None]) / np.maximum(rest, 1e-6)[:, None]
    return np.column_stack([np.log((rest + LEAST_L) / seen), np.log(time + LEAST_S), _sticks(out)])


def tail_stretch(numbers: Floats, v: Floats, cut: Places) -> Stretch:
    """The inverse of `tail_numbers` for efforts measured up to `cut`; the tail ends within the grid.

    The mean flow of a tail is at most the flow before the cut: late flow only falls.
    """
    seen, begin = at(v, cut), time_grid.EDGES_S[cut]
    rest = np.maximum(np.exp(numbers[:, 0]) * seen - LEAST_L, 0)
    least = time_grid.WIDTHS_S[np.minimum(cut, time_grid.N_SAMPLES - 1)]
    time = np.clip(np.exp(numbers[:, 1]) - LEAST_S, least, time_grid.EDGES_S[-1] - begin)
    rest = np.minimum(rest, FASTER * _flows(v, begin, -np.array(BEFORE_S)).max(axis=1) * time)
    out = np.column_stack([0 * rest, _shares(numbers[:, 2:]), 0 * rest + 1])
    parts = np.concatenate([[0], KNOTS, [1]])
    return Stretch(begin[:, None] + time[:, None] * parts, seen[:, None] + rest[:, None] * out)


def tail_features(v: Floats, cut: Places, surface: Floats) -> Floats:
    """Features (n, f) of the part before a cut and of the person: `surface` (n, 12) is `mean_surface.features`.

    Peak flow and the volumes of the first 0.4 s are not among them: they depend on the force of the effort and on the
    device, and a tail on neither (docs/experiments.md, row 101). The windows describe the curvature of flow poorly,
    which determines much of an early tail (row 118): `_shape` describes it.
    """
    seen, t = at(v, cut), time_grid.EDGES_S[cut]
    before_cut = np.minimum(v, seen[:, None])  # what is after the cut cannot leak in
    volume = np.maximum(seen, LEAST_L)
    flows = _flows(before_cut, t, -np.array(WINDOWS_S))
    times = np.concatenate([t[:, None] * PARTS, np.minimum(np.array(TIMES_S), t[:, None])], axis=1)
    shares = volume_at(before_cut, times) / volume[:, None]
    halfway = [_flows(before_cut, t * part - 0.05, np.array([0.1])) for part in (0.5, 0.75)]
    return np.column_stack(
        [
            np.log(np.maximum(t, -0.2) + 0.3),
            np.log(volume),
            np.log(flows / volume[:, None]),
            np.clip(np.log(flows[:, 2] / flows[:, 3]), -3, 0.5),  # decay: of 0.2 s against 0.4 s
            shares,
            _logit(shares),
            np.log(np.column_stack(halfway) / volume[:, None]),
            _shape(before_cut, t, volume),
            surface,
        ]
    )


def _shape(v: Floats, t: Floats, volume: Floats) -> Floats:
    """Legendre coefficients (n, SHAPE_DEGREE + 1) of the share of the seen volume (n,) that was still to come, over the
    logarithm of time from SHAPE_FROM_S, or half of the time where that is earlier, to the cut at (n,) s."""
    places, weights = legendre.leggauss(SHAPE_PLACES)
    begin = np.maximum(np.minimum(SHAPE_FROM_S, t / 2), LEAST_S)[:, None]
    times = begin * np.maximum(t[:, None] / begin, 1.0) ** ((places + 1) / 2)
    left = 1 - volume_at(v, times) / volume[:, None]
    basis = legendre.legvander(places, SHAPE_DEGREE) * np.sqrt(2 * np.arange(SHAPE_DEGREE + 1) + 1)
    return np.asarray(left @ (basis * weights[:, None] / 2), dtype=np.float64)


# What passed in a gap


def gap_numbers(v: Floats, begin: Places, end: Places) -> Floats:
    """Numbers (n, 2) of the gap between two places: its volume over that of a linear course of flow, and the share of
    it expired at the middle."""
    low, high = at(v, begin), at(v, end)
    middle = volume_at(v, (time_grid.EDGES_S[begin] + time_grid.EDGES_S[end])[:, None] / 2)[:, 0]
    passed = np.maximum(high - low, 0)
    share = (middle - low) / np.maximum(passed, 1e-6)
    return np.column_stack([np.log((passed + LEAST_L) / (_straight(v, begin, end) + LEAST_L)), _logit(share)])


def gap_stretch(numbers: Floats, v: Floats, begin: Places, end: Places) -> Stretch:
    """The inverse of `gap_numbers`."""
    first, last, low = time_grid.EDGES_S[begin], time_grid.EDGES_S[end], at(v, begin)
    passed = np.maximum(np.exp(numbers[:, 0]) * (_straight(v, begin, end) + LEAST_L) - LEAST_L, 0)
    middle = low + passed / (1 + np.exp(-numbers[:, 1]))
    return Stretch(np.column_stack([first, (first + last) / 2, last]), np.column_stack([low, middle, low + passed]))


def gap_features(v: Floats, begin: Places, end: Places, surface: Floats) -> Floats:
    """Features (n, f) of the parts around a gap."""
    low, high, first, last = at(v, begin), at(v, end), time_grid.EDGES_S[begin], time_grid.EDGES_S[end]
    volume = np.maximum(low, LEAST_L)
    before = _flows(np.minimum(v, low[:, None]), first, -np.array(AROUND_S))
    after = _flows(np.maximum(v, high[:, None]), last, np.array(AROUND_S))
    return np.column_stack(
        [
            np.log(np.maximum(first, -0.2) + 0.3),
            np.log(last - first),
            np.log(volume),
            np.log(before / volume[:, None]),
            np.log(after / volume[:, None]),
            surface,
        ]
    )


# How fast the onset would have been


def onset_numbers(v: Floats, join: Places) -> Floats:
    """Numbers (n, 5) of the onset before the place `join`: the time from time zero to it, and the shares of its volume
    expired at ONSET_KNOTS of that time."""
    time, seen = time_grid.EDGES_S[join], np.maximum(at(v, join), LEAST_L)
    out = volume_at(v, time[:, None] * ONSET_KNOTS) / seen[:, None]
    return np.column_stack([np.log(time + LEAST_S), _sticks(out)])


def onset_stretch(numbers: Floats, v: Floats, join: Places) -> Stretch:
    """The inverse of `onset_numbers`; the time of the join is its last, not that of `join`."""
    seen = at(v, join)
    time = np.clip(np.exp(numbers[:, 0]) - LEAST_S, 0.02, 2.0)
    times = np.column_stack([0 * time + BEGIN_S, time[:, None] * ONSET_KNOTS, time])
    return Stretch(times, seen[:, None] * np.column_stack([0 * time, _shares(numbers[:, 1:]), 0 * time + 1]))


def onset_features(v: Floats, join: Places, cut: Places, surface: Floats) -> Floats:
    """Features (n, f) of the part from a join to a cut, without the time of the join, which is the target."""
    seen, t = np.maximum(at(v, join), LEAST_L), time_grid.EDGES_S[join]
    trusted = np.clip(v, seen[:, None], at(v, cut)[:, None])
    flows = _flows(trusted, t, np.array(AROUND_S))
    later = volume_at(trusted, t[:, None] + np.array([0.8, 1.6])) / seen[:, None]
    return np.column_stack([np.log(seen), np.log(flows / seen[:, None]), np.log(later), surface])


def at(v: Floats, edge: Places | int) -> Floats:
    """Volume (n,) in L at an edge of the grid of each effort."""
    return v[np.arange(len(v)), edge]


def _flows(v: Floats, t: Floats, windows: Floats) -> Floats:
    """Mean flow (n, windows) in L/s from times (n,) over windows before (negative) or after them; never 0."""
    change = volume_at(v, t[:, None] + windows) - volume_at(v, t[:, None])
    return np.maximum(change / windows, 0) + LEAST_L_S


def _straight(v: Floats, begin: Places, end: Places) -> Floats:
    """Volume (n,) of a gap in which flow runs straight, from 50 ms before it to 50 ms after it."""
    first, last = time_grid.EDGES_S[begin], time_grid.EDGES_S[end]
    flows = _flows(v, first, np.array([-0.05])), _flows(v, last, np.array([0.05]))
    return (last - first) * (flows[0] + flows[1])[:, 0] / 2


def _sticks(out: Floats) -> Floats:
    """Rising shares (n, k) as logits of what each takes of what the ones before left."""
    out = np.maximum.accumulate(np.clip(out, 0, 1), axis=1)
    left = 1 - np.column_stack([np.zeros(len(out)), out])
    return _logit(1 - left[:, 1:] / np.maximum(left[:, :-1], 1e-9))


def _shares(sticks: Floats) -> Floats:
    """The inverse of `_sticks`."""
    return np.asarray(1 - np.cumprod(1 / (1 + np.exp(sticks)), axis=1), dtype=np.float64)


def _logit(share: Floats) -> Floats:
    share = np.clip(share, EDGE, 1 - EDGE)
    return np.log(share / (1 - share))
