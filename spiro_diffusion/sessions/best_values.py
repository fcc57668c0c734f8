"""The best values of a session, with reference values.

ATS/ERS 2019 (doi 10.1164/rccm.201908-1590ST): the largest FEV1 and the largest FVC, possibly from different blows;
FEF25-75 from the blow with the largest sum of both. NHANES took the largest value of every index.
"""

from typing import Literal, NamedTuple

import numpy as np

from spiro_diffusion.core.vocabulary import SEX_CODES
from spiro_diffusion.physiology import ats_ers, reference
from spiro_diffusion.physiology.reference import LMS
from spiro_diffusion.sessions.records import Blow, Person, Phase, Session

Convention = Literal["ats_ers_2019", "nhanes"]
Equations = Literal["gli_global", "gli_2012"]  # for FEV1, FVC and FEV1/FVC
EQUATIONS: tuple[Equations, ...] = ("gli_global", "gli_2012")
CONVENTIONS: tuple[Convention, ...] = ("ats_ers_2019", "nhanes")
INDICES = ("fev1", "fvc", "ratio", "fef2575", "pef", "fet")
SMALL = "fev075"  # reported with FEV1 up to six years
FEWEST = 2  # blows that can repeat each other


class Reference(NamedTuple):
    """The source of an index's predicted value. `derived`: the source gives a mean and a lower limit, no z-score."""

    equations: str
    group: str  # "" where the equations have none
    derived: bool = False


class Best(NamedTuple):
    """The best value of an index in a phase; None if no reference covers it. `blow`: its number, None for FEV1/FVC."""

    value: float
    blow: int | None
    z: float | None
    percent: float | None


class Change(NamedTuple):
    """After less before, in the index's unit, in percent of before and of predicted."""

    absolute: float
    percent: float
    percent_predicted: float | None


class Values(NamedTuple):
    """An index of a session; None where there is none."""

    name: str
    reference: Reference | None
    predicted: float | None
    lln: float | None
    best: dict[Phase, Best]
    change: Change | None


class Repeatability(NamedTuple):
    """Best less second best of the counted blows, L, None for fewer than two; and the limits of ATS/ERS 2019 (L), which
    differ for children up to six years."""

    fev1: float | None
    fvc: float | None
    limit: float  # of FEV1, or FEV0.75
    limit_fvc: float

    @property
    def met(self) -> bool:
        """Whether FEV1 and FVC are repeatable."""
        gaps = ((self.fev1, self.limit), (self.fvc, self.limit_fvc))
        return all(gap is not None and gap <= limit + 1e-9 for gap, limit in gaps)


def best_values(session: Session, convention: Convention, equations: Equations) -> dict[str, Values]:
    """The indices of a session by name."""
    small = (SMALL,) if session.person.age <= ats_ers.PRESCHOOL_AGE else ()
    return {name: _values(session, name, convention, equations) for name in (*small, *INDICES)}


def repeatability(session: Session, phase: Phase) -> Repeatability:
    """Repeatability of the counted blows."""
    age = session.person.age
    first = SMALL if age <= ats_ers.PRESCHOOL_AGE else "fev1"
    gaps: list[float | None] = []
    limits = []
    for counted, name in (("counts_fev1", first), ("counts_fvc", "fvc")):
        values = sorted((b.indices[name] for b in session.of(phase) if getattr(b, counted)), reverse=True)
        gaps.append(values[0] - values[1] if len(values) >= FEWEST else None)
        limits.append(float(ats_ers.repeatability(max(values, default=0.0), age)))
    return Repeatability(gaps[0], gaps[1], limits[0], limits[1])


def expected(name: str, person: Person, equations: Equations) -> tuple[Reference, LMS] | None:
    """The reference of the person for an index; None if no equations cover the index or the person's group."""
    age, height, sex = person.age, person.height, SEX_CODES[person.sex]
    gli_group = "caucasian" if person.group == "mexican_american" else person.group  # as GLI-2012 counted them
    if name in ("fev1", "fvc", "ratio") and equations == "gli_global":
        return _known(Reference("GLI Global 2022", ""), reference.gli_global(name, age, height, sex))
    if name in ("fev1", "fvc", "ratio", "fef2575"):
        group = gli_group or "other"
        place = reference.GLI_GROUPS.index(group)
        return _known(Reference("GLI 2012", group), reference.gli_2012(name, age, height, sex, place))
    if name == "pef" and person.group in reference.HANKINSON_GROUPS:
        place = reference.HANKINSON_GROUPS.index(person.group)
        found = reference.hankinson(name, age, height, sex, place)
        return _known(Reference("Hankinson 1999", person.group, derived=True), found)
    return None


def _known(source: Reference, found: LMS) -> tuple[Reference, LMS] | None:
    """Outside the equations' ages and heights there is nothing."""
    return (source, found) if np.isfinite(found.m).all() else None


def _values(session: Session, name: str, convention: Convention, equations: Equations) -> Values:
    equation = expected(name, session.person, equations)
    source, lms = equation or (None, None)
    best = {phase: found for phase in session.phases if (found := _best(session, phase, name, convention, lms))}
    median = float(lms.m) if lms else None
    change = None
    if len(best) > 1:
        first, second = best["pre"].value, best["post"].value
        change = Change(second - first, 100 * (second / first - 1), median and 100 * (second - first) / median)
    return Values(name, source, median, float(lms.lln) if lms else None, best, change)


def _best(session: Session, phase: Phase, name: str, convention: Convention, lms: LMS | None) -> Best | None:
    blows = session.of(phase)
    number: int | None
    if name == "ratio":
        parts = [_largest(blows, index, counted) for index, counted in (("fev1", "counts_fev1"), ("fvc", "counts_fvc"))]
        if parts[0] is None or parts[1] is None:
            return None
        number, value = None, parts[0].indices["fev1"] / parts[1].indices["fvc"]
    else:
        blow = _chosen(blows, name, convention)
        if blow is None or not np.isfinite(blow.indices[name]):
            return None
        number, value = blow.number, blow.indices[name]
    z, percent = (float(lms.z(value)), float(lms.percent(value))) if lms else (None, None)
    return Best(value, number, z, percent)


def _chosen(blows: list[Blow], name: str, convention: Convention) -> Blow | None:
    """The blow that an index is taken from."""
    if name == "fvc" or (name == "fet" and convention != "nhanes"):
        return _largest(blows, "fvc", "counts_fvc")  # the time is of the blow that gave FVC
    if name in ("fev1", SMALL, "pef"):
        return _largest(blows, name, "counts_fev1")
    both = [blow for blow in blows if blow.counts_fev1 and blow.counts_fvc]
    if convention == "nhanes":
        return _largest(both, name, "counts_fvc")
    return max(both, key=lambda blow: blow.indices["fev1"] + blow.indices["fvc"], default=None)


def _largest(blows: list[Blow], name: str, counted: str) -> Blow | None:
    counting = [blow for blow in blows if getattr(blow, counted) and np.isfinite(blow.indices[name])]
    return max(counting, key=lambda blow: blow.indices[name], default=None)
