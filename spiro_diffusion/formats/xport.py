"""SAS XPORT version 5, the transport file in which the CDC publishes its tables: its parts, and a writer.

Layout: SAS Institute, TS-140, "The Record Layout of a Data Set in SAS Transport (XPORT) Format". The file is
a row of 80-byte records: fixed texts that announce each part, one 140-byte description (NAMESTR) a column,
then the rows, one behind the other, blank-padded to a whole record. The number of rows is written nowhere.
Numbers are IBM floating point of the System/370: sign, base-16 exponent + 64, 24 to 56 bits of fraction.
"""

import struct
from typing import BinaryIO, NamedTuple

import numpy as np
import pandas as pd

from spiro_diffusion.formats.column import Column, placed

RECORD = 80  # bytes; every part of the file starts on a multiple
NAMESTR = struct.Struct(">hhhh8s40s8shhh2s8shhi52s")  # TS-140: 140 bytes a column
NUMERIC, CHARACTER = 1, 2  # NAMESTR's ntype
NAMESTR_START = 8 * RECORD  # behind the library, the member and the NAMESTR header
MISSING = [ord(c) for c in "._ABCDEFGHIJKLMNOPQRSTUVWXYZ"]  # first bytes of missing values, zeros behind
TIMESTAMP = b"01JAN14:00:00:00"  # fixed, so that bytes are reproducible
VERSION, SYSTEM = b"9.3     ", b"W32_7PRO"  # as in the CDC's files of 2013

ZEROS = b"0" * 30 + b"  "


class Announcements(NamedTuple):
    """The fixed texts of a version, 48 bytes each, that announce the parts of the file."""

    library: bytes
    member: bytes
    descriptor: bytes
    namestrs: bytes
    observations: bytes


def _announcements(*names: str) -> Announcements:
    return Announcements(*(b"HEADER RECORD*******%-8sHEADER RECORD!!!!!!!" % name.encode() for name in names))


VERSION_5 = _announcements("LIBRARY", "MEMBER", "DSCRPTR", "NAMESTR", "OBS")
VERSION_8 = _announcements("LIBV8", "MEMBV8", "DSCPTV8", "NAMSTV8", "OBSV8")
MEMBER_AT, DESCRIPTOR_AT, NAMESTRS_AT = 240, 320, 560  # bytes from the start, both versions
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
            VERSION_5.library + ZEROS,
            b"SAS     SAS     SASLIB  " + system + TIMESTAMP,
            TIMESTAMP.ljust(RECORD),
            VERSION_5.member + MEMBER_SIZES,
            VERSION_5.descriptor + ZEROS,
            b"SAS     " + dataset.ljust(8) + b"SASDATA " + system + TIMESTAMP,
            TIMESTAMP.ljust(RECORD),
            VERSION_5.namestrs + b"000000%04d" % len(columns) + b"0" * 20 + b"  ",
            namestrs.ljust(padded_size(len(namestrs))),
            VERSION_5.observations + ZEROS,
        ]
    )


# --- reader's parts ---------------------------------------------------------------------------------------------


class Description(NamedTuple):
    """One NAMESTR record as read, valid or not."""

    kind: int  # NUMERIC or CHARACTER
    width: int  # bytes
    number: int  # from 1
    name: str
    label: str
    offset: int  # in a row


def read_namestr(record: bytes, long_names: bool = False) -> Description:
    """Unpack one NAMESTR record; version 8 keeps names, which may be long there, behind the rest."""
    kind, _, width, number, name, label, *_, offset, rest = NAMESTR.unpack(record)
    name = rest[:32] if long_names else name
    return Description(kind, width, number, _text(name), _text(label), offset)


def padded_size(size: int) -> int:
    """Bytes that `size` bytes take in whole records."""
    return -(-size // RECORD) * RECORD


def ibm_bits(rows: np.ndarray, column: Column) -> np.ndarray:
    """A numeric column of some rows as uint64; columns of less than 8 bytes have zeros behind."""
    field = np.zeros((len(rows), 8), np.uint8)
    field[:, : column.width] = rows[:, column.offset : column.offset + column.width]
    return field.view(">u8")[:, 0].astype(np.uint64)


def from_ibm(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 values of IBM floating point numbers (uint64), and where the bits are no such number.

    Missing values (`.`, `._`, `.A` to `.Z`) are NaN. SAS writes normalised numbers only: the first
    hexadecimal digit of the fraction is not 0.
    """
    exponent = (bits >> np.uint64(56)).astype(np.int64)
    fraction = bits & np.uint64(0x00FFFFFFFFFFFFFF)
    missing = (fraction == 0) & np.isin(exponent, MISSING)
    wrong = (bits != 0) & ~missing & (fraction >> np.uint64(52) == 0)
    values = np.ldexp(fraction.astype(np.float64), 4 * ((exponent & 0x7F) - 64) - 56)
    values[exponent > 127] *= -1
    values[missing | wrong] = np.nan
    return values, wrong


def texts(rows: np.ndarray, column: Column) -> np.ndarray:
    """A text column of some rows as bytes ('S', still blank-padded)."""
    field = np.ascontiguousarray(rows[:, column.offset : column.offset + column.width])
    return field.view(f"S{column.width}")[:, 0]


def _text(value: bytes) -> str:
    return value.decode("latin-1").rstrip(" ")
