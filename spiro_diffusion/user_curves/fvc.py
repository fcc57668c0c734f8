"""Infer whether values are at BTPS from the FVC reported beside them, which every standard requires at BTPS."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.user_curves.efforts import RawBlow

AGREES = 0.015  # relative: values read so have to give the FVC
LEAST_DIFFERENCE = 0.01  # relative: readings that differ by less cannot be distinguished

Reading = TypeVar("Reading")  # the quantity requested from the user: a factor to BTPS, a period


def expired(flow: NDArray, period: float) -> float:
    """The largest volume (L) breathed out between any two moments, of flow (n,) in L/s each `period` s."""
    volume = np.concatenate([[0.0], np.cumsum(flow) * period])
    return float((volume - np.minimum.accumulate(volume)).max())


def chosen(readings: dict[Reading, float], fvc: float | None) -> Reading | None:
    """The key of the reading (L) that reproduces the FVC (L); None if none does, or several do."""
    if not fvc or not np.isfinite(fvc) or fvc <= 0:
        return None
    off = sorted(((abs(volume / fvc - 1), key) for key, volume in readings.items()), key=lambda found: found[0])
    alone = len(off) == 1 or off[1][0] - off[0][0] >= LEAST_DIFFERENCE
    return off[0][1] if off[0][0] <= AGREES and alone else None


def applied(blows: Sequence[RawBlow]) -> list[str]:
    """A note on factors other than 1 that were inferred in this way: an incomplete curve can reproduce the FVC by
    chance."""
    factors = ", ".join(f"{factor:g}" for factor in sorted({blow.btps or 1.0 for blow in blows} - {1.0}))
    return [f"by the FVC in the file its curves are not at BTPS: its factor, {factors}, is applied"] if factors else []
