"""Excel workbooks (.xlsx): the first sheet that has columns of time and flow or volume."""

import re
import zipfile

import pandas as pd

from spiro_diffusion.core.errors import SpiroError, shown
from spiro_diffusion.formats.dialect import MOST_COLUMNS, PREAMBLE_LINES, UNIT_LINES
from spiro_diffusion.formats.sniff import Kind
from spiro_diffusion.user_curves.delimited import EXPECTED, blows_of, score
from spiro_diffusion.user_curves.efforts import RawBlow
from spiro_diffusion.user_curves.source import Source

MOST_UNPACKED = 256 << 20  # bytes of all parts of a workbook
MOST_ROWS = 500_000
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
    """Blows of a workbook, columns as in delimited text.

    Raises SpiroError where it is damaged, unpacks beyond MOST_UNPACKED bytes, or no sheet has such columns.
    """
    with source.opened() as file:
        with zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > MOST_UNPACKED:
                raise SpiroError(f"{source.where}: is a workbook that unpacks to {size:,} bytes; save it as CSV")
        file.seek(0)
        for place, rows in enumerate(_sheets(file, source.where), 1):
            found = next((i for i, row in enumerate(rows[:PREAMBLE_LINES]) if score([_text(c) for c in row])), None)
            if found is not None:
                return _blows(rows, found, f"{source.where}: sheet {place}")
    raise SpiroError(f"{source.where}: no sheet of the workbook names its columns; {EXPECTED}")


def _sheets(file: object, where: str) -> list[list[tuple]]:
    """Rows of each sheet, as openpyxl reads them; errors of its many kinds in one line."""
    import openpyxl  # noqa: PLC0415, slow to load and seldom needed

    sheets = []
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
        for sheet in book.worksheets:
            rows = []
            for row in sheet.iter_rows(values_only=True):
                rows.append(_without_end(row[:MOST_COLUMNS]))
                if len(rows) > MOST_ROWS:
                    raise SpiroError(f"{where}: a sheet has more than {MOST_ROWS:,} rows; give it in parts")
            sheets.append(rows)
    except SyntaxError as error:  # ElementTree's ParseError is one
        raise SpiroError(f"{where}: is a damaged workbook ({shown(error, 80)})") from None
    except _DAMAGED as error:
        raise SpiroError(f"{where}: is a damaged workbook ({shown(error, 80)})") from None
    return sheets


def _without_end(row: tuple) -> tuple:
    """The row up to its last cell that holds something: sheets announce thousands of empty ones."""
    last = next((i for i in range(len(row), 0, -1) if row[i - 1] is not None), 0)
    return row[:last]


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)[:200]


def _blows(rows: list[tuple], header: int, where: str) -> tuple[list[RawBlow], list[str]]:
    names, begin = [_text(cell) for cell in rows[header]], header + 1
    units = [""] * len(names)
    rows = [(row + (None,) * len(names))[: len(names)] for row in rows]
    for row in rows[begin : begin + UNIT_LINES]:
        if any(isinstance(cell, int | float) or re.match(r"[+-]?\d", _text(cell)) for cell in row):
            break
        units, begin = [_text(cell) for cell in row], begin + 1
    table = pd.DataFrame(list(rows[begin:]), columns=range(len(names)))
    return blows_of(table, list(zip(names, units, strict=False)), where)
