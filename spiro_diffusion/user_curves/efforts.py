"""Turn the raw blows of any reader into efforts: the forced expirations in them, with indices at the record's own rate.

Units, length and sampling are checked. Flow at 10 ms is for plots and for computations that need this period.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.physiology import manoeuvre, spirometry
from spiro_diffusion.physiology.manoeuvre import ForcedExpiration
from spiro_diffusion.physiology.spirometry import SAMPLE_PERIOD_S

EVEN_SHARE = 0.2  # of a period: times may lie so far off an even axis, as rounding puts them
SAME_PERIOD_S = 1e-5  # periods that differ by less from 10 ms are 10 ms: 0.02 s over a whole curve
COARSEST_S = 0.05  # the steepest 80 ms cannot be read off less; ATS/ERS 2019 requires 10 ms
LONGEST_S = 60.0  # no expiration lasts so long
LONGEST_RECORD_S = 1200.0  # nor a session of eight in one record
MOST_LISTED = 8  # curves whose cuts and warnings are listed one by one: a session
FASTEST_L_S = 20.0  # no lung blows faster
MOST_SAMPLES = 50_000_000  # of all curves, each as long as the longest: 0.4 GB
DISAGREE_L = 0.15  # of flow summed up and the volume beside it, and DISAGREE_SHARE of that: another unit or curve
DISAGREE_SHARE = 0.05
ABSURD = 1e9  # L, L/s or s: whatever the unit was meant to be
SMALLEST_L, LARGEST_L = 0.2, 12.0  # nor breathes out less, at 3 years, or more
BTPS_RANGE = (0.95, 1.2)  # of a factor: ambient air at 5 to 37 degrees Celsius becomes 1.15 to 1.0
RATES_HZ = (20, 25, 30, 40, 50, 60, 62.5, 64, 75, 80, 100, 120, 125, 128, 150, 200, 250, 256, 300, 400, 500, 512, 1000)
LOST_SHARE = 0.1  # of steps that are no usual one: fewer are lost samples, more an uneven clock

Quantity = Literal["flow", "volume"]
UNITS: dict[Quantity, str] = {"flow": "L/s", "volume": "L"}


@dataclass(frozen=True)
class RawBlow:
    """One blow as read from a file, at its own rate, expiration positive; inspirations before and after it may be
    included."""

    name: str  # "" where the file holds one blow and no name
    quantity: Quantity
    values: NDArray[np.float64]  # (n,) L/s, each the mean from its time to the next; or L
    period: float | None = None  # s between samples
    times: NDArray[np.float64] | None = None  # (n,) s, where the file gives times instead
    btps: float | None = 1.0  # factor that brings the values to BTPS; None if the file does not state it
    volume: NDArray[np.float64] | None = None  # (n,) L beside flow, which has to agree with it
    column: str = ""  # what the file calls the values


@dataclass(frozen=True)
class UserCurves:
    """n efforts: their names (n,), flow (n, T) in L/s at BTPS every 10 ms, number of samples (n,) of each, values of
    their records at their own rate (n rows, see `manoeuvre.table`), notes on the reading, and for NHANES a table of
    n rows about them (see `nhanes_files`)."""

    names: list[str]
    flow: NDArray[np.float64]
    points: NDArray[np.int64]
    record: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    about: pd.DataFrame | None = None

    def curves(self) -> list[NDArray[np.float64]]:
        """Flow (T,) of each effort, without padding."""
        return [flow[:points] for flow, points in zip(self.flow, self.points, strict=True)]


class Record(NamedTuple):
    """A whole record at its own rate."""

    name: str
    place: str  # names it in errors
    flow: NDArray[np.float64]  # (T,) L/s at BTPS, mean of each sample
    period_s: float


def to_records(blows: Sequence[RawBlow], where: str, btps: float | None = None) -> list[Record]:
    """Flow of each raw blow, the whole record; `where` names the file in errors.

    `btps` is the factor to BTPS for a file that does not state it: 1 for data at BTPS. A record with uneven sampling is
    resampled to 10 ms, volume being kept.

    Raises SpiroError that names the problem with the sampling, or if the factor is unknown.
    """
    if not blows:
        raise SpiroError(f"{where}: holds no samples")
    records = []
    for blow in blows:
        place = f"{where}: curve {printable(blow.name)}" if blow.name else where
        flow, period = _flow(blow, _factor(blow, btps, where), place)
        records.append(Record(blow.name, place, flow, period))
    return records


def to_efforts(
    blows: Sequence[RawBlow], where: str, btps: float | None = None, notes: Sequence[str] = ()
) -> UserCurves:
    """The forced expirations in raw blows; arguments as for `to_records`.

    Raises SpiroError as `to_records` does, and if there is no forced expiration or the unit must be another.
    """
    names, found, notes = [], [], list(notes)
    records = to_records(blows, where, btps)
    moved = [_moved(record) for record in records]
    for blow, record, breathed in zip(blows, records, moved, strict=True):
        if breathed < SMALLEST_L and max(moved) >= SMALLEST_L:
            notes.append(
                f"curve {printable(record.name)} is left out: {breathed:.3g} L breathed are no forced expiration"
            )
            continue
        _check_unit(record, blow, breathed)
        expirations = manoeuvre.forced_expirations(record.flow, record.period_s, where=record.place)
        for expiration in expirations:
            _check_size(expiration, blow, record.place)
        names += [record.name] * len(expirations)
        found += expirations
    names = list(distinct_names(names))
    curves = [e.flow if _is_usual(e.period_s) else spirometry.at_10_ms(e.flow, e.period_s) for e in found]
    longest = max(map(len, curves))
    if len(curves) * longest > MOST_SAMPLES:
        raise SpiroError(f"{where}: {len(curves)} curves of up to {longest} samples are too many at once; give fewer")
    flow = np.zeros((len(curves), longest))
    for row, curve in zip(flow, curves, strict=True):
        row[: len(curve)] = curve
    points = np.array([len(curve) for curve in curves])
    periods = {round(1000 * e.period_s, 3) for e in found if not _is_usual(e.period_s)}
    remarks = [*notes, *_about_periods(sorted(periods)), *_about_records(names, found)]
    return UserCurves(names, flow, points, manoeuvre.table(found), remarks)


def _is_usual(period: float) -> bool:
    return abs(period - SAMPLE_PERIOD_S) <= SAME_PERIOD_S


def _about_records(names: Sequence[str], expirations: Sequence[ForcedExpiration]) -> list[str]:
    """Notes on the parts of records that were left out, and their warnings."""
    remarked = [(name, [*e.cut, *e.warnings]) for name, e in zip(names, expirations, strict=True)]
    remarked = [(name, words) for name, words in remarked if words]
    if len(remarked) <= MOST_LISTED:
        return [f"curve {name}: {'; '.join(words)}" for name, words in remarked]
    name, words = remarked[0]
    return [
        f"{len(remarked)} of {len(names)} records hold more than the expiration, as curve {name}: {'; '.join(words)}"
    ]


def distinct_names(names: Iterable[str]) -> Iterator[str]:
    """The names, made distinct and non-empty."""
    taken: Counter[str] = Counter()
    for i, given in enumerate(names):
        first = name = given or str(i + 1)
        while taken[name]:
            taken[first] += 1
            name = f"{first} ({taken[first]})"
        taken[name] += 1
        yield name


def _about_periods(periods: list[float]) -> Iterator[str]:
    """A note on sampling periods other than 10 ms."""
    if periods:
        remarks = ", ".join(f"{p:g}" for p in periods)
        yield f"sampled each {remarks} ms: indices are read at that rate, plots and reconstructions at 10 ms"
        if periods[-1] > 1000 * SAMPLE_PERIOD_S:
            yield "PEF and time zero are blunted: ATS/ERS 2019 asks for a sample each 10 ms"


def _factor(blow: RawBlow, given: float | None, where: str) -> float:
    factor = blow.btps if blow.btps is not None else given
    if factor is None:
        raise SpiroError(
            f"{where}: does not state whether it is at BTPS; give --btps 1 if it is (on the page: factor to BTPS), or "
            "the factor from ATPS to BTPS that the spirometer noted, about 1.1"
        )
    low, high = BTPS_RANGE
    if not low <= factor <= high:
        raise SpiroError(f"{where}: the factor to BTPS is {factor:g}; expected {low:g} to {high:g}, about 1.1 of ATPS")
    return factor


def _flow(blow: RawBlow, factor: float, where: str) -> tuple[NDArray[np.float64], float]:
    """Flow (T,) in L/s, and its period (s)."""
    numbers: dict[str, NDArray | None] = {blow.column or blow.quantity: blow.values}
    numbers["time"] = None if blow.times is None else blow.times - blow.times[:1]  # of a day's clock too
    numbers["volume_l"] = None if blow.volume is None else blow.volume[[0, -1]]
    for name, values in numbers.items():
        if values is not None and not np.abs(values).max(initial=0.0) < ABSURD:
            raise SpiroError(f"{where}: {printable(name, 40)} holds numbers beyond any lung's")
    times, period = _clock(blow, where)
    value = blow.values * factor
    even = blow_is_even(times)
    if even and _is_usual(period):
        period = SAMPLE_PERIOD_S
    if blow.quantity == "flow":
        volume = np.concatenate([[0.0], np.cumsum(value * np.diff(times, append=times[-1] + period))])
        times = np.append(times, times[-1] + period)
    else:
        volume = value - value[0]
    if blow.volume is not None:
        _check_volume(float(volume[-1]), blow.volume * factor, where)
    if even:
        return value if blow.quantity == "flow" else np.diff(volume) / period, period
    at = np.arange(int(np.ceil(round((times[-1] - times[0]) / SAMPLE_PERIOD_S, 6))) + 1) * SAMPLE_PERIOD_S
    return np.diff(np.interp(at + times[0], times, volume)) / SAMPLE_PERIOD_S, SAMPLE_PERIOD_S


def blow_is_even(times: NDArray) -> bool:
    """Whether times lie on an even axis, up to rounding."""
    return bool(np.ptp(np.diff(times)) < SAME_PERIOD_S)


def _clock(blow: RawBlow, where: str) -> tuple[NDArray[np.float64], float]:
    """Times (n,) in s of a blow's samples, and their period."""
    count = len(blow.values)
    if count < spirometry.SLOPE_SAMPLES + 1:
        raise SpiroError(f"{where}: {count} samples are no curve; expected some seconds of them")
    if blow.times is None:
        period = float(blow.period or 0)
        times = np.arange(count, dtype=np.float64) * period
    else:
        times, period = _true_times(blow.times, where)
    if not 0 < period <= COARSEST_S:
        hint = "; are these milliseconds? time_s is in s" if period >= 1 else ""
        raise SpiroError(
            f"{where}: a sample each {period:g} s is too few; expected 0.01 s, at most {COARSEST_S:g} s{hint}"
        )
    if period * count > LONGEST_RECORD_S:
        raise SpiroError(f"{where}: lasts {period * count:.0f} s; expected at most {LONGEST_RECORD_S / 60:g} minutes")
    return times, period


def _true_times(times: NDArray[np.float64], where: str) -> tuple[NDArray[np.float64], float]:
    """The even axis that times were rounded from; for an uneven clock, the times themselves."""
    period = float(times[-1] - times[0]) / (len(times) - 1)
    even = np.linspace(times[0], times[-1], len(times))
    off = np.abs(times - even)
    if period > 0 and (rate := _rate_behind(times, period)):
        return np.asarray(times[0] + np.arange(len(times)) / rate, np.float64), 1 / rate
    if period > 0 and off.max() <= EVEN_SHARE * period:
        return even.astype(np.float64), period
    steps = np.diff(times)
    usual = float(np.median(steps))
    unusual = np.abs(steps - usual) > EVEN_SHARE * abs(usual)
    if period <= 0 or steps.min() <= 0 or unusual.mean() < LOST_SHARE or steps.max() > COARSEST_S:
        row = int(off.argmax()) + 1
        raise SpiroError(
            f"{where}: time_s does not grow evenly (sample {row}); expected one sample each 10 ms, and several curves "
            "distinguished by a column 'curve'"
        )
    return times, period


def _rate_behind(times: NDArray, period: float) -> float | None:
    """The usual rate (Hz) whose even times, rounded to the decimals of these, equal these; None if there is none."""
    decimals = next((d for d in range(4) if np.allclose(times, np.round(times, d), atol=1e-9)), None)
    if decimals is None:
        return None
    for rate in sorted(RATES_HZ, key=lambda hz: abs(hz * period - 1)):
        if abs(rate * period - 1) > 0.02:
            break
        off = times - np.arange(len(times)) / rate
        steps = 10**decimals / rate  # if whole, no time was rounded: a deviation is a lost sample
        if np.ptp(off) <= (SAME_PERIOD_S if steps >= 1 and steps % 1 == 0 else 10.0**-decimals * (1 + 1e-6)):
            return rate
    return None


def _check_volume(summed: float, volume: NDArray, where: str) -> None:
    """Raises SpiroError if flow, summed up (L), is not the volume (n,) of the file."""
    remarks = float(volume[-1] - volume[0])
    if abs(summed - remarks) > DISAGREE_L + DISAGREE_SHARE * abs(remarks):
        raise SpiroError(
            f"{where}: flow_l_s sums up to {summed:.3g} L and volume_l rises by {remarks:.3g} L; one is in another "
            "unit or of another curve: take it out"
        )


def _moved(record: Record) -> float:
    """The volume (L) between the lowest and the highest point of a record."""
    return float(np.ptp(spirometry.volume(record.flow[None], record.period_s)))


def _check_unit(record: Record, blow: RawBlow, moved: float) -> None:
    """Raises SpiroError if the volume (L) is so small that the unit must be larger."""
    if moved < SMALLEST_L:
        column = printable(blow.column or blow.quantity, 40)
        unit = "litres" if blow.quantity == "volume" else "litres a second"
        raise SpiroError(f"{record.place}: {moved:.3g} L breathed are no forced expiration; {column} is in {unit}")


def _check_size(expiration: ForcedExpiration, blow: RawBlow, where: str) -> None:
    """Raises SpiroError if flow, volume or duration are beyond any lung's."""
    fvc, peak = (float(getattr(expiration.indices, name)[0]) for name in ("fvc", "pef"))
    seconds, column = len(expiration.flow) * expiration.period_s, printable(blow.column or blow.quantity, 40)
    if peak > FASTEST_L_S or fvc > LARGEST_L:
        raise SpiroError(
            f"{where}: flow peaks at {peak:.4g} L/s and {fvc:.4g} L are breathed out, more than a lung can; "
            f"{column} is in {UNITS[blow.quantity]}, not mL or L/min"
        )
    if seconds > LONGEST_S:
        raise SpiroError(f"{where}: lasts {seconds:.0f} s; expected an expiration of at most {LONGEST_S:g} s")
