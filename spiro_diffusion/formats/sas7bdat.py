"""Read SAS7BDAT, the data set file of SAS, and check every page of it; its layout is in `sas7bdat_layout`."""

import itertools
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from io import BufferedReader
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.formats.column import Column
from spiro_diffusion.formats.repair_log import Findings
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
    MIX,
    NAMES,
    NARROW_MARKS,
    NUMBER,
    ROW_SIZE,
    TEXT,
    WIDE_MARK,
    Layout,
)
from spiro_diffusion.formats.sniff import HEAD
from spiro_diffusion.formats.sniff import SAS7BDAT_MAGIC as MAGIC

if TYPE_CHECKING:
    import pandas as pd

LEFT_BEHIND = b"\0 \r\n\x1a"  # what programs write behind a file: zeros, blanks, line ends, Ctrl-Z
COMPRESSION = (b"SASYZCRL", b"SASYZCR2")  # run-length and Ross: their marks in the first text subheader
OTHER_META = (0x0400, 0x4000, 0x9000)  # amendments, more subheaders, index: no rows in any of them
DELETED = 0x0080  # added to the page type
SHORTEST = {ROW_SIZE: 16, COLUMN_SIZE: 2, TEXT: 2}  # words of a subheader that we read
SIGNATURES = (ROW_SIZE, COLUMN_SIZE, COUNTS, TEXT, NAMES, ATTRIBUTES, FORMAT, 0xFFFFFFFF)
UNUSED, ROW = 1, 4  # a subheader pointer's compression: no longer in use, a compressed row
LARGEST_HEADER, LARGEST_PAGE, MOST_PAGES = 1 << 20, 1 << 24, 1 << 24  # bytes, bytes, pages


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
