"""The spirometer's counter: whole millilitres in each 10 ms at ATPS, as in the raw curves of NHANES.

The counter carries the part of a millilitre it has not yet shown into the next 10 ms, so a count is the
difference of a rounded running total: at a steady 50 mL/s it reads 0, 1, 0, 1, ..., not 1, 1, 1, 1.
The stand-in's counts behave so (docs/spirometry.md), and volume is never off by more than 1 mL.
"""

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.physiology.spirometry import SAMPLE_PERIOD_S

LOWEST, HIGHEST = -64, 192  # mL per 10 ms: the range of SPXRAW (codebook)
ML_PER_L = 1000.0


def count(flow: NDArray, btps: NDArray | float, rng: np.random.Generator) -> NDArray[np.int16]:
    """What the counter gives for a flow.

    Args:
        flow: (n, T), L/s at BTPS, mean of each 10 ms.
        btps: (n,) or a number, the factor from ATPS to BTPS (SPAFACT).
        rng: draws where in its first millilitre each counter starts.

    Returns:
        (n, T) int16, mL per 10 ms at ATPS; a count outside -64 to 192 is held at that end.
    """
    scale = ML_PER_L * SAMPLE_PERIOD_S / np.broadcast_to(np.asarray(btps, dtype=np.float64), len(flow))
    total = np.cumsum(flow, axis=1, dtype=np.float64)
    total *= scale[:, None]
    total += rng.uniform(size=(len(flow), 1))
    counts = np.diff(np.floor(total, out=total), axis=1, prepend=0)
    return np.clip(counts, LOWEST, HIGHEST, out=counts).astype(np.int16)


def flow(counts: NDArray, btps: NDArray | float) -> NDArray[np.float32]:
    """Flow (n, T) in L/s at BTPS of counts (n, T) in mL per 10 ms at ATPS."""
    scale = np.asarray(btps, dtype=np.float64) / (ML_PER_L * SAMPLE_PERIOD_S)
    return np.multiply(counts, np.broadcast_to(scale, len(counts)).astype(np.float32)[:, None], dtype=np.float32)
