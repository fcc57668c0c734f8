"""Figures of sessions: a candidate's against held-out participants', with simultaneous intervals.

`FIGURES` lists each once, with how it is written and what was published of it elsewhere. Each is a mean, a quantile or
a correlation over sessions, so that the bootstrap of participants is a product of matrices.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from spiro_diffusion.core.vocabulary import INDICES, JUDGED
from spiro_diffusion.evaluation.bootstrap import Resamples
from spiro_diffusion.evaluation.figures import MIN_PEOPLE, Figure, Tree, figure, from_resamples, missing, too_few
from spiro_diffusion.evaluation.registry import PERCENT, Form
from spiro_diffusion.evaluation.session_values import COMPARED

ERROR = 0.05  # chance that any of the intervals of a perfect candidate's differences does not hold 0 (Bonferroni)
WORSE = "D"  # of NHANES's grades: its D and F cannot be distinguished without its readers
SHARE_OF_GAPS = 0.9  # of sessions: the published percentile of best less second best

Statistic = Callable[[pd.DataFrame, Resamples], NDArray]  # (sessions, resamples) -> (1 + B,)


class Published(NamedTuple):
    """What was found elsewhere: shown beside, never a target."""

    clinic: str = ""  # 18,000 sessions of a clinic, best less second, 90th percentile (Enright 2004)
    nhanes: str = ""  # NHANES 2011-2012, SPX_G
    adults: str = ""  # 62 adults of 18 to 39 years, PExOL_Spirometry repository (reference data MBDS)

    @property
    def text(self) -> str:
        words = {"clinic": self.clinic, "NHANES": self.nhanes, "young adults": self.adults}
        return "; ".join(f"{value} ({source})" for source, value in words.items() if value)


@dataclasses.dataclass(frozen=True)
class SessionFigure:
    """A figure: its name in sessions.json, its words, how it is written, and how it is computed."""

    name: str
    label: str
    form: Form
    statistic: Statistic
    published: Published = Published()  # noqa: RUF009 (immutable)


def mean_of(column: str) -> Statistic:
    """Mean over the sessions where it is known."""

    def statistic(sessions: pd.DataFrame, resamples: Resamples) -> NDArray:
        rows, values = _known(sessions, column)
        return resamples.restricted(rows).means(values)

    return statistic


def quantile_of(column: str, share: float) -> Statistic:
    """A quantile over the sessions where it is known."""

    def statistic(sessions: pd.DataFrame, resamples: Resamples) -> NDArray:
        rows, values = _known(sessions, column)
        if not len(values):
            return np.full(len(resamples.weights), np.nan)
        return resamples.restricted(rows).quantiles(values, share)

    return statistic


def share_of(column: str, value: str) -> Statistic:
    """Share of sessions where a column says `value`."""

    def statistic(sessions: pd.DataFrame, resamples: Resamples) -> NDArray:
        return resamples.means((sessions[column] == value).to_numpy(float))

    return statistic


def pooled_sd(index: str) -> Statistic:
    """SD within a session, from the sums of squares of all of two or more good efforts (Bland and Altman 1996)."""

    def statistic(sessions: pd.DataFrame, resamples: Resamples) -> NDArray:
        rows, squares = _known(sessions, f"{index}_deviations")
        freedom = sessions["good"].to_numpy(float)[rows] - 1
        sums = resamples.restricted(rows).sums(np.column_stack([squares, freedom]))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(sums[:, 0] / sums[:, 1])

    return statistic


def correlation(index: str) -> Statistic:
    """Correlation of two good efforts of a session, of the log residual; each session counts once."""

    def statistic(sessions: pd.DataFrame, resamples: Resamples) -> NDArray:
        rows, products = _known(sessions, f"{index}_product")
        columns = [sessions[f"{index}_{name}"].to_numpy(float)[rows] for name in ("residual", "square")]
        some = resamples.restricted(rows)
        mean, square, product = (some.means(values) for values in (*columns, products))
        with np.errstate(invalid="ignore", divide="ignore"):
            return (product - mean**2) / (square - mean**2)

    return statistic


def _known(sessions: pd.DataFrame, column: str) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    values = sessions[column].to_numpy(float)
    rows = np.isfinite(values)
    return rows, values[rows]


def _form(index: str) -> Form:
    return Form("mL", 0, 1000) if INDICES[index].unit == "L" else Form("L/s", 2)


_GAPS = {
    "fev1": Published("120 mL or 6.1 %", adults="133 mL"),
    "fvc": Published("150 mL or 5.3 %", adults="137 mL"),
    "pef": Published("0.80 L/s or 12 %", adults="0.54 L/s"),
}
_CVS = {"fev1": Published(adults="2.7 %"), "fvc": Published(adults="2.0 %"), "pef": Published()}
_GRADES = {"fvc": ("61.3", "23.3", "10.7", "4.6"), "fev1": ("63.7", "24.2", "8.2", "3.9")}  # %: A, B, C, D and F

FIGURES = (
    *(SessionFigure(f"{i}_sd", f"SD within a session, {INDICES[i].label}", _form(i), pooled_sd(i)) for i in COMPARED),
    *(
        SessionFigure(
            f"{i}_cv",
            f"CV within a session, {INDICES[i].label}, median",
            Form("%", 2, 100),
            quantile_of(f"{i}_cv", 0.5),
            _CVS[i],
        )
        for i in COMPARED
    ),
    *(
        SessionFigure(
            f"{i}_gap",
            f"best less second best {INDICES[i].label}, 90th percentile",
            _form(i),
            quantile_of(f"{i}_gap", SHARE_OF_GAPS),
            _GAPS[i],
        )
        for i in COMPARED
    ),
    *(
        SessionFigure(
            f"{i}_first",
            f"first over best {INDICES[i].label}, mean",
            PERCENT,
            mean_of(f"{i}_first"),
            Published(adults="97.5 %, median") if i != "pef" else Published(),
        )
        for i in COMPARED
    ),
    SessionFigure("fvc_skewness", "skewness of FVC within a session, mean", Form("", 2), mean_of("fvc_skewness")),
    *(
        SessionFigure(
            f"{i}_correlation", f"correlation of two efforts, {INDICES[i].label}", Form("", 3), correlation(i)
        )
        for i in JUDGED
    ),
    SessionFigure("overlap", "flow-volume overlap of two efforts, mean", PERCENT, mean_of("overlap")),
    SessionFigure("repeats", "FEV1 and FVC repeat within 150 mL (ATS/ERS 2019)", PERCENT, mean_of("repeats")),
    *(
        SessionFigure(
            f"nhanes_{i}_{grade}",
            f"{INDICES[i].label} session grade {'worse than C' if grade == WORSE else grade} (NHANES's rule)",
            PERCENT,
            share_of(f"nhanes_{i}", grade),
            Published(nhanes=f"{share} %"),
        )
        for i in ("fvc", "fev1")
        for grade, share in zip(("A", "B", "C", WORSE), _GRADES[i], strict=True)
    ),
    *(
        SessionFigure(f"effort_{grade}", f"efforts of grade {grade}, mean over sessions", PERCENT, mean_of(column))
        for grade, column in (("A", "grade_A"), ("D", "grade_D"))
    ),
)


def beside(
    held_out: tuple[pd.DataFrame, Resamples], candidate: tuple[pd.DataFrame, Resamples], figures: tuple = FIGURES
) -> Tree:
    """Every figure of a candidate's sessions beside those of held-out people.

    Args:
        held_out, candidate: sessions (see `session_values.of_efforts`) and resamples of their rows' participants; the
            same draws on both sides where they are the same people.

    Returns:
        name → `held_out` and `candidate` with 95 % intervals, `difference` with an interval of 1 - ERROR over the
        number of figures (normal, with the SD of the resamples), and `half_width` of that one.
    """
    people = min(len(resamples.people) for _, resamples in (held_out, candidate))
    if people < MIN_PEOPLE:
        return {one.name: too_few(people) for one in figures}
    reach = float(-ndtri(ERROR / 2 / len(figures)))
    tree: Tree = {}
    for one in figures:
        real, generated = one.statistic(*held_out), one.statistic(*candidate)
        difference = generated - real
        half = reach * float(np.std(difference[1:])) if np.isfinite(difference).all() else float("nan")
        tree[one.name] = {
            "held_out": from_resamples(real),
            "candidate": from_resamples(generated),
            "difference": figure(difference[0], difference[0] - half, difference[0] + half),
            "half_width": figure(half),
        }
    return tree


def holds(tree: Tree) -> tuple[int, int]:
    """How many of the differences' intervals hold 0, and of how many."""
    intervals = [
        found.interval
        for node in tree.values()
        if isinstance(node, dict) and isinstance(found := node.get("difference"), Figure) and found.interval
    ]
    return sum(low <= 0 <= high for low, high in intervals), len(intervals)


def of_one_side(sessions: pd.DataFrame, resamples: Resamples, figures: tuple = FIGURES) -> dict[str, Figure]:
    """The figures of some sessions alone, with 95 % intervals."""
    if len(resamples.people) < MIN_PEOPLE:
        return {one.name: missing("too few participants") for one in figures}
    return {one.name: from_resamples(one.statistic(sessions, resamples)) for one in figures}
