"""Excel workbooks (.xlsx): the first sheet that has columns of time and flow or volume."""

import contextlib
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator

import pandas as pd

from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.formats.dialect import MOST_COLUMNS, PREAMBLE_LINES, UNIT_LINES
from spiro_diffusion.formats.sniff import Kind
from spiro_diffusion.user_curves.delimited import EXPECTED, blows_of, score
from spiro_diffusion.user_curves.efforts import RawBlow
from spiro_diffusion.user_curves.source import Source

MOST_UNPACKED = 32 << 20  # bytes of all parts of a workbook: 20 times what eight efforts of 15 s at 100 Hz take
MOST_CELLS = 500_000  # of a sheet; openpyxl takes seconds for them
WORKBOOK = "xl/workbook.xml"
_DAMAGED = (zipfile.BadZipFile, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError)


def recognises(source: Source) -> bool:
    if source.kind is not Kind.ZIP:
        return False
    try:
        with source.opened() as file, zipfile.ZipFile(file) as archive:
            return WORKBOOK in archive.namelist()
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError):
        return False


def read(source: Source) -> tuple[list[RawBlow], list[str]]:
    """Read the blows of a workbook, columns as in delimited text.

    Raises SpiroError if it is damaged, unpacks beyond MOST_UNPACKED bytes, or no sheet has such columns.
    """
    with source.opened() as file:
        with zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > MOST_UNPACKED:
                raise SpiroError(f"{source.where}: is a workbook that unpacks to {size:,} bytes; save it as CSV")
        file.seek(0)
        with _damage_reported(source.where), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and the like, which hold no values
            import openpyxl  # noqa: PLC0415, slow to load and seldom needed

            book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
            sheets = (_rows(sheet.iter_rows(values_only=True), source.where) for sheet in book.worksheets)
            place, before, rows = next(((i, *read) for i, read in enumerate(sheets, 1) if read[1]), (0, "", []))
    if not rows:
        raise SpiroError(f"{source.where}: no sheet of the workbook names its columns; {EXPECTED}")
    return _blows(rows, before, f"{source.where}: sheet {place}")


@contextlib.contextmanager
def _damage_reported(where: str) -> Iterator[None]:
    """Turn the various exceptions of openpyxl for damaged workbooks into one line."""
    try:
        yield
    except (SyntaxError, *_DAMAGED) as error:  # ElementTree's ParseError is a SyntaxError
        raise SpiroError(f"{where}: is a damaged workbook ({printable(error, 80)})") from None


def _rows(sheet: Iterable[tuple], where: str) -> tuple[str, list[tuple]]:
    """The text before the row of a sheet that names columns, and the rows from there on: none where no row does."""
    rows: list[tuple] = []
    named, read, before = False, 0, ""
    for row in sheet:
        read += len(row)
        if read > MOST_CELLS:
            raise SpiroError(f"{where}: a sheet has more than {MOST_CELLS:,} cells; give it in parts")
        cells = _without_end(row[:MOST_COLUMNS])
        if not named:
            texts = [_text(cell) for cell in cells]
            before = f"{before}\n{' '.join(texts)}"
            if score(texts):
                rows, named = [], True
        rows.append(cells)
        if not named and len(rows) == PREAMBLE_LINES:
            break
    return before, rows if named else []


def _without_end(row: tuple) -> tuple:
    """The row up to its last cell that holds something: sheets announce thousands of empty ones."""
    last = next((i for i in range(len(row), 0, -1) if row[i - 1] is not None), 0)
    return row[:last]


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)[:200]


def _blows(rows: list[tuple], before: str, where: str) -> tuple[list[RawBlow], list[str]]:
    names, begin = [_text(cell) for cell in rows[0]], 1
    units = [""] * len(names)
    rows = [(row + (None,) * len(names))[: len(names)] for row in rows]
    for row in rows[begin : begin + UNIT_LINES]:
        if any(isinstance(cell, int | float) or re.match(r"[+-]?\d", _text(cell)) for cell in row):
            break
        units, begin = [_text(cell) for cell in row], begin + 1
    table = pd.DataFrame(list(rows[begin:]), columns=range(len(names)))
    return blows_of(table, list(zip(names, units, strict=False)), where, before)
