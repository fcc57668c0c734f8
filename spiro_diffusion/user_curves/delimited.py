"""A user's own curves: a CSV of time and flow or volume, checked for columns, units and sampling."""

import functools
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError, shown
from spiro_diffusion.generation.subjects import listed, numbers, read_csv
from spiro_diffusion.physiology import spirometry
from spiro_diffusion.physiology.spirometry import SAMPLE_PERIOD_S

EVEN_SHARE = 0.2  # of a period: times may lie so far off an even axis, as rounding puts them
SAME_PERIOD_S = 1e-5  # periods that differ by less from 10 ms are 10 ms: 0.02 s over a whole curve
COARSEST_S = 0.05  # the steepest 80 ms cannot be read off less; ATS/ERS 2019 asks for 10 ms
LONGEST_S = 60.0  # no expiration lasts so long
FASTEST_L_S = 20.0  # no lung blows faster
MOST_SAMPLES = 50_000_000  # of all curves, each as long as the longest: 0.4 GB
DISAGREE_L = 0.15  # of flow summed up and the volume beside it, and DISAGREE_SHARE of that: another unit or curve
DISAGREE_SHARE = 0.05
SMALLEST_L, LARGEST_L = 0.2, 12.0  # nor breathes out less, at 3 years, or more


class OwnCurves(NamedTuple):
    """n curves: their names (n,), flow (n, T) in L/s of each 10 ms, samples (n,) of each, and what was done to them."""

    names: list[str]
    flow: NDArray[np.float64]
    points: NDArray[np.int64]
    notes: list[str]

    def curves(self) -> list[NDArray[np.float64]]:
        """Flow (T,) of each curve, the record and no more."""
        return [flow[:points] for flow, points in zip(self.flow, self.points, strict=True)]


def read_own(source: Path | BinaryIO, where: str | None = None) -> OwnCurves:
    """Curves of a CSV with `time_s` and `flow_l_s` or `volume_l` at BTPS, expiration positive.

    Rows of one `curve` (or of one `person` and `draw`, as `spiro generate` writes them) are one curve; without
    such a column all rows are. The record ends with its last row, a generated one with its last flow. A flow is
    the mean of the period that begins at its time; where both are there, flow is read, and has to give that
    volume. Another constant period than 10 ms is resampled, volume being kept. `where` names the file in errors;
    without it its path does.

    Raises SpiroError that says what is wrong with columns, units or sampling.
    """
    file = where or str(source)
    table = read_csv(source, file)
    value = next((name for name in ("flow_l_s", "volume_l") if name in table), None)
    if "time_s" not in table or value is None:
        raise SpiroError(
            f"{file}: columns are {listed(table)}; expected time_s (s) and flow_l_s (L/s) or volume_l (L), "
            "and curve where there are several"
        )
    if table.empty:
        raise SpiroError(f"{file}: holds no samples")
    clean = pd.DataFrame({"time": numbers(table, "time_s", file), "value": numbers(table, value, file)})
    volume = pd.to_numeric(table["volume_l"], errors="coerce").to_numpy(np.float64) if "volume_l" in table else None
    keys = ["curve"] if "curve" in table else [name for name in ("person", "draw") if name in table]
    if keys and table[keys].isna().to_numpy().any():
        raise SpiroError(f"{file}: {' or '.join(keys)} is empty in a row; name the curve of each sample")
    names = pd.Series("1", index=table.index)
    if keys:  # column by column: row by row it takes a hundred times the memory
        names = functools.reduce(lambda a, b: a + "/" + b, (table[key].astype(str) for key in keys))
    curves, periods = {}, set()
    for name, rows in clean.groupby(names.to_numpy(), sort=False):
        place = f"{file}: curve {shown(name)}" if keys else file
        curves[str(name)], period = _flow(rows["time"].to_numpy(), rows["value"].to_numpy(), value, place)
        periods.add(round(1000 * period, 3))
        if value == "flow_l_s" and volume is not None:
            _check_volume(curves[str(name)], volume[rows.index], place)
    longest = max(map(len, curves.values()))
    if len(curves) * longest > MOST_SAMPLES:
        raise SpiroError(f"{file}: {len(curves)} curves of up to {longest} samples are too many at once; give fewer")
    flow = np.zeros((len(curves), longest))
    for i, curve in enumerate(curves.values()):
        flow[i, : len(curve)] = curve
    generated = keys == ["person", "draw"]
    points = spirometry.end_of_flow(flow) if generated else np.array([len(curve) for curve in curves.values()])
    other = sorted(periods - {10.0})
    notes = [f"resampled from a period of {', '.join(f'{p:g}' for p in other)} ms to 10 ms"] if other else []
    if other and other[-1] > 10:
        notes.append("PEF and time zero are blunted: ATS/ERS 2019 asks for a sample each 10 ms")
    people = table["person"].nunique() if "person" in keys else 1
    if people > 1:
        notes.append(f"{people} people are in the file; z-scores and grades take them for one person")
    return OwnCurves(list(curves), flow, points, notes)


def _flow(time: NDArray, value: NDArray, column: str, where: str) -> tuple[NDArray[np.float64], float]:
    """Flow (T,) in L/s of each 10 ms, and the period (s) it came in."""
    period = _period(time, where)
    as_asked = abs(period - SAMPLE_PERIOD_S) <= SAME_PERIOD_S
    volume = np.concatenate([[0.0], np.cumsum(value) * period]) if column == "flow_l_s" else value - value[0]
    if as_asked:
        flow = value if column == "flow_l_s" else np.diff(volume) / SAMPLE_PERIOD_S
    else:
        times = np.arange(len(volume)) * period
        at = np.arange(int(np.ceil(round(times[-1] / SAMPLE_PERIOD_S, 6))) + 1) * SAMPLE_PERIOD_S
        flow = np.diff(np.interp(at, times, volume)) / SAMPLE_PERIOD_S
    _check_units(flow, column, where)
    return flow, SAMPLE_PERIOD_S if as_asked else period


def _period(time: NDArray, where: str) -> float:
    if len(time) < spirometry.SLOPE_SAMPLES + 1:
        raise SpiroError(f"{where}: {len(time)} samples are no curve; expected some seconds of them")
    period = float(time[-1] - time[0]) / (len(time) - 1)
    uneven = np.abs(time - np.linspace(time[0], time[-1], len(time)))
    if period <= 0 or uneven.max() > EVEN_SHARE * period:
        row = int(uneven.argmax()) + 1
        raise SpiroError(
            f"{where}: time_s does not grow evenly (sample {row}); expected one sample each 10 ms, and several curves "
            "told apart by a column 'curve'"
        )
    if period > COARSEST_S:
        hint = "; are these milliseconds? time_s is in s" if period >= 1 else ""
        raise SpiroError(
            f"{where}: a sample each {period:g} s is too few; expected 0.01 s, at most {COARSEST_S:g} s{hint}"
        )
    if period * len(time) > LONGEST_S:
        raise SpiroError(
            f"{where}: lasts {period * len(time):.0f} s; expected one expiration of at most {LONGEST_S:g} s"
        )
    return period


def _check_volume(flow: NDArray, volume: NDArray, where: str) -> None:
    """Raises SpiroError where flow (T,), summed up, is not the volume (n,) that the file says beside it."""
    summed, said = float(flow.sum() * SAMPLE_PERIOD_S), float(volume[-1] - volume[0])
    if abs(summed - said) > DISAGREE_L + DISAGREE_SHARE * abs(said):
        raise SpiroError(
            f"{where}: flow_l_s sums up to {summed:.3g} L and volume_l rises by {said:.3g} L; one is in another "
            "unit or of another curve: take it out"
        )


def _check_units(flow: NDArray, column: str, where: str) -> None:
    volume = np.cumsum(flow) * SAMPLE_PERIOD_S
    largest, lowest, peak = volume.max(), volume.min(), flow.max()
    if -lowest > largest:
        raise SpiroError(f"{where}: {column} falls where it should rise; expiration counts as positive")
    if peak > FASTEST_L_S or largest > LARGEST_L:
        raise SpiroError(
            f"{where}: flow peaks at {peak:.4g} L/s and {largest:.4g} L are breathed out, more than a lung can; "
            f"{column} is in {'L/s' if column == 'flow_l_s' else 'L'}, not mL or L/min"
        )
    if largest < SMALLEST_L:
        raise SpiroError(f"{where}: {largest:.3g} L breathed out are no forced expiration; {column} is in litres")
