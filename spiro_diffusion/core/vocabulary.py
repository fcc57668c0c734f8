"""The vocabulary of the field, each term defined once: sexes, test types, grades, splits, indices of an effort.

Limits of ATS/ERS stand in `physiology.ats_ers`, colours in `plotting.style`, the size of the time grid in
`physiology.time_grid`, the CDC's codes in `nhanes.codebook`.
"""

from typing import Literal, NamedTuple, get_args

Sex = Literal["male", "female"]
SEX_CODES: dict[Sex, int] = {"male": 1, "female": 2}  # RIAGENDR
SEXES: dict[int, Sex] = {code: word for word, code in SEX_CODES.items()}

TestType = Literal["Pre", "Bron"]  # before and after the bronchodilator, SPATTYPE
TEST_TYPES: tuple[TestType, ...] = get_args(TestType)

Grade = Literal["A", "B", "C", "D"]  # of an effort, SPAQEFF
GRADES: tuple[Grade, ...] = get_args(Grade)

ETHNICITIES = {1: "mexican_american", 2: "other_hispanic", 3: "white", 4: "black", 5: "other"}  # RIDRETH1
CYCLES = ("E", "F", "G")  # of NHANES, as `nhanes.codebook` has them

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


class Index(NamedTuple):
    """How an index of an effort is written."""

    label: str
    unit: str  # "" for a ratio
    decimals: int  # as a clinician reads it
    meaning: str


INDICES: dict[str, Index] = {
    "fev05": Index("FEV0.5", "L", 2, "volume expired in the first 0.5 s"),
    "fev075": Index("FEV0.75", "L", 2, "volume expired in the first 0.75 s"),
    "fev1": Index("FEV1", "L", 2, "volume expired in the first second"),
    "fev3": Index("FEV3", "L", 2, "volume expired in the first 3 s"),
    "fev6": Index("FEV6", "L", 2, "volume expired in the first 6 s"),
    "fvc": Index("FVC", "L", 2, "forced vital capacity"),
    "ratio": Index("FEV1/FVC", "", 2, "share of the forced vital capacity expired in the first second"),
    "pef": Index("PEF", "L/s", 2, "peak expiratory flow"),
    "fef2575": Index("FEF25-75", "L/s", 2, "mean flow over the middle half of the forced vital capacity"),
    "fef50": Index("FEF50", "L/s", 2, "flow when half of the forced vital capacity is expired"),
    "bev": Index("BEV", "L", 2, "back-extrapolated volume"),
    "fet": Index("FET", "s", 2, "forced expiratory time"),
    "fivc": Index("FIVC", "L", 2, "volume inspired after the forced expiration"),
    "pif": Index("PIF", "L/s", 2, "peak inspiratory flow"),
    "inspired": Index("Inspired before", "L", 2, "volume inspired before the forced expiration"),
}
JUDGED = ("fev1", "fvc", "pef", "fef2575")  # the four indices of the judge
