"""Edits of bytes as a strategy of Hypothesis, and what a reader of curves owes to an edited file.

A reader owes the values of the unhurt file wherever no byte was changed, or a SpiroError of one short line. Anything
else is raised as `Failed`, or as the exception that it was.
"""

import io
import re
from typing import NamedTuple

import held_files
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.user_curves import read, read_records
from spiro_diffusion.user_curves.efforts import Record

LONGEST_LINE = 600  # characters that people still read
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

    def of(self, data: bytes) -> bytes:
        begin = int(self.at * len(data))
        return data[:begin] + self.new * self.times + data[begin + self.size :]


class Repeat(NamedTuple):
    """Bytes from `at` that come again at `to`, as after a resumed transfer, or instead of what is there."""

    at: float
    size: int
    to: float
    instead: bool

    def of(self, data: bytes) -> bytes:
        begin, to = int(self.at * len(data)), int(self.to * len(data))
        piece = data[begin : begin + self.size]
        return data[:to] + piece + data[to + (len(piece) if self.instead else 0) :]


_PLACE = st.floats(0, 1, exclude_max=True) | st.floats(0, 0.05)  # headers lie at the start
_SIZE = st.sampled_from([0, 1, 2, 4, 8, 80, 140, 512, 4096, 1 << 20])
_NEW = st.sampled_from(PIECES) | st.binary(max_size=8)
EDITS = st.lists(
    st.builds(Edit, _PLACE, _SIZE, _NEW, st.sampled_from([1, 1, 1, 2, 1000]))
    | st.builds(Repeat, _PLACE, _SIZE, _PLACE, st.booleans()),
    min_size=1,
    max_size=3,
)


def edited(data: bytes, edits: list[Edit | Repeat]) -> bytes:
    for edit in edits:
        data = edit.of(data)
    return data


def judge(name: str, data: bytes, edits: list[Edit | Repeat]) -> str:
    """`read` or `refused`, of a file of `held_files` whose bytes have become `data`."""
    try:
        curves = read(io.BytesIO(data), "file", btps=1.0)
    except SpiroError as error:
        hold_line(str(error))
        return "refused"
    if not np.isfinite(curves.flow).all() or len(set(curves.names)) < len(curves.names):
        raise Failed("flow that is not finite, or curves of one name")
    if len(edits) == 1:
        hold_values(whole(data), whole(held_files.made(name))[0], edits[0])
    return "read"


def whole(data: bytes) -> list[Record]:
    """The records of a file, all of them: of NHANES's its curves."""
    try:
        return read_records(io.BytesIO(data), "file", btps=1.0)
    except SpiroError:
        curves = read(io.BytesIO(data), "file", btps=1.0)
        return [Record(name, "", flow, 0.01) for name, flow in zip(curves.names, curves.curves(), strict=True)]


def hold_line(said: str) -> None:
    if len(said) > LONGEST_LINE or re.search(r"[\x00-\x1f\x7f]", said):
        raise Failed(f"no short line: {said[:300]!r}")


def hold_values(records: list[Record], sound: Record, edit: Edit | Repeat) -> None:
    """Raises Failed where values differ that lie outside of the bytes changed by one edit.

    What lies before the edit and what lies behind it is in the records still, in its order. Of formats of volume, a
    value is two flows; at another period (the edit is in the settings) nothing can be said.
    """
    added = len(edit.new) * edit.times if isinstance(edit, Edit) else edit.size
    touched = 4 + (edit.size + added) // 2  # values: a digit and a separator each, at least
    before = sound.flow
    if any(record.period_s != sound.period_s for record in records) or touched >= len(before):
        return
    for flow in (record.flow for record in records):
        kept = _common(flow, before) + _common(flow[::-1], before[::-1])
        if kept + touched < min(len(flow), len(before)):
            raise Failed(f"{len(flow)} values, of which {kept} are the unhurt file's")


def _common(a: NDArray, b: NDArray) -> int:
    """How many values at the start are alike."""
    size = min(len(a), len(b))
    alike = np.isclose(a[:size], b[:size], atol=1e-9, rtol=1e-9)
    return size if alike.all() else int(alike.argmin())
