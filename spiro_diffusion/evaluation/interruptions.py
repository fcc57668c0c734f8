"""Artificial interruptions of full efforts: an early end, or an inserted cough."""

from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.physiology import faults, time_grid
from spiro_diffusion.reconstruction import segments

COUGH_S = (0.3, 0.9)  # when the flow of a cough ceases, s after time zero
BURST_S = 0.09  # after which it comes back


class Kind(StrEnum):
    """How an effort came to be interrupted."""

    CUT = "cut"
    COUGH = "cough"
    RECORDED = "recorded"  # as it was measured, not on purpose


class Interruption(NamedTuple):
    """One way to interrupt an effort; a cut needs its time, s after time zero."""

    kind: Kind
    at_s: float | None = None

    @property
    def name(self) -> str:
        return self.kind if self.at_s is None else f"{self.kind}_{self.at_s:g}"

    @property
    def label(self) -> str:
        """In words."""
        return self.kind if self.at_s is None else f"{self.kind} at {self.at_s:g} s"


JUDGED = (*(Interruption(Kind.CUT, at_s) for at_s in (1.0, 2.0, 3.0, 4.0)), Interruption(Kind.COUGH))


class Case(NamedTuple):
    """n efforts interrupted alike: `rows` (n,) among those given, (n, bins) L/s as recorded and as they were, what of
    the record is trusted, and the people."""

    how: Interruption
    rows: NDArray[np.int64]
    signals: NDArray[np.float32]
    trusted: NDArray[np.bool_]
    truth: NDArray[np.float32]
    people: pd.DataFrame


def interrupted(how: Interruption, signals: NDArray, people: pd.DataFrame, seed: int) -> Case:
    """Efforts (n, bins) L/s interrupted as `how` says; `seed` places coughs."""
    if how.at_s is not None:
        return cut(signals, people, how.at_s)
    return cough(signals, people, np.random.default_rng(seed))


def cut(signals: NDArray, people: pd.DataFrame, at_s: float) -> Case:
    """Efforts stopped `at_s` after time zero, of those that lasted longer."""
    edge, rows = segments.edge_at(at_s), segments.cut_at(signals, at_s)
    truth = np.asarray(signals[rows])
    trusted = np.broadcast_to(np.arange(time_grid.N_SAMPLES) < edge, truth.shape).copy()
    return Case(Interruption(Kind.CUT, at_s), rows, np.where(trusted, truth, 0), trusted, truth, people.iloc[rows])


def cough(signals: NDArray, people: pd.DataFrame, rng: np.random.Generator) -> Case:
    """Efforts with a cough in the first second: the flow ceases for a moment and comes back in a burst."""
    truth = np.asarray(signals)
    at = rng.uniform(*COUGH_S, (len(truth), 1))
    t = time_grid.EDGES_S[:-1] + time_grid.WIDTHS_S / 2
    dip, burst = np.exp(-(((t - at) / 0.04) ** 2)), np.exp(-(((t - at - BURST_S) / 0.03) ** 2))
    trusted = (t < at - faults.COUGH_BEFORE_S) | (t > at + BURST_S + faults.COUGH_AFTER_S)
    flow = (truth * (1 - 0.95 * dip + 0.7 * burst)).astype(np.float32)
    return Case(Interruption(Kind.COUGH), np.arange(len(truth)), flow, trusted, truth, people)
