"""Curves as points whose Euclidean distance is the root mean square difference of flow over the first six seconds."""

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.evaluation.measured import Measured
from spiro_diffusion.physiology import time_grid

SPAN_S = 6.0  # after time zero: later flow is small and adds noise alone
WIDTH_S = 0.04  # of the bins compared: finer ones compare the tremor, which no two curves share


def shapes(signals: NDArray) -> NDArray[np.float32]:
    """Points (n, d) whose Euclidean distance is the RMS difference of flow (L/s), of signals (n, 512)."""
    bins = np.unique(np.searchsorted(time_grid.EDGES_S, _compared_edges() - 1e-9))
    edges = time_grid.EDGES_S[bins]
    at_edges = time_grid.volume(signals)[:, bins]
    flow = np.diff(at_edges, axis=1) / np.diff(edges)
    return (flow * np.sqrt(np.diff(edges) / (edges[-1] - edges[0]))).astype(np.float32)


def of_measured(curves: Measured) -> NDArray[np.float32]:
    """Shapes of curves after the counter."""
    return shapes(curves.signals() if len(curves) else np.zeros((0, time_grid.N_SAMPLES), dtype=np.float32))


def _compared_edges() -> NDArray[np.float64]:
    return np.arange(-time_grid.LEAD_S, SPAN_S + WIDTH_S / 2, WIDTH_S)


def between_efforts(points: NDArray, seqn: NDArray) -> NDArray[np.float64]:
    """Distances (pairs,) in L/s between two efforts of one person, of all persons."""
    found = [np.zeros(0)]
    for person in np.unique(seqn):
        of_person = points[seqn == person].astype(np.float64)
        i, j = np.triu_indices(len(of_person), 1)
        found.append(np.sqrt(((of_person[i] - of_person[j]) ** 2).sum(axis=1)))
    return np.concatenate(found)
