"""The record of a session before interpretation: person, blows in order, device, drug, decisions."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.vocabulary import Sex
from spiro_diffusion.physiology.ats_ers import Failing

Floats = NDArray[np.float64]
Phase = Literal["pre", "post"]  # before and after the bronchodilator
PHASES: tuple[Phase, ...] = get_args(Phase)
Group = Literal[
    "caucasian", "african_american", "northeast_asian", "southeast_asian", "other", "mexican_american"
]  # of GLI-2012 and Hankinson 1999; GLI Global has none
GROUPS: tuple[Group, ...] = get_args(Group)


ADULT_AGE = 18.0  # years: up to it people grow, and changes are read by the conditional change score


class Person(NamedTuple):
    """The person of a session; `group` None if not given."""

    age: float  # years
    height: float  # cm
    sex: Sex
    group: Group | None = None
    name: str = ""  # the name on the report


@dataclass(frozen=True)
class Header:
    """Device, drug, day and the like as the user gave them; "" if not given."""

    date: str = ""
    operator: str = ""
    device: str = ""
    calibration: str = ""
    btps: str = ""
    drug: str = ""
    dose: str = ""
    wait: str = ""
    comments: str = ""


HEADER = tuple(entry.name for entry in dataclasses.fields(Header))


class Decision(NamedTuple):
    """The user's decision on a blow, which overrides the rules."""

    counts: bool
    who: str = ""
    why: str = ""


@dataclass(frozen=True, eq=False)
class Blow:
    """One blow: its number in the session, from 1; what table 7 of ATS/ERS 2019 says of it; and what of it counts.

    `flow` (T,): L/s at BTPS of each 10 ms. `indices`: by the names of `vocabulary.INDICES`, at the record's own rate,
    NaN where undetermined. `t0`: time zero, s from the flow's begin.
    """

    number: int
    name: str
    phase: Phase
    flow: Floats
    t0: float
    indices: dict[str, float]
    faults: tuple[Failing, ...]
    acceptable_fev1: bool
    acceptable_fvc: bool
    usable_fev1: bool
    usable_fvc: bool
    provisional_fvc: bool
    decision: Decision | None = None
    counts_fev1: bool = False
    counts_fvc: bool = False

    @property
    def counts(self) -> bool:
        """Whether FEV1 or FVC of the blow counts."""
        return self.counts_fev1 or self.counts_fvc


class Grades(NamedTuple):
    """Session grades A to F, or U, of ATS/ERS 2019; of FEV0.75 in place of FEV1 up to six years."""

    fev1: str
    fvc: str


class Previous(NamedTuple):
    """An earlier visit of the person."""

    fev1: float  # L
    age: float  # years
    height: float | None = None  # cm; needed for a person below ADULT_AGE


@dataclass(frozen=True)
class Visit:
    """Further information on a session. `slow_vc`: slow vital capacity, L. `decisions`: by a blow's name, whether it
    counts."""

    header: Header = field(default_factory=Header)
    slow_vc: float | None = None
    previous: Previous | None = None
    decisions: Mapping[str, Decision] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Session:
    """All blows of a person on a day. `notes`: remarks on the reading of the files."""

    person: Person
    blows: list[Blow]
    grades: dict[Phase, Grades]
    visit: Visit = field(default_factory=Visit)
    notes: list[str] = field(default_factory=list)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases with at least one blow."""
        return tuple(phase for phase in PHASES if any(blow.phase == phase for blow in self.blows))

    def of(self, phase: Phase) -> list[Blow]:
        """The blows of a phase, in order."""
        return [blow for blow in self.blows if blow.phase == phase]
