"""Curves to 512 samples, a batch at a time, with what the way there and back costs them."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion import grid, spirometry
from spiro_diffusion.curves import batches

GridName = Literal["warped", "stretch"]


class Resampled(NamedTuple):
    """What is known of n curves after the grid."""

    zero_sample: NDArray[np.int64]  # (n,) sample of the raw record at which the grid has time zero
    lead_volume: NDArray[np.float64]  # (n,) L that passed before the window
    after: pd.DataFrame  # indices of the curves back at 10 ms


def resample(repaired: Path, table: pd.DataFrame, signals: NDArray[np.float32], name: GridName) -> Resampled:
    """Fill `signals` (n, 512) with the curves of `table`, and measure them again at 10 ms."""
    t0 = table["t0"].to_numpy()
    lead, after = np.zeros(len(table)), []
    for batch in batches(repaired, table, "resample"):
        zero = t0[batch.rows]
        if name == "warped":
            signals[batch.rows] = grid.to_grid(batch.flow, zero, batch.points)
            lead[batch.rows] = grid.lead_volume(batch.flow, zero)
            after.append(spirometry.indices(grid.to_10ms(signals[batch.rows])))
        else:
            signals[batch.rows] = grid.to_stretch(batch.flow, batch.points)
            after.append(spirometry.indices(grid.from_stretch(signals[batch.rows], batch.points), batch.points))
    measured = pd.concat([indices.to_pandas() for indices in after], ignore_index=True)
    return Resampled(grid.zero_sample(t0), lead, measured)


def edges(table: pd.DataFrame, row: int, name: GridName) -> NDArray[np.float64]:
    """Edges (513,) of the bins of one curve: s after time zero, or after the first sample where it is stretched."""
    if name == "warped":
        return grid.EDGES_S
    duration = table["points"].iloc[row] * spirometry.SAMPLE_PERIOD_S
    return np.linspace(0, duration, grid.N_SAMPLES + 1)
