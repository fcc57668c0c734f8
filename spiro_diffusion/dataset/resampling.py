"""Resample curves to 512 samples in batches, and measure the round-trip error."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core import artifacts
from spiro_diffusion.dataset.raw_curves import Batch, batches, by_length, each
from spiro_diffusion.physiology import spirometry, time_grid

GridName = Literal["warped", "stretch"]

WIDEST_BIN = 16  # samples of 10 ms


class Resampled(NamedTuple):
    """What is known of n curves after the grid."""

    zero_sample: NDArray[np.int64]  # (n,) sample of the raw record at which the grid has time zero
    lead_volume: NDArray[np.float64]  # (n,) L that passed before the window
    after: pd.DataFrame  # indices of the curves back at 10 ms


def resample(repaired: Path, table: pd.DataFrame, signals: NDArray[np.float32], name: GridName) -> Resampled:
    """Fill `signals` (n, 512) with the curves of `table`, and measure them again at 10 ms."""
    t0 = table["t0"].to_numpy()
    lead = np.zeros(len(table))

    after = spirometry.empty(len(table))

    def fill(batch: Batch) -> None:
        for group in by_length(batch):
            rows, points, flow = group.rows, group.points, group.flow
            if name == "stretch":
                signals[rows] = some = time_grid.to_stretch(flow, points)
                spirometry.put(after, rows, spirometry.indices(time_grid.from_stretch(some, points), points))
                continue
            signals[rows] = some = time_grid.to_grid(flow, t0[rows], points)
            lead[rows] = time_grid.lead_volume(flow, t0[rows])
            spirometry.put(after, rows, spirometry.indices(time_grid.to_10ms(some, _samples(points, t0[rows]))))

    for _ in each(fill, batches(repaired, table, "resample")):
        artifacts.release(signals)
    return Resampled(time_grid.zero_sample(t0), lead, after.to_pandas())


def _samples(points: NDArray, t0: NDArray) -> int:
    """Samples of 10 ms in the window until the last of some curves has ended, with the bin it ended in."""
    end = points - time_grid.zero_sample(t0) + time_grid.LEAD_SAMPLES
    return int(np.clip(end.max() + WIDEST_BIN, WIDEST_BIN, time_grid.N_10MS))


def edges(table: pd.DataFrame, row: int, name: GridName) -> NDArray[np.float64]:
    """Edges (513,) of the bins of one curve: s after time zero, or after the first sample where it is stretched."""
    if name == "warped":
        return time_grid.EDGES_S
    duration = table["points"].iloc[row] * spirometry.SAMPLE_PERIOD_S
    return np.linspace(0, duration, time_grid.N_SAMPLES + 1)
