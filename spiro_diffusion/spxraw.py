"""SPXRAW, the raw spirometry: texts such as `0,0,7,16` become lists of int16, mL per 10 ms at ATPS."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spiro_diffusion.errors import SpiroError

LOWEST, HIGHEST = -64, 192  # mL per 10 ms: the range of the SPXRAW_G codebook
ALLOWED = np.isin(np.arange(256), np.frombuffer(b"0123456789,- \0", np.uint8))  # bytes of a curve's text


def curves(texts: np.ndarray, points: np.ndarray, first_row: int = 0) -> pa.ListArray:
    """Parse blank-padded texts ('S' array) and check each against its number of points (SPXPTS).

    Raises SpiroError that names the row, counted from `first_row`, and what is wrong with it.
    """
    raw = np.ascontiguousarray(texts).view(np.uint8).reshape(len(texts), -1)
    strange = ~ALLOWED[raw].all(axis=1)
    if strange.any():
        row = int(strange.argmax())
        raise SpiroError(f"row {first_row + row}: SPXRAW is no list of numbers: {_excerpt(texts[row], ALLOWED)!r}")
    binary = pa.FixedSizeBinaryArray.from_buffers(pa.binary(raw.shape[1]), len(raw), [None, pa.py_buffer(raw)])
    strings = pc.ascii_rtrim(binary.cast(pa.binary()).cast(pa.string()), " \0")
    parts = pc.split_pattern(strings, ",")
    lengths = np.diff(parts.offsets.to_numpy())
    wrong = lengths != points
    if wrong.any():
        row = int(wrong.argmax())
        raise SpiroError(f"row {first_row + row}: SPXRAW has {lengths[row]} values, SPXPTS says {points[row]:g}")
    try:
        values = parts.flatten().cast(pa.int16())
    except pa.ArrowInvalid:
        row, value = _first_bad(parts)
        raise SpiroError(f"row {first_row + row}: SPXRAW holds {value!r}, which is no whole number") from None
    numbers = values.to_numpy()
    outside = (numbers < LOWEST) | (numbers > HIGHEST)
    if outside.any():
        at = int(outside.argmax())
        row = int(np.searchsorted(parts.offsets.to_numpy(), at, side="right")) - 1
        raise SpiroError(f"row {first_row + row}: SPXRAW holds {numbers[at]}, outside {LOWEST} to {HIGHEST} mL")
    return pa.ListArray.from_arrays(parts.offsets, values)


def text(curve: np.ndarray) -> bytes:
    """A curve as its SPXRAW text."""
    return ",".join(map(str, curve.tolist())).encode()


def _excerpt(value: bytes, allowed: np.ndarray) -> str:
    at = next((i for i, byte in enumerate(value) if not allowed[byte]), 0)
    return value[max(0, at - 10) : at + 10].decode("latin-1")


def _first_bad(parts: pa.ListArray) -> tuple[int, str]:
    for row, values in enumerate(parts.to_pylist()):
        for value in values:
            if not value.removeprefix("-").isdigit():
                return row, value
    return 0, "a number too large"
