"""Other efforts of the same person as a condition: the missing segment in the best of them.

The best other effort (largest sum of FEV1 and FVC) is hidden in the same way as the interrupted one; the densities are
given the hidden part, its volume relative to the interrupted effort, how nearly it had ended, and the number of efforts
of which it is the best. Without another effort these are zeros, as is a flag for its presence, so that one model serves
both cases.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.physiology import time_grid
from spiro_diffusion.reconstruction import segments
from spiro_diffusion.reconstruction.monotone import volume_at
from spiro_diffusion.reconstruction.segments import LEAST_L, Floats, Places

GIVEN_SHARE = 0.5  # share of the examples that are shown other efforts, where there are any
COMPARED = 5  # numbers beside those of the segment
NONE = -1  # in a table of rows: no such effort
PLAUSIBLE = time_grid.EDGES_S - time_grid.EDGES_S[0]  # (513,) L: a placeholder where no effort is given; not used


class Others(NamedTuple):
    """The best other effort of n people: volumes (n, 513) L at the grid's edges, and the number (n,) of efforts of
    which it is the best, 0 where none is given."""

    volumes: Floats
    among: Places

    @classmethod
    def none(cls, n: int) -> "Others":
        """For n people without another effort."""
        return cls(np.broadcast_to(PLAUSIBLE, (n, time_grid.N_SAMPLES + 1)), np.zeros(n, dtype=np.int64))

    @classmethod
    def of(cls, signals: NDArray, rows: Places, among: Places) -> "Others":
        """From the rows (n,) of curves (all, bins) in L/s; NONE where there is none."""
        v = np.maximum.accumulate(time_grid.volume(np.asarray(signals[rows], dtype=np.float64)), axis=1)
        return cls(np.where(among[:, None] > 0, v, PLAUSIBLE), among)

    def at(self, rows: NDArray | slice) -> "Others":
        """Those of some people, in this order."""
        return Others(self.volumes[rows], self.among[rows])


def siblings(curves: pd.DataFrame, rows: Places) -> Places:
    """Rows (n, m) of the other acceptable efforts of the person of each of `rows` (n,), in the same part of the test
    (before or after the bronchodilator: the lung differs); NONE where there are fewer. The effort itself is never
    among them."""
    session = curves.groupby(["seqn", "test_type"], sort=False).ngroup().to_numpy()
    eligible = np.isfinite(_size(curves)) & curves["acceptable"].to_numpy(bool)
    good = np.flatnonzero(eligible)
    good = good[np.argsort(session[good], kind="stable")]
    begin, end = (np.searchsorted(session[good], session[rows], side=side) for side in ("left", "right"))
    place = begin[:, None] + np.arange((end - begin).max(initial=1))
    found = np.where(place < end[:, None], np.append(good, NONE)[np.minimum(place, len(good))], NONE)
    return np.where(found == rows[:, None], NONE, found)


def best(curves: pd.DataFrame, found: Places) -> tuple[Places, Places]:
    """Row (n,) of the best effort of each row of `found` (n, m), NONE where there is none, and the number (n,) of
    efforts of which it is the best."""
    there = found != NONE
    size = np.where(there, _size(curves)[found], -np.inf)
    return found[np.arange(len(found)), size.argmax(axis=1)], there.sum(axis=1)


def some(found: Places, rng: np.random.Generator) -> Places:
    """`found` (n, m) reduced to a random number of the efforts of each row; to none in 1 - GIVEN_SHARE of the rows."""
    order = np.where(found != NONE, rng.random(found.shape), 2.0).argsort(axis=1).argsort(axis=1)
    number = 1 + np.floor(rng.random(len(found)) * (found != NONE).sum(axis=1))
    number *= rng.random(len(found)) < GIVEN_SHARE
    return np.where(order < number[:, None], found, NONE)


def tail_features(others: Others, v: Floats, cut: Places) -> Floats:
    """Features (n, f) of the hidden part of the other effort, cut at the same time; `v`, `cut` as for
    `segments.tail_features`."""
    sibling = _whole(others)
    numbers = segments.tail_numbers(sibling, cut, np.maximum(_end(sibling), cut))
    return _compared(others, sibling, numbers, segments.at(sibling, cut), segments.at(v, cut))


def gap_features(others: Others, v: Floats, begin: Places, end: Places) -> Floats:
    """Features (n, f) of the other effort at the time of the gap."""
    sibling = _whole(others)
    return _compared(
        others, sibling, segments.gap_numbers(sibling, begin, end), segments.at(sibling, begin), segments.at(v, begin)
    )


def onset_features(others: Others, v: Floats, join: Places) -> Floats:
    """Features (n, f) of how fast the other effort reached the volume at the join; the time of this effort is the
    target."""
    sibling, seen = _whole(others), segments.at(v, join)
    passed = sibling >= seen[:, None]
    place = np.where(passed.any(axis=1), passed.argmax(axis=1), _end(sibling))
    place = np.maximum(place, time_grid.LEAD_SAMPLES + 1)
    return _compared(others, sibling, segments.onset_numbers(sibling, place), segments.at(sibling, place), seen)


def _compared(others: Others, sibling: Floats, numbers: Floats, there: Floats, here: Floats) -> Floats:
    fvc, here = sibling[:, -1], np.maximum(here, LEAST_L)
    last = fvc - volume_at(sibling, time_grid.EDGES_S[_end(sibling)][:, None] - 1.0)[:, 0]
    compared = np.column_stack(
        [
            numbers,
            np.log(there / here),
            np.log(fvc / here),
            np.log((last + LEAST_L) / fvc),
            np.log(np.maximum(others.among, 1)),
            np.ones(len(fvc)),
        ]
    )
    return np.where(others.among[:, None] > 0, compared, 0.0)


def _whole(others: Others) -> Floats:
    return np.maximum(others.volumes, LEAST_L)  # it has a logarithm


def _end(sibling: Floats) -> Places:
    return (sibling >= sibling[:, -1:]).argmax(axis=1)


def _size(curves: pd.DataFrame) -> Floats:
    return (curves["fev1"] + curves["fvc"]).to_numpy(float)
