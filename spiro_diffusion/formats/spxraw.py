"""SPXRAW, the raw spirometry: texts such as `0,0,7,16` become lists of int16, mL per 10 ms at ATPS."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spiro_diffusion.core.errors import SpiroError

SAMPLE_LIMITS = (-64, 192)  # mL per 10 ms, of every value in SPXRAW
BLANK, COMMA = b" ,"
ALLOWED = np.isin(np.arange(256), np.frombuffer(b"0123456789,- ", np.uint8))  # bytes of a curve's text


def curves(texts: np.ndarray, points: np.ndarray, first_row: int = 0) -> pa.ListArray:
    """Parse blank-padded texts ('S' array, shape (rows,)) and check each against its number of points (SPXPTS).

    Blanks behind commas and a comma at the end change nothing.

    Raises SpiroError that names the row, counted from `first_row`, and what is wrong with it.
    """
    raw = np.ascontiguousarray(texts).view(np.uint8).reshape(len(texts), -1)
    filled = (raw != BLANK) & (raw != COMMA)
    ends = np.where(filled.any(axis=1), raw.shape[1] - filled[:, ::-1].argmax(axis=1), 0)  # behind the last value
    packed = raw[np.arange(raw.shape[1]) < ends[:, None]]
    starts = np.concatenate([[0], np.cumsum(ends)]).astype(np.int32)
    strange = ~ALLOWED[packed]
    if strange.any():
        row = int(np.searchsorted(starts, strange.argmax(), side="right")) - 1
        at = int(strange.argmax()) - starts[row]
        near = raw[row, max(0, at - 10) : at + 10].tobytes().decode("latin-1")
        raise _refusal(first_row + row, f"is no list of numbers: {near!r} at character {at}")
    strings = pa.StringArray.from_buffers(len(raw), pa.py_buffer(starts), pa.py_buffer(packed))
    if (packed == BLANK).any():
        strings = pc.replace_substring_regex(pc.ascii_ltrim(strings, " "), ", +", ",")
    parts = pc.split_pattern(strings, ",")
    offsets = parts.offsets.to_numpy()
    lengths = np.diff(offsets)
    wrong = lengths != points
    if wrong.any():
        row = int(wrong.argmax())
        raise _refusal(first_row + row, f"has {lengths[row]} values, SPXPTS says {points[row]:g}")
    try:
        values = parts.flatten().cast(pa.int16())
    except pa.ArrowInvalid:
        row, value = _first_bad(parts)
        raise _refusal(first_row + row, f"holds {value!r:.40}, which is no number of mL") from None
    lowest, highest = SAMPLE_LIMITS
    numbers = values.to_numpy()
    outside = (numbers < lowest) | (numbers > highest)
    if outside.any():
        at = int(outside.argmax())
        row = int(np.searchsorted(offsets, at, side="right")) - 1
        raise _refusal(first_row + row, f"holds {numbers[at]} mL, outside {lowest} to {highest}")
    return pa.ListArray.from_arrays(parts.offsets, values)


def text(curve: np.ndarray) -> bytes:
    """A curve as its SPXRAW text."""
    return ",".join(map(str, curve.tolist())).encode()


def width(curve: np.ndarray) -> int:
    """Length of a curve's text, without making it."""
    digits = np.searchsorted([10, 100, 1000, 10000], np.abs(curve.astype(np.int64)), side="right") + 1
    return int(digits.sum() + (curve < 0).sum()) + max(0, len(curve) - 1)


def _refusal(row: int, what: str) -> SpiroError:
    return SpiroError(f"row {row}: SPXRAW {what}; fetch it again")


def _first_bad(parts: pa.ListArray) -> tuple[int, str]:
    """Row and text of the first value that is no int16."""
    for row, values in enumerate(parts.to_pylist()):
        for value in values:
            if not value.removeprefix("-").isdigit() or len(value) > 5:
                return row, value
    return 0, ""
