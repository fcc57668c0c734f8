"""Known values of a patient's lung function: in L, percent of predicted or z-scores, exact or as a range.

As text `2.5`, `2.2:2.8`, `:2.8`, `80%`, `70%:80%`, `z-1.7`, `z-2:z-1`; in Python also a number or a pair.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.core.vocabulary import INDICES
from spiro_diffusion.generation.conditions import Given
from spiro_diffusion.physiology import reference
from spiro_diffusion.physiology.patterns import Unit
from spiro_diffusion.physiology.reference import LMS

Floats = NDArray[np.float64]

NAMES = ("fev1", "fvc", "ratio", "pef", "fef2575")  # L, L, -, L/s, L/s
EQUATIONS = {
    "fev1": "GLI Global 2022",
    "fvc": "GLI Global 2022",
    "ratio": "GLI Global 2022",
    "pef": "Hankinson 1999",
    "fef2575": "GLI 2012",
}
EXACT_L, EXACT_SHARE = 0.010, 0.01  # a drawn curve meets an exact value within the larger of L (of a volume) and share
VOLUMES = ("fev1", "fvc")
# Of the 6,615 people of NHANES 2011-2012 with published values the z-scores lie within -4.8 and 4.3 (FEV1, FVC,
# FEV1/FVC; GLI Global), -6.0 and 5.0 (FEF25-75; GLI-2012), -4.9 and 6.4 (PEF; Hankinson 1999)
SEEN_Z = {"fev1": (-6.0, 5.0), "fvc": (-6.0, 5.0), "ratio": (-6.0, 5.0), "pef": (-6.0, 7.0), "fef2575": (-6.5, 6.0)}
LEAST_PERCENT = {"fev1": 20.0, "fvc": 25.0, "ratio": 30.0}  # likewise: they had 24, 31 and 40 % of predicted at least
UNREACHED = 1000.0  # L, L/s, for a z-score above all that a reference distribution reaches; 0 for one below all
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
FORMS = (
    (re.compile(rf"z\s*=?\s*({NUMBER})"), "z"),
    (re.compile(rf"({NUMBER})\s*%"), "percent"),
    (re.compile(rf"({NUMBER})"), "value"),
)
EXPECTED = "expected as 2.5, 2.2:2.8, 80%, 70%:80%, z-1.7 or z-2:z-1"


@dataclass(frozen=True)
class KnownValue:
    """A known value of an index: `low` to `high`, both included, in `unit`; both equal if it is exact."""

    low: float
    high: float
    unit: Unit = "value"

    @property
    def exact(self) -> bool:
        """Whether it is a single number."""
        return self.low == self.high

    def __str__(self) -> str:
        form = {"value": "{:g}", "percent": "{:g}%", "z": "z{:g}"}[self.unit]
        low, high = ("" if math.isinf(end) else form.format(end) for end in (self.low, self.high))
        return low if self.exact else f"{low}:{high}"


class Box(NamedTuple):
    """The admissible range of an index of n people, in L, L/s or as a ratio; NaN in `exact` unless it is one number."""

    low: Floats  # (n,)
    high: Floats
    exact: Floats

    @property
    def given(self) -> NDArray[np.bool_]:
        """Whether there is a known value."""
        return np.isfinite(self.low) | np.isfinite(self.high)

    def within(self, other: "Box") -> "Box":
        """The intersection with another range."""
        return Box(np.maximum(self.low, other.low), np.minimum(self.high, other.high), self.exact)

    def take(self, rows: NDArray[np.int64]) -> "Box":
        """The ranges of some of the people; rows may repeat."""
        return Box(self.low[rows], self.high[rows], self.exact[rows])

    def tolerance(self, name: str) -> Floats:
        """The largest difference of a drawn curve's index from an exact value; 0 for a range."""
        near = EXACT_SHARE * np.abs(self.exact)
        near = np.maximum(near, EXACT_L) if name in VOLUMES else near
        return np.nan_to_num(near, nan=0.0)

    def holds(self, value: Floats, name: str, slack: float | Floats = 0.0) -> NDArray[np.bool_]:
        """Whether values (n,) are in the range, with the tolerance for exact ones, or widened by a share `slack`."""
        near = self.tolerance(name) + slack * np.abs(value)
        return ~self.given | ((value >= self.low - near) & (value <= self.high + near))


def parse(name: str, given: Given | KnownValue) -> KnownValue:
    """Parse a known value of an index: text, a number, or a pair of either (None: open).

    Raises SpiroError if it has none of the forms, its ends are reversed, or no lung has it.
    """
    if isinstance(given, KnownValue):
        return _possible(name, given)
    if isinstance(given, str):
        ends: Sequence[str | float | None] = given.split(":")
    elif isinstance(given, (tuple, list)):
        ends = given
    else:
        ends = (given,)
    if not 1 <= len(ends) <= 2 or all(_open(end) for end in ends):
        raise SpiroError(f"{name} is {printable(given)}; {EXPECTED}")
    read = [None if _open(end) else _end(name, end) for end in ends]
    units = {end[1] for end in read if end is not None}
    if len(units) > 1:
        raise SpiroError(
            f"{name} is {printable(given)}; give both ends as values, as percent (70%:80%) or as z (z-2:z-1)"
        )
    low = -math.inf if read[0] is None else read[0][0]
    high = math.inf if read[-1] is None else read[-1][0]
    return _possible(name, KnownValue(low, high, units.pop()))


def _open(end: str | float | None) -> bool:
    return end is None or (isinstance(end, str) and not end.strip())


def _end(name: str, end: str | float | None) -> tuple[float, Unit]:
    text = str(end).strip().lower().replace("−", "-")
    for form, unit in FORMS:
        found = form.fullmatch(text)
        if found and math.isfinite(float(found[1])):
            return float(found[1]), unit  # type: ignore[return-value]
    raise SpiroError(f"{name} is {printable(end)}; {EXPECTED}")


def _possible(name: str, known: KnownValue) -> KnownValue:
    label = INDICES[name].label
    if known.low > known.high:
        raise SpiroError(f"{name} is {known}; the range is upside down: give the lower end first")
    if known.unit != "z" and known.high <= 0:
        raise SpiroError(f"{name} is {known}; {label} is above 0")
    if name == "ratio" and known.unit == "value" and (known.low if math.isfinite(known.low) else known.high) > 1:
        hint = "; give 0.7 or percent of predicted (90%)" if known.low > 2 else ""
        raise SpiroError(f"ratio is {known}; FEV1 is a part of FVC and their ratio at most 1{hint}")
    if known.unit == "z":
        least, most = SEEN_Z[name]
        if known.high < least or known.low > most:
            raise SpiroError(f"{name} is {known}; z-scores of {label} beyond {least:g} to {most:g} are not seen")
    return known


def expected(name: str, people: pd.DataFrame) -> LMS:
    """Predicted values of n people, by EQUATIONS; NaN for people whom they do not cover.

    `people`: age (years), height (cm), sex (1 or 2), optionally ethnicity (RIDRETH1), by which PEF and FEF25-75 differ:
    unknown ethnicity is taken as `other` in GLI-2012 and as white in Hankinson 1999.
    """
    age, height, sex = (people[column].to_numpy(np.float64) for column in ("age", "height", "sex"))
    if name in ("fev1", "fvc", "ratio"):
        return reference.gli_global(name, age, height, sex)
    ethnicity = people["ethnicity"] if "ethnicity" in people else pd.Series(np.nan, index=people.index)
    group = pd.to_numeric(ethnicity, errors="coerce").fillna(5).to_numpy(np.int64)
    if name == "fef2575":
        return reference.gli_2012(name, age, height, sex, reference.GLI_GROUP_OF_RIDRETH1[group - 1])
    return reference.hankinson(name, age, height, sex, reference.HANKINSON_GROUP_OF_RIDRETH1[group - 1])


def box(name: str, known: Sequence[KnownValue | None], people: pd.DataFrame, invalid: dict[int, str]) -> Box:
    """The admissible ranges of an index of n people, in L, L/s or as a ratio.

    `invalid` gets, by row, why a percent or z-score is undefined: the equations do not cover such a person.
    """
    low, high = np.full(len(people), -np.inf), np.full(len(people), np.inf)
    for unit in get_args(Unit):
        rows = np.array([row for row, k in enumerate(known) if k is not None and k.unit == unit], dtype=np.int64)
        if not len(rows):
            continue
        ends = np.array([(k.low, k.high) for k in known if k is not None and k.unit == unit]).T
        if unit != "value":
            lms = expected(name, people.iloc[rows])
            for row in rows[~np.isfinite(lms.m)]:
                invalid.setdefault(int(row), _without_reference(name, people.iloc[row]))
            ends = np.array([_values(end, unit, lms) for end in ends])
        low[rows], high[rows] = ends
    return Box(low, high, np.where(low == high, low, np.nan))


def _without_reference(name: str, person: pd.Series) -> str:
    described = f"{person['age']:g} years and {person['height']:g} cm"
    return f"{EQUATIONS[name]} has no {INDICES[name].label} for {described}; give {name} as a value"


def _values(ends: Floats, unit: Unit, lms: LMS) -> Floats:
    """Ends (n,) in percent or as z-scores, converted to values; open ends stay open."""
    if unit == "percent":
        return lms.m * ends / 100
    with np.errstate(invalid="ignore", over="ignore"):
        values = lms.value(ends)
    values = np.where(np.isfinite(values), values, np.where(ends < 0, 0.0, UNREACHED))
    return np.where(np.isfinite(ends), values, ends)


def z_scores(boxes: Mapping[str, Box], people: pd.DataFrame) -> dict[str, tuple[Floats, Floats]]:
    """The lowest and highest z-score (n,) of the known range of each index; NaN if it has no reference."""
    found = {}
    for name, one in boxes.items():
        lms = expected(name, people)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            low = np.where(one.low > 0, lms.z(np.maximum(one.low, 1e-9)), -np.inf)
            found[name] = low, np.where(np.isfinite(one.high), lms.z(np.maximum(one.high, 1e-9)), np.inf)
    return found
