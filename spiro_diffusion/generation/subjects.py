"""Who curves are drawn for: a table of people as a user gives it, checked against what the model was trained on."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from spiro_diffusion.core.errors import SpiroError, shown

SEXES = {"male": 1, "m": 1, "1": 1, "1.0": 1, "female": 2, "f": 2, "2": 2, "2.0": 2}  # RIAGENDR
GRADES = ("A", "B", "C", "D")  # SPAQEFF
TEST_TYPES = ("Pre", "Bron")  # SPATTYPE
REQUIRED = ("age", "height", "sex")
UNITS = {"age": "years", "height": "cm"}
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
LARGEST_CSV = 1 << 30  # bytes; 13,000 drawn curves
OTHER_HEIGHTS = {"metres": 3.0, "feet": 8.0, "inches": 90.0}  # below these; no trained height is
NEAR = {"age": 2.0, "height": 3.0}  # years, cm from the end of the trained range: few curves there, a warning


def read_people(path: Path) -> pd.DataFrame:
    """A table of people from a CSV with age (years), height (cm) and sex, optionally grade and test_type.

    Other columns are kept as they are.

    Raises SpiroError where the file cannot be read or lacks a column.
    """
    return _checked(read_csv(path), str(path))


def as_table(people: pd.DataFrame | Mapping[str, Any] | None = None, **person: Any) -> pd.DataFrame:
    """A table of people from a table, from a mapping of column to values (a list, or one for all), or from one
    `person` by keywords: age (years), height (cm), sex.

    Raises SpiroError where both or neither are given, or a column is missing.
    """
    said = {name: value for name, value in person.items() if value is not None}
    if people is not None and said:
        raise SpiroError(f"people: give a table of people or {', '.join(said)}, not both")
    if isinstance(people, pd.DataFrame):
        table = people
    else:
        columns = said if people is None else dict(people)
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
            f"and found {listed(table)}"
        )
    if table.empty:
        raise SpiroError(f"{where}: holds no people; give one row a person")
    return table


def read_csv(source: Path | BinaryIO, where: str | None = None) -> pd.DataFrame:
    """A CSV with lower-case column names, of a path or an open file; `where` names it in errors, else the path.

    Raises SpiroError where there is none to read, or its columns are not told apart.
    """
    where = where or str(source)
    try:
        if isinstance(source, Path) and source.stat().st_size > LARGEST_CSV:
            raise SpiroError(f"{where}: has more than {LARGEST_CSV >> 20} MB; give it in parts")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row of more cells than columns would lose some
            table = pd.read_csv(source, skipinitialspace=True, encoding="utf-8-sig", index_col=False)
    except FileNotFoundError:
        raise SpiroError(f"{where}: no such file") from None
    except (OSError, ValueError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        # EmptyDataError and UnicodeDecodeError are ValueErrors
        _refuse_other_separator(_first_line(source), where)
        raise SpiroError(f"{where}: not a readable CSV table ({shown(' '.join(str(error).split()), 200)})") from None
    if table.shape[1] == 1:
        _refuse_other_separator(str(table.columns[0]), where)
    table = table.rename(columns=lambda name: str(name).strip().lower())
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise SpiroError(f"{where}: two columns are named {shown(twice[0])}; keep one")
    return table


def _first_line(source: Path | BinaryIO) -> str:
    """The first line of what could not be read, as far as it is text; nothing where there is none."""
    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                line = file.readline(10_000)
        else:
            source.seek(0)
            line = source.readline(10_000)
    except (OSError, ValueError):  # a directory; a file that pandas has closed
        return ""
    return line.decode("utf-8", errors="replace")


def _refuse_other_separator(head: str, where: str) -> None:
    """Raises SpiroError where the first line holds no comma but what separates cells elsewhere."""
    for mark, name in OTHER_SEPARATORS.items():
        if mark in head and "," not in head:
            raise SpiroError(
                f"{where}: its columns are separated by {name}; save it as CSV with commas between columns and points "
                "in numbers"
            )


def listed(table: pd.DataFrame) -> str:
    """The columns of a table in words, the first eight of them and each cut to 40 characters."""
    names = [shown(name, 40) for name in table.columns[:8]]
    return ", ".join(names) + (f" and {table.shape[1] - 8} more" if table.shape[1] > 8 else "") or "none"


def numbers(table: pd.DataFrame, name: str, where: str) -> np.ndarray:
    """A column as finite float64 (n,).

    Raises SpiroError that names the first cell that is no number, by its row counted from 1.
    """
    cells = table[name]
    if cells.dtype == bool:
        cells = cells.astype(str)
    try:
        values = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64)
    except OverflowError:  # an integer of hundreds of digits
        values = np.array([float(str(cell)) if len(str(cell)) < 300 else np.nan for cell in cells])
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise SpiroError(f"{where}: {name} is {shown(cells.iloc[bad[0]])} in row {bad[0] + 1}; expected a number")
    return values


def conditioned(
    people: pd.DataFrame, *, grade: str | None = None, test_type: str | None = None, any_effort: bool = False
) -> pd.DataFrame:
    """The table with age and height as numbers, sex as 1 or 2, and the kind of effort to draw.

    The kind is the best acceptable effort before the bronchodilator, grade A, where the table's own cells,
    `grade` and `test_type` say nothing else; `any_effort` leaves grade and best open. No effort of
    grade D, and none after the bronchodilator, is such a best.

    Raises SpiroError where a cell is none of its known values.
    """
    out = people.reset_index(drop=True)
    for name in UNITS:
        out[name] = numbers(out, name, "people")
    out["sex"] = [_known(value, SEXES, "sex", row) for row, value in enumerate(out["sex"])]
    defaults: dict[str, tuple[str | None, tuple[str, ...]]] = {
        "grade": (grade or (None if any_effort else "A"), GRADES),
        "test_type": (test_type or "Pre", TEST_TYPES),
    }
    for name, (default, values) in defaults.items():
        known = {value.lower(): value for value in values}
        cells: list[Any] = list(out[name]) if name in out else [None] * len(out)
        column = [default if pd.isna(cell) else cell for cell in cells]
        out[name] = pd.Series(
            [None if c is None else _known(c, known, name, i) for i, c in enumerate(column)], dtype=object
        )
    lesser = (out["grade"] == "D") | (out["test_type"] == "Bron")
    out["best"] = pd.Series([False if less else (None if any_effort else True) for less in lesser], dtype=object)
    return out


def _known(value: Any, known: dict[str, Any], name: str, row: int) -> Any:
    key = str(value).strip().lower()
    if key not in known:
        expected = ["male", "female"] if name == "sex" else list(known.values())
        raise SpiroError(f"people: {name} is {shown(value)} in row {row + 1}; expected one of {', '.join(expected)}")
    return known[key]


def check_range(people: pd.DataFrame, trained: Mapping[str, Any], of: str = "the model was trained on") -> list[str]:
    """Warnings on people near the ends of the trained ages (years) and heights (cm).

    `trained` holds `age` and `height`, each [lowest, highest]; `of` says in the message whose they are.

    Raises SpiroError that names the first person beyond them.
    """
    said = []
    for name, unit in UNITS.items():
        low, high = trained[name]
        values = people[name].to_numpy(np.float64)
        beyond = np.flatnonzero((values < low) | (values > high))
        if len(beyond):
            value = values[beyond[0]]
            other = next((unit for unit, most in OTHER_HEIGHTS.items() if value < most), None)
            hint = f"; give centimetres, not {other}" if name == "height" and other else ""
            raise SpiroError(
                f"people: {name} is {value:g} in row {beyond[0] + 1}; {of} {low:g} to {high:g} {unit}{hint}"
            )
        near = int(((values < low + NEAR[name]) | (values > high - NEAR[name])).sum())
        if near:
            whose = f"{name} {values[0]:g} is" if len(values) == 1 else f"{near} of {len(values)} people are"
            said.append(
                f"{whose} within {NEAR[name]:g} {unit} of the ends of the trained {name}s "
                f"({low:g} to {high:g}), where the model saw few curves"
            )
    return said
