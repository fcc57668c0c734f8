"""Acceptability of efforts and grades of sessions: ATS/ERS 2019, the 2005 rules of NHANES, and NHANES grades.

Sources: ATS/ERS 2019, doi 10.1164/rccm.201908-1590ST, tables 7 and 10; ATS/ERS 2005, doi
10.1183/09031936.05.00034805; the quality attributes of the NHANES SPX documentation. What the flow of an expiration
alone does not show (a leak, an obstructed mouthpiece, the breath in after it, the zero) comes in as `Observed`.
"""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from spiro_diffusion.physiology.spirometry import PLATEAU_L, Indices

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

BEV_SHARE = 0.05  # of FVC
BEV_2019_L, BEV_2005_L = 0.100, 0.150  # or this much, whichever is larger
LONGEST_NEEDED_S = 15.0  # an expiration so long needs no plateau (2019)
NEEDED_2005_S, NEEDED_2005_CHILD_S = 6.0, 3.0  # or a plateau; NHANES required 3 s of ages 6 to 10
CHILD_2005_AGE = 11  # years, below it a child
COUGH_SHARE, COUGH_LPS = 0.10, 0.5  # of PEF, and L/s: flow that comes back after a fall; tremor stays below both
CUT_SHARE, CUT_LPS = 0.10, 0.3  # of PEF, and L/s: flow that ceases from above both was cut off by the glottis
PRESCHOOL_AGE = 6  # years, up to it the first 0.75 s count instead of the first second, and other tolerances
REPEATABLE_L = 0.150  # two efforts repeat within it (2019); up to six years within the larger of ...
REPEATABLE_CHILD_L, REPEATABLE_CHILD_SHARE = 0.100, 0.10  # ... L, and of the largest
INSPIRED_MORE_L, INSPIRED_MORE_SHARE = 0.100, 0.05  # FIVC may exceed FVC by the larger of L and share of FVC (2019)
HESITATION_S = 2.0  # a longer pause at full inspiration lowers FEV1: a warning, no fault (2019)
FAULTY_ZERO_LPS = 0.025  # a zero that is off by more makes or hides a plateau (0.025 L in 1 s) by itself

Failing = Literal[
    "slow start",
    "faulty zero",
    "cough",
    "early closure",
    "late closure",
    "no end",
    "leak",
    "obstruction",
    "inspired more",
]


class Lost(NamedTuple):
    """What of an effort a fault takes away."""

    fev1: bool
    fvc: bool
    usable_fev1: bool
    usable_fvc: bool


TABLE_7: dict[Failing, Lost] = {  # of ATS/ERS 2019; the first second is 0.75 s up to six years
    "slow start": Lost(True, True, True, True),  # BEV above the larger of 5 % of FVC and 0.100 L
    "faulty zero": Lost(True, True, True, True),
    "cough": Lost(True, False, True, False),  # in the first second
    "early closure": Lost(True, True, True, True),  # of the glottis, in the first second
    "late closure": Lost(False, True, False, False),
    "no end": Lost(False, True, False, False),  # neither plateau, nor 15 s, nor an FVC that repeats
    "leak": Lost(True, True, False, False),
    "obstruction": Lost(True, True, False, False),  # of the mouthpiece
    "inspired more": Lost(True, True, False, False),  # FIVC above FVC
}


class Observed(NamedTuple):
    """What is known of n efforts besides their indices; each (n,) or one for all."""

    fivc: ArrayLike = np.nan  # L, inspired after the expiration; NaN where nothing was recorded, which is no fault
    faulty_zero: ArrayLike = False
    leak: ArrayLike = False
    obstruction: ArrayLike = False


class Judged(NamedTuple):
    """Whether n efforts are acceptable, and usable, for FEV1 and for FVC.

    `provisional_fvc`: the FVC of a first effort that only lacks an end of test. It is not acceptable until a later
    effort of its testing set repeats it.
    """

    fev1: Bools
    fvc: Bools
    usable_fev1: Bools
    usable_fvc: Bools
    provisional_fvc: Bools


def judge_2019(
    indices: Indices | pd.DataFrame,
    age: ArrayLike,
    testing_set: ArrayLike | None = None,
    observed: Observed = Observed(),  # noqa: B008 (immutable)
) -> Judged:
    """ATS/ERS 2019, table 7.

    Args:
        indices: of n efforts; each column (n,).
        age: years, (n,).
        testing_set: (n,) equal for the efforts of one person before, or after, the bronchodilator, which are in the
            order they were blown; without it each effort stands alone.
        observed: what else is known of them.

    What is NaN fails.
    """
    return read_2019(indices, age, testing_set, observed)[0]


def read_2019(
    indices: Indices | pd.DataFrame,
    age: ArrayLike,
    testing_set: ArrayLike | None = None,
    observed: Observed = Observed(),  # noqa: B008
) -> tuple[Judged, list[tuple[Failing, ...]]]:
    """What `judge_2019` says, and the faults of table 7 that each of the n efforts has; arguments as there."""
    found, complete, first = _found_2019(indices, age, testing_set, observed)
    count = len(_array(indices.fvc))
    fev1, fvc, usable_fev1, usable_fvc = (_kept(name, found, _array(indices.fvc)) for name in Lost._fields)
    there = {name: np.broadcast_to(np.asarray(rows, dtype=bool), count) for name, rows in found.items()}
    faults = [tuple(name for name, rows in there.items() if rows[i]) for i in range(count)]
    return Judged(fev1, fvc, usable_fev1, usable_fvc, complete & ~fvc & first), faults


def _found_2019(
    indices: Indices | pd.DataFrame, age: ArrayLike, testing_set: ArrayLike | None, observed: Observed
) -> tuple[dict[Failing, ArrayLike], Bools, Bools]:
    """The faults of n efforts; whether each has none but an end of test; and which is the first of its set."""
    fvc, age = _array(indices.fvc), _array(age)
    small = age <= PRESCHOOL_AGE
    cut = _cut_off(indices)
    early = _array(indices.t99) < np.where(small, 0.75, 1.0)
    cough = np.where(small, _array(indices.cough075), _array(indices.cough))
    excess = _array(observed.fivc) - fvc
    found: dict[Failing, ArrayLike] = {
        "slow start": ~_at_most(indices.bev, bev_limit(fvc)),
        "faulty zero": observed.faulty_zero,
        "cough": ~_at_most(cough, cough_limit(indices.pef)),
        "early closure": cut & early,
        "late closure": cut & ~early,
        "leak": observed.leak,
        "obstruction": observed.obstruction,
        "inspired more": excess > np.maximum(INSPIRED_MORE_L, INSPIRED_MORE_SHARE * fvc),
    }
    ends = _at_most(indices.last_second, PLATEAU_L) | (_array(indices.fet) >= LONGEST_NEEDED_S)
    sets = np.arange(len(fvc)) if testing_set is None else np.asarray(testing_set)
    usable = _kept("usable_fvc", found, fvc)
    repeats, first = _repeats(np.where(usable, fvc, np.nan), age, sets)
    complete = _kept("fvc", found, fvc)
    found["no end"] = ~(ends | repeats)
    return found, complete, first


def _kept(name: str, found: dict[Failing, ArrayLike], fvc: Floats) -> Bools:
    """Whether none of the faults (n,) takes this from an effort."""
    lost = ~np.isfinite(fvc)
    for fault, there in found.items():
        if getattr(TABLE_7[fault], name):
            lost = lost | np.asarray(there, dtype=bool)
    return ~lost


def _repeats(fvc: Floats, age: Floats, testing_set: NDArray) -> tuple[Bools, Bools]:
    """Whether each FVC (n,) exceeds, or repeats, the largest earlier one of its set; and which is the first there.

    A first effort has none before it: it repeats where a later one comes as near. NaN is no FVC.
    """
    table = pd.DataFrame({"fvc": fvc, "age": age, "set": testing_set})[np.isfinite(fvc)]
    groups = table.groupby("set", sort=False)["fvc"]
    earlier = groups.cummax().groupby(table["set"]).shift()
    first = earlier.isna()
    largest_earlier = earlier.fillna(table["fvc"])
    repeats = ~first & (table["fvc"] >= largest_earlier - repeatability(largest_earlier, table["age"]) - 1e-9)
    of_first = table["fvc"].where(first).groupby(table["set"]).ffill()
    near = (table["fvc"] - of_first).abs() <= repeatability(np.maximum(of_first, table["fvc"]), table["age"]) + 1e-9
    repeats |= first & (near & ~first).groupby(table["set"]).transform("any")
    masks = np.zeros((2, len(fvc)), dtype=bool)
    masks[:, np.isfinite(fvc)] = repeats, first
    return masks[0], masks[1]


def repeatability(largest: ArrayLike, age: ArrayLike) -> Floats:
    """L within which two efforts repeat, of which `largest` (L) is the larger (ATS/ERS 2019)."""
    child = np.maximum(REPEATABLE_CHILD_L, REPEATABLE_CHILD_SHARE * _array(largest))
    return np.where(_array(age) <= PRESCHOOL_AGE, child, REPEATABLE_L)


def bev_limit(fvc: ArrayLike, floor: float = BEV_2019_L) -> Floats:
    """The largest acceptable back-extrapolated volume, L, of efforts with this FVC (L)."""
    return np.maximum(BEV_SHARE * _array(fvc), floor)


def cough_limit(pef: ArrayLike) -> Floats:
    """L/s by which flow may come back in the first second without a cough, of efforts with this PEF (L/s)."""
    return np.maximum(COUGH_SHARE * _array(pef), COUGH_LPS)


def judge_2005(indices: Indices | pd.DataFrame, age: ArrayLike) -> Bools:
    """ATS/ERS 2005 within-manoeuvre criteria (n,), with NHANES's 3 s for ages 6 to 10."""
    starts_well = _at_most(indices.bev, bev_limit(indices.fvc, BEV_2005_L))
    needed = np.where(_array(age) < CHILD_2005_AGE, NEEDED_2005_CHILD_S, NEEDED_2005_S)
    lasts = (_array(indices.fet) >= needed) | _at_most(indices.last_second, PLATEAU_L)
    steady = _at_most(indices.cough, cough_limit(indices.pef))
    return starts_well & lasts & steady & ~_cut_off(indices)


def first_volume(indices: Indices | pd.DataFrame, age: ArrayLike) -> Floats:
    """FEV1 (n,) in L, or FEV0.75 up to six years, which stands for it there (ATS/ERS 2019)."""
    return np.where(_array(age) <= PRESCHOOL_AGE, _array(indices.fev075), _array(indices.fev1))


def judge_sessions(
    indices: Indices | pd.DataFrame,
    age: ArrayLike,
    session: ArrayLike,
    observed: Observed = Observed(),  # noqa: B008
) -> pd.DataFrame:
    """Efforts and sessions by ATS/ERS 2019.

    Args:
        indices, age, observed: as `judge_2019` takes them.
        session: (n,) the testing set of each effort, in the order they were blown.

    Returns:
        A row an effort: acceptable_fev1, acceptable_fvc, usable_fev1, usable_fvc, provisional_fvc, and the grades of
        its session, session_fev1 (of FEV0.75 up to six years) and session_fvc.
    """
    judged = judge_2019(indices, age, session, observed)
    table = pd.DataFrame({"acceptable_fev1": judged.fev1, "acceptable_fvc": judged.fvc})
    table = table.assign(
        usable_fev1=judged.usable_fev1, usable_fvc=judged.usable_fvc, provisional_fvc=judged.provisional_fvc
    )
    values = {"fev1": first_volume(indices, age), "fvc": _array(indices.fvc)}
    for name, value in values.items():
        grades = session_grades_2019(value, table[f"acceptable_{name}"], table[f"usable_{name}"], session, age)
        table[f"session_{name}"] = grades.loc[np.asarray(session)].to_numpy()
    return table


def best_efforts(fev1: ArrayLike, fvc: ArrayLike, person: ArrayLike, allowed: ArrayLike) -> Bools:
    """Each person's best effort among those allowed (n,): the largest FEV1 + FVC, of equals the first."""
    size = pd.Series(_array(fev1) + _array(fvc)).where(np.asarray(allowed, dtype=bool)).dropna()
    best = np.zeros(len(np.asarray(person)), dtype=bool)
    best[size.groupby(np.asarray(person)[size.index]).idxmax()] = True
    return best


def session_grades_2019(
    values: ArrayLike, acceptable: ArrayLike, usable: ArrayLike, person: ArrayLike, age: ArrayLike
) -> pd.Series:
    """Grade A to F, or U, of each person's FEV1 or FVC (ATS/ERS 2019, table 10).

    Args:
        values: FEV1 or FVC of n efforts, L; `acceptable`, `usable`: (n,) as judged; `person`: (n,) the person;
            `age`: years, (n,).

    Returns:
        Grades, indexed by person in ascending order.
    """
    best = _best_two(values, acceptable, person)
    of = pd.DataFrame({"usable": _array(usable), "age": _array(age)}).groupby(np.asarray(person))
    usable_count, years = of["usable"].sum().to_numpy(), of["age"].first().to_numpy()
    count, first, gap = (best[name].to_numpy() for name in ("count", "first", "gap"))

    def within(limit: float) -> Bools:
        child = np.maximum(limit - 0.050, REPEATABLE_CHILD_SHARE * first)
        return gap <= np.where(years <= PRESCHOOL_AGE, child, limit) + 1e-9

    two = count >= 2
    grades = {
        "F": (count == 0) & (usable_count == 0),
        "U": count == 0,
        "A": (count >= 3) & within(0.150),
        "B": (count == 2) & within(0.150),
        "C": two & within(0.200),
        "D": two & within(0.250),
    }
    return pd.Series(np.select(list(grades.values()), list(grades), "E"), index=best.index)


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


def _cut_off(indices: Indices | pd.DataFrame) -> Bools:
    return ~_at_most(indices.end_flow, np.maximum(CUT_SHARE * _array(indices.pef), CUT_LPS))


def _at_most(value: ArrayLike, limit: ArrayLike) -> Bools:
    """False also where either is NaN."""
    return _array(value) <= _array(limit)


def _array(value: ArrayLike) -> Floats:
    return np.asarray(value, dtype=np.float64)


def summary(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Share of the efforts of each NHANES effort grade that the rules accept; `table` has indices,
    age, grade, seqn and test_type, the efforts of a participant in the order they were blown."""
    judged = judge_2019(table, table["age"], table.groupby(["seqn", "test_type"]).ngroup())
    rules = {
        "acceptable_fev1_2019": judged.fev1,
        "acceptable_fvc_2019": judged.fvc,
        "usable_fev1_2019": judged.usable_fev1,
        "acceptable_2005": judge_2005(table, table["age"]),
        "nhanes": table["acceptable"].to_numpy(),
    }
    shares = pd.DataFrame(rules).groupby(table["grade"].to_numpy()).mean().round(4)
    return {str(grade): {rule: float(row[rule]) for rule in rules} for grade, row in shares.iterrows()}
