"""Validate tables against codebooks, SEQN and published counts. Rows are counted from 0, as in Parquet."""

import re

import numpy as np

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.nhanes import codebook

MOST_RESTORED = 4  # at most one column name in four is restored: with fewer intact it could be another table


def numbers(name: str, values: np.ndarray, first_row: int = 0) -> None:
    """Refuse numbers (float64, NaN where missing) that the codebook does not allow in column `name`."""
    limits = codebook.CODEBOOK.get(name, codebook.CODE)
    if not isinstance(limits, codebook.Numbers):
        raise SpiroError(f"column {name} holds numbers; the codebook has texts there")
    lowest, highest, decimals = limits
    wrong = (values < lowest) | (values > highest)
    if decimals is not None:
        wrong |= ~np.isnan(values) & (np.round(values, decimals) != values)
    if wrong.any():
        row = int(wrong.argmax())
        digits = f" with {decimals} decimals" if decimals else " in whole numbers" if decimals == 0 else ""
        expected = f"{lowest:g} to {highest:g}{digits}"
        raise SpiroError(
            f"row {first_row + row}: {name} is {values[row]:.9g}, the codebook has {expected}; fetch it again"
        )


def texts(name: str, values: np.ndarray, first_row: int = 0) -> None:
    """Refuse texts (array of str) that the codebook does not have in column `name`."""
    allowed = codebook.CODEBOOK.get(name)
    if not isinstance(allowed, codebook.Texts):
        raise SpiroError(f"column {name} holds texts; the codebook has numbers there")
    wrong = ~np.isin(values, list(allowed.values))
    if wrong.any():
        row = int(wrong.argmax())
        expected = ", ".join(repr(value) for value in sorted(allowed.values))
        raise SpiroError(
            f"row {first_row + row}: {name} is {str(values[row])!r:.40}, the codebook has {expected}; fetch it again"
        )


def seqn(values: np.ndarray, file: codebook.File, first_row: int = 0) -> None:
    """Refuse participants of another cycle."""
    wrong = ~file.of_cycle(values)
    if not wrong.any():
        return
    row = int(wrong.argmax())
    for name, other in codebook.CYCLES.items():
        if other.first_seqn <= values[row] <= other.last_seqn:
            raise SpiroError(f"row {first_row + row}: SEQN {values[row]:.0f} is of cycle {name}, not {file.cycle}")
    raise SpiroError(f"row {first_row + row}: SEQN is {values[row]:g}, which is none of cycle {file.cycle}")


def one_row_each(values: np.ndarray) -> None:
    """Refuse a participant that has several rows."""
    unique, counts = np.unique(values, return_counts=True)
    if len(unique) < len(values):
        again = unique[counts > 1][0]
        rows = np.flatnonzero(values == again)
        where = f"rows {rows[0]} and {rows[1]}"
        raise SpiroError(f"holds SEQN {again:.0f} {len(rows)} times ({where}); one row a participant is expected")


def ascending(values: np.ndarray) -> None:
    """Refuse rows that are not sorted by SEQN, as the CDC's are: parts of the file have changed places."""
    falls = np.diff(values) < 0
    if falls.any():
        row = int(falls.argmax()) + 1
        raise SpiroError(
            f"row {row}: SEQN {values[row]:.0f} comes after {values[row - 1]:.0f}, but the CDC's files are sorted by "
            "SEQN: some rows may have changed places; fetch it again"
        )


def efforts(acceptable: np.ndarray, grade: np.ndarray, first_row: int = 0) -> None:
    """Refuse curves whose SPAACC and SPAQEFF contradict each other."""
    wrong = (acceptable == "Y") != np.isin(grade, codebook.ACCEPTABLE_GRADES)
    if wrong.any():
        row = int(wrong.argmax())
        raise SpiroError(
            f"row {first_row + row}: SPAACC is {acceptable[row]} with SPAQEFF {grade[row]}; A, B and C are acceptable, "
            "D is not; fetch it again"
        )


def complete(values: dict[str, np.ndarray], first_row: int = 0) -> None:
    """Refuse missing numbers in a table that has none."""
    for name, column in values.items():
        if column.dtype.kind == "f" and np.isnan(column).any():
            row = first_row + int(np.isnan(column).argmax())
            raise SpiroError(f"row {row}: {name} is missing, which it is nowhere in the codebook; fetch it again")


def needed(names: list[str], file: codebook.File) -> None:
    """Refuse a table that lacks a column which the pipeline reads."""
    for name in codebook.NEEDED[file.table]:
        if name not in names:
            raise SpiroError(f"has no column {name}; give {file.filename} as the CDC publishes it")


def in_order(names: list[str], labels: list[str], file: codebook.File) -> None:
    """Refuse names in another order than the CDC's, which may have been exchanged.

    Of a file of which no release was seen at first hand the order may be another: there the labels decide. SPX
    without any label is the simulator's, whose order is its own.
    """
    if file.table == "SPX" and not any(labels):
        return
    for columns in file.columns:
        following = iter(columns)
        if all(name in following for name in names):
            return
    meanings = dict(zip(names, labels, strict=True))
    for name, word in codebook.LABEL_WORDS.items():
        if name in meanings and (file.releases or not re.search(word, meanings[name], re.IGNORECASE)):
            raise SpiroError(
                f"its columns are not in the CDC's order (see {_out_of_order(names, file)}): names may have been "
                "exchanged; fetch it again"
            )


def _out_of_order(names: list[str], file: codebook.File) -> str:
    """The first name that stands before one which it should follow."""
    order = max(file.columns, key=lambda columns: sum(name in columns for name in names))
    places = [order.index(name) for name in names if name in order]
    falls = [i for i in range(1, len(places)) if places[i] < places[i - 1]]
    return names[falls[0] - 1] if falls else names[0]


def known_names(names: list[str], file: codebook.File) -> tuple[list[str], list[str]]:
    """Column names as `file` has them, and those of them that had to be restored.

    A name is restored where one list of the file's columns leaves only one place for it.

    Raises SpiroError where a name is unknown and cannot be inferred, or occurs twice.
    """
    defined = {name for columns in file.columns for name in columns}
    names = [name.upper() for name in names]
    unknown = [name for name in names if name not in defined]
    restored: list[str] = []
    if unknown:
        for columns in file.columns:
            restored = [name for name in columns if name not in names]
            alone = len(unknown) == 1
            in_order = all(a == b or a in unknown for a, b in zip(names, columns, strict=False))
            few = len(unknown) <= max(1, len(columns) // MOST_RESTORED)
            if len(columns) == len(names) and len(restored) == len(unknown) and few and (alone or in_order):
                right = dict(zip(unknown, restored, strict=True))
                names = [right.get(name, name) for name in names]
                break
        else:
            what = f"has a column {unknown[0]!r:.44}, which {file.name} has not"
            raise SpiroError(f"{what}; give {file.filename} as the CDC publishes it")
    if len(set(names)) < len(names):
        raise SpiroError("its description is damaged (two columns of one name); fetch it again")
    return names, restored
