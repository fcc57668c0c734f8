"""View of a generated session: its efforts, best values, repeatability and bronchodilator response."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.app.view import (
    BEFORE_S,
    PLOTTED_S,
    Limit,
    Line,
    beyond,
    loop,
    loop_limit,
    spirogram_limits,
    thin_loop,
    thinned,
)
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.vocabulary import INDICES, Index
from spiro_diffusion.generation import drawn_curves
from spiro_diffusion.generation.drawn_curves import Curves
from spiro_diffusion.models.effort_sets import ACCEPTED
from spiro_diffusion.physiology import ats_ers, patterns, reference, spirometry
from spiro_diffusion.physiology.patterns import Label
from spiro_diffusion.physiology.reference import LMS
from spiro_diffusion.sessions.best_values import Best, Change
from spiro_diffusion.sessions.interpretation import RESPONSE_2022
from spiro_diffusion.sessions.page_words import words
from spiro_diffusion.sessions.records import Phase

Floats = NDArray[np.floating]

TABLE_INDICES = ("fev1", "fvc", "ratio", "pef")
REPEATED = ("fev1", "fvc")  # the indices whose repeatability ATS/ERS requires
GLI = ("fev1", "fvc", "ratio")
STILL_LPS = 0.02  # flow below it is none, before an effort begins
PHASES: dict[str, Phase] = {"Pre": "pre", "Bron": "post"}


class Stroke(NamedTuple):
    """The curve of an effort, by its phase and number; `best`: the best of its phase."""

    line: Line
    phase: Phase
    number: int
    best: bool

    @property
    def name(self) -> str:
        """In words, as the pointer over it says."""
        return f"{'before' if self.phase == 'pre' else 'after'}, effort {self.number}"


class Plot(NamedTuple):
    """The efforts of a session, GLI Global's limits, the ends of both axes."""

    strokes: list[Stroke]
    limits: list[Limit]
    x: tuple[float, float]
    y: tuple[float, float]


@dataclass(frozen=True)
class Row:
    """An index of the session: GLI Global's lower limit, the best value of each phase, best less second best before and
    after the bronchodilator with the limit (L) of ATS/ERS, and the change. None where undefined.
    """

    name: str
    index: Index
    lln: float | None
    best: dict[Phase, Best]
    gap: dict[Phase, float]
    limit: float
    change: Change | None


@dataclass(frozen=True, eq=False)
class DrawnSession:
    """A session of a `subject`: `efforts` (phase, number, grade, best, faults, and TABLE_INDICES: a row an effort),
    rows of best values, and the patterns of each phase's.
    """

    subject: str
    efforts: pd.DataFrame
    loop: Plot
    spirogram: Plot
    rows: list[Row]
    patterns: dict[Phase, list[Label]]

    @property
    def responded(self) -> list[str]:
        """The indices (FEV1, FVC) that rose after the bronchodilator by more than 10 % of predicted (ERS/ATS 2022)."""
        shares = {row.name: row.change.percent_predicted for row in self.rows if row.change}
        return [name for name in REPEATED if (shares.get(name) or 0.0) > RESPONSE_2022]


def drawn_session(curves: Curves) -> DrawnSession:
    """The view of one session, as drawn by `SpiroGenerator.sessions`.

    Efforts of grade A, B and C give its best values, before and after the bronchodilator.

    Raises SpiroError if the curves are no session.
    """
    if curves.efforts is None or not len(curves):
        raise SpiroError("there is no session to show")
    person, efforts = curves.people.iloc[0], _efforts(curves)
    age, height, sex = float(person["age"]), float(person["height"]), int(person["sex"])
    references = {name: reference.gli_global(name, age, height, sex) for name in GLI}
    rows = [_row(name, efforts, references.get(name), age) for name in TABLE_INDICES]
    best = {phase: {row.name: row.best[phase] for row in rows if phase in row.best} for phase in PHASES.values()}
    fev1, fvc = (float(references[name].lln) for name in REPEATED)
    return DrawnSession(
        subject=drawn_curves.describe(person),
        efforts=efforts,
        loop=_loops(curves, efforts, fvc),
        spirogram=_spirograms(curves, efforts, fev1, fvc),
        rows=rows,
        patterns={phase: _patterns(found, phase, (age, height, sex)) for phase, found in best.items() if found},
    )


def as_recorded(curves: Curves) -> pd.DataFrame:
    """Curves of a session as a file for `spiro indices`: curve (pre 1, post 1), time_s, flow_l_s.

    Each from its first flow above STILL_LPS to its end.

    Raises SpiroError if the curves are no session.
    """
    efforts, parts = curves.efforts, []
    if efforts is None:
        raise SpiroError("there is no session to write")
    ends = spirometry.end_of_flow(curves.flow)
    for row, (kind, number) in enumerate(zip(efforts["test_type"], efforts["effort"], strict=True)):
        kept = slice(int((curves.flow[row] > STILL_LPS).argmax()), int(ends[row]))
        flow = curves.flow[row, kept].astype(np.float64).round(4)
        parts.append(pd.DataFrame({"curve": f"{PHASES[kind]} {number}", "time_s": curves.time[kept], "flow_l_s": flow}))
    return pd.concat(parts, ignore_index=True)


def _efforts(curves: Curves) -> pd.DataFrame:
    table = curves.indices()
    after = (table["test_type"] == "Bron").to_numpy()
    counts = table["grade"].isin(ACCEPTED).to_numpy()
    found = spirometry.indices(curves.flow, spirometry.end_of_flow(curves.flow))
    age = np.full(len(table), float(curves.people["age"].iloc[0]))
    named = words("en")
    faults = [", ".join(named[fault] for fault in faults) for faults in ats_ers.read_2019(found, age, after)[1]]
    return pd.DataFrame(
        {
            "phase": table["test_type"].map(PHASES),
            "number": table["effort"],
            "grade": table["grade"],
            "counts": counts,
            "best": ats_ers.best_efforts(table["fev1"], table["fvc"], after, counts),
            "faults": faults,
            **{name: table[name] for name in TABLE_INDICES},
        }
    )


def _row(name: str, efforts: pd.DataFrame, equations: LMS | None, age: float) -> Row:
    best: dict[Phase, Best] = {}
    gap: dict[Phase, float] = {}
    for phase in PHASES.values():
        some = efforts[(efforts["phase"] == phase) & efforts["counts"]]
        if some.empty:
            continue
        first, second = ([*some[name].nlargest(2), np.nan][:2]) if name != "ratio" else (np.nan, np.nan)
        value = some["fev1"].max() / some["fvc"].max() if name == "ratio" else first
        z, percent = (float(equations.z(value)), float(equations.percent(value))) if equations else (None, None)
        best[phase] = Best(float(value), None, z, percent)
        if name in REPEATED and np.isfinite(second):
            gap[phase] = float(first - second)
    change = None
    if len(best) > 1:
        before, later = best["pre"].value, best["post"].value
        of_predicted = 100 * (later - before) / float(equations.m) if equations else None
        change = Change(later - before, 100 * (later / before - 1), of_predicted)
    largest = max((found.value for found in best.values()), default=0.0)
    lln = float(equations.lln) if equations else None
    return Row(name, INDICES[name], lln, best, gap, float(ats_ers.repeatability(largest, age)), change)


def _patterns(best: dict[str, Best], phase: Phase, person: tuple[float, float, int]) -> list[Label]:
    """The one of `patterns.PARTITION` to which the best values belong, then PRISm or a GOLD grade if they apply."""
    fev1_z, fvc_z, ratio_z = (np.float64(best[name].z or 0.0) for name in GLI)
    first = str(patterns.pattern_of(fev1_z, fvc_z, ratio_z))
    fev1, fvc = best["fev1"].value, best["fvc"].value
    other_labels = [
        label
        for label in patterns.LABELS
        if label not in patterns.PARTITION
        and patterns.DEFINITIONS[label].after <= (phase == "post")
        and bool(patterns.carries(label, fev1, fvc, *person))
    ]
    return [label for label in patterns.PARTITION if label == first] + other_labels


def _strokes(lines: list[Line], efforts: pd.DataFrame) -> list[Stroke]:
    """All efforts, the best ones last."""
    every = [
        Stroke(line, phase, int(number), bool(best))
        for line, phase, number, best in zip(lines, efforts["phase"], efforts["number"], efforts["best"], strict=True)
    ]
    return sorted(every, key=lambda stroke: stroke.best)


def _loops(curves: Curves, efforts: pd.DataFrame, fvc: float) -> Plot:
    ends = np.maximum(spirometry.end_of_flow(curves.flow), 2)
    loops = [loop(flow[:end].astype(np.float64)) for flow, end in zip(curves.flow, ends, strict=True)]
    right = max(fvc, *(float(line.x.max()) for line in loops))
    ceiling = beyond(max(float(line.y.max()) for line in loops), 1.0)
    lines = [thin_loop(line, curves.time) for line in loops]
    return Plot(_strokes(lines, efforts), [loop_limit(fvc, ceiling)], (0.0, beyond(right, 0.5)), (0.0, ceiling))


def _spirograms(curves: Curves, efforts: pd.DataFrame, fev1: float, fvc: float) -> Plot:
    kept = thinned(curves.time)
    time, volume = curves.time[kept], curves.volume[:, kept].astype(np.float64)
    ends = spirometry.end_of_flow(curves.flow)
    lines = [Line(time[kept <= end], row[kept <= end]) for row, end in zip(volume, ends, strict=True)]
    top = beyond(max(fvc, float(volume.max())), 0.5)
    return Plot(_strokes(lines, efforts), spirogram_limits(fev1, fvc), (-BEFORE_S, PLOTTED_S), (0.0, top))
