"""Conditions of the generator: properties of a participant and an effort, encoded as numbers.

`CONDITIONS` lists them once; training, drawing, the ONNX export and the checks of a checkpoint follow from it. What is
left out is NaN here and a learned "unknown" token in the network (`condition_tokens`), which is also what condition
dropout shows it in training.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.vocabulary import CYCLES, ETHNICITIES, GRADES, SEXES, TEST_TYPES


@dataclass(frozen=True)
class Number:
    """A condition that is a number, standardised as (value - centre) / spread."""

    name: str  # of its column
    centre: float
    spread: float
    jitter: float = 0.0  # SD of noise in training, in its unit
    optional: bool = False  # whether a user may leave it out
    seldom: bool = False  # few say it: all such are hidden together for half of the curves, and each for a third


@dataclass(frozen=True)
class Category:
    """A condition that is one of some values, each with an embedding."""

    name: str
    values: tuple[object, ...]  # in the order of the embeddings
    optional: bool = False
    seldom: bool = False


# Numbers come first. Age, height and sex nearly name a participant, and a network that can distinguish people
# memorises them instead of learning the population: hence the jitter.
CONDITIONS: tuple[Number | Category, ...] = (
    Number("age", centre=45.0, spread=22.0, jitter=1.0),  # years; near NHANES's, ages 6-79
    Number("height", centre=163.0, spread=16.0, jitter=2.0),  # cm
    Number("weight", centre=70.0, spread=25.0, jitter=2.0, optional=True, seldom=True),  # kg
    Category("sex", tuple(SEXES)),
    Category("grade", GRADES, optional=True),
    Category("test_type", TEST_TYPES, optional=True),
    Category("best", (False, True), optional=True),  # of the participant, before the bronchodilator
    Category("ethnicity", tuple(ETHNICITIES), optional=True, seldom=True),  # RIDRETH1
    Category("cycle", CYCLES, optional=True, seldom=True),
)
NUMBERS = tuple(c for c in CONDITIONS if isinstance(c, Number))
CATEGORIES = tuple(c for c in CONDITIONS if isinstance(c, Category))
NAMES = tuple(c.name for c in CONDITIONS)
USUAL = tuple(c.name for c in CONDITIONS if not c.seldom)  # the judge's conditions of a held-out effort

HIDDEN_TOGETHER, HIDDEN_ALONE = 0.5, 1 / 3  # shares of curves, of what is seldom known


def encode(people: pd.DataFrame) -> np.ndarray:
    """Conditions of each row as float32 (n, conditions): standardised numbers, category positions, NaN for unknown.

    Columns that are absent are unknown.

    Raises SpiroError where a category is none of its known values.
    """
    columns = [_encoded(people[c.name], c) if c.name in people else np.full(len(people), np.nan) for c in CONDITIONS]
    return np.stack(columns, axis=1).astype(np.float32)


def _encoded(values: pd.Series, condition: Number | Category) -> np.ndarray:
    if isinstance(condition, Number):
        return (values.to_numpy(float) - condition.centre) / condition.spread
    positions = values.map({value: float(i) for i, value in enumerate(condition.values)}).astype(float)
    foreign = values[positions.isna() & values.notna()]
    if len(foreign):
        raise SpiroError(
            f"people: {condition.name} is {foreign.iloc[0]} in row {foreign.index[0]}; expected one of "
            + ", ".join(map(str, condition.values))
        )
    return positions.to_numpy(float)
