"""Waveform files of spirometer testers: settings, then `[Data]` and volume (VT) or flow (FT) over time.

The standards' waveforms (ATS 1994, ISO 26782) have this format. Values are one a line, optionally after their time; the
settings give the quantity, its unit, and the interval or the rate if there are no times.
"""

import re
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError

DATA = re.compile(r"^[ \t]{0,9}\[data\][^\r\n]{0,200}\r?$", re.IGNORECASE | re.MULTILINE)
SECTION = re.compile(r"\[[^\W\d_][^\]]{0,200}\]")  # another one, behind the values
KIND = re.compile(r"(?<![a-z])(VT|FT)(?![a-z])", re.IGNORECASE)
REFERENCE = re.compile(r"^\s*(FVC|FEV|PEF|FEF|MMEF|BEV|EV|VEXT|VBE)", re.IGNORECASE)  # of what is known, not of values
UNITS: dict[str, tuple[tuple[str, float], ...]] = {  # to L and L/s; the first that is named counts
    "VT": ((r"ml|milli ?lit(?:re|er)s?", 1e-3), (r"l|lit(?:re|er)s?", 1.0)),
    "FT": ((r"ml ?/ ?s(?:ec)?", 1e-3), (r"l ?/ ?min", 1 / 60), (r"l ?/ ?s(?:ec)?", 1.0)),
}
SLOWEST_S = 0.5  # an interval without a unit is in s below it, and in ms from it: no recorder is so slow, or so fast
LONGEST_LINE = 200  # characters of a setting that are looked at


class WaveformFile(NamedTuple):
    """Contents of a waveform file."""

    kind: Literal["VT", "FT"]
    values: NDArray[np.float64]  # (n,) in the file's own unit
    times: NDArray[np.float64] | None  # (n,) s, where the file gives them
    period_s: float | None  # where it does not
    factor: float | None  # to L or L/s; None where no unit is named
    settings: str  # all text but the values


def is_marked(text: str) -> bool:
    """Whether a text has a line [Data]."""
    return DATA.search(text) is not None


def parse(text: str, where: str, name: str = "") -> WaveformFile:
    """Parse the one waveform of a text with a line [Data]; `where` names the file in errors; `name` may contain VT or
    FT too.

    Raises SpiroError if the quantity or the interval is missing, or a value is no number.
    """
    mark = DATA.search(text)
    if mark is None:
        raise SpiroError(f"{where}: has no line [Data]")
    if DATA.search(text, mark.end()):
        raise SpiroError(f"{where}: holds several waveforms (lines [Data]); give each in a separate file")
    lines = [line.strip() for line in text[mark.end() :].splitlines() if line.strip()]
    named = next((i for i, line in enumerate(lines) if re.match(r"[+-]?[.,\d]", line)), len(lines))
    heads = "\n".join(lines[:named])
    settings = f"{text[: mark.start()]}\n{heads}"
    found = KIND.search(heads) or KIND.search(settings) or KIND.search(name.replace("_", " "))
    if found is None:
        raise SpiroError(f"{where}: [Data] is neither VT (volume) nor FT (flow); add the type")
    kind: Literal["VT", "FT"] = "VT" if found[1].upper() == "VT" else "FT"
    table = _values(lines[named:], where)
    times = table[:, 0] if table.shape[1] > 1 else None
    period = _period(settings, where) if times is None else None
    return WaveformFile(kind, table[:, -1], times, period, _factor(settings, heads, kind), settings)


def _values(lines: list[str], where: str) -> NDArray[np.float64]:
    """Numbers (n, 1 or 2) of the lines up to the next section."""
    end = next((i for i, line in enumerate(lines) if SECTION.match(line)), len(lines))
    commas = not any("." in line for line in lines[:end])  # are decimal marks
    rows: list[list[float]] = []
    for number, line in enumerate(lines[:end], 1):
        cells = re.split(r"[\s;]+" if commas else r"[\s;,]+", line.strip(";, \t"))
        try:
            row = [float(cell.replace(",", ".")) for cell in cells]
        except ValueError:
            raise SpiroError(f"{where}: value {number} of [Data] is no number") from None
        if len(row) > 2 or (rows and len(row) != len(rows[0])) or not np.isfinite(row).all():
            raise SpiroError(f"{where}: value {number} of [Data] is neither a value nor a time and a value")
        rows.append(row)
    if not rows:
        raise SpiroError(f"{where}: holds no samples")
    return np.array(rows)


def _factor(settings: str, heads: str, kind: str) -> float | None:
    """The factor to L or L/s, by the unit of the values: beside them, in a line of units, or anywhere else."""
    lines = [line[:LONGEST_LINE].lower() for line in settings.splitlines()]
    others = [line for line in lines if not REFERENCE.match(line)]
    for some in (heads.lower().splitlines(), [line for line in others if "unit" in line], others):
        for words, factor in UNITS[kind]:
            if any(re.search(rf"(?<![a-z/])(?:{words})(?![a-z/])", line) for line in some):
                return factor
    return None


def _period(settings: str, where: str) -> float:
    """Seconds between values, from a setting of an interval or a rate."""
    for line in settings.splitlines():
        name, _, value = line[:LONGEST_LINE].replace(":", "=").partition("=")
        number = re.search(r"(?:\d{1,9}([.,]\d{1,9})?|\.\d{1,9})", value)
        size = float(number[0].replace(",", ".")) if number else 0.0
        words = f"{name} {value}".lower()
        if size == 0 or REFERENCE.match(name):
            continue
        if re.search(r"rate|freq|hz|\bfs\b|samples per s|/s", words) and "flow" not in words:
            return 1 / size
        if re.search(r"interval|period|step|\bdt\b|sampl", words):
            milliseconds = re.search(r"\bms\b|msec|millis", words) or (
                size >= SLOWEST_S and not re.search(r"\bs\b|\bsec|second", words)
            )
            return size / 1000 if milliseconds else size
    raise SpiroError(f"{where}: has no interval and no rate; add `Interval (ms)=10` before [Data]")
