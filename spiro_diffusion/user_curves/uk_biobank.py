"""UK Biobank field 3066: `blow1,578,0,0,1,...`, cumulative mL each 10 ms, as the field's text or a table of them.

Source: https://biobank.ctsu.ox.ac.uk/crystal/field.cgi?id=3066. The count behind the name leaves zeros at the start
out. The field says neither BTPS nor ATPS.
"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.artifacts import write_text
from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.formats.dialect import cells
from spiro_diffusion.user_curves.efforts import SAMPLE_PERIOD_S, RawBlow, UserCurves
from spiro_diffusion.user_curves.source import Source

BLOW = re.compile(r"^\s*\"?blow\s?\d*\s*,\s*\d+\s*,", re.IGNORECASE)
COLUMN = re.compile(r"(?:^|[^\d])3066[-_.]i?(\d+)[-_.]a?(\d+)$")  # 3066-0.1, f.3066.0.1, p3066_i0_a1
ML_PER_L = 1000.0
MOST_POINTS = 6000  # of 10 ms: no expiration lasts a minute


def recognises(source: Source) -> bool:
    text = source.head_text
    first = next((line for line in text.splitlines() if line.strip()), "")
    return bool(BLOW.match(first)) or bool(_columns(cells(first, _separator(first))))


def read(source: Source) -> tuple[list[RawBlow], list[str]]:
    """Blows of the field's text, one a line, or of the field's columns in a table; no participant's number is kept."""
    lines = [line for line in source.text().splitlines() if line.strip()]
    if BLOW.match(lines[0]):
        named = [(str(number), line.strip().strip('"')) for number, line in enumerate(lines, 1)]
    else:
        separator = _separator(lines[0])
        columns = _columns(cells(lines[0], separator))
        named = [
            (f"row {row} blow {instance}.{array}", found[place])
            for row, found in enumerate((cells(line, separator) for line in lines[1:]), 1)
            for place, (instance, array) in columns.items()
            if place < len(found) and found[place] not in ("", "NA")
        ]
    return [_blow(name, text, source.where) for name, text in named], []


def _separator(line: str) -> str:
    return max(",\t;", key=line.count)


def _columns(names: list[str]) -> dict[int, tuple[str, str]]:
    """Place, instance and array of each column of the field."""
    found = {place: COLUMN.search(name) for place, name in enumerate(names)}
    return {place: (match[1], match[2]) for place, match in found.items() if match}


def _blow(name: str, text: str, where: str) -> RawBlow:
    place = f"{where}: {name if name.startswith('row') else 'line ' + name}"
    if not BLOW.match(text):
        raise SpiroError(f"{place}: is no blow of field 3066, as blow1,578,0,0,1,...")
    _, count, *points = text.rstrip(", ").split(",")
    series = _whole(points, place)
    hidden = len(series) - int(count[:9])
    if hidden < 0:
        raise SpiroError(f"{place}: holds {len(series)} points of {printable(count, 20)}; fetch it again")
    if series[:hidden].any():
        raise SpiroError(f"{place}: the {hidden} points beyond its count are not zeros at its start; fetch it again")
    return RawBlow(name, "volume", np.concatenate([[0.0], series / ML_PER_L]), SAMPLE_PERIOD_S, btps=None)


def _whole(points: list[str], place: str) -> NDArray[np.int64]:
    wrong = next((i for i, p in enumerate(points, 1) if not re.fullmatch(r"\s*-?\d{1,6}\s*", p)), None)
    if wrong is not None or len(points) > MOST_POINTS:
        reason = f"point {wrong} is no whole number of mL" if wrong is not None else f"{len(points)} points"
        raise SpiroError(f"{place}: {reason}; field 3066 holds mL each 10 ms")
    return np.array([int(point) for point in points], np.int64)


def write(path: Path, curves: UserCurves) -> None:
    """Write efforts as the field's text, one a line; names become numbers."""
    lines = []
    for number, flow in enumerate(curves.curves(), 1):
        volume = np.rint(np.cumsum(flow) * SAMPLE_PERIOD_S * ML_PER_L).astype(np.int64)
        count = len(volume) - int((np.cumsum(volume != 0) == 0).sum())
        lines.append(f"blow{number},{count}," + ",".join(map(str, volume.tolist())))
    write_text(path, "\n".join(lines) + "\n")
