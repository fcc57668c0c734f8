"""Full efforts spoiled on purpose: cut short, or with a cough put in."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.physiology import time_grid
from spiro_diffusion.reconstruction import segments

CUTS_S = (1.0, 2.0, 3.0, 4.0)
COUGH_S = (0.3, 0.9)  # when a cough comes, s after time zero
COUGH_BEFORE_S, COUGH_AFTER_S = 0.12, 0.20  # what of it is not trusted
LEAST_LASTS_S = 0.15  # an effort that ends sooner after a cut is not cut


class Case(NamedTuple):
    """n efforts spoiled alike: `rows` (n,) among those given, (n, 512) L/s as recorded and as they were, what of the
    record is trusted, and the people."""

    name: str
    rows: NDArray[np.int64]
    signals: NDArray[np.float32]
    trusted: NDArray[np.bool_]
    truth: NDArray[np.float32]
    people: pd.DataFrame


def cut(signals: NDArray, people: pd.DataFrame, at: float) -> Case:
    """Efforts stopped `at` s after time zero, of those that lasted longer."""
    edge = int(np.searchsorted(time_grid.EDGES_S, at - 1e-9))
    lasts = time_grid.EDGES_S[segments.end_edge(signals)]
    rows = np.flatnonzero(lasts > at + LEAST_LASTS_S)
    truth = np.asarray(signals[rows])
    trusted = np.broadcast_to(np.arange(time_grid.N_SAMPLES) < edge, truth.shape).copy()
    return Case(f"cut_{at:g}", rows, np.where(trusted, truth, 0), trusted, truth, people.iloc[rows])


def cough(signals: NDArray, people: pd.DataFrame, rng: np.random.Generator) -> Case:
    """Efforts with a cough in the first second: the flow ceases for a moment and comes back in a burst."""
    truth = np.asarray(signals)
    at = rng.uniform(*COUGH_S, (len(truth), 1))
    t = time_grid.EDGES_S[:-1] + time_grid.WIDTHS_S / 2
    dip, burst = np.exp(-(((t - at) / 0.04) ** 2)), np.exp(-(((t - at - 0.09) / 0.03) ** 2))
    trusted = (t < at - COUGH_BEFORE_S) | (t > at + COUGH_AFTER_S)
    flow = (truth * (1 - 0.95 * dip + 0.7 * burst)).astype(np.float32)
    return Case("cough", np.arange(len(truth)), flow, trusted, truth, people)
