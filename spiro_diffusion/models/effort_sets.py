"""Efforts of people as padded sets with a slot for each effort, and the best values of a session."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

PLACES = 8  # efforts of a session; a session after the bronchodilator follows in the same set
EFFORTS = 2 * PLACES
MAXIMA = ("fev1", "fvc", "pef", "fef2575")  # L, L/s
BEST = ("fev1", "fvc", "ratio", "pef", "fef2575")  # what may be known of a session's best values: L, -, L/s
ACCEPTED = ("A", "B", "C")  # efforts with these grades give a session's best values, as those that NHANES publishes

Floats = NDArray[np.float64]


class EffortSets(NamedTuple):
    """n efforts of P people."""

    rows: NDArray[np.int64]  # (P, EFFORTS) rows of the table; at an empty slot the person's first
    present: NDArray[np.bool_]  # (P, EFFORTS)
    person: NDArray[np.int64]  # (n,) of each row: people in the order in which they come

    @classmethod
    def of(cls, table: pd.DataFrame, name: str = "seqn") -> "EffortSets":
        """Of efforts with a person in the column `name`, test_type and place, which gives the order.

        Those before the bronchodilator have the first PLACES slots, those after it the others; more have none.
        """
        person = pd.factorize(table[name])[0].astype(np.int64)
        after = (table["test_type"] == "Bron").to_numpy()
        slot = table["place"].groupby([person, after]).rank(method="first").to_numpy(np.int64) - 1
        kept = slot < PLACES
        first = np.unique(person, return_index=True)[1]
        rows = np.repeat(first[:, None], EFFORTS, axis=1)
        present = np.zeros(rows.shape, dtype=bool)
        at = person[kept], (slot + PLACES * after)[kept]
        rows[at], present[at] = np.flatnonzero(kept), True
        return cls(rows, present, person)

    def best(self, values: pd.DataFrame) -> Floats:
        """BEST (P, 5) of each person, NaN where no effort counts: the largest of MAXIMA over the efforts of grade A, B
        or C before the bronchodilator, after it for people without efforts before it; FEV1/FVC is of these two."""
        counts = (values["grade"].isin(ACCEPTED).to_numpy())[self.rows] & self.present
        before = self.present[:, :PLACES].any(axis=1)
        counts[before, PLACES:] = False
        found = np.where(counts[..., None], values[list(MAXIMA)].to_numpy(float)[self.rows], -np.inf).max(axis=1)
        return with_ratio(np.where(np.isfinite(found), found, np.nan))


def with_ratio(values: Floats) -> Floats:
    """BEST (n, 5) of MAXIMA (n, 4)."""
    fev1, fvc, pef, fef2575 = values.T
    return np.column_stack([fev1, fvc, fev1 / fvc, pef, fef2575])


def completed(best: Floats) -> Floats:
    """BEST (n, 5) with the third of FEV1, FVC and FEV1/FVC where two are known."""
    fev1, fvc, ratio = (best[:, BEST.index(name)] for name in ("fev1", "fvc", "ratio"))
    filled = best.copy()
    for name, value in (("fev1", ratio * fvc), ("fvc", fev1 / ratio), ("ratio", fev1 / fvc)):
        column = filled[:, BEST.index(name)]
        column[np.isnan(column)] = value[np.isnan(column)]
    return filled


def places(table: pd.DataFrame, number: str) -> NDArray[np.int64]:
    """The place (n,) of each effort in its session, from 1, by its `number`; the table has seqn and test_type."""
    return table.groupby(["seqn", "test_type"])[number].rank(method="first").to_numpy(np.int64)
