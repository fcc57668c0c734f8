"""SAS7BDAT, the file of a SAS data set: a strict reader and a writer, both as streams, of uncompressed tables.

The format is not published by SAS. The layout follows M. Shotwell, "SAS7BDAT Database Binary Format"
(2013), and what pandas and ReadStat accept; the tests hold both against this writer and this reader.

    header   one block: alignment, byte order, sizes
    pages    each with a page header; the first hold subheaders that describe the columns (meta), the
             others rows (data), or both (mix)
"""

import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import IO, NamedTuple

import numpy as np

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.formats.column import Column
from spiro_diffusion.formats.repair_log import Findings
from spiro_diffusion.formats.sniff import HEAD
from spiro_diffusion.formats.sniff import SAS7BDAT_MAGIC as MAGIC

HEADER_SIZE = 1024  # bytes; what SAS writes on Windows, and the least that holds every field
PAGE_SIZE = 131072  # bytes; holds 11 rows of SPXRAW, as wide as NHANES writes them
CREATED = 1_700_000_000.0  # seconds since 1960, SAS's epoch: fixed (2013-11-13), so that bytes are reproducible
LEFT_BEHIND = b"\0 \r\n\x1a"  # what programs write behind a file: zeros, blanks, line ends, Ctrl-Z
COMPRESSION = (b"SASYZCRL", b"SASYZCR2")  # run-length and Ross: their marks in the first text subheader

ROW_SIZE, COLUMN_SIZE, COUNTS = 0xF7F7F7F7, 0xF6F6F6F6, 0xFFFFFC00
TEXT, NAMES, ATTRIBUTES, FORMAT = 0xFFFFFFFD, 0xFFFFFFFF, 0xFFFFFFFC, 0xFFFFFBFE
META, DATA, MIX = 0x0000, 0x0100, 0x0200  # page types
OTHER_META = (0x0400, 0x4000, 0x9000)  # amendments, more subheaders, index: no rows in any of them
DELETED = 0x0080  # added to the page type
SHORTEST = {ROW_SIZE: 16, COLUMN_SIZE: 2, TEXT: 2}  # words of a subheader that we read
NARROW_MARKS, WIDE_MARK = (0x22, 0x32), 0x33  # bytes 32 and 35 of the header


@dataclass(frozen=True)
class Layout:
    """What changes between the files of 32-bit and 64-bit SAS, and between byte orders."""

    wide: bool = False
    little: bool = True

    @property
    def order(self) -> str:
        return "<" if self.little else ">"

    @property
    def word(self) -> int:
        """Bytes of an integer of the machine's own size."""
        return 8 if self.wide else 4

    @property
    def shift(self) -> int:
        """Bytes by which the header's times and sizes move."""
        return 4 if self.wide else 0

    @property
    def page_header(self) -> int:
        """Bytes before the first row, or subheader pointer, of a page; its three counts are the last 8."""
        return 40 if self.wide else 24

    @property
    def pointer(self) -> int:
        """Bytes of a subheader pointer: offset, length, compression, type."""
        return 24 if self.wide else 12

    def pack(self, codes: str, *values: float) -> bytes:
        """`struct.pack` in this byte order, without padding; `W` is a word."""
        return struct.pack(self.order + codes.replace("W", "Q" if self.wide else "I"), *values)

    def unpack(self, codes: str, data: bytes, offset: int) -> tuple:
        return struct.unpack_from(self.order + codes.replace("W", "Q" if self.wide else "I"), data, offset)


# --- writer ---------------------------------------------------------------------------------------------------


def write(
    out: IO[bytes],
    dataset: str,
    columns: list[Column],
    batches: Iterable[np.ndarray],
    rows: int,
    layout: Layout = Layout(),
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


def row_bytes(columns: list[Column], values: dict[str, np.ndarray], layout: Layout = Layout()) -> np.ndarray:
    """Rows as `write` takes them: uint8 (rows, row width) from float arrays and arrays of bytes ('S')."""
    first = next(iter(values.values()))
    rows = np.full((len(first), _row_width(columns)), ord(" "), np.uint8)
    for column in columns:
        dtype = f"S{column.width}" if column.text else f"{layout.order}f8"
        array = np.ascontiguousarray(values[column.name].astype(dtype))
        field = array.view(np.uint8).reshape(len(first), column.width)
        if column.text:
            field = np.where(field == 0, np.uint8(ord(" ")), field)
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
        attributes += layout.pack("WIHBB", column.offset, column.width, 4, 2 if column.text else 1, 0)
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
    extended = code | 0xFFFFFFFF00000000 if code > 0xFF000000 else code
    return layout.pack("W", extended if layout.wide else code)


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


# --- reader ---------------------------------------------------------------------------------------------------


class CompressedError(SpiroError):
    """The rows are compressed; pyreadstat reads such files."""


@dataclass(frozen=True)
class Table:
    """What the header and the subheaders say of a table."""

    layout: Layout
    page_size: int
    pages: int
    rows: int
    mix_rows: int  # most rows that a page with subheaders holds
    row_width: int
    columns: list[Column]

    def numbers(self, rows: np.ndarray, column: Column) -> np.ndarray:
        """A numeric column of some rows as float64; SAS writes missing values as NaN."""
        field = np.ascontiguousarray(rows[:, column.offset : column.offset + 8])
        return field.view(f"{self.layout.order}f8")[:, 0].astype(np.float64)

    def texts(self, rows: np.ndarray, column: Column) -> np.ndarray:
        """A text column of some rows as bytes ('S', still blank-padded)."""
        field = np.ascontiguousarray(rows[:, column.offset : column.offset + column.width])
        return field.view(f"S{column.width}")[:, 0]


class _Page(NamedTuple):
    number: int  # from 1
    data: bytes
    kind: int  # META, DATA or MIX
    rows: int  # as its header counts them
    pointers: int  # to subheaders


def read(stream: BufferedReader, findings: Findings) -> tuple[Table, Iterator[np.ndarray]]:
    """Open a table and stream its rows, page by page, as uint8 arrays of shape (any, row width).

    Every page is checked; at the end the rows have to be as many as the header says.

    Raises SpiroError that tells what does not fit, CompressedError where the rows are compressed.
    """
    layout, page_size, pages = _read_header(stream, findings)
    subheaders: dict[int, list[bytes]] = {}
    page = _read_page(stream, 1, pages, page_size, layout)
    while True:
        for code, subheader in _subheaders_of(page, layout):
            subheaders.setdefault(code, []).append(subheader)
        if page.kind != META or page.number == pages:
            break
        page = _read_page(stream, page.number + 1, pages, page_size, layout)
    table = _described(subheaders, layout, page_size, pages)
    return table, _row_batches(stream, table, page, findings)


def _row_batches(stream: BufferedReader, table: Table, page: _Page, findings: Findings) -> Iterator[np.ndarray]:
    total = 0
    while True:
        if page.kind != META:
            rows = _rows_of(page, table)
            total += len(rows)
            yield rows
        if page.number == table.pages:
            break
        page = _read_page(stream, page.number + 1, table.pages, table.page_size, table.layout)
    if total != table.rows:
        raise SpiroError(f"its pages hold {total} rows, its header says {table.rows}; fetch it again")
    behind = 0
    while block := stream.read(1 << 20):
        behind += len(block)
        if block.strip(LEFT_BEHIND):  # perhaps pages, and one of those above should not be there
            raise SpiroError(f"has more bytes than its {table.pages} pages; fetch it again")
    if behind:
        findings.mended.append(f"{behind} bytes behind the last page left out")


def _read_header(stream: BufferedReader, findings: Findings) -> tuple[Layout, int, int]:
    """Layout, page size and number of pages; the stream then stands at the first page."""
    before = max(stream.peek(HEAD)[:HEAD].find(MAGIC), 0)
    if before:
        stream.read(before)
        findings.mended.append(f"{before} bytes before the header removed")
    head = stream.read(HEADER_SIZE)
    if len(head) < HEADER_SIZE:
        raise SpiroError(f"is truncated: its header has {len(head)} of {HEADER_SIZE} bytes; fetch it again")
    if head[:32] != MAGIC or head[84:92] != b"SAS FILE":
        findings.mended.append("marks at the start of the header restored")
    wide, shifted, little = head[32], head[35], head[37]
    layout = Layout(wide == WIDE_MARK, little == 1)
    header_size, page_size, pages = layout.unpack("IIW", head, 200 if shifted == WIDE_MARK else 196)
    marks = {wide, shifted} <= {*NARROW_MARKS, WIDE_MARK} and little in (0, 1)
    sizes = header_size % 1024 == 0 and HEADER_SIZE <= header_size <= 1 << 17
    sizes &= page_size % 512 == 0 and 1024 <= page_size <= 1 << 24 and 0 < pages < 1 << 24
    if not (marks and sizes):
        raise SpiroError("its SAS7BDAT header is damaged (alignment, byte order or sizes); fetch it again")
    stream.read(header_size - HEADER_SIZE)
    return layout, page_size, pages


def _read_page(stream: BufferedReader, number: int, pages: int, page_size: int, layout: Layout) -> _Page:
    page = stream.read(page_size)
    if len(page) < page_size:
        raise SpiroError(f"is truncated: page {number} of {pages} has {len(page)} of {page_size} bytes; fetch it again")
    kind, blocks, pointers = layout.unpack("HHH", page, layout.page_header - 8)
    if kind & DELETED:
        raise SpiroError(f"page {number} holds rows that are marked as deleted; save it anew from SAS")
    if kind in OTHER_META:
        kind = META
    if kind not in (META, DATA, MIX):
        raise SpiroError(f"page {number} is damaged (its type is {kind:#06x}); fetch it again")
    return _Page(number, page, kind, blocks - pointers if kind == MIX else blocks, 0 if kind == DATA else pointers)


def _subheaders_of(page: _Page, layout: Layout) -> Iterator[tuple[int, bytes]]:
    """Signature and bytes of each subheader."""
    for i in range(page.pointers):
        at = layout.page_header + i * layout.pointer
        if at + layout.pointer > len(page.data):
            raise SpiroError(f"page {page.number} is damaged ({page.pointers} subheaders); fetch it again")
        offset, length, compression, _ = layout.unpack("WWBB", page.data, at)
        if length == 0 or compression == 1:  # no longer in use
            continue
        if compression == 4:
            raise CompressedError("is a compressed SAS7BDAT")
        if compression or offset < layout.page_header or offset + length > len(page.data) or length < layout.word:
            raise SpiroError(f"page {page.number} is damaged (subheader of {length} bytes at {offset}); fetch it again")
        subheader = page.data[offset : offset + length]
        code = layout.unpack("W", subheader, 0)[0]
        yield code & 0xFFFFFFFF or code >> 32, subheader  # wide and big-endian: some stand in the upper half


def _described(subheaders: dict[int, list[bytes]], layout: Layout, page_size: int, pages: int) -> Table:
    """The table that its subheaders describe."""
    word = layout.word
    for code, name in {ROW_SIZE: "row size", COLUMN_SIZE: "column size", TEXT: "text"}.items():
        if code not in subheaders or len(subheaders[code][0]) < SHORTEST[code] * word:
            raise SpiroError(f"its description is damaged (no {name} subheader); fetch it again")
    if any(mark in subheaders[TEXT][0][:64] for mark in COMPRESSION):
        raise CompressedError("is a compressed SAS7BDAT")
    row_size = subheaders[ROW_SIZE][0]
    row_width, rows = layout.unpack("WW", row_size, 5 * word)
    mix_rows = layout.unpack("W", row_size, 15 * word)[0]
    count = layout.unpack("W", subheaders[COLUMN_SIZE][0], word)[0]
    names = [name for s in subheaders.get(NAMES, []) for name in _names(s, subheaders[TEXT], layout)]
    places = [place for s in subheaders.get(ATTRIBUTES, []) for place in _places(s, layout)]
    if not count == len(names) == len(places) or not count:
        raise SpiroError(
            f"its description is damaged ({count} columns, {len(names)} names, {len(places)} places); fetch it again"
        )
    columns = [Column(name, "", *place) for name, place in zip(names, places, strict=True)]
    end = 0
    for column in sorted(columns, key=lambda c: c.offset):
        if column.offset < end or column.width < 1 or not (column.text or column.width == 8):
            raise SpiroError(f"its description is damaged (place of column {column.name}); fetch it again")
        end = column.offset + column.width
    if end > row_width or row_width > page_size or len(set(names)) < count:
        raise SpiroError(f"its description is damaged (row of {row_width} bytes, columns of {end}); fetch it again")
    return Table(layout, page_size, pages, rows, mix_rows, row_width, columns)


def _names(subheader: bytes, texts: list[bytes], layout: Layout) -> Iterator[str]:
    for i in range((len(subheader) - 2 * layout.word - 12) // 8):
        index, offset, length = layout.unpack("HHH", subheader, layout.word + 8 * (i + 1))
        start = layout.word + offset
        name = texts[index][start : start + length] if index < len(texts) else b""
        if len(name) < max(length, 1) or not name.isascii() or not name.decode().isidentifier():
            raise SpiroError(f"its description is damaged (column {i + 1} is named {name[:40]!r}); fetch it again")
        yield name.decode()


def _places(subheader: bytes, layout: Layout) -> Iterator[tuple[bool, int, int]]:
    """Whether text, width and offset of each column."""
    entry = layout.word + 8
    for i in range((len(subheader) - 2 * layout.word - 12) // entry):
        offset, width, _, kind = layout.unpack("WIHB", subheader, layout.word + 8 + i * entry)
        if kind not in (1, 2):
            raise SpiroError(f"its description is damaged (column {i + 1} has type {kind}); fetch it again")
        yield kind == 2, width, offset


def _rows_of(page: _Page, table: Table) -> np.ndarray:
    start = table.layout.page_header
    if page.kind == MIX:
        start += page.pointers * table.layout.pointer
        start += -start % 8
        if page.rows != min(table.mix_rows, table.rows):
            raise SpiroError(f"page {page.number} is damaged (rows beside subheaders); fetch it again")
    if page.rows < 1 or start + page.rows * table.row_width > len(page.data):
        raise SpiroError(f"page {page.number} is damaged ({page.rows} rows do not fit in it); fetch it again")
    rows = np.frombuffer(page.data, np.uint8, page.rows * table.row_width, start)
    return rows.reshape(page.rows, table.row_width)
