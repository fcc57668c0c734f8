"""Interpretation of best values by the ERS/ATS standard of 2022 (Stanojevic et al., doi 10.1183/13993003.01499-2021).

Spirometry alone identifies a pattern, not a disease: if FVC is low, lung volumes are needed to decide.
"""

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from spiro_diffusion.physiology import patterns
from spiro_diffusion.physiology.reference import Z_LLN
from spiro_diffusion.sessions import best_values
from spiro_diffusion.sessions.best_values import Change, Convention, Equations, Repeatability, Values
from spiro_diffusion.sessions.records import ADULT_AGE, Person, Phase, Session
from spiro_diffusion.sessions.sentences import Language, Statement, worded

Pattern = Literal["normal", "obstruction", "restriction", "mixed", "low fev1", "unknown"]
PATTERNS: dict[str, Pattern] = {  # of `patterns.PARTITION`, in the words of the sentences
    "normal": "normal",
    "obstruction": "obstruction",
    "possible-restriction": "restriction",
    "possible-mixed": "mixed",
    "low-fev1": "low fev1",
    "": "unknown",
}
Severity = Literal["none", "mild", "moderate", "severe"]
Edition = Literal["2022", "2005"]
Withheld = Literal["no fev1", "no fvc", "short fvc", "no reference"]
MILD_TO, MODERATE_TO = -2.5, -4.0  # z-scores; severe beyond the last
LOW_GRADES = ("D", "E", "F", "U")
RESPONSE_2022 = 10.0  # % of predicted, more than it
RESPONSE_2005_PERCENT, RESPONSE_2005_L = 12.0, 0.200  # of before, and L; as much at least
CHANGE_LIMIT = 1.96  # of the conditional change score
CHANGE_AGES, CHANGE_YEARS = (6.0, 18.0), (0.25, 5.0)  # it was made of: years, and between visits (Stanojevic 2020)
LOWEST_FEV1 = {"male": 0.5, "female": 0.4}  # L, the unit of FEV1Q


class Finding(NamedTuple):
    """The pattern of a phase. `prism`: ratio preserved, FEV1 below its lower limit. `severity` is by the z-score of the
    index `severity_of`. `withheld`: the reason if no pattern is named."""

    pattern: Pattern
    severity: Severity
    severity_of: str
    z: float | None
    prism: bool
    withheld: Withheld | None = None


class Response(NamedTuple):
    """Whether FEV1 or FVC responded to the bronchodilator, by the criterion of an edition."""

    edition: Edition
    fev1: bool
    fvc: bool

    @property
    def significant(self) -> bool:
        """Whether FEV1 or FVC responded."""
        return self.fev1 or self.fvc


class VisitChange(NamedTuple):
    """Change of FEV1 since an earlier visit: the conditional change score for children and young people, FEV1Q at both
    visits for adults."""

    score: float | None
    fev1q: tuple[float, float] | None

    @property
    def beyond(self) -> bool | None:
        """Whether the score is beyond its limit; None for adults, for whom no limit is published."""
        return None if self.score is None else abs(self.score) > CHANGE_LIMIT


@dataclass(frozen=True, eq=False)
class Interpretation:
    """The interpretation of a session: `values` by index; `repeatability` and `findings` by phase; the response to the
    bronchodilator by edition; the change since an earlier visit; FEV1/VC by phase if a slow VC was given; and all of
    it as statements."""

    session: Session
    convention: Convention
    equations: Equations
    values: dict[str, Values]
    repeatability: dict[Phase, Repeatability]
    findings: dict[Phase, Finding]
    responses: list[Response] = field(default_factory=list)
    change: VisitChange | None = None
    fev1_vc: dict[Phase, float] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)

    def sentences(self, language: Language = "en") -> list[str]:
        """The interpretation in sentences."""
        return [worded(statement, language) for statement in self.statements]


def interpret(
    session: Session, *, convention: Convention = "ats_ers_2019", equations: Equations = "gli_global"
) -> Interpretation:
    """Compute the best values of a session and interpret them."""
    values = best_values.best_values(session, convention, equations)
    findings = {phase: find(session, phase, values) for phase in session.phases}
    read = Interpretation(
        session,
        convention,
        equations,
        values,
        {phase: best_values.repeatability(session, phase) for phase in session.phases},
        findings,
        responses(values),
        visit_change(session, values, equations),
        _fev1_vc(session, values),
    )
    read.statements.extend(_statements(read))
    return read


def find(session: Session, phase: Phase, values: dict[str, Values]) -> Finding:
    """Classify the pattern of a phase by the z-scores of its best values."""
    best = {name: values[name].best.get(phase) for name in ("fev1", "fvc", "ratio")}
    withheld = _withheld(session, phase, values)
    if withheld is not None:
        return Finding("unknown", "none", "fev1", None, prism=False, withheld=withheld)
    z = {name: found.z for name, found in best.items() if found is not None and found.z is not None}
    pattern = PATTERNS[str(patterns.pattern_of(z["fev1"], z["fvc"], z["ratio"]))]
    of = "fvc" if pattern == "restriction" else "fev1"
    return Finding(pattern, severity(z[of]), of, z[of], prism=z["fev1"] < -Z_LLN <= z["ratio"])


def severity(z: float) -> Severity:
    """Severity by the z-score of a value below the lower limit of normal."""
    if z >= -Z_LLN:
        return "none"
    if z >= MILD_TO:
        return "mild"
    return "moderate" if z >= MODERATE_TO else "severe"


def responses(values: dict[str, Values]) -> list[Response]:
    """Responses of FEV1 and FVC by the criteria of 2022 and of 2005; empty if a phase is missing."""
    changes = {name: values[name].change for name in ("fev1", "fvc")}
    if all(change is None for change in changes.values()):
        return []
    by_2022 = {
        name: change is not None and change.percent_predicted is not None and change.percent_predicted > RESPONSE_2022
        for name, change in changes.items()
    }
    by_2005 = {
        name: change is not None
        and change.percent >= RESPONSE_2005_PERCENT - 1e-9
        and change.absolute >= RESPONSE_2005_L - 1e-9
        for name, change in changes.items()
    }
    return [Response("2022", **by_2022), Response("2005", **by_2005)]


def visit_change(session: Session, values: dict[str, Values], equations: Equations) -> VisitChange | None:
    """Change of FEV1 before the bronchodilator since an earlier visit; None if there is none, or no reference for the
    person."""
    previous, best = session.visit.previous, values["fev1"].best.get("pre")
    if previous is None or best is None:
        return None
    person = session.person
    if person.age >= ADULT_AGE:
        unit = LOWEST_FEV1[person.sex]
        return VisitChange(None, (previous.fev1 / unit, best.value / unit))
    then: Person = person._replace(age=previous.age, height=previous.height or person.height)
    equation = best_values.expected("fev1", then, equations)
    if equation is None or best.z is None:
        return None
    return VisitChange(change_score(float(equation[1].z(previous.fev1)), best.z, previous.age, person.age), None)


def change_score(z_then: float, z_now: float, age_then: float, age_now: float) -> float:
    """The conditional change score of FEV1's z-scores at two ages (years) of a child or young person."""
    r = 0.642 - 0.04 * (age_now - age_then) + 0.020 * age_then
    return (z_now - r * z_then) / math.sqrt(1 - r**2)


def _withheld(session: Session, phase: Phase, values: dict[str, Values]) -> Withheld | None:
    """Why the pattern of a phase is not named: a value or its reference is missing, or a low FVC is from blows that
    ended early."""
    best = {name: values[name].best.get(phase) for name in ("fev1", "fvc")}
    for name, why in (("fev1", "no fev1"), ("fvc", "no fvc")):
        if best[name] is None:
            return why  # type: ignore[return-value]
    if any(values[name].reference is None for name in ("fev1", "fvc", "ratio")):
        return "no reference"
    fvc = best["fvc"]
    short = session.grades[phase].fvc in ("F", "U")
    if short and fvc is not None and fvc.z is not None and fvc.z < -Z_LLN:
        return "short fvc"
    return None


def _fev1_vc(session: Session, values: dict[str, Values]) -> dict[Phase, float]:
    """FEV1 over the slow vital capacity, or over FVC where that is larger."""
    if session.visit.slow_vc is None:
        return {}
    found: dict[Phase, float] = {}
    for phase, best in values["fev1"].best.items():
        fvc = values["fvc"].best.get(phase)
        found[phase] = best.value / max(session.visit.slow_vc, fvc.value if fvc else 0.0)
    return found


def _statements(read: Interpretation) -> list[Statement]:
    statements: list[Statement] = []
    for phase, finding in read.findings.items():
        statements += _of_phase(read, phase, finding)
    for phase, ratio in read.fev1_vc.items():
        statements.append(
            Statement("fev1/vc", {"phase": phase, "ratio": ratio, "vc": read.session.visit.slow_vc or 0.0})
        )
        lln = read.values["ratio"].lln
        if lln is not None and ratio < lln:
            statements.append(Statement("low fev1/vc", {"lln": lln}))
    statements += _of_response(read)
    if read.session.phases == ("post",):
        statements.append(Statement("only after", {}))
    statements += _of_change(read)
    return statements


def _of_change(read: Interpretation) -> list[Statement]:
    statements, previous = [], read.session.visit.previous
    if read.change is not None and read.change.score is not None:
        key = "change beyond" if read.change.beyond else "change usual"
        statements.append(Statement(key, {"score": read.change.score, "limit": CHANGE_LIMIT}))
        years = 0.0 if previous is None else read.session.person.age - previous.age
        inside = previous is not None and CHANGE_AGES[0] <= previous.age and CHANGE_YEARS[0] <= years <= CHANGE_YEARS[1]
        if not inside:
            statements.append(Statement("change outside", {}))
    elif read.change is not None and read.change.fev1q is not None:
        then, now = read.change.fev1q
        statements.append(Statement("fev1q", {"then": then, "now": now, "unit": LOWEST_FEV1[read.session.person.sex]}))
    return statements


def _of_phase(read: Interpretation, phase: Phase, finding: Finding) -> list[Statement]:
    grades = read.session.grades[phase]
    values = {"phase": phase, "fev1": grades.fev1, "fvc": grades.fvc}
    if finding.withheld is not None:
        return [Statement(f"withheld: {finding.withheld}", values)]
    statements = [Statement(f"pattern: {finding.pattern}", values)]
    fev1 = read.values["fev1"].best[phase]
    if finding.pattern in ("obstruction", "mixed") and fev1.z is not None and fev1.z >= -Z_LLN:
        statements.append(Statement("normal fev1", values))
    elif finding.severity != "none" and finding.z is not None:
        statements.append(Statement(f"severity: {finding.severity}", {"index": finding.severity_of, "z": finding.z}))
    if finding.prism:
        statements.append(Statement("prism", {}))
    if any(grade in LOW_GRADES for grade in grades):
        statements.append(Statement("low grade", values))
    return statements


def _of_response(read: Interpretation) -> list[Statement]:
    statements = []
    changes = {name: read.values[name].change for name in ("fev1", "fvc")}
    for response in read.responses:
        which = [name for name in ("fev1", "fvc") if getattr(response, name)]
        key = f"response {response.edition}" if which else f"no response {response.edition}"
        numbers: dict[str, str | float] = {"index": "+".join(which)}
        for name, change in changes.items():
            if change is not None:
                percent = change.percent if response.edition == "2005" else change.percent_predicted
                numbers |= {f"{name}_l": change.absolute, f"{name}_percent": math.nan if percent is None else percent}
            else:
                numbers |= {f"{name}_l": math.nan, f"{name}_percent": math.nan}
        statements.append(Statement(key, numbers))
    change = changes["fev1"]
    if change is not None and _fell(change):
        statements.append(Statement("fell", {"litres": -change.absolute}))
    return statements


def _fell(change: Change) -> bool:
    """Whether FEV1 fell after the bronchodilator by an amount that as a rise would be a response."""
    by_2022 = change.percent_predicted is not None and change.percent_predicted < -RESPONSE_2022
    return by_2022 or (change.percent <= -RESPONSE_2005_PERCENT and change.absolute <= -RESPONSE_2005_L)
