"""One row of features a session: values of its efforts relative to one another, and which came first.

A session is the efforts of one participant before, or after, the bronchodilator. Efforts of grades A and B are its good
ones, which NHANES's session grades count; what is said of volumes and flows is said of them.
"""

from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.vocabulary import GRADES, JUDGED
from spiro_diffusion.evaluation.conditional import ReferenceSurface, usable
from spiro_diffusion.evaluation.measured import Measured
from spiro_diffusion.physiology import ats_ers, time_grid

GOOD = ("A", "B")
COMPARED = ("fev1", "fvc", "pef")  # whose repeatability is judged
FEWEST_SKEWED = 3  # good efforts that have a skewness
SLICES = 20  # of the smaller FVC: in each the mean flow of two efforts is compared
ONSET_L = 0.001  # expired where an effort has begun
FASTEST_L_S = 30.0  # flow: where no time passes between two volumes

Floats = NDArray[np.float64]


def of_measured(curves: Measured, reference_surface: ReferenceSurface) -> pd.DataFrame:
    """The sessions of curves after the counter; see `of_efforts`."""
    table = curves.people.drop(columns=[c for c in curves.people if c in curves.indices])
    return of_efforts(table.assign(**curves.indices), curves.signals(), reference_surface)


def of_efforts(efforts: pd.DataFrame, signals: NDArray, reference_surface: ReferenceSurface) -> pd.DataFrame:
    """One row a session, in the order of seqn and test type.

    Args:
        efforts: one row an effort, the efforts of a session in the order they were blown: seqn, test_type, grade, age,
            height, sex and the indices of `spirometry.Indices`.
        signals: (n, 512) L/s of the same efforts. reference_surface: the mean that residuals are taken around.

    Returns:
        seqn, test_type; `efforts`, `good` and the shares `grade_A` to `grade_D`; for FEV1, FVC and PEF of the good ones
        `…_mean`, `…_best`, `…_deviations` (their sum of squares, L² or (L/s)²), `…_sd`, `…_cv`, `…_gap` (best less
        second best, L or L/s), `…_first` (first over best); `fvc_skewness`; of log residuals of the four indices
        `…_residual`, `…_square`, `…_product` (means over the good ones, and over pairs of them); `repeats` (2019: 1
        where FEV1 and FVC are graded A or B); `nhanes_fev1`, `nhanes_fvc` (grades, "D" also for F); `overlap`; and of
        all efforts the means and SDs of log FVC, FET and extrapolated volume. NaN where too few are good.
    """
    efforts = efforts.reset_index(drop=True)
    session = efforts.groupby(["seqn", "test_type"], sort=True).ngroup().to_numpy()
    first = np.unique(session, return_index=True)[1]
    good = efforts["grade"].isin(GOOD).to_numpy() & np.all([usable(efforts[i].to_numpy()) for i in JUDGED], axis=0)
    table = efforts.loc[first, ["seqn", "test_type"]].reset_index(drop=True)
    table["efforts"] = np.bincount(session)
    table["good"] = np.bincount(session, good)
    for grade in GRADES:
        table[f"grade_{grade}"] = np.bincount(session, efforts["grade"] == grade) / table["efforts"]
    parts = [
        _spread(efforts, session, good),
        _residuals(efforts, session, good, reference_surface),
        _all(efforts, session),
    ]
    table = pd.concat([table, *(part.reindex(table.index) for part in parts)], axis=1)
    judged = ats_ers.judge_sessions(efforts, efforts["age"], session).iloc[first]
    table["repeats"] = judged[["session_fev1", "session_fvc"]].isin(["A", "B"]).all(axis=1).to_numpy(float)
    for index in ("fev1", "fvc"):
        grades = ats_ers.session_grades_nhanes(efforts[index], good, session).replace("F", "D")
        table[f"nhanes_{index}"] = grades.to_numpy()
    table["overlap"] = pd.Series(overlaps(signals, session, good)).reindex(table.index)
    return table


def _spread(efforts: pd.DataFrame, session: NDArray, good: NDArray) -> pd.DataFrame:
    """How good efforts of a session differ, by session."""
    some = efforts[good]
    by_session = some.groupby(session[good])
    table: dict[str, pd.Series] = {}
    for index in COMPARED:
        values = by_session[index]
        count, mean = values.count(), values.mean()
        ranked = some[index].groupby(session[good]).rank(ascending=False, method="first")
        best, second = (some[index][ranked == rank].groupby(session[good][ranked == rank]).first() for rank in (1, 2))
        two = count >= 2
        sd = values.std()
        table |= {
            f"{index}_mean": mean,
            f"{index}_best": best,
            f"{index}_deviations": (sd**2 * (count - 1)).where(two),
            f"{index}_sd": sd,
            f"{index}_cv": sd / mean,
            f"{index}_gap": best - second,
            f"{index}_first": (values.first() / best).where(two),
        }
    table["fvc_skewness"] = _skewness(some["fvc"], session[good])
    return pd.DataFrame(table)


def _skewness(values: pd.Series, session: NDArray) -> pd.Series:
    """Third moment over the second to the power of 1.5, by session of three or more that are not all alike."""
    deviation = values - values.groupby(session).transform("mean")
    second, third = ((deviation**power).groupby(session).mean() for power in (2, 3))
    count = values.groupby(session).count()
    return (third / second.where(second > 0) ** 1.5).where(count >= FEWEST_SKEWED)


def _residuals(
    efforts: pd.DataFrame, session: NDArray, good: NDArray, reference_surface: ReferenceSurface
) -> pd.DataFrame:
    """Means over good efforts, and over their pairs, of what correlation is made of, by session of two or more."""
    some = efforts[good]
    table: dict[str, pd.Series] = {}
    for index in JUDGED:
        residual = np.log(some[index]) - reference_surface.mean(some, index)
        by_session = residual.groupby(session[good])
        count, total = by_session.count(), by_session.sum()
        squares = (residual**2).groupby(session[good]).sum()
        two = count >= 2
        table |= {
            f"{index}_residual": (total / count).where(two),
            f"{index}_square": (squares / count).where(two),
            f"{index}_product": ((total**2 - squares) / (count * (count - 1)).where(two)),
        }
    return pd.DataFrame(table)


def _all(efforts: pd.DataFrame, session: NDArray) -> pd.DataFrame:
    """Means and SDs over all efforts of a session, good or not."""
    values = efforts[["fvc", "fet", "bev"]]
    logs: pd.DataFrame = values.where(values > 0).apply(np.log)
    by_session = logs.groupby(session)
    return pd.concat([by_session.mean().add_suffix("_log"), by_session.std().add_suffix("_log_sd")], axis=1)


def overlaps(signals: NDArray, session: NDArray, good: NDArray) -> dict[int, float]:
    """Mean overlap of the flow-volume curves of two good efforts, over all pairs of each session that has two.

    The smaller FVC is cut into SLICES; an effort's flow in a slice is its volume over the time that it took. Overlap is
    the area under both curves over the area under either, from nothing to the smaller FVC.
    """
    volume = np.maximum.accumulate(time_grid.volume(signals), axis=1)
    found: dict[int, float] = {}
    rows = np.flatnonzero(good)
    for one in np.unique(session[rows]):
        pairs = list(combinations(rows[session[rows] == one], 2))
        if pairs:
            found[int(one)] = float(np.mean([_overlap(volume[[i, j]]) for i, j in pairs]))
    return found


def _overlap(volume: Floats) -> float:
    """Of two efforts with these volumes (2, 513) in L at the edges of the grid, which rise."""
    edges = np.linspace(0, 1, SLICES + 1) * volume[:, -1].min()
    edges[0] = ONSET_L  # before it no flow has begun
    times = np.stack([np.interp(edges, v, time_grid.EDGES_S) for v in volume])
    slices = np.diff(edges)
    flow = slices / np.maximum(np.diff(times, axis=1), slices / FASTEST_L_S)
    return float(flow.min(axis=0).sum() / flow.max(axis=0).sum())
