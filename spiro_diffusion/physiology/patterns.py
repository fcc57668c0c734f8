"""Patterns of spirometry by published definitions, each a few bounds on FEV1, FVC and FEV1/FVC.

References are GLI Global (`reference.gli_global`). Spirometry names a pattern, never a disease.
"""

from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from spiro_diffusion.physiology.reference import Z_LLN, gli_global

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Index = Literal["fev1", "fvc", "ratio"]  # L, L, -
Unit = Literal["value", "percent", "z"]  # L, L/s or a ratio; percent of predicted; z-score
Label = Literal[
    "normal",
    "obstruction",
    "possible-restriction",
    "possible-mixed",
    "low-fev1",
    "prism",
    "gold-1",
    "gold-2",
    "gold-3",
    "gold-4",
]
LABELS: tuple[Label, ...] = get_args(Label)
PARTITION: tuple[Label, ...] = LABELS[:5]  # each person has one of them
ADULT_AGE = 18.0  # years
GOLD_RATIO = 0.70  # FEV1/FVC below it after a bronchodilator is obstruction (GOLD); at or above it PRISm begins

ERS_ATS = "ERS/ATS 2022 (doi 10.1183/13993003.01499-2021)"
GOLD = "GOLD 2023 (doi 10.1164/rccm.202301-0106PP)"
PRISM = "Wan et al. 2014 (doi 10.1186/s12931-014-0089-y)"


class Bound(NamedTuple):
    """From `low`, inclusive, to `high`, exclusive, in `unit`."""

    name: Index
    unit: Unit
    low: float
    high: float


class Definition(NamedTuple):
    """A pattern: all of its bounds hold. `after`: of values after a bronchodilator alone."""

    bounds: tuple[Bound, ...]
    words: str
    source: str
    adults: bool = False
    after: bool = False


def _normal(index: Index) -> Bound:
    return Bound(index, "z", -Z_LLN, np.inf)


def _low(index: Index) -> Bound:
    return Bound(index, "z", -np.inf, -Z_LLN)


def _gold(low: float, high: float) -> Definition:
    below = f"{low:g} <= FEV1" if low > 0 else "FEV1"
    size = f"{below} < {high:g} %" if np.isfinite(high) else f"FEV1 >= {low:g} %"
    words = f"FEV1/FVC < {GOLD_RATIO:.2f} and {size} predicted, after a bronchodilator"
    bounds = (Bound("ratio", "value", 0.0, GOLD_RATIO), Bound("fev1", "percent", low, high))
    return Definition(bounds, words, GOLD, adults=True, after=True)


DEFINITIONS: dict[Label, Definition] = {
    "normal": Definition(
        (_normal("ratio"), _normal("fvc"), _normal("fev1")), "FEV1/FVC, FVC and FEV1 at or above their LLN", ERS_ATS
    ),
    "obstruction": Definition((_low("ratio"), _normal("fvc")), "FEV1/FVC below its LLN, FVC not", ERS_ATS),
    "possible-restriction": Definition((_normal("ratio"), _low("fvc")), "FVC below its LLN, FEV1/FVC not", ERS_ATS),
    "possible-mixed": Definition((_low("ratio"), _low("fvc")), "FEV1/FVC and FVC below their LLN", ERS_ATS),
    "low-fev1": Definition(
        (_normal("ratio"), _normal("fvc"), _low("fev1")), "FEV1 below its LLN, FVC and FEV1/FVC not", ERS_ATS
    ),
    "prism": Definition(
        (Bound("ratio", "value", GOLD_RATIO, np.inf), Bound("fev1", "percent", -np.inf, 80.0)),
        f"FEV1/FVC >= {GOLD_RATIO:.2f} and FEV1 < 80 % predicted",
        PRISM,
        adults=True,
    ),
    "gold-1": _gold(80.0, np.inf),
    "gold-2": _gold(50.0, 80.0),
    "gold-3": _gold(30.0, 50.0),
    "gold-4": _gold(-np.inf, 30.0),
}


def pattern_of(fev1_z: ArrayLike, fvc_z: ArrayLike, ratio_z: ArrayLike) -> NDArray[np.str_]:
    """The one of PARTITION that z-scores (n,) of FEV1, FVC and FEV1/FVC name; "" where one is missing."""
    z = {"fev1": np.asarray(fev1_z), "fvc": np.asarray(fvc_z), "ratio": np.asarray(ratio_z)}
    missing = ~np.isfinite(z["fev1"] + z["fvc"] + z["ratio"])
    fulfilled = [_all([_within(z[b.name], b) for b in DEFINITIONS[label].bounds]) & ~missing for label in PARTITION]
    return np.select(fulfilled, list(PARTITION), "")


def carries(label: Label, fev1: ArrayLike, fvc: ArrayLike, age: ArrayLike, height: ArrayLike, sex: ArrayLike) -> Bools:
    """Whether best values (n,) meet the bounds of a pattern; False where one is NaN or without a reference.

    Args:
        fev1, fvc: L; after a bronchodilator where the definition is of values after it.
        age: years. height: cm. sex: 1 male, 2 female. Each (n,) or one number.
    """
    values = _values(fev1, fvc)
    definition = DEFINITIONS[label]
    fulfilled = [_within(in_unit(values[b.name], b, age, height, sex), b) for b in definition.bounds]
    fulfilled.append(np.isfinite(values["ratio"]))
    if definition.adults:
        fulfilled.append(np.asarray(age) >= ADULT_AGE)
    return np.broadcast_to(_all(fulfilled), np.broadcast(values["ratio"], np.asarray(age)).shape)


def labels(
    fev1: ArrayLike, fvc: ArrayLike, age: ArrayLike, height: ArrayLike, sex: ArrayLike, after: ArrayLike
) -> pd.DataFrame:
    """Which patterns best values carry: a row each of n people, a bool column each of LABELS.

    `after` (n,): whether the values are of after a bronchodilator, without which no GOLD grade is. Others as of
    `carries`.
    """
    found = {label: carries(label, fev1, fvc, age, height, sex) for label in LABELS}
    drug = np.asarray(after, dtype=bool)
    return pd.DataFrame({k: v & drug if DEFINITIONS[k].after else v for k, v in found.items()})


def in_unit(value: Floats, bound: Bound, age: ArrayLike, height: ArrayLike, sex: ArrayLike) -> Floats:
    """Values (n,) of the bound's index in its unit."""
    if bound.unit == "value":
        return value
    lms = gli_global(bound.name, age, height, sex)
    with np.errstate(invalid="ignore"):
        return lms.z(value) if bound.unit == "z" else lms.percent(value)


def _values(fev1: ArrayLike, fvc: ArrayLike) -> dict[str, Floats]:
    first, all_of_it = np.asarray(fev1, dtype=np.float64), np.asarray(fvc, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"fev1": first, "fvc": all_of_it, "ratio": first / all_of_it}


def _within(value: Floats, bound: Bound) -> Bools:
    return (value >= bound.low) & (value < bound.high)


def _all(conditions: list[Bools]) -> Bools:
    return np.logical_and.reduce(np.broadcast_arrays(*conditions))
