"""Detect breaths in a record of volume: expirations and inspirations of over 100 mL."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BREATH_L = 0.100  # a breath in of more ends the expiration before it


class Breath(NamedTuple):
    """Volume rises (an expiration) or falls (an inspiration) between two of its samples."""

    begin: int
    end: int
    volume: float  # L, positive out


def breaths(volume: NDArray[np.float64]) -> list[Breath]:
    """The breaths of a record, in order; each ends where the next begins.

    Args:
        volume: (T,) L, rising where air is breathed out.

    A breath ends at its greatest (or least) volume, the last such sample, before volume turns by more than 100 mL.
    """
    direction = np.sign(np.diff(volume))
    moving = np.flatnonzero(direction)
    if not len(moving):
        return []
    turns = moving[np.flatnonzero(np.diff(direction[moving])) + 1]  # last samples at an extreme
    places = [0, *turns.tolist(), len(volume) - 1]
    found: list[Breath] = []
    begin = extreme = 0
    low = high = 0  # samples of the extremes until the first breath is known
    sign = 0
    for place in places:
        here = volume[place]
        if sign == 0:
            low = place if here <= volume[low] else low
            high = place if here >= volume[high] else high
            if volume[high] - volume[low] > BREATH_L:
                sign = 1 if high > low else -1
                begin, extreme = (low, high) if sign > 0 else (high, low)
        elif sign * (here - volume[extreme]) >= 0:
            extreme = place
        elif sign * (volume[extreme] - here) > BREATH_L:
            found.append(Breath(begin, extreme, float(volume[extreme] - volume[begin])))
            begin, extreme, sign = extreme, place, -sign
    if sign:
        found.append(Breath(begin, extreme, float(volume[extreme] - volume[begin])))
    return found


def forced(found: list[Breath], flow: NDArray[np.float64]) -> Breath | None:
    """The expiration with the greatest product of volume and highest flow, or None.

    Args:
        flow: (T - 1,) L/s between the samples of the volume.
    """
    out = [breath for breath in found if breath.volume > 0]
    return max(out, key=lambda breath: breath.volume * flow[breath.begin : breath.end].max(), default=None)
