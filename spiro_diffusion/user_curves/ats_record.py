"""The test record of ATS/ERS 2005: one line a curve, comma-separated, flow in mL/s, table 8 of the standard.

Source: Miller et al., Eur Respir J 2005;26:319-338, table 8. Expiration (data type SPE) and inspiration (SPI) of a
manoeuvre are records of their own. The record gives the interval at which the spirometer sampled, not that of its
points, and the factor to BTPS, not whether it was applied: both follow from the FVC beside the points; where that is
missing, points are 10 ms apart and the user is asked for the factor.
"""

import csv
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.user_curves import fvc
from spiro_diffusion.user_curves.efforts import SAMPLE_PERIOD_S, RawBlow
from spiro_diffusion.user_curves.source import Source

TYPE = re.compile(r"SP([EI])([SB])", re.IGNORECASE)
# Places in the record, from 0 (table 8); the points follow their number.
DATA_TYPE, BTPS, MANOEUVRE, TEST_TYPE, FVC, COUNT = 2, 18, 31, 41, 42, 68
PERIODS_S = (0.001, 0.002, 0.004, 0.005, 0.008, 0.01, 0.0125, 0.016, 0.02)
ML_PER_L = 1000.0


@dataclass(frozen=True)
class _Record:
    inspiration: bool
    key: tuple[str, str, str]  # single or best, test type, number of the manoeuvre
    btps: float | None
    fvc: float | None  # L
    flow: NDArray[np.float64]  # (n,) L/s


def recognises(source: Source) -> bool:
    first = next((line for line in source.head_text.splitlines() if line.strip()), "")
    cells = first.split(",", DATA_TYPE + 1)
    return len(cells) > DATA_TYPE and TYPE.fullmatch(cells[DATA_TYPE].strip(' "')) is not None


def read(source: Source) -> tuple[list[RawBlow], list[str]]:
    """Read the blows of a file of records; expiration and inspiration of a manoeuvre are joined. Names and numbers of
    patients are dropped."""
    lines = [line for line in source.text().splitlines() if line.strip()]
    records = [_record(line, f"{source.where}: record {number}") for number, line in enumerate(lines, 1)]
    out = [record for record in records if not record.inspiration]
    inward = [record for record in records if record.inspiration]
    if not out:
        raise SpiroError(f"{source.where}: holds inspirations alone (data type SPI); give the expirations, SPE")
    alone = Counter(record.key for record in out), Counter(record.key for record in inward)
    joined = {record.key: record for record in inward if all(count[record.key] == 1 for count in alone)}
    notes = [] if all(record.fvc for record in out) else ["without an FVC the points are taken to be 10 ms apart"]
    if left := len(inward) - len(joined):
        notes.append(f"{left} inspirations left out: no expiration, or not one alone, is of their manoeuvre")
    blows = [_blow(record, joined.get(record.key), source.where) for record in out]
    return blows, notes + fvc.applied(blows)


def _record(line: str, place: str) -> _Record:
    try:
        cells = [cell.strip() for cell in next(csv.reader([line]))]
    except csv.Error:
        cells = []
    kind = TYPE.fullmatch(cells[DATA_TYPE]) if len(cells) > COUNT else None
    if kind is None:
        raise SpiroError(f"{place}: is no test record of ATS/ERS 2005 ({len(cells)} fields); see its table 8")
    count = _number(cells[COUNT])
    points = cells[COUNT + 1 :]
    while points and not points[-1]:
        points.pop()
    if count is None or count != len(points):
        count_text = "nothing" if count is None else f"{count:g}"
        raise SpiroError(f"{place}: holds {len(points)} data points, its count says {count_text}; export it again")
    values = [_number(point) for point in points]
    flow = np.array([np.nan if value is None else value for value in values]) / ML_PER_L
    if not np.isfinite(flow).all():
        at = int(np.argmin(np.isfinite(flow)))
        raise SpiroError(f"{place}: data point {at + 1} is no number; expected a flow in mL/s")
    forced = _number(cells[FVC])
    return _Record(
        kind[1].upper() == "I",
        (kind[2].upper(), cells[TEST_TYPE].lower(), cells[MANOEUVRE]),
        _number(cells[BTPS]),
        forced / ML_PER_L if forced else None,
        flow,
    )


def _number(cell: str) -> float | None:
    return float(cell) if re.fullmatch(r"[+-]?\d{1,9}(\.\d{0,9})?", cell) else None


def _name(record: _Record) -> str:
    """Test type and number of the manoeuvre, if they are of the form of table 8: other fields are never shown."""
    return "/".join(part.rstrip("-") for part in record.key[1:] if re.fullmatch(r"(pre|post)-?|\d{1,3}", part))


def _blow(record: _Record, inward: _Record | None, where: str) -> RawBlow:
    """One manoeuvre, with the period of its points and the factor to BTPS that reproduce its FVC."""
    factors = {1.0, record.btps or 1.0}
    readings = {
        (period, factor): factor * fvc.expired(record.flow, period) for period in PERIODS_S for factor in factors
    }
    found = fvc.chosen(readings, record.fvc)
    if found is None and record.fvc:
        raise SpiroError(
            f"{where}: manoeuvre {_name(record)}: no usual interval between its points gives its FVC of "
            f"{record.fvc:g} L; give the curve as CSV with times"
        )
    period, factor = found or (SAMPLE_PERIOD_S, None)
    flow = record.flow
    if inward is not None:
        flow = np.concatenate([flow, -np.abs(inward.flow)])
    return RawBlow(_name(record), "flow", flow, period, btps=factor, column="flow")
