"""Subjects to draw curves for: a user's table, validated against the range of the training data."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.core.vocabulary import SEX_CODES
from spiro_diffusion.formats import dialect
from spiro_diffusion.generation.conditions import CONDITIONS
from spiro_diffusion.simulation.population import POPULATION

SEX_WORDS: dict[str, int] = {  # as users write them, in small letters, and RIAGENDR
    **{str(word): code for word, code in SEX_CODES.items()},
    **dict.fromkeys(("m", "1", "1.0", "男", "男性"), SEX_CODES["male"]),
    **dict.fromkeys(("f", "2", "2.0", "女", "女性"), SEX_CODES["female"]),
}
REQUIRED = ("age", "height", "sex")
UNITS = {"age": "years", "height": "cm"}
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
LARGEST_CSV = 1 << 30  # bytes; 13,000 drawn curves
OTHER_HEIGHTS = {"metres": (0, 3, 100), "feet": (3, 8, 30.48), "inches": (8, 90, 2.54), "millimetres": (600, 2300, 0.1)}
# from, to, and centimetres of one: heights that do not occur, or not at that age and sex
FAR = 0.8  # of the lowest usual height: a smaller one that is usual in inches was given in inches
NEAR = {"age": 2.0, "height": 3.0}  # years, cm from the end of the trained range: few curves there, a warning
MOST_LISTED = 5  # kinds of invalid rows that a message describes; of the others it lists the numbers

Invalid = dict[int, tuple[str, str]]  # by row from 0: the content of a cell, and what was expected


class Accepted(NamedTuple):
    """Subjects that curves can be drawn for."""

    table: pd.DataFrame  # as `conditioned` makes it
    given: pd.DataFrame  # their rows as they were given, but for the conditions drawn for
    warnings: list[str]  # on rows left out, and on subjects rare in the training data
    rows: list[int]  # of the table as it was given, from 0


def read_people(path: Path) -> pd.DataFrame:
    """Read a table of subjects from a CSV with age (years), height (cm) and sex, optionally grade and test_type.

    Other columns are kept unchanged.

    Raises SpiroError if the file cannot be read or lacks a column.
    """
    try:
        with path.open("rb") as file:
            first = file.readline(10_000).decode(errors="replace")
    except FileNotFoundError:
        raise SpiroError(f"{path}: no such file") from None
    except OSError as error:
        raise SpiroError(f"{path}: not a readable CSV table ({error})") from None
    if path.stat().st_size > LARGEST_CSV:
        raise SpiroError(f"{path}: has more than {LARGEST_CSV >> 20} MB; give it in parts")
    for mark, name in OTHER_SEPARATORS.items():
        if mark in first and "," not in first:
            raise SpiroError(
                f"{path}: its columns are separated by {name}; save it as CSV with commas between columns and points "
                "in numbers"
            )
    with path.open("rb") as opened:
        dialect.refuse_many_columns(opened, str(path), "expected age, height, sex")
    table = dialect.rows(path, str(path), encoding="utf-8-sig")
    table = table.rename(columns=lambda name: str(name).strip().lower())
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise SpiroError(f"{path}: two columns are named {printable(twice[0])}; keep one")
    return _checked(table, str(path))


def as_table(people: pd.DataFrame | Mapping[str, Any] | None = None, **person: Any) -> pd.DataFrame:
    """A table of people from a table, from a mapping of column to values (a list, or one value for all), or from one
    `person` by keywords: age (years), height (cm), sex.

    Raises SpiroError if both or neither are given, or a column is missing.
    """
    given = {name: value for name, value in person.items() if value is not None}
    if people is not None and given:
        raise SpiroError(f"people: give a table of people or {', '.join(given)}, not both")
    if isinstance(people, pd.DataFrame):
        table = people
    else:
        columns = given if people is None else dict(people)
        several = any(np.ndim(values) for values in columns.values())
        try:
            table = pd.DataFrame(columns, index=None if several else [0])
        except ValueError as error:
            raise SpiroError(f"people: {error}") from None
    return _checked(table.rename(columns=lambda name: str(name).strip().lower()), "people")


def _checked(table: pd.DataFrame, where: str) -> pd.DataFrame:
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        raise SpiroError(
            f"{where}: no column {', '.join(missing)}; expected age (years), height (cm), sex (male or female) "
            f"and found {dialect.listed(list(map(str, table)))}"
        )
    if table.empty:
        raise SpiroError(f"{where}: holds no people; give one row a person")
    return table


def _numbers(cells: pd.Series) -> np.ndarray:
    """Cells as float64 (n,), NaN if not a finite number."""
    if cells.dtype == bool:
        cells = cells.astype(str)
    try:
        values = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64)
    except OverflowError:  # an integer of hundreds of digits
        values = np.array([float(str(cell)) if len(str(cell)) < 300 else np.nan for cell in cells])
    return np.where(np.isfinite(values), values, np.nan)


def _no_number(name: str, cells: pd.Series, row: int) -> tuple[str, str]:
    return f"{name} is {printable(cells.iloc[row])}", "expected a number"


def conditioned(people: pd.DataFrame, *, any_effort: bool = False, **defaults: str | None) -> pd.DataFrame:
    """The table with age and height as numbers, sex as 1 or 2, and the conditions of the effort to draw.

    By default (cells of the table, then `defaults`), the effort is the best acceptable one before the bronchodilator,
    of grade A; `any_effort` leaves grade and best open. An effort of grade D, or after the bronchodilator, is never a
    best one.

    Raises SpiroError that lists the rows with an unknown value.
    """
    table, invalid = _read(people, any_effort, defaults)
    _refuse(invalid, len(table))
    return table.astype({"sex": int})


def accepted(
    people: pd.DataFrame,
    trained: Mapping[str, Any],
    *,
    skip_invalid: bool = False,
    any_effort: bool | np.ndarray = False,
    **defaults: str | None,
) -> Accepted:
    """The subjects of a table within the range of the model, whose ages and heights are in `trained`. `any_effort` may
    be given for each row (n,).

    Raises SpiroError that lists the invalid rows, unless `skip_invalid` leaves them out and others are left.
    """
    table, invalid = _read(people, any_effort, defaults)
    invalid = _beyond(table, trained, "the model was trained on") | invalid
    warnings = []
    if not skip_invalid or len(invalid) == len(table):
        _refuse(invalid, len(table))
    elif invalid:
        warnings.append(f"left out: {_listed(invalid, len(table))}")
    kept = [row for row in range(len(table)) if row not in invalid]
    table, given = (frame.iloc[kept].reset_index(drop=True) for frame in (table, people))
    table = table.astype({"age": float, "height": float, "sex": int})
    given = given.assign(**{c.name: table[c.name] for c in CONDITIONS if c.name in given})
    return Accepted(table, given, [*warnings, *_near_ends(table, trained), *unmet_heights(table)], kept)


def _read(
    people: pd.DataFrame, any_effort: bool | np.ndarray, defaults: Mapping[str, str | None]
) -> tuple[pd.DataFrame, Invalid]:
    """The table in the form of `conditioned`, where its cells are valid."""
    out = people.reset_index(drop=True).copy()  # in one piece: of hundreds of columns pandas would warn
    invalid: Invalid = {}
    for name in UNITS:
        cells, out[name] = out[name], _numbers(out[name])
        for missing in np.flatnonzero(out[name].isna()):
            invalid.setdefault(int(missing), _no_number(name, cells, int(missing)))
    accepted: dict[str, dict[str, Any]] = {"sex": SEX_WORDS}
    every = np.broadcast_to(any_effort, len(out))
    for condition in CONDITIONS:
        name = condition.name
        fallbacks = [
            defaults.get(name) or (condition.any_effort if any_one else condition.default) for any_one in every
        ]
        given = list(out[name]) if name in out else [None] * len(out)
        filled = [default if pd.isna(cell) else cell for cell, default in zip(given, fallbacks, strict=True)]
        out[name] = pd.Series(filled, dtype=object)
        accepted[name] = {value.lower(): value for value in condition.values}
    for name, words in accepted.items():
        expected = ", ".join(SEX_CODES if name == "sex" else words.values())
        read = []
        for row, cell in enumerate(out[name]):
            word = str(cell).strip().lower()
            if cell is not None and word not in words:
                invalid.setdefault(row, (f"{name} is {printable(cell)}", f"expected one of {expected}"))
            read.append(words.get(word))
        out[name] = pd.Series(read, dtype=object)
    lesser = (out["grade"] == "D") | (out["test_type"] == "Bron")
    best = [False if less else (None if any_one else True) for less, any_one in zip(lesser, every, strict=True)]
    out["best"] = pd.Series(best, dtype=object)
    return out, invalid


def check_range(people: pd.DataFrame, trained: Mapping[str, Any], of: str = "the model was trained on") -> None:
    """Raises SpiroError that lists the subjects beyond some ages (years) and heights (cm).

    `trained` has `age` and `height`, each [lowest, highest]; `of` names the range in the message.
    """
    _refuse(_beyond(people, trained, of), len(people))


def _beyond(people: pd.DataFrame, trained: Mapping[str, Any], of: str) -> Invalid:
    invalid: Invalid = {}
    for name, unit in UNITS.items():
        low, high = trained[name]
        values = people[name].to_numpy(np.float64)
        beyond = (values < low) | (values > high)
        if name == "height":
            beyond |= _in_inches(people)
        for row in np.flatnonzero(beyond):
            expected = f"{of} {low:g} to {high:g} {unit}{_hint(values[row]) if name == 'height' else ''}"
            invalid.setdefault(int(row), (f"{name} is {values[row]:g}", expected))
    return invalid


def _in_inches(people: pd.DataFrame) -> np.ndarray:
    """Whether each height (n,) is far too small for the age and sex in cm, and usual in inches."""
    age, height = (people[name].to_numpy(np.float64) for name in UNITS)
    low, high = POPULATION.usual_heights(age, people["sex"].to_numpy(np.float64))
    inches = height * OTHER_HEIGHTS["inches"][2]
    return (height < FAR * low) & (low <= inches) & (inches <= high)


def _hint(height: float) -> str:
    """The likely unit of a height that cannot be in cm."""
    for unit, (least, most, cm) in OTHER_HEIGHTS.items():
        if least < height < most:
            return f"; give centimetres, not {unit} ({height:g} {unit} are {height * cm:.0f} cm)"
    return ""


def _refuse(invalid: Invalid, rows: int) -> None:
    if invalid:
        hint = "; correct them, or leave them out (--skip-invalid)" if rows > 1 else ""
        raise SpiroError(f"people: {_listed(invalid, rows)}{hint}")


def _listed(invalid: Invalid, rows: int) -> str:
    """All invalid rows in one line, grouped by the reason."""
    kinds: dict[tuple[str, str], list[int]] = {}
    for row in sorted(invalid):
        kinds.setdefault(invalid[row], []).append(row + 1)
    described, others = list(kinds.items())[:MOST_LISTED], list(kinds.values())[MOST_LISTED:]
    texts = [f"{what} in {_rows(numbered)}; {expected}" for (what, expected), numbered in described]
    if others:
        texts.append(f"likewise {_rows(sorted(itertools.chain(*others)))}")
    return texts[0] if rows == 1 else f"{len(invalid)} of {rows} rows are invalid: {' | '.join(texts)}"


def _rows(numbered: list[int]) -> str:
    """Numbers of rows in words, consecutive ones as a range."""
    parts = np.split(numbered, np.flatnonzero(np.diff(numbered) > 1) + 1)
    texts = [f"{part[0]}" if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts]
    return f"row{'s' if len(numbered) > 1 else ''} {printable(', '.join(texts), 100)}"


def _near_ends(people: pd.DataFrame, trained: Mapping[str, Any]) -> list[str]:
    """Warnings on subjects near the ends of the trained ages (years) and heights (cm)."""
    warnings = []
    for name, unit in UNITS.items():
        low, high = trained[name]
        values = people[name].to_numpy(np.float64)
        near = int(((values < low + NEAR[name]) | (values > high - NEAR[name])).sum())
        if near:
            begin = f"{name} {values[0]:g} is" if len(values) == 1 else f"{near} of {len(values)} people are"
            warnings.append(
                f"{begin} within {NEAR[name]:g} {unit} of the ends of the trained {name}s "
                f"({low:g} to {high:g}), where the model saw few curves"
            )
    return warnings


def unmet_heights(people: pd.DataFrame) -> list[str]:
    """A warning on subjects of a height that is very rare in the survey at their age (for ages of the survey only)."""
    age, height = (people[name].to_numpy(np.float64) for name in UNITS)
    low, high = POPULATION.usual_heights(age, people["sex"].to_numpy(int))
    surveyed = (age >= POPULATION.height.ages[0]) & (age <= POPULATION.height.ages[-1] + 1)
    rows = np.flatnonzero(surveyed & ((height < low) | (height > high)))
    if not len(rows):
        return []
    row = rows[0]
    first = (
        f"at {age[row]:g} years NHANES 2011-2012 met heights of about {low[row]:.0f} to {high[row]:.0f} cm, not "
        f"{height[row]:g} cm"
    )
    if len(people) == 1:
        return [f"{first}: these curves are of a person such as the model never saw"]
    return [f"{len(rows)} of {len(people)} people are of a height that the model never saw at their age; {first}"]
