"""Flutter: variation of flow between samples of 10 ms, which the mean flow of a wider bin does not contain.

Turbulence and tremor leave the counter's whole millilitres more irregular than those of a smooth flow are. A curve
that comes back from the time grid, or from a decoder that gives a mean, has lost it; before such a curve is compared
with real counts, flutter is drawn anew.
"""

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.physiology.counter import ML_PER_L
from spiro_diffusion.physiology.spirometry import SAMPLE_PERIOD_S

# SD in mL of the flutter of a 10 ms sample, over the root of its mean count in mL: the mean square of the counts'
# second differences at 0.7 to 4 mL per 10 ms, real curves less smoothed ones that were counted again. Of 3,000 curves
# of training participants of the NHANES-calibrated stand-in (benchmarks/fit_flutter.py).
FLUTTER = 0.0585


def add_flutter(
    flow: NDArray, btps: NDArray, rng: np.random.Generator, *, first: int = 0, size: float = FLUTTER
) -> NDArray[np.float32]:
    """Flow (n, T) in L/s of each 10 ms with independent normal flutter from sample `first` on.

    Args:
        flow: (n, T), L/s at BTPS, smooth.
        btps: (n,), the factor from ATPS to BTPS of each curve.
        size: mL over the root of the mean count.
    """
    result = np.array(flow, dtype=np.float32)
    late = result[:, first:]
    litres_per_count = (np.asarray(btps, dtype=np.float32) / np.float32(ML_PER_L * SAMPLE_PERIOD_S))[:, None]
    noise = rng.standard_normal(late.shape, dtype=np.float32)
    noise *= np.sqrt(np.maximum(late, 0) * litres_per_count)
    late += np.float32(size) * noise
    return result
