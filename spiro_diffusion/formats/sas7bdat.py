"""SAS7BDAT, the data set file of SAS: a writer, and a reader that checks every page.

The format is not published by SAS. The layout follows M. Shotwell, "SAS7BDAT Database Binary Format"
(2013), and what pandas and ReadStat accept; the tests hold both against this writer.

    header   one block: alignment, byte order, sizes
    pages    each with a page header; the first hold subheaders that describe the columns (meta), the
             others rows (data), or both (mix)
"""

import itertools
import math
import struct
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.formats.column import Column
from spiro_diffusion.formats.repair_log import Findings
from spiro_diffusion.formats.sniff import HEAD
from spiro_diffusion.formats.sniff import SAS7BDAT_MAGIC as MAGIC

if TYPE_CHECKING:
    import pandas as pd

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
SIGNATURES = (ROW_SIZE, COLUMN_SIZE, COUNTS, TEXT, NAMES, ATTRIBUTES, FORMAT, 0xFFFFFFFF)
UNUSED, ROW = 1, 4  # a subheader pointer's compression: no longer in use, a compressed row
NUMBER, CHARACTER = 1, 2  # a column's kind
BLANK = 0x20
LARGEST_HEADER, LARGEST_PAGE, MOST_PAGES = 1 << 20, 1 << 24, 1 << 24  # bytes, bytes, pages


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


# --- reader ---------------------------------------------------------------------------------------------------


class _Page(NamedTuple):
    number: int  # from 1
    data: bytes
    kind: int  # META, DATA or MIX
    rows: int  # as its header counts them
    pointers: int  # to subheaders


class _Description(NamedTuple):
    """The description of the rows by the subheaders."""

    rows: int
    row_width: int  # bytes
    mix_rows: int  # most rows that a page with subheaders holds
    compressed: bool
    columns: list[Column]  # without labels


def read(
    stream: BufferedReader, findings: Findings, rows_at_once: int = 704
) -> Iterator[list[tuple[str, NDArray[np.float64 | np.bytes_]]]]:
    """Check every page of a table and stream its rows, as columns in their order: each its name, and numbers (rows,),
    NaN where missing, or texts (rows,), blank-padded bytes ('S').

    Pages may be lost, overwritten or inserted: the rows on all pages have to be as many as the header says, and nothing
    but what programs leave behind may follow. This is known when the last page has been read, so after the last rows.
    The rows of a compressed table are read by pyreadstat.

    Raises SpiroError that names what does not fit.
    """
    layout, page_size, pages, head = _read_header(stream, findings)
    subheaders, first_pages = _meta(stream, layout, page_size, pages)
    described = _described(subheaders, layout, page_size * pages)
    findings.compressed = described.compressed
    following = (_read_page(stream, n, pages, page_size, layout) for n in range(len(first_pages) + 1, pages + 1))
    checked = _checked(itertools.chain(first_pages, following), described, layout)
    if described.compressed:
        yield from _by_pyreadstat(head, checked, described.rows, rows_at_once)
    else:
        rows = (_plain_rows(page, described, layout) for page in checked if page.kind != META)
        for some in _regrouped(rows, rows_at_once):
            yield [(column.name, _values(some, column, layout)) for column in described.columns]
    _nothing_behind(stream, pages, findings)


def _checked(pages: Iterable[_Page], described: _Description, layout: Layout) -> Iterator[_Page]:
    """The pages, each with rows that fit in it, and in all as many as the header says."""
    total = 0
    for page in pages:
        total += _rows_on(page, described, layout)
        yield page
    if total != described.rows:
        raise SpiroError(f"its pages hold {total} rows, its header says {described.rows}; fetch it again")


def _nothing_behind(stream: BufferedReader, pages: int, findings: Findings) -> None:
    behind = 0
    while block := stream.read(1 << 20):
        behind += len(block)
        if block.strip(LEFT_BEHIND):  # perhaps pages, and one of those above should not be there
            raise SpiroError(f"has more bytes than its {pages} pages; fetch it again")
    if behind:
        findings.mended.append(f"{behind} bytes behind the last page left out")


def _plain_rows(page: _Page, described: _Description, layout: Layout) -> NDArray[np.uint8]:
    """The rows (rows, row width) of a page, as bytes."""
    rows = np.frombuffer(page.data, np.uint8, page.rows * described.row_width, _first_row(page, layout))
    return rows.reshape(page.rows, described.row_width)


def _regrouped(parts: Iterable[NDArray[np.uint8]], size: int) -> Iterator[NDArray[np.uint8]]:
    """The rows of all parts, `size` at a time; the last may be fewer."""
    waiting: list[NDArray[np.uint8]] = []
    for part in parts:
        waiting.append(part)
        while sum(map(len, waiting)) >= size:
            some = np.concatenate(waiting)
            waiting = [some[size:]]
            yield some[:size]
    if left := [part for part in waiting if len(part)]:
        yield np.concatenate(left)


def _values(rows: NDArray[np.uint8], column: Column, layout: Layout) -> NDArray[np.float64 | np.bytes_]:
    """A column of rows of bytes: numbers, of which SAS may leave out the last bytes, or texts, as wide as needed."""
    field = rows[:, column.offset : column.offset + column.width]
    if column.text:
        used = np.flatnonzero(np.bitwise_or.reduce(field, axis=0) & ~np.uint8(BLANK))  # no byte but zero and a blank
        width = 1 + int(used[-1]) if len(used) else 1
        text = np.where(field[:, :width] == 0, np.uint8(BLANK), field[:, :width])
        return text.view(f"S{width}")[:, 0]
    number = np.zeros((len(rows), 8), np.uint8)
    number[:, 8 - column.width :] = field if layout.little else field[:, ::-1]
    return number.view("<f8")[:, 0]


def _by_pyreadstat(
    head: bytes, pages: Iterable[_Page], announced: int, rows_at_once: int
) -> Iterator[list[tuple[str, NDArray]]]:
    """The rows of a compressed table, of which pyreadstat needs a file."""
    import pyreadstat  # noqa: PLC0415, slow to load

    with tempfile.NamedTemporaryFile(suffix=".sas7bdat") as file:
        file.write(head)
        for page in pages:
            file.write(page.data)
        file.flush()
        done = 0
        try:
            chunks = pyreadstat.read_file_in_chunks(
                pyreadstat.read_sas7bdat, file.name, rows_at_once, disable_datetime_conversion=True
            )
            while (frame := _next_of(chunks)) is not None:
                done += len(frame)
                yield [(str(name), _as_array(frame[name])) for name in frame.columns]  # a lost name is NaN
        except (pyreadstat.ReadstatError, ValueError, TypeError, LookupError, OverflowError) as error:
            reason = printable(" ".join(str(error).split()), 80)
            raise SpiroError(f"is a damaged SAS7BDAT ({reason}); fetch it again") from None
    if done != announced:
        raise SpiroError(f"its pages hold {done} rows, its header says {announced}; fetch it again")


def _next_of(chunks: Iterator) -> "pd.DataFrame | None":
    """The next rows; pyreadstat warns of names that come twice, which it changes, and so are no column's of the CDC."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return next(chunks, (None,))[0]


def _as_array(column: "pd.Series") -> NDArray[np.float64 | np.bytes_]:
    """Numbers, or texts as blank-padded bytes ('S')."""
    if column.dtype.kind in "fiu":
        return column.to_numpy(np.float64)
    array = np.array([str(text).encode("latin-1", "replace") for text in column])
    return np.char.ljust(array, array.dtype.itemsize)


def rows_announced(stream: BufferedReader) -> int:
    """The number of rows that a table's header says."""
    layout, page_size, pages, _ = _read_header(stream, Findings())
    return _described(_meta(stream, layout, page_size, pages)[0], layout, page_size * pages).rows


def _read_header(stream: BufferedReader, findings: Findings) -> tuple[Layout, int, int, bytes]:
    """Layout, page size, number of pages, and the header as it should be; the stream then stands at the first page."""
    before = max(stream.peek(HEAD)[:HEAD].find(MAGIC), 0)
    if before:
        stream.read(before)
        findings.mended.append(f"{before} bytes before the header removed")
    head = stream.read(HEADER_SIZE)
    if len(head) < HEADER_SIZE:
        raise SpiroError(f"is truncated: its header has {len(head)} of {HEADER_SIZE} bytes; fetch it again")
    if head[:32] != MAGIC or head[84:92] != b"SAS FILE":
        findings.mended.append("marks at the start of the header restored")
        head = MAGIC + head[32:84] + b"SAS FILE" + head[92:]
    wide, shifted, little = head[32], head[35], head[37]
    layout = Layout(wide == WIDE_MARK, little == 1)
    header_size, page_size, pages = layout.unpack("IIW", head, 200 if shifted == WIDE_MARK else 196)
    marks = {wide, shifted} <= {*NARROW_MARKS, WIDE_MARK} and little in (0, 1)
    sizes = header_size % 1024 == 0 and HEADER_SIZE <= header_size <= LARGEST_HEADER
    sizes &= page_size % 512 == 0 and 1024 <= page_size <= LARGEST_PAGE and 0 < pages < MOST_PAGES
    if not (marks and sizes):
        raise SpiroError("its SAS7BDAT header is damaged (alignment, byte order or sizes); fetch it again")
    return layout, page_size, pages, head + stream.read(header_size - HEADER_SIZE)


def _meta(
    stream: BufferedReader, layout: Layout, page_size: int, pages: int
) -> tuple[dict[int, list[bytes]], list[_Page]]:
    """The subheaders of the first pages by signature, and those pages: up to the first that holds rows."""
    subheaders: dict[int, list[bytes]] = {}
    read_pages: list[_Page] = []
    while len(read_pages) < pages:
        page = _read_page(stream, len(read_pages) + 1, pages, page_size, layout)
        read_pages.append(page)
        for pointer in _pointers(page, layout):
            if not pointer.compression and pointer.length >= layout.word:
                subheader = page.data[pointer.offset : pointer.offset + pointer.length]
                code = layout.unpack("W", subheader, 0)[0]
                if layout.wide and not layout.little and code >> 32 != 0xFFFFFFFF:
                    code >>= 32  # these signatures have four bytes, and anything behind them
                code &= 0xFFFFFFFF
                subheaders.setdefault(code, []).append(subheader)
        if page.kind != META or any(pointer.compression == ROW for pointer in _pointers(page, layout)):
            break
    return subheaders, read_pages


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


class _Pointer(NamedTuple):
    offset: int
    length: int
    compression: int  # 4: a row of a compressed table
    kind: int  # 1: a row, or what columns have more than one of


def _pointers(page: _Page, layout: Layout) -> Iterator[_Pointer]:
    """The pointers of a page to subheaders in use."""
    for i in range(page.pointers):
        at = layout.page_header + i * layout.pointer
        if at + layout.pointer > len(page.data):
            raise SpiroError(f"page {page.number} is damaged ({page.pointers} subheaders); fetch it again")
        pointer = _Pointer(*layout.unpack("WWBB", page.data, at))
        if pointer.length == 0 or pointer.compression == UNUSED:
            continue
        end = pointer.offset + pointer.length
        if pointer.compression not in (0, ROW) or pointer.offset < layout.page_header or end > len(page.data):
            what = f"subheader of {pointer.length} bytes at {pointer.offset}"
            raise SpiroError(f"page {page.number} is damaged ({what}); fetch it again")
        yield pointer


def _described(subheaders: dict[int, list[bytes]], layout: Layout, size: int) -> _Description:
    """The description by the subheaders of a file of `size` bytes of pages, checked for consistency."""
    word = layout.word
    for code, name in {ROW_SIZE: "row size", COLUMN_SIZE: "column size", TEXT: "text"}.items():
        if code not in subheaders or len(subheaders[code][0]) < SHORTEST[code] * word:
            raise SpiroError(f"its description is damaged (no {name} subheader); fetch it again")
    row_width, rows = layout.unpack("WW", subheaders[ROW_SIZE][0], 5 * word)
    mix_rows = layout.unpack("W", subheaders[ROW_SIZE][0], 15 * word)[0]
    compressed = any(mark in subheaders[TEXT][0][:64] for mark in COMPRESSION)
    count = layout.unpack("W", subheaders[COLUMN_SIZE][0], word)[0]
    places = [place for subheader in subheaders.get(ATTRIBUTES, []) for place in _places(subheader, layout)]
    if count != len(places) or not count:
        raise SpiroError(f"its description is damaged ({count} columns, {len(places)} places); fetch it again")
    end = 0
    for offset, width, kind in sorted(places):
        if kind not in (NUMBER, CHARACTER) or offset < end or not 1 <= width <= (8 if kind == NUMBER else 1 << 15):
            raise SpiroError(f"its description is damaged (a column of {width} bytes at {offset}); fetch it again")
        end = offset + width
    if end > row_width or (not compressed and row_width * rows > size):
        raise SpiroError(f"its description is damaged ({rows} rows of {row_width} bytes); fetch it again")
    names = [name for subheader in subheaders.get(NAMES, []) for name in _names(subheader, subheaders[TEXT], layout)]
    if len(names) != count:
        raise SpiroError(f"its description is damaged ({count} columns, {len(names)} names); fetch it again")
    columns = [
        Column(name, "", kind == CHARACTER, width, offset)
        for name, (offset, width, kind) in zip(names, places, strict=True)
    ]
    return _Description(rows, row_width, mix_rows, compressed, columns)


def _places(subheader: bytes, layout: Layout) -> Iterator[tuple[int, int, int]]:
    """Offset, width and kind of each column."""
    entry = layout.word + 8
    for i in range((len(subheader) - 2 * layout.word - 12) // entry):
        offset, width, _, kind = layout.unpack("WIHB", subheader, layout.word + 8 + i * entry)
        yield offset, width, kind


def _names(subheader: bytes, texts: list[bytes], layout: Layout) -> Iterator[str]:
    """Name of each column: a place in one of the text subheaders, counted from behind its signature; "" where there is
    none."""
    for i in range((len(subheader) - 2 * layout.word - 12) // 8):
        number, offset, length = layout.unpack("HHH", subheader, layout.word + 8 + 8 * i)
        text = texts[number] if number < len(texts) else b""
        name = text[layout.word + offset : layout.word + offset + length] if offset + length else b""
        yield name.decode("utf-8", "replace").rstrip(" \0")


def _first_row(page: _Page, layout: Layout) -> int:
    """Where the first row of a page begins: behind its header, and behind the pointers to its subheaders."""
    start = layout.page_header + page.pointers * layout.pointer
    return start + -start % 8


def _rows_on(page: _Page, described: _Description, layout: Layout) -> int:
    """The rows that a page holds, which have to fit in it."""
    rows = 0
    for pointer in _pointers(page, layout):
        if not described.compressed:
            if pointer.compression == ROW:
                raise SpiroError(f"page {page.number} is damaged (a compressed row in a plain table); fetch it again")
            continue
        signature = layout.unpack("I", page.data, pointer.offset)[0] if pointer.length >= 4 else 0
        plain = pointer.kind == 1 and pointer.length == described.row_width and signature not in SIGNATURES
        rows += pointer.compression == ROW or plain
    if page.kind == META:
        return rows
    if page.kind == MIX and page.rows != min(described.mix_rows, described.rows):
        raise SpiroError(f"page {page.number} is damaged (rows beside subheaders); fetch it again")
    if page.rows < 1 or _first_row(page, layout) + page.rows * described.row_width > len(page.data):
        raise SpiroError(f"page {page.number} is damaged ({page.rows} rows do not fit in it); fetch it again")
    return rows + page.rows
