"""Waveform files of spirometer testers: settings, then `[Data]` and volume (VT) or flow (FT) at even times.

The settings say which of the two it is, and the interval; the standard's waveforms (ATS 1994, ISO 26782) are given
at the mouth of the spirometer, so that BTPS is not said and asked for.
"""

import re

import numpy as np

from spiro_diffusion.core.errors import SpiroError, shown
from spiro_diffusion.user_curves import column_names
from spiro_diffusion.user_curves.efforts import Quantity, RawBlow
from spiro_diffusion.user_curves.source import Source

DATA = re.compile(r"^[ \t]{0,9}\[data\][ \t]{0,9}\r?$", re.IGNORECASE | re.MULTILINE)
KIND = re.compile(r"\b(VT|FT)\b", re.IGNORECASE)
QUANTITIES: dict[str, Quantity] = {"VT": "volume", "FT": "flow"}
SPLIT = re.compile(r"[\s;,]+")


def recognises(source: Source) -> bool:
    return DATA.search(source.head_text) is not None


def read(source: Source) -> tuple[list[RawBlow], list[str]]:
    """The one waveform of a file: a column of values, or times and values.

    Raises SpiroError where the kind, the interval or a unit is not said, or a value is no number.
    """
    text = source.text()
    mark = DATA.search(text)
    assert mark is not None  # recognised
    settings, body = text[: mark.start()], text[mark.end() :]
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    named = 0
    while named < len(lines) and not re.match(r"[+-]?[.\d]", lines[named]):
        named += 1
    found = KIND.search("\n".join(lines[:named])) or KIND.search(settings)
    if found is None:
        raise SpiroError(f"{source.where}: [Data] is said to be neither VT (volume) nor FT (flow); add it")
    quantity = QUANTITIES[found[1].upper()]
    values = _values(lines[named:], source.where)
    said = settings + "\n" + "\n".join(lines[:named])
    factor = _unit(said, quantity)
    notes = [] if factor else [f"{found[1].upper()} has no unit; read as {'L' if quantity == 'volume' else 'L/s'}"]
    times = values[:, 0] if values.shape[1] > 1 else None
    period = None if times is not None else _period(said, source.where)
    conditions = re.search(r"\b(BTPS|ATPS)\b", said, re.IGNORECASE)
    btps = 1.0 if conditions and conditions[1].upper() == "BTPS" else None
    return [RawBlow("", quantity, values[:, -1] * (factor or 1.0), period, times, btps, column=found[1].upper())], notes


def _values(lines: list[str], where: str) -> np.ndarray:
    """Numbers (n, 1 or 2) of the lines up to the next section."""
    rows: list[list[float]] = []
    for line in lines:
        if line.startswith("["):
            break
        cells = [cell for cell in SPLIT.split(line) if cell]
        try:
            row = [float(cell) for cell in cells]
        except ValueError:
            raise SpiroError(f"{where}: {shown(line, 30)} in [Data] is no number") from None
        if len(row) > 2 or (rows and len(row) != len(rows[0])) or not np.isfinite(row).all():
            raise SpiroError(f"{where}: {shown(line, 30)} in [Data] is no value, and no time and value")
        rows.append(row)
    if not rows:
        raise SpiroError(f"{where}: holds no samples")
    return np.array(rows)


def _unit(text: str, quantity: Quantity) -> float | None:
    for word in re.split(r"[\s=:,;()\[\]]+", text):
        found = column_names.unit(word) if "/" in word or len(word) > 1 or word == "L" else None
        if found and found[0] == quantity:
            return found[1]
    return None


def _period(text: str, where: str) -> float:
    """Seconds between values, of a setting that names an interval or a rate."""
    for line in text.splitlines():
        name, _, value = line[:120].replace(":", "=").partition("=")
        number = re.search(r"\d{1,9}(\.\d{1,9})?", value)
        if number is None or float(number[0]) == 0:
            continue
        words = f"{name} {value}".lower()
        if re.search(r"rate|freq|hz|samples per s|/s", words) and "flow" not in words:
            return 1 / float(number[0])
        if re.search(r"interval|period|step|\bdt\b|sampl", words):
            if re.search(r"\bms\b|msec|millis", words):
                return float(number[0]) / 1000
            if re.search(r"\bs\b|\bsec|second", words):
                return float(number[0])
    raise SpiroError(f"{where}: says no interval with a unit, nor a rate; add `Interval (ms)=10` before [Data]")
