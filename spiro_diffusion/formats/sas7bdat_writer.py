"""Write SAS7BDAT, the data set file of SAS; its layout is in `sas7bdat_layout`."""

import math
from collections.abc import Iterable
from typing import IO

import numpy as np

from spiro_diffusion.formats.column import Column
from spiro_diffusion.formats.sas7bdat_layout import (
    ATTRIBUTES,
    BLANK,
    CHARACTER,
    COLUMN_SIZE,
    COUNTS,
    DATA,
    FORMAT,
    HEADER_SIZE,
    META,
    NAMES,
    NARROW,
    NARROW_MARKS,
    NUMBER,
    ROW_SIZE,
    TEXT,
    WIDE_MARK,
    Layout,
)
from spiro_diffusion.formats.sniff import SAS7BDAT_MAGIC as MAGIC

PAGE_SIZE = 131072  # bytes; holds 11 rows of SPXRAW, as wide as NHANES writes them
CREATED = 1_700_000_000.0  # seconds since 1960, SAS's epoch: fixed (2013-11-13), so that bytes are reproducible


def write(
    out: IO[bytes],
    dataset: str,
    columns: list[Column],
    batches: Iterable[np.ndarray],
    rows: int,
    layout: Layout = NARROW,
    page_size: int = PAGE_SIZE,
) -> None:
    """Write `rows` rows, that come as arrays of bytes of shape (any, row width), see `row_bytes`.

    `columns` carry their offsets; numbers are 8 bytes and should come first, so that they stay aligned.
    """
    width = _row_width(columns)
    subheaders = _subheaders(columns, width, rows, layout, page_size)
    per_page = (page_size - layout.page_header) // width
    pages = 1 + math.ceil(rows / per_page)
    out.write(_header(dataset, pages, layout, page_size))
    out.write(_meta_page(subheaders, layout, page_size))
    written = 0
    waiting = np.zeros((0, width), np.uint8)
    for batch in batches:
        waiting = np.concatenate([waiting, batch])
        while len(waiting) >= per_page or (len(waiting) and written + len(waiting) == rows):
            out.write(_data_page(waiting[:per_page], layout, page_size))
            written += len(waiting[:per_page])
            waiting = waiting[per_page:]
    if written != rows or len(waiting):
        raise ValueError(f"{written + len(waiting)} rows came, {rows} were announced")


def row_bytes(columns: list[Column], values: dict[str, np.ndarray], layout: Layout = NARROW) -> np.ndarray:
    """Rows as `write` takes them: uint8 (rows, row width) from float arrays and arrays of bytes ('S')."""
    first = next(iter(values.values()))
    rows = np.full((len(first), _row_width(columns)), BLANK, np.uint8)
    for column in columns:
        dtype = f"S{column.width}" if column.text else f"{layout.order}f8"
        array = np.ascontiguousarray(values[column.name].astype(dtype))
        field = array.view(np.uint8).reshape(len(first), column.width)
        if column.text:
            field = np.where(field == 0, np.uint8(BLANK), field)
        rows[:, column.offset : column.offset + column.width] = field
    return rows


def _row_width(columns: list[Column]) -> int:
    return -(-max(c.offset + c.width for c in columns) // 8) * 8


def _header(dataset: str, pages: int, layout: Layout, page_size: int) -> bytes:
    head = bytearray(HEADER_SIZE)
    head[:32] = MAGIC
    head[32], head[35] = (WIDE_MARK, WIDE_MARK) if layout.wide else NARROW_MARKS
    head[37] = int(layout.little)
    head[39] = ord("2")  # Windows
    head[70] = 20  # UTF-8
    head[84:164] = b"SAS FILE" + dataset.encode().ljust(64) + b"DATA    "
    sizes = layout.pack("ddddIIW", CREATED, CREATED, 0.0, 0.0, HEADER_SIZE, page_size, pages)
    head[164 + layout.shift : 164 + layout.shift + len(sizes)] = sizes
    release = 216 + 2 * layout.shift
    head[release : release + 24] = b"9.0301M2" + b"X64_7PRO".ljust(16)
    return bytes(head)


def _subheaders(columns: list[Column], width: int, rows: int, layout: Layout, page_size: int) -> list[bytes]:
    word, count = layout.word, len(columns)
    text = bytearray(b"\0" * 12 + b" " * 8 + b"\0" * 4 + b"DATASTEP")  # no compression, the creating procedure
    references = []
    for string in [s for c in columns for s in (c.name, c.label)]:
        text += b"\0" * (-len(text) % 4)
        references.append((len(text) + 4, len(string)))  # counted from behind the signature
        text += string.encode("ascii")
    text += b"\0" * 12
    text += b"\0" * (-len(text) % 4)

    row_size = bytearray(808 if layout.wide else 480)
    row_size[:word] = _signature(ROW_SIZE, layout)
    for index, value in {5: width, 6: rows, 9: count, 13: page_size}.items():
        row_size[index * word : (index + 1) * word] = layout.pack("W", value)
    lengths = 682 if layout.wide else 354  # of the compression's and the creating procedure's names
    row_size[lengths : lengths + 2] = layout.pack("H", 0)
    row_size[lengths + 24 : lengths + 26] = layout.pack("H", 8)

    names, attributes, formats = b"", b"", []
    for column, (name, label) in zip(columns, zip(references[::2], references[1::2], strict=True), strict=True):
        names += layout.pack("HHHH", 0, *name, 0)
        attributes += layout.pack("WIHBB", column.offset, column.width, 4, CHARACTER if column.text else NUMBER, 0)
        form = bytearray(40 + 3 * word)
        form[:word] = _signature(FORMAT, layout)
        form[28 + 3 * word : 34 + 3 * word] = layout.pack("HHH", 0, *label)
        formats.append(bytes(form))
    tail = b"\0" * (word + 4)
    return [
        bytes(row_size),
        _signature(COLUMN_SIZE, layout) + layout.pack("WW", count, 0),
        _signature(COUNTS, layout) + b"\0" * (592 if layout.wide else 300),
        _signature(TEXT, layout) + layout.pack("HH", len(text) - word, 0) + bytes(text),
        _signature(NAMES, layout) + layout.pack("HHHH", len(names) + 8, 0, 0, 0) + names + tail,
        _signature(ATTRIBUTES, layout) + layout.pack("HHHH", len(attributes) + 8, 0, 0, 0) + attributes + tail,
        *formats,
    ]


def _signature(code: int, layout: Layout) -> bytes:
    if not layout.wide:
        return layout.pack("W", code)
    if code > 0xFF000000:
        return layout.pack("W", code | 0xFFFFFFFF00000000)
    return layout.pack("W", code if layout.little else code << 32)  # its first bytes in either order


def _meta_page(subheaders: list[bytes], layout: Layout, page_size: int) -> bytes:
    page = bytearray(page_size)
    head = layout.page_header
    page[head - 8 : head] = layout.pack("HHHH", META, len(subheaders), len(subheaders), 0)
    end = page_size
    for i, subheader in enumerate(subheaders):
        padded = subheader + b"\0" * (-len(subheader) % 4)
        end -= len(padded)
        page[end : end + len(padded)] = padded
        pointer = layout.pack("WWBB", end, len(padded), 0, int(i >= 4))
        start = head + i * layout.pointer
        page[start : start + len(pointer)] = pointer
    if head + len(subheaders) * layout.pointer > end:
        raise ValueError(f"{len(subheaders)} subheaders do not fit in a page of {page_size} bytes")
    return bytes(page)


def _data_page(rows: np.ndarray, layout: Layout, page_size: int) -> bytes:
    head = layout.page_header
    body = np.ascontiguousarray(rows).tobytes()
    return (b"\0" * (head - 8) + layout.pack("HHHH", DATA, len(rows), 0, 0) + body).ljust(page_size, b"\0")
