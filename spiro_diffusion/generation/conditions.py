"""Optional conditions of an effort beside age, height and sex, shared by API, command line and app.

Another condition is a row of CONDITIONS and a key of Subject; the command line, the Python API, the app and the table
of subjects then have it too.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from spiro_diffusion.core.vocabulary import GRADES, TEST_TYPES

Given = str | float | tuple[str | float | None, str | float | None]  # a known value as given by the user


DRUG = "two puffs, at least ten minutes"  # of albuterol, as NHANES 2011-2012 gave it


class Condition(NamedTuple):
    """A categorical condition."""

    name: str  # of the model's condition, the option, the keyword and the column
    values: tuple[str, ...]
    default: str | None  # None: left open
    any_effort: str | None  # the default where any effort will do, not a subject's best
    help: str


CONDITIONS = (
    Condition("grade", GRADES, "A", None, "Effort grade A, B, C or D; A unless given."),
    Condition("test_type", TEST_TYPES, "Pre", "Pre", f"Pre, or Bron (after a bronchodilator: {DRUG}); else Pre."),
)


class Subject(TypedDict, total=False):
    """One subject by keywords, or defaults for rows whose cell is empty; see CONDITIONS."""

    age: float | None  # years
    height: float | None  # cm
    sex: str | int | None  # male or female, or 1 or 2
    grade: str | None
    test_type: str | None


class Patient(Subject, total=False):
    """One subject with a request; see `requests` and `personal_conditions`. A known value is a number, a pair, or text:
    2.5, (2.2, 2.8), "80%", "70%:80%", "z-1.7"."""

    weight: float | None  # kg
    bmi: float | None  # kg/m2, instead of a weight
    ethnicity: str | int | None  # RIDRETH1, a number or a word
    cycle: str | None  # of NHANES: E, F or G
    fev1: Given | None  # L
    fvc: Given | None  # L
    ratio: Given | None  # FEV1/FVC
    pef: Given | None  # L/s
    fef2575: Given | None  # L/s
    pattern: str | None
    effort: str | None


EFFORTS: Mapping[str, tuple[str, dict[str, Any]]] = {  # the page's choices: label, keywords of `generate`
    "best": ("Best acceptable effort", {}),
    "any": ("Any effort", {"any_effort": True}),
    "poor": ("Poor effort (grade D)", {"grade": "D"}),
    "bron": ("After a bronchodilator", {"test_type": "Bron"}),
}
