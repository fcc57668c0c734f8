"""Detect the dialect of a delimited text (encoding, separator, decimal mark, header line) and read its rows."""

import codecs
import csv
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from spiro_diffusion.core.errors import SpiroError, printable

HEAD = 1 << 16  # bytes that `sniff` needs; a line is no longer
MOST_COLUMNS = 2000  # more are no table of a few curves; each would cost memory in every row
PREAMBLE_LINES = 200  # before the names of the columns, at most
UNIT_LINES = 2  # between the names and the first numbers, at most
SEPARATORS = ("\t", ";", ",", "|", " ")
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
CODE_PAGES = ("utf-8", "gb18030", "cp1252", "cp1251", "cp1250", "cp1254", "cp932", "cp949", "cp950", "mac_roman")
_BEFORE_UNIT = re.compile(r"(?<=[^\s)\]])\s+(?=[(\[])")  # blanks: a unit in brackets belongs to the name before it
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Dialect:
    """The dialect of a text; lines are counted from 0."""

    encoding: str
    separator: str
    decimal: str
    names: list[str]
    begin: int  # line of the first row
    units: list[str]  # below the names, "" where there are none
    mixed: bool = False  # points and commas both occur in numbers


def decoded(head: bytes) -> Iterator[tuple[str, str]]:
    """Encoding and text of the start of a file, for each encoding that fits, without duplicates."""
    if head.isascii():
        yield "utf-8", head.decode()
        return
    for mark, encoding in MARKS.items():
        if head.startswith(mark):
            yield encoding, codecs.getincrementaldecoder(encoding)("replace").decode(head)
            return
    for encoding in CODE_PAGES:
        try:
            yield encoding, codecs.getincrementaldecoder(encoding)().decode(head)
        except UnicodeDecodeError:
            continue


def cells(line: str, separator: str) -> list[str]:
    """The cells of a line, without quotes and blanks around them."""
    if separator == " ":
        return _BEFORE_UNIT.sub("", line).split()
    try:
        row = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return []
    return [cell.strip() for cell in row]


def is_number(cell: str) -> bool:
    """Whether a cell is a number, with a point or a comma."""
    return _NUMBER.fullmatch(cell) is not None


def sniff(head: bytes, score: Callable[[list[str]], int]) -> Dialect | None:
    """The dialect in which a line of the first `HEAD` bytes names columns; None if no line does.

    `score` rates a row of cells as names: 0 for none. The best row is taken, the first of equal ones.
    """
    best: tuple[int, str, str, int, list[str], list[str]] | None = None
    for encoding, text in decoded(head):
        lines = text.splitlines()
        for number, line in enumerate(lines[:PREAMBLE_LINES]):
            for separator in SEPARATORS:
                if separator not in line.strip() or line.count(separator) >= MOST_COLUMNS:
                    continue
                names = cells(line, separator)
                points = score(names)
                if points > (best[0] if best else 0):
                    best = points, encoding, separator, number, names, lines
    if best is None:
        return None
    _, encoding, separator, number, names, lines = best
    begin, units = number + 1, [""] * len(names)
    for line in lines[begin : begin + UNIT_LINES + 1]:
        row = cells(line, separator)
        if any(map(is_number, row)) or begin > number + UNIT_LINES:
            break
        if any(row):
            units = [*row, *units[len(row) :]][: len(names)]
        begin += 1
    else:
        begin = number + 1
    numbers = [cell for line in lines[begin : begin + 500] for cell in cells(line, separator) if is_number(cell)]
    commas, points_ = (any(mark in cell for cell in numbers) for mark in ",.")
    return Dialect(encoding, separator, "," if commas else ".", names, begin, units, commas and points_)


def first_names(head: bytes) -> list[str]:
    """The cells of the first line that is not empty, to show them."""
    for _, text in decoded(head):
        line = next((line for line in text.splitlines() if line.strip()), "")
        separator = max(SEPARATORS[:-1], key=line.count)
        return cells(line[: HEAD // 2], separator)
    return []


def listed(names: Sequence[str]) -> str:
    """Names of columns in words, the first eight of them and each cut to 40 characters."""
    message = ", ".join(printable(name, 40) for name in names[:8]) or "none"
    return message + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def refuse_many_columns(file: BinaryIO, where: str, expected: str, separator: str = ",") -> None:
    """Raises SpiroError for a line with so many cells that parsing them would exhaust memory."""
    mark = separator.encode()
    for piece in iter(lambda: file.readline(HEAD), b""):
        if piece.count(mark) >= MOST_COLUMNS and any(
            len(line.split(None if separator == " " else mark)) > MOST_COLUMNS
            for line in re.sub(rb'"[^"]*"', b"", piece).splitlines()
        ):
            raise SpiroError(f"{where}: a line has more than {MOST_COLUMNS} columns; {expected}")


def rows(file: Path | BinaryIO, where: str, **options: Any) -> pd.DataFrame:
    """The rows of a text as read by `pandas.read_csv` with `options`; none for an empty text.

    Raises SpiroError if they are no table, or one has more cells than there are columns.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # it would lose the cells beyond
            warnings.simplefilter("ignore", pd.errors.DtypeWarning)
            return pd.read_csv(file, index_col=False, skipinitialspace=True, **options)
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=options.get("names"))
    except (OSError, ValueError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        message = printable(" ".join(str(error).split()), 200)
        raise SpiroError(f"{where}: not a readable CSV table ({message})") from None
