"""Read a session from files: the blows before and after the bronchodilator, their acceptability, and which of them
count."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.core.vocabulary import INDICES, SEX_CODES, TEST_TYPES
from spiro_diffusion.generation.subjects import check_range, conditioned, unmet_heights
from spiro_diffusion.physiology import ats_ers
from spiro_diffusion.physiology.manoeuvre import LEAST_L
from spiro_diffusion.physiology.spirometry import Indices
from spiro_diffusion.sessions.records import (
    ADULT_AGE,
    GROUPS,
    PHASES,
    Blow,
    Decision,
    Grades,
    Person,
    Phase,
    Session,
    Visit,
)
from spiro_diffusion.user_curves import UserCurves, read
from spiro_diffusion.user_curves.tables import GLI_RANGE

PRE = re.compile(r"(?<![a-z])(pre|before|baseline|vor|vorher|prä|avant)(?![a-z])|前", re.IGNORECASE)
POST = re.compile(r"(?<![a-z])(post|after|bron|bd|nach|nachher|après)(?![a-z])|后|後", re.IGNORECASE)
LARGEST_FVC_RATIO = 1.6  # times: FVCs of acceptable blows of one person and phase do not differ so much
LUNG_L = (0.2, 12.0)  # what a lung can hold or breathe out


def read_session(
    file: Path | BinaryIO,
    person: Person,
    visit: Visit | None = None,
    *,
    post: Path | BinaryIO | None = None,
    btps: float | None = None,
) -> Session:
    """Read the session of one person.

    Args:
        file: blows in any format of docs/formats.md, in the order in which they were made; those with post, after
            or BD in their name are blows after the bronchodilator.
        post: a file of the blows after the bronchodilator.
        visit: further information on the session.
        btps: the factor to BTPS for a file that does not state it.

    Raises SpiroError if a file cannot be read or contains several people, if a decision names no blow, or if the person
    is beyond all references.
    """
    return session_of(read(file, btps=btps), person, visit, post=None if post is None else read(post, btps=btps))


def session_of(
    curves: UserCurves, person: Person, visit: Visit | None = None, *, post: UserCurves | None = None
) -> Session:
    """As `read_session`, for curves that have been read."""
    person, doubts = _checked(person)
    visit = visit or Visit()
    _check_visit(visit, person)
    parts = [_of_one_person(part) for part in (curves, post) if part is not None]
    phases = phases_of(curves)
    if post is not None:
        if "post" in phases:
            raise SpiroError(
                "the first file already holds blows after the bronchodilator; give all in one file, or only those "
                "before it in the first"
            )
        _check_post(curves, post)
        phases += ["post"] * len(post.names)
    several = len(parts) > 1
    names = [f"{phase} {name}" if several else name for (phase, name) in zip(phases, _names(parts), strict=True)]
    order = sorted(range(len(names)), key=lambda i: PHASES.index(phases[i]))
    record = pd.concat([part.record for part in parts], ignore_index=True).iloc[order].reset_index(drop=True)
    flows = [flow for part in parts for flow in part.curves()]
    phases, names = [phases[i] for i in order], [names[i] for i in order]
    decided = _decisions(visit.decisions, names)
    table, faults = _judged(record, phases, person.age)
    table = table.join(_counted(table, phases, names, decided))
    blows = [
        Blow(
            number=i + 1,
            name=name,
            phase=phases[i],
            flow=flows[order[i]],
            t0=float(record["t0"].iloc[i]),
            indices=_indices(record.iloc[i]),
            faults=faults[i],
            decision=decided.get(name),
            **{str(column): bool(values[i]) for column, values in table.items()},
        )
        for i, name in enumerate(names)
    ]
    notes = [note for part in parts for note in part.notes] + doubts + _no_blows(blows) + _two_people(blows)
    return Session(person, blows, _grades(blows, person.age), visit, notes)


def recounted(session: Session, decisions: Mapping[str, Decision]) -> Session:
    """The session after decisions of the user on some blows, by name.

    Raises SpiroError if there is no such blow.
    """
    names, phases = [blow.name for blow in session.blows], [blow.phase for blow in session.blows]
    decided = _decisions(decisions, names)
    columns = ("acceptable_fev1", "acceptable_fvc", "usable_fev1", "usable_fvc")
    table = pd.DataFrame([{name: getattr(blow, name) for name in columns} for blow in session.blows])
    counted = _counted(table, phases, names, decided)
    blows = [
        dataclasses.replace(
            blow,
            decision=decided.get(blow.name),
            counts_fev1=bool(counted["counts_fev1"].iloc[i]),
            counts_fvc=bool(counted["counts_fvc"].iloc[i]),
        )
        for i, blow in enumerate(session.blows)
    ]
    visit = dataclasses.replace(session.visit, decisions=decided)
    return dataclasses.replace(session, blows=blows, grades=_grades(blows, session.person.age), visit=visit)


def _checked(person: Person) -> tuple[Person, list[str]]:
    """The person with the sex in the form of the library, and a remark if the height is unusual for the age.

    Raises SpiroError for an unknown sex or group, or a person beyond all references.
    """
    if person.group is not None and person.group not in GROUPS:
        raise SpiroError(f"group is {printable(str(person.group), 40)}; expected one of {', '.join(GROUPS)}")
    table = conditioned(pd.DataFrame([person._asdict()])[["age", "height", "sex"]])
    check_range(table, GLI_RANGE, "z-scores are given for")
    (sex,) = (word for word, code in SEX_CODES.items() if code == int(table["sex"].iloc[0]))
    return person._replace(sex=sex), [f"check age and height: {remarks}" for remarks in unmet_heights(table)]


def _check_visit(visit: Visit, person: Person) -> None:
    low, high = LUNG_L
    if visit.slow_vc is not None and not low <= visit.slow_vc <= high:
        raise SpiroError(f"slow VC is {visit.slow_vc:g} L; expected {low:g} to {high:g} L")
    if visit.previous is None:
        return
    if not 0 < visit.previous.age < person.age:
        raise SpiroError(f"the earlier visit was at {visit.previous.age:g} years, this one is at {person.age:g}")
    if visit.previous.height is None and person.age < ADULT_AGE:
        raise SpiroError(
            f"the earlier visit of a person of {person.age:g} years needs their height then; give FEV1, age and height"
        )
    tall = GLI_RANGE["height"]
    if visit.previous.height is not None and not tall[0] <= visit.previous.height <= tall[1]:
        raise SpiroError(
            f"the height at the earlier visit is {visit.previous.height:g} cm; expected {tall[0]:g} to {tall[1]:g} cm"
        )
    if not low <= visit.previous.fev1 <= high:
        raise SpiroError(f"FEV1 of the earlier visit is {visit.previous.fev1:g} L; expected {low:g} to {high:g} L")


def _check_post(curves: UserCurves, post: UserCurves) -> None:
    """Raises SpiroError if the blows after the bronchodilator are named as blows before it, or are the same blows."""
    if before := [name for name, kind in _labelled(post) if kind == TEST_TYPES[0] or _names_pre(name)]:
        raise SpiroError(
            f"the file of the blows after the bronchodilator names one {printable(before[0], 40)}; are the two files "
            "exchanged?"
        )
    flows_before = [flow.tobytes() for flow in curves.curves()]
    for name, flow in zip(post.names, post.curves(), strict=True):
        if flow.tobytes() in flows_before:
            raise SpiroError(f"blow {printable(name, 40)} is in both files; give the blows before and those after it")


def _of_one_person(curves: UserCurves) -> UserCurves:
    if curves.about is not None and (people := curves.about["seqn"].nunique()) > 1:
        raise SpiroError(f"the file holds {people} people; a session is one person's, choose by --seqn")
    return curves


def _labelled(curves: UserCurves) -> list[tuple[str, str]]:
    """Name and, of NHANES's, test type of each blow."""
    kinds = curves.about["test_type"] if curves.about is not None else [""] * len(curves.names)
    return list(zip(curves.names, map(str, kinds), strict=True))


def _phase(name: str, kind: str) -> Phase:
    if kind:
        return "pre" if kind == TEST_TYPES[0] else "post"
    return "post" if POST.search(name) and not PRE.search(name) else "pre"


def phases_of(curves: UserCurves) -> list[Phase]:
    """Whether each effort was made before or after the bronchodilator: by its test type (NHANES) or its name."""
    return [_phase(name, kind) for name, kind in _labelled(curves)]


def _names_pre(name: str) -> bool:
    return bool(PRE.search(name)) and not POST.search(name)


def _names(parts: list[UserCurves]) -> list[str]:
    return [name for part in parts for name in part.names]


def _decisions(decisions: Mapping[str, Decision], names: list[str]) -> dict[str, Decision]:
    unknown = [name for name in decisions if name not in names]
    if unknown:
        raise SpiroError(f"there is no blow {printable(unknown[0], 60)}; there are {printable(', '.join(names), 200)}")
    return dict(decisions)


def _judged(
    record: pd.DataFrame, phases: list[Phase], age: float
) -> tuple[pd.DataFrame, list[tuple[ats_ers.Failing, ...]]]:
    """Acceptability by ATS/ERS 2019: a column for each field of `ats_ers.Judged`, named as in Blow; and the faults of
    each blow. A record with less than the least volume of a blow is not counted, and not compared with the others.
    """
    none = (record["fvc"] < LEAST_L).to_numpy()
    record = record.assign(**{name: record[name].mask(none) for name in Indices.__annotations__})
    observed = ats_ers.Observed(record.get("fivc", np.nan), record.get("faulty_zero", False), record.get("leak", False))
    sets, ages = np.array([PHASES.index(phase) for phase in phases]), np.full(len(record), age)
    judged, faults = ats_ers.read_2019(record, ages, sets, observed)
    table = pd.DataFrame(judged._asdict()).rename(columns={"fev1": "acceptable_fev1", "fvc": "acceptable_fvc"})
    return table, [("no end",) if less else found for less, found in zip(none, faults, strict=True)]


def _counted(
    table: pd.DataFrame, phases: list[Phase], names: list[str], decisions: Mapping[str, Decision]
) -> pd.DataFrame:
    """counts_fev1, counts_fvc: the acceptable blows of each phase; the usable ones if none is acceptable; and the
    decisions."""
    phase = np.array(phases)
    result = pd.DataFrame(index=table.index)
    for index in ("fev1", "fvc"):
        acceptable, usable = (table[f"{kind}_{index}"].to_numpy(bool) for kind in ("acceptable", "usable"))
        counts = acceptable.copy()
        for one in PHASES:
            if not acceptable[phase == one].any():
                counts[phase == one] = usable[phase == one]
        for row, name in enumerate(names):
            if name in decisions:
                counts[row] = decisions[name].counts
        result[f"counts_{index}"] = counts
    return result


def _grades(blows: list[Blow], age: float) -> dict[Phase, Grades]:
    """The grades of each phase, with the user's decisions on blows."""
    first = "fev075" if age <= ats_ers.PRESCHOOL_AGE else "fev1"
    rows = []
    for index, name in (("fev1", first), ("fvc", "fvc")):
        for blow in blows:
            decided = None if blow.decision is None else blow.decision.counts
            acceptable, usable = (
                getattr(blow, f"{kind}_{index}") if decided is None else decided for kind in ("acceptable", "usable")
            )
            rows.append((blow.indices[name], acceptable, usable, f"{index} {blow.phase}", age))
    found = ats_ers.session_grades_2019(*zip(*rows, strict=True))
    there = {blow.phase for blow in blows}
    return {phase: Grades(found[f"fev1 {phase}"], found[f"fvc {phase}"]) for phase in PHASES if phase in there}


def _indices(row: pd.Series) -> dict[str, float]:
    values = {name: float(row[name]) for name in INDICES if name in row}
    with np.errstate(invalid="ignore", divide="ignore"):
        values["ratio"] = float(np.float64(values["fev1"]) / values["fvc"])
    return values


def _no_blows(blows: list[Blow]) -> list[str]:
    return [
        f"blow {blow.number} does not count: {1000 * blow.indices['fvc']:.0f} mL are no forced expiration"
        for blow in blows
        if blow.indices["fvc"] < LEAST_L
    ]


def _two_people(blows: list[Blow]) -> list[str]:
    """Remarks on phases whose acceptable blows differ as much as those of two people."""
    remarks = []
    for phase in PHASES:
        sizes = [blow.indices["fvc"] for blow in blows if blow.phase == phase and blow.acceptable_fvc]
        if sizes and max(sizes) > LARGEST_FVC_RATIO * min(sizes):
            remarks.append(
                f"acceptable blows {phase} give FVC of {min(sizes):.2f} and {max(sizes):.2f} L: are they of one person?"
            )
    return remarks
