"""Which efforts count and how good a session is: ATS/ERS 2019, the 2005 rules NHANES worked by, its grades.

Sources: ATS/ERS 2019, doi 10.1164/rccm.201908-1590ST, tables 7 and 10; ATS/ERS 2005, doi
10.1183/09031936.05.00034805; the quality attributes of the NHANES SPX documentation. What only a
technician sees (leaks, an obstructed mouthpiece, the breath in after the effort) is not judged here.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from spiro_diffusion.physiology.spirometry import PLATEAU_L, Indices

Bools = NDArray[np.bool_]

BEV_SHARE = 0.05  # of FVC
BEV_2019_L, BEV_2005_L = 0.100, 0.150  # or this much, whichever is larger
LONGEST_NEEDED_S = 15.0  # an expiration so long needs no plateau (2019)
NEEDED_2005_S, NEEDED_2005_CHILD_S = 6.0, 3.0  # or a plateau; NHANES asked 3 s of ages 6 to 10
CHILD_2005_AGE = 11  # years, below it a child
COUGH_SHARE, COUGH_LPS = 0.10, 0.5  # of PEF, and L/s: flow that comes back after a fall; tremor stays below both
CUT_SHARE, CUT_LPS = 0.10, 0.3  # of PEF, and L/s: flow that ceases from above both was cut off by the glottis
PRESCHOOL_AGE = 6  # years, up to it the first 0.75 s count instead of the first second, and other tolerances


class Judged(NamedTuple):
    """Whether n efforts are acceptable, and usable, for FEV1 and for FVC."""

    fev1: Bools
    fvc: Bools
    usable_fev1: Bools
    usable_fvc: Bools


def judge_2019(indices: Indices | pd.DataFrame, age: ArrayLike) -> Judged:
    """ATS/ERS 2019, table 7, as far as the curve tells.

    Args:
        indices: of n efforts; each column (n,).
        age: years, (n,).

    An end by repeatability (FVC within the tolerance of an earlier, larger one) is a matter of the session and is
    not looked for. What is NaN fails.
    """
    starts_well = _at_most(indices.bev, np.maximum(BEV_SHARE * _array(indices.fvc), BEV_2019_L))
    first = np.where(_array(age) <= PRESCHOOL_AGE, 0.75, 1.0)
    cut = _cut_off(indices)
    early = cut & (_array(indices.t99) < first)
    ends_well = _at_most(indices.last_second, PLATEAU_L) | (_array(indices.fet) >= LONGEST_NEEDED_S)
    usable_fev1 = starts_well & ~early
    return Judged(usable_fev1 & ~_coughed(indices), starts_well & ~cut & ends_well, usable_fev1, starts_well)


def judge_2005(indices: Indices | pd.DataFrame, age: ArrayLike) -> Bools:
    """ATS/ERS 2005 within-manoeuvre criteria (n,), with NHANES's 3 s for ages 6 to 10."""
    starts_well = _at_most(indices.bev, np.maximum(BEV_SHARE * _array(indices.fvc), BEV_2005_L))
    needed = np.where(_array(age) < CHILD_2005_AGE, NEEDED_2005_CHILD_S, NEEDED_2005_S)
    lasts = (_array(indices.fet) >= needed) | _at_most(indices.last_second, PLATEAU_L)
    return starts_well & lasts & ~_coughed(indices) & ~_cut_off(indices)


def session_grades_2019(
    values: ArrayLike, acceptable: ArrayLike, usable: ArrayLike, person: ArrayLike, age: ArrayLike
) -> pd.Series:
    """Grade A to F, or U, of each person's FEV1 or FVC (ATS/ERS 2019, table 10).

    Args:
        values: FEV1 or FVC of n efforts, L; `acceptable`, `usable`: (n,) as judged; `person`: (n,) who blew;
            `age`: years, (n,).

    Returns:
        Grades, indexed by person in ascending order.
    """
    best = _best_two(values, acceptable, person)
    usable_count = pd.Series(_array(usable)).groupby(np.asarray(person)).sum().reindex(best.index)
    small = pd.Series(_array(age)).groupby(np.asarray(person)).first().reindex(best.index) <= PRESCHOOL_AGE

    def within(limit: float) -> pd.Series:
        child = np.maximum(limit - 0.050, 0.10 * best["first"])
        return best["gap"] <= np.where(small, child, limit) + 1e-9

    grade = pd.Series("E", index=best.index)
    grade[(best["count"] >= 2) & within(0.250)] = "D"
    grade[(best["count"] >= 2) & within(0.200)] = "C"
    grade[(best["count"] == 2) & within(0.150)] = "B"
    grade[(best["count"] >= 3) & within(0.150)] = "A"
    grade[(best["count"] == 0) & (usable_count > 0)] = "U"
    grade[(best["count"] == 0) & (usable_count == 0)] = "F"
    return grade


def session_grades_nhanes(values: ArrayLike, acceptable: ArrayLike, person: ArrayLike) -> pd.Series:
    """NHANES's quality attribute of each person's FEV1 or FVC (SPXNQFV1, SPXNQFVC), by its published rule.

    A: three acceptable efforts, the best two within 100 mL; B: within 150 mL; C: two within 200 mL; D: any
    other with an acceptable effort; F: none. The published grades were given by readers who also saw the curves.
    """
    best = _best_two(values, acceptable, person)
    grade = pd.Series("D", index=best.index)
    grade[(best["count"] >= 2) & (best["gap"] <= 0.200 + 1e-9)] = "C"
    grade[(best["count"] >= 3) & (best["gap"] <= 0.150 + 1e-9)] = "B"
    grade[(best["count"] >= 3) & (best["gap"] <= 0.100 + 1e-9)] = "A"
    grade[best["count"] == 0] = "F"
    return grade


def _best_two(values: ArrayLike, acceptable: ArrayLike, person: ArrayLike) -> pd.DataFrame:
    """For each person, how many acceptable efforts, the best (`first`), and its `gap` to the second; NaN without."""
    efforts = pd.DataFrame({"value": _array(values), "person": np.asarray(person)})
    good = efforts[np.asarray(acceptable, dtype=bool)].sort_values("value", ascending=False, kind="stable")
    ranks = good.groupby("person").cumcount()
    first = good[ranks == 0].set_index("person")["value"]
    second = good[ranks == 1].set_index("person")["value"]
    people = pd.Index(np.unique(np.asarray(person)))
    table = pd.DataFrame({"count": good.groupby("person").size(), "first": first, "gap": first - second}, index=people)
    return table.fillna({"count": 0})


def _coughed(indices: Indices | pd.DataFrame) -> Bools:
    return ~_at_most(indices.cough, np.maximum(COUGH_SHARE * _array(indices.pef), COUGH_LPS))


def _cut_off(indices: Indices | pd.DataFrame) -> Bools:
    return ~_at_most(indices.end_flow, np.maximum(CUT_SHARE * _array(indices.pef), CUT_LPS))


def _at_most(value: ArrayLike, limit: ArrayLike) -> Bools:
    """False also where either is NaN."""
    return _array(value) <= _array(limit)


def _array(value: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(value, dtype=np.float64)


def summary(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Share of the efforts of each NHANES effort grade that the rules accept; `table` has indices, age and grade."""
    judged = judge_2019(table, table["age"])
    rules = {
        "acceptable_fev1_2019": judged.fev1,
        "acceptable_fvc_2019": judged.fvc,
        "usable_fev1_2019": judged.usable_fev1,
        "acceptable_2005": judge_2005(table, table["age"]),
        "nhanes": table["acceptable"].to_numpy(),
    }
    shares = pd.DataFrame(rules).groupby(table["grade"].to_numpy()).mean().round(4)
    return {str(grade): {rule: float(row[rule]) for rule in rules} for grade, row in shares.iterrows()}
