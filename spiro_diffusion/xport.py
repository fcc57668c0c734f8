"""SAS XPORT version 5, the transport file in which the CDC publishes its tables: a reader and a writer.

Layout: SAS Institute, TS-140, "The Record Layout of a Data Set in SAS Transport (XPORT) Format". The file is
a row of 80-byte records: fixed texts that announce each part, one 140-byte description (NAMESTR) a column,
then the rows, one behind the other, blank-padded to a whole record. The number of rows is written nowhere.
Numbers are IBM floating point of the System/370: sign, base-16 exponent + 64, 24 to 56 bits of fraction.
"""

import struct
from typing import BinaryIO, NamedTuple

import numpy as np
import pandas as pd

from spiro_diffusion.column import Column, placed
from spiro_diffusion.errors import SpiroError

RECORD = 80  # bytes; every part of the file starts on a multiple
NAMESTR = struct.Struct(">hhhh8s40s8shhh2s8shhi52s")  # TS-140: 140 bytes a column
NUMERIC, CHARACTER = 1, 2  # NAMESTR's ntype
NAMESTR_START = 8 * RECORD  # behind the library, the member and the NAMESTR header
MISSING = [ord(c) for c in "._ABCDEFGHIJKLMNOPQRSTUVWXYZ"]  # first bytes of missing values, zeros behind
TIMESTAMP = b"01JAN14:00:00:00"  # fixed, so that bytes are reproducible
VERSION, SYSTEM = b"9.3     ", b"W32_7PRO"  # as in the CDC's files of 2013

LIBRARY, MEMBER, DESCRIPTOR, NAMESTRS, OBSERVATIONS = (
    b"HEADER RECORD*******" + name.ljust(8) + b"HEADER RECORD!!!!!!!"
    for name in (b"LIBRARY", b"MEMBER", b"DSCRPTR", b"NAMESTR", b"OBS")
)
ZEROS = b"0" * 30 + b"  "
MEMBER_SIZES = b"0" * 17 + b"1600000000140  "  # 160 bytes of member description, 140 a NAMESTR


# --- numbers --------------------------------------------------------------------------------------------------


def to_ibm(values: np.ndarray) -> np.ndarray:
    """IBM floating point, uint64 in native order, of float64 values; NaN becomes SAS's missing value `.`."""
    values = np.asarray(values, np.float64)
    fraction, exponent = np.frexp(np.where(np.isfinite(values), np.abs(values), 0.0))
    hexponent = -(-exponent // 4)
    mantissa = np.ldexp(fraction, exponent - 4 * hexponent + 56).astype(np.uint64)
    if np.isinf(values).any() or (np.abs(hexponent[fraction > 0]) > 63).any():
        raise ValueError("XPORT holds numbers from 5.4e-79 to 7.2e75 only")
    bits = (hexponent + 64).astype(np.uint64) << np.uint64(56) | mantissa
    bits |= np.signbit(values).astype(np.uint64) << np.uint64(63)
    bits[fraction == 0] = 0
    bits[np.isnan(values)] = np.uint64(ord(".")) << np.uint64(56)
    return bits


# --- writer ---------------------------------------------------------------------------------------------------


def write(out: BinaryIO, dataset: str, table: pd.DataFrame, labels: dict[str, str] | None = None) -> None:
    """Write a table: numbers as 8-byte IBM floats, everything else as text as wide as its longest value.

    Missing numbers become `.`, missing texts blanks. Names have at most 8 characters, as the format says.
    """
    labels = labels or {}
    columns, fields = [], []
    for name in table.columns:
        series = table[name]
        if len(name) > 8 or not name.isascii():
            raise ValueError(f"XPORT v5 takes names of at most 8 ASCII characters, not {name!r}")
        if pd.api.types.is_numeric_dtype(series):
            bits = to_ibm(series.to_numpy(np.float64, na_value=np.nan)).astype(">u8")
            columns.append(Column(name, labels.get(name, ""), False, 8))
            fields.append(bits.view(np.uint8).reshape(-1, 8))
        else:
            text = series.astype(object).where(series.notna(), "").str.encode("latin-1").to_numpy()
            width = max([1, *map(len, text)])
            padded = b"".join(value.ljust(width) for value in text)
            columns.append(Column(name, labels.get(name, ""), True, width))
            fields.append(np.frombuffer(padded, np.uint8).reshape(-1, width))
    body = np.concatenate(fields, axis=1).tobytes()
    out.write(_head(dataset.encode("ascii"), placed(columns)))
    out.write(body.ljust(padded_size(len(body))))


def _head(dataset: bytes, columns: list[Column]) -> bytes:
    system = VERSION + SYSTEM + b" " * 24
    namestrs = b"".join(
        NAMESTR.pack(
            CHARACTER if c.text else NUMERIC, 0, c.width, number,
            c.name.encode("ascii").ljust(8), c.label.encode("ascii").ljust(40)[:40],
            b" " * 8, 0, 0, 0, b"\0\0", b" " * 8, 0, 0, c.offset, b"\0" * 52,
        )
        for number, c in enumerate(columns, 1)
    )  # fmt: skip
    return b"".join(
        [
            LIBRARY + ZEROS,
            b"SAS     SAS     SASLIB  " + system + TIMESTAMP,
            TIMESTAMP.ljust(RECORD),
            MEMBER + MEMBER_SIZES,
            DESCRIPTOR + ZEROS,
            b"SAS     " + dataset.ljust(8) + b"SASDATA " + system + TIMESTAMP,
            TIMESTAMP.ljust(RECORD),
            NAMESTRS + b"000000%04d" % len(columns) + b"0" * 20 + b"  ",
            namestrs.ljust(padded_size(len(namestrs))),
            OBSERVATIONS + ZEROS,
        ]
    )


# --- reader ---------------------------------------------------------------------------------------------------


class Table(NamedTuple):
    """An XPORT file taken apart."""

    dataset: str
    columns: list[Column]
    rows: np.ndarray  # uint8 (rows, width of a row)
    rest: bytes  # what follows the last whole row: blanks up to a whole record in a sound file


def read(data: bytes) -> Table:
    """Take a file apart whose fixed texts are sound.

    Raises SpiroError that tells what does not fit.
    """
    fixed = {0: LIBRARY, 240: MEMBER + MEMBER_SIZES, 320: DESCRIPTOR, 560: NAMESTRS + b"000000"}
    for offset, expected in fixed.items():
        if data[offset : offset + len(expected)] != expected:
            raise SpiroError(f"its XPORT header is damaged at byte {offset}")
    count = int(data[614:618]) if data[614:618].isdigit() else 0
    start = NAMESTR_START + padded_size(count * NAMESTR.size)
    if not count or data[start : start + len(OBSERVATIONS)] != OBSERVATIONS:
        raise SpiroError(f"its XPORT header is damaged ({count} columns, no rows announced at byte {start})")
    columns = [read_namestr(data, i, strict=True) for i in range(count)]
    width = sum(c.width for c in columns)
    body = np.frombuffer(data, np.uint8, offset=start + RECORD)
    rows = len(body) // width
    while rows and bytes(body[(rows - 1) * width : rows * width]).strip() == b"":  # the padding can hold narrow rows
        rows -= 1
    table = body[: rows * width].reshape(rows, width)
    return Table(data[408:416].decode("latin-1").strip(), columns, table, bytes(body[rows * width :]))


def read_namestr(data: bytes, index: int, strict: bool) -> Column:
    """The description of one column, counted from 0; `strict` refuses one that cannot be."""
    record = data[NAMESTR_START + index * NAMESTR.size :][: NAMESTR.size]
    kind, _, width, number, name, label, *_, offset, _ = NAMESTR.unpack(record)
    column = Column(name.decode("latin-1").rstrip(), label.decode("latin-1").rstrip(), kind == CHARACTER, width, offset)
    fits = kind in (NUMERIC, CHARACTER) and number == index + 1 and width > 0
    if strict and not (fits and column.name.isascii() and column.name.isidentifier()):
        raise SpiroError(f"its XPORT header is damaged (column {index + 1}: {column.name!r}, {width} bytes)")
    return column


def padded_size(size: int) -> int:
    """Bytes that `size` bytes take in whole records."""
    return -(-size // RECORD) * RECORD


def numbers(rows: np.ndarray, column: Column) -> np.ndarray:
    """A numeric column of some rows as float64; missing values (`.`, `._`, `.A` to `.Z`) are NaN.

    Raises SpiroError where the bytes are no IBM floating point number.
    """
    field = np.zeros((len(rows), 8), np.uint8)
    field[:, : column.width] = rows[:, column.offset : column.offset + column.width]
    return from_ibm(field.view(">u8")[:, 0].astype(np.uint64), column.name)


def from_ibm(bits: np.ndarray, name: str = "") -> np.ndarray:
    """float64 of IBM floating point numbers given as uint64; see `numbers`."""
    exponent = (bits >> np.uint64(56)).astype(np.int64)
    fraction = bits & np.uint64(0x00FFFFFFFFFFFFFF)
    missing = (fraction == 0) & np.isin(exponent, MISSING)
    unnormal = (bits != 0) & ~missing & (fraction >> np.uint64(52) == 0)
    if unnormal.any():
        row = int(unnormal.argmax())
        raise SpiroError(f"row {row}: {name} is no IBM floating point number ({int(bits[row]):016x})")
    value = np.ldexp(fraction.astype(np.float64), 4 * ((exponent & 0x7F) - 64) - 56)
    value[exponent > 127] *= -1
    value[missing] = np.nan
    return value


def texts(rows: np.ndarray, column: Column) -> list[str]:
    """A text column of some rows, without the blanks behind."""
    field = np.ascontiguousarray(rows[:, column.offset : column.offset + column.width])
    return [value.decode("latin-1").rstrip(" ") for value in field.view(f"S{column.width}")[:, 0]]
