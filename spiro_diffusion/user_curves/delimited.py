"""Delimited text of any dialect: columns of time and flow or volume, one blow or several."""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.artifacts import atomic
from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.core.vocabulary import TEST_TYPES
from spiro_diffusion.formats import dialect
from spiro_diffusion.formats.dialect import HEAD, PREAMBLE_LINES, SEPARATORS, UNIT_LINES, Dialect, cells, listed, sniff
from spiro_diffusion.formats.sniff import Kind
from spiro_diffusion.physiology.spirometry import end_of_flow
from spiro_diffusion.user_curves import column_names
from spiro_diffusion.user_curves.column_names import ColumnName
from spiro_diffusion.user_curves.efforts import SAMPLE_PERIOD_S, Quantity, RawBlow, UserCurves
from spiro_diffusion.user_curves.source import Source

EXPECTED = "expected time_s (s) and flow_l_s (L/s) or volume_l (L), and curve where there are several"
LARGEST = 1 << 30  # bytes; 13,000 drawn curves
DRAWN = ("person", "draw")  # as `spiro generate` names its curves
OF_SESSION = ("test_type", "effort")  # and beside these those of a session
MILLISECONDS = 0.5  # a sample each half second and more, of times without a unit, is one each so many ms
MOST_BLOWS = 50_000
SEVERAL_CELLS = re.compile(r"\S*[)\]][,;]\S+|\S*\w[,;]\S*[(\[]\S*")  # of another separator than the blank
QUOTABLE_CELL = re.compile(r"[\W\d_eE]*|[+-]?(nan|inf|infinity)", re.IGNORECASE)  # words could be a patient's name


@dataclass(frozen=True)
class Series:
    """The columns of one blow, or of several that a column or blank lines separate: positions in a row."""

    label: str
    time: int
    flow: int | None
    volume: int | None


def read(source: Source) -> tuple[list[RawBlow], list[str]]:
    """Read the blows of a text in columns, and notes.

    Blows are distinguished by a column that names them (`curve`, or `person` and `draw`), by separate columns (`Flow
    1`, `Flow 2`), or by blank lines. If both flow and volume are present, flow is read, and must agree with the volume.
    A unit in the name, or below it, is applied.

    Raises SpiroError that names the problem with columns or numbers.
    """
    found = sniff(source.head, score)
    if found is None:
        _refuse(source)
    if found.mixed:
        raise SpiroError(f"{source.where}: its numbers have decimal points and commas both; use one of them")
    before = "\n".join(source.head_text.splitlines()[: found.begin])
    return blows_of(_parsed(source, found), [*zip(found.names, found.units, strict=True)], source.where, before)


def score(names: list[str]) -> int:
    """How good cells are as names of columns: how many are known, where time and a value are among them."""
    if any(SEVERAL_CELLS.fullmatch(name) for name in names):
        return 0
    found = [column_names.parse(name).quantity for name in names] if len(names) < HEAD else []
    readable = "time" in found and ("flow" in found or "volume" in found)
    return sum(quantity is not None for quantity in found) if readable else 0


def _refuse(source: Source) -> NoReturn:
    if b"\n" not in source.head and b"\r" not in source.head and len(source.head) == HEAD:
        raise SpiroError(f"{source.where}: its first line has more than {HEAD:,} characters; {EXPECTED}")
    if source.kind is Kind.EMPTY:
        raise SpiroError(f"{source.where}: is empty; {EXPECTED}")
    names = _names_above_numbers(source.head)
    message = (
        f"columns are {listed(names)}" if names else f"is {source.kind}, where no line names columns above numbers"
    )
    raise SpiroError(f"{source.where}: {message}; {EXPECTED}")


def _names_above_numbers(head: bytes) -> list[str]:
    """The cells above the first row of numbers, and above its units: any other line could identify a patient."""
    lines = [line for line in next((text for _, text in dialect.decoded(head)), "").splitlines() if line.strip()]
    for place, line in enumerate(lines[1 : PREAMBLE_LINES + UNIT_LINES], 1):
        separator = max(SEPARATORS, key=lambda mark: _count_of_numbers(cells(line, mark)))
        count = _count_of_numbers(cells(line, separator))
        above = [cells(other, separator) for other in lines[max(place - 1 - UNIT_LINES, 0) : place]]
        while count and above and len(above[-1]) == count:
            names = above.pop()
            if not all(column_names.unit(name) for name in names if name):
                return names
        if count:
            break
    return []


def _count_of_numbers(row: list[str]) -> int:
    """The number of cells of a row in which all non-empty cells are numbers, else 0."""
    filled = [cell for cell in row if cell]
    return len(row) if filled and all(map(dialect.is_number, filled)) else 0


def _parsed(source: Source, found: Dialect) -> pd.DataFrame:
    """The rows below the names, columns by position; blank lines are rows of missing values."""
    if source.path and source.path.stat().st_size > LARGEST:
        raise SpiroError(f"{source.where}: has more than {LARGEST >> 20} MB; give it in parts")
    with source.opened() as file:
        dialect.refuse_many_columns(file, source.where, EXPECTED, found.separator)
        file.seek(0)
        return dialect.rows(
            file,
            source.where,
            sep=r"\s+" if found.separator == " " else found.separator,
            decimal=found.decimal,
            encoding=found.encoding,
            skiprows=found.begin,
            header=None,
            names=list(range(len(found.names))),
            skip_blank_lines=False,
        )


# --- columns to blows -----------------------------------------------------------------------------------------------


def blows_of(
    table: pd.DataFrame, names: Sequence[tuple[str, str]], where: str, before: str = ""
) -> tuple[list[RawBlow], list[str]]:
    """Blows of a table with columns by position; `names` are the columns' names and the units below them.

    `before` is the text above the rows: if it states ATPS, and nothing states BTPS, the factor is unknown.
    """
    columns = _numbered([_column(name, below, where) for name, below in names])
    if {word.lower() for word in re.findall(r"\b[AB]TPS\b", before)} == {"atps"}:
        columns = [column._replace(conditions=column.conditions or "atps") for column in columns]
    keys = _keys(columns, names)
    series = _series(columns, names, where)
    rows = _without_repeated_names(table, [name for name, _ in names])
    empty = rows.isna().all(axis=1).to_numpy()
    if empty.all():
        raise SpiroError(f"{where}: holds no samples")
    group = _groups(rows, keys, empty, names, where)
    rows, group = rows[~empty], group[~empty]
    blows, notes = [], []
    for one in series:
        read_blows, message = _blows_of_series(rows, group, one, columns, [name for name, _ in names], where)
        blows += read_blows
        notes += message
    person_columns = [place for place, (name, _) in enumerate(names) if name.strip().lower() == DRAWN[0]]
    people = rows[person_columns[0]].nunique() if person_columns else 1
    if people > 1:
        notes.append(f"{people} people are in the file; z-scores and grades take them for one person")
    if any(names[key][0].strip().lower() == OF_SESSION[0] and {*TEST_TYPES} <= {*rows[key]} for key in keys):
        notes.append(
            f"the file holds efforts before and after a bronchodilator (column {OF_SESSION[0]}); they are evaluated "
            "separately"
        )
    if [names[key][0].lower() for key in keys[: len(DRAWN)]] == list(DRAWN):
        blows = [_until_end(blow) for blow in blows]
    return blows, list(dict.fromkeys(notes))


def _numbered(columns: list[ColumnName]) -> list[ColumnName]:
    """The columns; those of several blows side by side under the same names (time, flow, time, flow) are numbered."""
    used = [i for i, column in enumerate(columns) if column.quantity in ("time", "flow", "volume")]
    kinds = [(columns[i].quantity, columns[i].label) for i in used]
    size = len({*kinds})
    if len(kinds) == size or len({*kinds[:size]}) < size or kinds != kinds[:size] * (len(kinds) // size):
        return columns
    numbered = list(columns)
    for place, i in enumerate(used):
        numbered[i] = columns[i]._replace(label=f"{columns[i].label} {place // size + 1}".strip())
    return numbered


def _column(name: str, below: str, where: str) -> ColumnName:
    """The meaning of a name together with the unit below it.

    Raises SpiroError if that unit is unknown.
    """
    column, below = column_names.parse(name), below.strip("()[]{}<> \t")
    if not column.quantity or column.unit is not None or not below:
        return column
    both = column_names.parse(f"{name} ({below})")
    if both.quantity == column.quantity and both.unit is not None:
        return both
    if "/" in below:
        raise SpiroError(
            f"{where}: the unit of {printable(name, 40)} is {printable(below, 20)}; give L/s, L/min or mL/s"
        )
    return column


def _keys(columns: list[ColumnName], names: Sequence[tuple[str, str]]) -> list[int]:
    """Positions of the columns that distinguish blows."""
    lower = [name.strip().lower() for name, _ in names]
    drawn = [lower.index(name) for name in DRAWN if name in lower]
    named = [i for i, column in enumerate(columns) if column.quantity == "curve"]
    if len(drawn) == len(DRAWN):
        session = [lower.index(name) for name in OF_SESSION if name in lower]
        drawn, named = [*drawn, *session], [i for i in named if i not in session]
    return named[:1] or drawn


def _series(columns: list[ColumnName], names: Sequence[tuple[str, str]], where: str) -> list[Series]:
    places: dict[tuple[str, str], int] = {}
    for i, column in enumerate(columns):
        if column.quantity in ("time", "flow", "volume"):
            if (column.quantity, column.label) in places:
                raise SpiroError(f"{where}: two columns are named {printable(names[i][0])}; keep one")
            places[column.quantity, column.label] = i
    times = {label: i for (quantity, label), i in places.items() if quantity == "time"}
    labels = dict.fromkeys(label for quantity, label in places if quantity != "time")
    found = []
    for label in labels:
        flow, volume = places.get(("flow", label)), places.get(("volume", label))
        first = min(i for i in (flow, volume) if i is not None)
        left = [i for i in times.values() if i < first]
        found.append(Series(label, times.get(label, max(left, default=next(iter(times.values())))), flow, volume))
    return found


def _without_repeated_names(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The rows without those that repeat the names, as in files with a table for each blow."""
    again = np.zeros(len(table), bool)
    for i, name in enumerate(names):
        if table[i].dtype.kind not in "fiu":
            again |= (table[i].astype(str).str.strip() == name).to_numpy()
    return table[~again] if again.any() else table


def _groups(
    rows: pd.DataFrame, keys: list[int], empty: NDArray[np.bool_], names: Sequence[tuple[str, str]], where: str
) -> NDArray:
    """The name of each row's blow, "" where no column distinguishes blows."""
    if not keys:
        block = np.cumsum(np.diff(empty.astype(int), prepend=1) == -1)
        return block.astype(str).astype(object) if block.max() > 1 else np.full(len(rows), "", object)
    if rows[~empty][keys].isna().to_numpy().any():
        message = " or ".join(names[key][0] for key in keys)
        raise SpiroError(f"{where}: {message} is empty in a row; name the curve of each sample")
    # column by column: row by row it takes a hundred times the memory
    return functools.reduce(lambda a, b: a + "/" + b, (_as_names(rows[key]) for key in keys)).to_numpy(object)


def _as_names(cells: pd.Series) -> pd.Series:
    """Names as written: whole numbers that became floats because of blank lines are written without decimals."""
    if cells.dtype.kind == "f" and (cells.dropna() % 1 == 0).all() and cells.abs().max() < 1e15:
        return cells.fillna(-1).astype(np.int64).astype(str)
    return cells.astype(str)


def _blows_of_series(
    rows: pd.DataFrame, group: NDArray, series: Series, columns: list[ColumnName], names: list[str], where: str
) -> tuple[list[RawBlow], list[str]]:
    value = series.flow if series.flow is not None else series.volume
    assert value is not None  # a series has one of them
    quantity: Quantity = "flow" if series.flow is not None else "volume"
    used = rows[[series.time, value]]
    if series.label:  # separate columns end where their blow ends
        last = np.flatnonzero(rows[value].notna().to_numpy())
        used, group = used.iloc[: last[-1] + 1 if len(last) else 0], group[: last[-1] + 1 if len(last) else 0]
    time = numbers(used[series.time], names[series.time], where) * (columns[series.time].unit or 1.0)
    values = numbers(used[value], names[value], where) * (columns[value].unit or 1.0)
    beside = None
    if quantity == "flow" and series.volume is not None:
        beside = pd.to_numeric(rows[series.volume].iloc[: len(used)], errors="coerce").to_numpy(np.float64)
        beside = beside * (columns[series.volume].unit or 1.0)
    conditions = columns[value].conditions
    notes: list[str] = []
    if columns[value].unit is None:
        notes.append(f"{printable(names[value], 40)} has no unit; read as {'L/s' if quantity == 'flow' else 'L'}")
    blows = []
    codes, uniques = pd.factorize(group)
    if len(uniques) > MOST_BLOWS:
        raise SpiroError(f"{where}: holds {len(uniques)} curves, more than {MOST_BLOWS} at once; give fewer")
    order = np.argsort(codes, kind="stable")
    for part in np.split(order, np.cumsum(np.bincount(codes, minlength=len(uniques)))[:-1]) if len(codes) else []:
        name = " ".join(filter(None, (str(group[part[0]]), series.label)))
        times, volume = time[part], None if beside is None else beside[part]
        if (
            columns[series.time].unit is None
            and len(times) > 1
            and (times[-1] - times[0]) / (len(times) - 1) > MILLISECONDS
        ):
            times, notes = times / 1000, [*notes, f"{printable(names[series.time], 40)} has no unit; read as ms"]
        whole = volume is not None and np.isfinite(volume[[0, -1]]).all()
        btps = None if conditions == "atps" else 1.0
        blows.append(
            RawBlow(
                name, quantity, values[part], None, times, btps, volume if whole else None, printable(names[value], 40)
            )
        )
    return blows, notes


def numbers(column: pd.Series, name: str, where: str) -> NDArray[np.float64]:
    """A column as finite float64 (n,).

    Raises SpiroError that names the first cell that is no number, by its row counted from 1.
    """
    if column.dtype.kind not in "fiu":
        text = column.astype(str).str.strip()
        text = text.where(text.str.len() < 300, "")  # an integer of hundreds of digits
        values = pd.to_numeric(text.str.replace(",", "."), errors="coerce").to_numpy(np.float64)
    else:
        values = column.to_numpy(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        cell = str(column.iloc[bad[0]])
        message = printable(cell) if QUOTABLE_CELL.fullmatch(cell[:100]) else "text"
        raise SpiroError(f"{where}: {printable(name, 40)} is {message} in row {bad[0] + 1}; expected a number")
    return values


def _until_end(blow: RawBlow) -> RawBlow:
    """A generated curve, which ends with its last flow."""
    last = int(end_of_flow(blow.values[None])[0]) if blow.quantity == "flow" else len(blow.values)
    if last < 2 or blow.times is None:
        return blow
    return RawBlow(blow.name, blow.quantity, blow.values[:last], None, blow.times[:last], blow.btps, column=blow.column)


# --- writer ---------------------------------------------------------------------------------------------------------


def write(path: Path, curves: UserCurves) -> None:
    """Write efforts as CSV: curve, time_s, flow_l_s at BTPS."""
    with atomic(path) as part, part.open("w", encoding="utf-8", newline="\n") as out:
        for i, (name, flow) in enumerate(zip(curves.names, curves.curves(), strict=True)):
            table = pd.DataFrame({"curve": name, "time_s": np.arange(len(flow)) * SAMPLE_PERIOD_S, "flow_l_s": flow})
            table.round({"time_s": 2, "flow_l_s": 6}).to_csv(out, index=False, header=i == 0, lineterminator="\n")
