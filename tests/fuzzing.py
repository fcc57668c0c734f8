"""Edits of bytes as a strategy of Hypothesis, and what a reader of curves owes to an edited file.

A reader owes the values of the unhurt file wherever no byte was changed, or a SpiroError of one short line. Anything
else is raised as `Failed`, or as the exception that it was.
"""

import functools
import io
import re
from collections.abc import Callable
from difflib import SequenceMatcher
from typing import NamedTuple

import held_files
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.user_curves import read, read_records
from spiro_diffusion.user_curves.efforts import Record

LONGEST_LINE = 600  # characters that people still read
NOTED = ("inspirations left out", "trials that are no forced expirations", "are not at BTPS")  # and so not silent
WITHOUT_VALUES = ("parquet",)  # no checksum, and values of two bytes: those behind one put in are all others
FEWEST_BYTES = 2  # of a value: a digit and what ends it
AROUND = 4  # values that an edit touches beside those in it: the cut ones, and of volumes the two flows of each
MOST_MATCHED = 5000  # values that are aligned; more (weights) have to stay in their places
PIECES = [
    b"",
    b"\0",
    b"\n",
    b"\r\n",
    b",",
    b";",
    b".",
    b"-",
    b"nan",
    b"1e308",
    b"9" * 400,
    b"\xff\xfe",
    b"'",
    b'"',
    b"<",
]
PIECES += [b"[", b"{", b"&x;", b" " * 3000, b"\x1b[2J", b",,,,,,,,", b"\n\n", b"time_s,flow_l_s\n", b"0", b"-1", b"1e9"]


class Failed(Exception):
    """A reader gave neither a right result nor a line."""


class Edit(NamedTuple):
    """Bytes from `at` (a share of the file), `size` of them, that become `new`, `times` over."""

    at: float
    size: int
    new: bytes
    times: int

    def splice(self, data: bytes) -> tuple[int, int, bytes]:
        """From where to where, and what comes there."""
        begin = int(self.at * len(data))
        return begin, min(begin + self.size, len(data)), self.new * self.times


class Repeat(NamedTuple):
    """Bytes from `at` that come again at `to`, as after a resumed transfer, or instead of what is there."""

    at: float
    size: int
    to: float
    instead: bool

    def splice(self, data: bytes) -> tuple[int, int, bytes]:
        """From where to where, and what comes there."""
        begin, to = int(self.at * len(data)), int(self.to * len(data))
        piece = data[begin : begin + self.size]
        return to, min(to + len(piece), len(data)) if self.instead else to, piece


class Edited(NamedTuple):
    """A file after its edits."""

    data: bytes
    kept: NDArray[np.bool_]  # (n,) which bytes of the unhurt file are still there
    put_in: int  # bytes that were not
    edits: int


_PLACE = (st.integers(0, 9_999) | st.integers(0, 500)).map(lambda part: part / 10_000)  # headers lie at the start
_SIZE = st.sampled_from([0, 0, 1, 1, 2, 4, 8, 80, 140, 512, 4096, 1 << 20])
_NEW = st.sampled_from(PIECES) | st.binary(max_size=8)
EDITS = st.lists(
    st.builds(Edit, _PLACE, _SIZE, _NEW, st.sampled_from([1, 1, 1, 2, 1000]))
    | st.builds(Repeat, _PLACE, _SIZE, _PLACE, st.booleans()),
    min_size=1,
    max_size=3,
)


def edited(data: bytes, edits: list[Edit | Repeat]) -> Edited:
    """The file after all edits, one after the other."""
    origin = np.arange(len(data))
    before = len(data)
    for edit in edits:
        begin, end, new = edit.splice(data)
        data = data[:begin] + new + data[end:]
        origin = np.concatenate([origin[:begin], np.full(len(new), -1), origin[end:]])
    kept = np.isin(np.arange(before), origin)
    return Edited(data, kept, int((origin < 0).sum()), len(edits))


def judge(name: str, hurt: Edited) -> str:
    """`read` or `refused`, of a file of `held_files` after edits."""
    (sound, wrap), data = content(name), hurt.data
    try:
        curves = read(io.BytesIO(wrap(data)), "file", btps=1.0)
    except SpiroError as error:
        hold_line(str(error))
        return "refused"
    if not np.isfinite(curves.flow).all() or len(set(curves.names)) < len(curves.names):
        raise Failed("flow that is not finite, or curves of one name")
    if name in WITHOUT_VALUES:
        return "read"
    if any(word in note for note in curves.notes for word in NOTED):
        return "read"
    mark = held_files.SETTINGS.get(name, "").encode()
    settings = bool(mark) and _first_difference(data, sound) < sound.find(mark) + len(mark)
    hold_records(_whole(wrap(data)), _whole_of_sound(wrap(sound))[0], hurt, settings)
    return "read"


def content(name: str) -> tuple[bytes, Callable[[bytes], bytes]]:
    """What is edited of a file of `held_files`, and what makes the file of it: of a workbook, its sheet."""
    if name == "excel sheet":
        return held_files.sheet().encode(), held_files.workbook
    return held_files.made(name), bytes


def hold_line(message: str) -> None:
    if len(message) > LONGEST_LINE or re.search(r"[\x00-\x1f\x7f]", message):
        raise Failed(f"no short line: {message[:300]!r}")


def hold_records(records: list[Record], sound: Record, hurt: Edited, settings: bool) -> None:
    """Raises Failed where values of the one sound record were changed, lost or put in that lie outside of the edits.

    `settings`: the edits begin before the first value, where units and intervals are: another scale is as written,
    and with edits of values too nothing can be said.
    """
    if not settings and any(record.period_s != sound.period_s for record in records):
        raise Failed(f"{records[0].period_s} s between samples instead of {sound.period_s}")
    flow = np.concatenate([record.flow for record in records])
    if not (settings and (hurt.edits > 1 or _is_scaled(flow, sound.flow))):
        hold_numbers(flow, sound.flow, hurt)


def hold_numbers(found: NDArray, sound: NDArray, hurt: Edited) -> None:
    """Raises Failed where numbers (n,) were changed, lost or put in that lie outside of the edits of the sound (m,)."""
    changed = int((~hurt.kept).sum()), hurt.put_in
    lost, put_in = (size // FEWEST_BYTES + AROUND * hurt.edits for size in changed)
    if len(found) == len(sound) and (~_alike(found, sound)).sum() <= min(lost, put_in):
        return
    if max(len(found), len(sound)) > MOST_MATCHED:
        raise Failed(f"{len(found)} numbers, none of the edits explains which of {len(sound)} they are")
    a, b = (np.round(numbers, 8).tolist() for numbers in (found, sound))
    kept = sum(block.size for block in SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks())
    if len(found) - kept > put_in or len(sound) - kept > lost:
        raise Failed(f"{len(found)} numbers, of which {kept} are of the unhurt file's {len(sound)}")


def _whole(data: bytes) -> list[Record]:
    """The records of a file, all of them: of NHANES's its curves."""
    try:
        return read_records(io.BytesIO(data), "file", btps=1.0)
    except SpiroError:
        curves = read(io.BytesIO(data), "file", btps=1.0)
        return [Record(name, "", flow, 0.01) for name, flow in zip(curves.names, curves.curves(), strict=True)]


_whole_of_sound = functools.lru_cache(1)(_whole)


def _first_difference(a: bytes, b: bytes) -> int:
    size = min(len(a), len(b))
    alike = np.frombuffer(a, np.uint8, size) == np.frombuffer(b, np.uint8, size)
    return size if alike.all() else int(alike.argmin())


def _is_scaled(flow: NDArray, sound: NDArray) -> bool:
    """Whether it is the sound one but for one factor and one offset."""
    if len(flow) != len(sound) or not np.ptp(flow):
        return False
    return bool(_alike(*((values - values.mean()) / values.std() for values in (flow, sound))).all())


def _alike(a: NDArray, b: NDArray) -> NDArray[np.bool_]:
    return np.isclose(a, b, atol=1e-8, rtol=1e-8)
