"""Optional conditions of a subject beside age, height and sex: weight, ethnicity and NHANES cycle.

In training they are hidden for a share of curves, so that they remain optional. In a table of people they are columns;
for a model without such a condition its column is one of the other columns that are kept.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.core.vocabulary import CYCLES, ETHNICITIES
from spiro_diffusion.models import conditioning

NAMES = ("weight", "bmi", "ethnicity", "cycle")  # keywords, options and columns
WEIGHT_KG, BMI = (
    (10.0, 250.0),
    (10.0, 90.0),
)  # kg, kg/m2: wider than the range of NHANES 2011-2012
WORDS = {
    **{str(code): code for code in ETHNICITIES},
    **{f"{code}.0": code for code in ETHNICITIES},
    **{word: code for code, word in ETHNICITIES.items()},
    "non_hispanic_white": 3,
    "non_hispanic_black": 4,
}


def added(table: pd.DataFrame, defaults: Mapping[str, Any], cycles: Sequence[str] = ()) -> pd.DataFrame:
    """The table with weight (kg), ethnicity (RIDRETH1) and cycle (E, F, G) in the form of the model, NaN or None where
    unknown; `defaults` are for all rows whose cell is empty. `bmi` (kg/m2) gives the weight by the height. `cycles`:
    those of the training data, empty if unknown.

    Raises SpiroError if a value is invalid, or the model does not have the condition.
    """
    table = table.drop(columns=[n for n in NAMES if n in table]).assign(
        **{
            name: _cells(table, name, defaults.get(name))
            for name in NAMES
            if name in table or defaults.get(name) is not None
        }
    )
    for name, of_model in (("weight", "weight"), ("bmi", "weight"), ("ethnicity", "ethnicity"), ("cycle", "cycle")):
        if name in table and of_model not in conditioning.NAMES:
            if defaults.get(name) is not None:
                raise SpiroError(f"this model has no condition {of_model}; leave {name} out, it draws the mixture")
            table = table.drop(columns=name)
    weight = _read(table, "weight", _number(WEIGHT_KG, "kg"))
    if "bmi" in table:
        given_bmi = _read(table, "bmi", _number(BMI, "kg/m2"))
        both = pd.notna(weight) & pd.notna(given_bmi)
        if both.any():
            raise SpiroError(f"people: row {int(np.flatnonzero(both)[0]) + 1} has weight and bmi; give one of them")
        weight = np.where(pd.notna(given_bmi), given_bmi * (table["height"].to_numpy(float) / 100) ** 2, weight)
    found = table.drop(columns=[n for n in NAMES if n in table])
    if "weight" in table or "bmi" in table:
        found["weight"] = weight
    if "ethnicity" in table:
        found["ethnicity"] = _read(table, "ethnicity", _ethnicity)
    if "cycle" in table:
        found["cycle"] = pd.Series(_read(table, "cycle", _cycle(cycles)), index=table.index, dtype=object)
    return found


def _cells(table: pd.DataFrame, name: str, common: object) -> pd.Series:
    cells = table[name] if name in table else pd.Series([None] * len(table), index=table.index)
    cells = cells.astype(object)
    blank = cells.isna() | cells.map(lambda cell: not str(cell).strip())
    return cells.mask(blank, None if common is None else common)


def _read(table: pd.DataFrame, name: str, function: Callable[[str], Any]) -> Any:
    """Apply a function to the text of each cell of a column (n,); NaN, or None for texts, where a cell is blank."""
    if name not in table:
        return np.full(len(table), np.nan)
    read = []
    for row, cell in enumerate(table[name]):
        try:
            read.append(None if pd.isna(cell) else function(str(cell).strip()))
        except ValueError as error:
            where = "" if len(table) == 1 else f" in row {row + 1}"
            raise SpiroError(f"{name} is {printable(cell)}{where}; {error}") from None
    return read if name == "cycle" else np.array([np.nan if value is None else value for value in read], dtype=float)


def _number(ends: tuple[float, float], unit: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        expected = f"expected {ends[0]:g} to {ends[1]:g} {unit}"
        try:
            value = float(text)
        except ValueError:
            raise ValueError(expected) from None
        if not ends[0] <= value <= ends[1]:
            raise ValueError(expected)
        return value

    return read


def _ethnicity(text: str) -> int:
    word = text.lower().replace("-", "_").replace(" ", "_")
    if word not in WORDS:
        raise ValueError("expected " + ", ".join(f"{code} ({word})" for code, word in ETHNICITIES.items()))
    return WORDS[word]


def _cycle(trained: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.upper() not in CYCLES:
            raise ValueError(f"expected one of {', '.join(CYCLES)}")
        if trained and text.upper() not in trained:
            raise ValueError(f"this model was trained on {', '.join(trained)} alone; leave it out")
        return text.upper()

    return read
