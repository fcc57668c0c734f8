"""Read a damaged XPORT file: damage that can be undone exactly is undone, any other is refused.

What helps is that an XPORT file of NHANES says most things twice. The fixed texts and the name records
stand at known places; the number of columns follows from a text, from the place of the next text and from
the name records themselves; a column's offset is the sum of the widths before it; the columns of each
release are known (`nhanes`); and every row begins with a SEQN, a whole number within the cycle's range,
which fails as soon as a row does not lie where it should. See docs/repair.md for the catalogue.
"""

import contextlib
import hashlib
import itertools
import struct
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.formats import xport
from spiro_diffusion.formats.column import Column, placed
from spiro_diffusion.formats.repair_log import Findings
from spiro_diffusion.formats.sniff import HEAD
from spiro_diffusion.nhanes import codebook, validate

SEARCHED = HEAD + xport.NAMESTR_START  # bytes in which the header records may lie, behind text that is not the file's
BLANK = b" "
LINE_ENDS = (10, 13)  # LF and CR; also the numbers of two columns
REPLACEMENT = b"\xef\xbf\xbd"  # U+FFFD in UTF-8, which stands for bytes that were no text


class Parts(NamedTuple):
    """A file taken apart."""

    columns: list[Column]
    rows: np.ndarray  # uint8 (rows, width of a row)


def parsed(data: bytes, file: codebook.File, findings: Findings, rows: int | None = None) -> Parts:
    """Find columns and rows; what was damaged and is undone goes into `findings`.

    `rows` is how many there have to be, where that is known: the format does not say it, and a stretch that
    is lost from the middle, as long as some rows, shows in nothing else.

    Raises SpiroError that names what does not fit.
    """
    first: SpiroError | None = None
    for candidate, note in _readings(data, file):
        found = Findings(mended=note)
        try:
            parts = _parsed(candidate, file, found, rows)
        except SpiroError as error:
            first = first or error
        else:
            findings.mended += found.mended
            findings.sha256 = found.sha256
            return parts
    replaced = data.count(REPLACEMENT)
    if replaced:
        raise SpiroError(f"was saved as UTF-8 text, which lost {replaced} bytes for good; fetch it again")
    raise first or SpiroError("cannot be read")


def _readings(data: bytes, file: codebook.File) -> Iterator[tuple[bytes, list[str]]]:
    """A known release in the bytes; the bytes as they are; the bytes before a program took them for text."""
    start = max(data.find(xport.VERSION_5.library, 0, SEARCHED), 0)
    for release in file.releases:
        piece = data[start : start + release.size]
        if len(data) > len(piece) and hashlib.sha256(piece).hexdigest().startswith(release.sha256):
            yield piece, [f"{len(data) - len(piece)} bytes around the CDC's file removed"]
    yield data, []
    lines = data.count(b"\n")
    if lines and lines == data.count(b"\r\n"):
        yield data.replace(b"\r\n", b"\n"), [f"the CR before each of {lines} LF removed"]
    if not data.isascii() and REPLACEMENT not in data:
        for encoding in ("latin-1", "cp1252"):
            with contextlib.suppress(UnicodeError):
                plain = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8").encode(encoding)
                yield plain, [f"translation from {encoding} to UTF-8 undone"]


def _parsed(data: bytes, file: codebook.File, found: Findings, known_rows: int | None) -> Parts:
    data, version = _from_start(data, found)
    count, announced, body = _header_end(data, file, version, found)
    reasons = []
    for columns, notes in _columns(data, count, file, version, found):
        tried = Findings()
        try:
            rows = _rows(data[body:], columns, file, known_rows if announced is None else announced, tried)
        except SpiroError as reason:
            reasons.append(reason)
        else:
            found.mended += notes + tried.mended
            found.sha256 = _sha256(data[:body], columns, rows, version)
            return Parts(columns, rows)
    raise reasons[0]


def _sha256(head: bytes, columns: list[Column], rows: np.ndarray, version: xport.Announcements) -> str:
    """SHA-256 of the file as it was before the damage, as far as the header's free texts are sound."""
    whole = bytearray(head)
    whole[608:618] = b"%010d" % len(columns)
    for i, column in enumerate(columns):
        at = xport.NAMESTR_START + i * xport.NAMESTR.size
        kind = xport.CHARACTER if column.text else xport.NUMERIC
        struct.pack_into(">h", whole, at, kind)
        struct.pack_into(">hh8s", whole, at + 4, column.width, i + 1, column.name[:8].encode("latin-1").ljust(8))
        struct.pack_into(">i", whole, at + 84, column.offset)
    whole[-xport.RECORD : -xport.RECORD + 48] = version.observations
    body = rows.tobytes()
    return hashlib.sha256(bytes(whole) + body.ljust(xport.padded_size(len(body)))).hexdigest()


# --- header ---------------------------------------------------------------------------------------------------


def _from_start(data: bytes, found: Findings) -> tuple[bytes, xport.Announcements]:
    """The data from where the header begins, with the fixed texts as they should be."""
    starts: Counter[tuple[int, xport.Announcements]] = Counter()
    for version in (xport.VERSION_5, xport.VERSION_8):
        for text, at in _fixed(version):
            place = data.find(text[:48], 0, SEARCHED)
            if place >= 0:
                starts[place - at, version] += 1
    ((start, version), witnesses) = starts.most_common(1)[0] if starts else ((0, xport.VERSION_5), 0)
    if witnesses < 2:
        raise SpiroError("its XPORT header is destroyed (the header records are not in their places); fetch it again")
    if start > 0:
        found.mended.append(f"{start} bytes before the header removed")
        data = data[start:]
    elif start < 0:
        found.mended.append(f"{-start} bytes missing at the start restored")
        data = BLANK * -start + data
    whole = bytearray(data)
    for text, at in _fixed(version):
        if whole[at : at + len(text)] != text:
            found.mended.append(f"header record at byte {at} restored")
            whole[at : at + len(text)] = text
    return bytes(whole), version


def _fixed(version: xport.Announcements) -> list[tuple[bytes, int]]:
    """The texts of a header that are the same in every file, and their places."""
    return [
        (version.library + xport.ZEROS, 0),
        (version.member + xport.MEMBER_SIZES, xport.MEMBER_AT),
        (version.descriptor + xport.ZEROS, xport.DESCRIPTOR_AT),
        (version.namestrs, xport.NAMESTRS_AT),
    ]


class _HeaderEnd(NamedTuple):
    columns: int
    rows: int | None  # as version 8 gives them
    body: int  # byte at which the rows begin


def _header_end(data: bytes, file: codebook.File, version: xport.Announcements, found: Findings) -> _HeaderEnd:
    """The number of columns, on which two witnesses have to agree, and where the rows begin."""
    written = int(data[608:618]) if data[608:618].isdigit() else -1
    announced = data.find(version.observations, xport.NAMESTR_START)
    in_place = announced > 0 and announced % xport.RECORD == 0
    if version is xport.VERSION_8:
        rows = data[announced + 48 : announced + xport.RECORD].strip()
        described = xport.NAMESTR_START + written * xport.NAMESTR.size
        if not (written > 0 and in_place and described <= announced and rows.isdigit()):
            raise SpiroError("its XPORT v8 header is damaged; fetch it again")
        return _HeaderEnd(written, int(rows) or None, announced + xport.RECORD)  # some programs leave it at 0
    if written == 0 and announced == xport.NAMESTR_START:
        raise SpiroError("holds a header and nothing else; fetch it again")

    numbered = 0
    while _description(data, numbered, version).number == numbered + 1:
        numbered += 1
    by_place = (announced - xport.NAMESTR_START) // xport.NAMESTR.size if in_place else -1
    witnesses: Counter[int] = Counter()
    for count in (written, by_place, numbered, *(len(columns) for columns in file.columns)):
        if count > 0 and (not in_place or _rows_begin(count) == announced + xport.RECORD):
            witnesses[count] += 1
    count, agreeing = witnesses.most_common(1)[0] if witnesses else (0, 0)
    if agreeing < 2 or len(data) < _rows_begin(count):
        raise SpiroError("its XPORT header is damaged (the number of columns cannot be determined); fetch it again")
    if written != count:
        found.mended.append(f"number of columns restored to {count}")
    if announced != _rows_begin(count) - xport.RECORD:
        found.mended.append("header record before the rows restored")
    return _HeaderEnd(count, None, _rows_begin(count))


def _rows_begin(columns: int) -> int:
    return xport.NAMESTR_START + xport.padded_size(columns * xport.NAMESTR.size) + xport.RECORD


def _description(data: bytes, index: int, version: xport.Announcements) -> xport.Description:
    at = xport.NAMESTR_START + index * xport.NAMESTR.size
    record = data[at : at + xport.NAMESTR.size].ljust(xport.NAMESTR.size, b"\0")
    return xport.read_namestr(record, long_names=version is xport.VERSION_8)


def _columns(
    data: bytes, count: int, file: codebook.File, version: xport.Announcements, found: Findings
) -> list[tuple[list[Column], list[str]]]:
    """The columns, in each way that the name records can be read, with what each had to restore."""
    records = [_description(data, i, version) for i in range(count)]
    names, restored = validate.known_names([record.name for record in records], file)
    texts = [codebook.is_text(name) for name in names]
    found.mended += [f"name of column {name} restored" for name in restored]
    numbers = [record.number for record in records]
    if sorted(numbers) == list(range(1, count + 1)) != numbers:
        raise SpiroError("its name records are out of order; fetch it again")
    if any(number in LINE_ENDS and i + 1 in LINE_ENDS and number != i + 1 for i, number in enumerate(numbers)):
        raise SpiroError("was taken for text: CR and LF stand for each other, in the values as well; fetch it again")
    if not any(hashlib.sha256(data).hexdigest().startswith(release.sha256) for release in file.releases):
        validate.in_order(names, [record.label for record in records], file)
    damaged = set(restored)
    for i, (record, name, text) in enumerate(zip(records, names, texts, strict=True)):
        if record.number != i + 1:
            damaged.add(name)
            found.mended.append(f"number of column {name} restored")
        if record.kind != (xport.CHARACTER if text else xport.NUMERIC):
            damaged.add(name)
            found.mended.append(f"type of column {name} restored")

    widths = [record.width for record in records]
    offsets = [record.offset for record in records]
    between = [b - a for a, b in itertools.pairwise(offsets)]
    usual = [width if text else 8 for width, text in zip(widths, texts, strict=True)]  # NHANES: numbers of 8 bytes
    readings: list[tuple[list[Column], list[str]]] = []
    for choice in (widths, [*between, usual[-1]], usual):
        if any(
            not (1 <= width <= 32767 if text else 2 <= width <= 8) for width, text in zip(choice, texts, strict=True)
        ):
            continue
        columns = placed(
            [Column(name, "", text, width) for name, text, width in zip(names, texts, choice, strict=True)]
        )
        moved = {c.name for c, r in zip(columns, records, strict=True) if (c.width, c.offset) != (r.width, r.offset)}
        if len(moved | damaged) <= max(1, count // validate.MOST_RESTORED):
            readings.append((columns, [f"place of column {c.name} restored" for c in columns if c.name in moved]))
    if not readings:
        raise SpiroError("its name records are damaged (numbers, types, widths and places disagree); fetch it again")
    return readings


# --- rows -----------------------------------------------------------------------------------------------------


def _rows(
    body: bytes, columns: list[Column], file: codebook.File, rows_expected: int | None, found: Findings
) -> np.ndarray:
    """The rows, of which there have to be `rows_expected`, where that is known."""
    width = sum(column.width for column in columns)
    seqn = next((column for column in columns if column.name == "SEQN"), None)
    if seqn is None:
        raise SpiroError(f"has no column SEQN; give {file.filename} as the CDC publishes it")
    whole = len(body) // width
    rows = np.frombuffer(body, np.uint8, whole * width).reshape(whole, width)
    values, _ = xport.from_ibm(xport.ibm_bits(rows, seqn))
    good = file.of_cycle(values)
    count = whole if good.all() else int(good.argmin())
    if count == 0:
        raise SpiroError(_why_none(body, values, file))
    if good[count:].any():
        raise SpiroError(f"row {count}: SEQN is {values[count]:g}, which is none of cycle {file.cycle}; fetch it again")
    if rows_expected is not None and count != rows_expected:
        raise SpiroError(f"holds {count} rows, {rows_expected} are expected; fetch it again")
    _end_of(body[count * width :], -count * width % xport.RECORD, count, rows_expected is not None, found)
    return rows[:count]


def _end_of(rest: bytes, padding: int, count: int, count_known: bool, found: Findings) -> None:
    """Report what follows the last row: nothing but `padding` blanks in a sound file.

    Blanks too few or too many can also come from rows lost further up, unless their number is known.
    """
    blanks = len(rest) - len(rest.lstrip(BLANK))
    behind = rest[padding:]
    if behind.startswith(b"HEADER RECORD"):
        raise SpiroError("holds more than one table; give each in a separate file")
    if blanks == len(rest) == padding:
        return
    if len(rest) == padding and not rest.strip(b"\0"):  # less than a record, and so less than a row
        found.mended.append(f"{padding} zero bytes behind the last row, where blanks belong")
        return
    ended = min(blanks, padding) > 0  # blanks stand behind the last row and nowhere else
    only_ends = not behind.strip(b"\r\n\x1a")  # line ends and Ctrl-Z, which programs write behind a text
    if ended and count_known and blanks == len(rest) < padding:
        found.mended.append(f"{padding - blanks} blanks behind the last row restored")
    elif blanks >= padding and (only_ends or (ended and (count_known or behind.strip(BLANK)))):
        found.mended.append(f"{len(behind)} bytes behind the last row removed")
    else:
        raise SpiroError(f"is truncated or damaged behind row {count - 1} ({len(rest)} bytes remain); fetch it again")


def _why_none(body: bytes, values: np.ndarray, file: codebook.File) -> str:
    if not body.strip(b"\0 \r\n\x1a"):
        return "holds a header and no rows; fetch it again"
    for name, cycle in codebook.CYCLES.items():
        if len(values) and cycle.first_seqn <= values[0] <= cycle.last_seqn:
            return f"is a file of cycle {name} (its first SEQN is {values[0]:.0f}); {file.name} is expected"
    return f"row 0 has no SEQN of cycle {file.cycle}; give {file.filename} as the CDC publishes it"
