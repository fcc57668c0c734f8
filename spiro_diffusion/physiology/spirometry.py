"""Indices of forced expirations, by the ATS/ERS 2019 standard (doi 10.1164/rccm.201908-1590ST).

A curve is its mean flow in each 10 ms, L/s at BTPS, from the first sample the spirometer kept; its
volume runs through the ends of those samples, beginning at 0, and is a straight line between them.
"""

import dataclasses

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.floating]

SAMPLE_PERIOD_S = 0.01  # NHANES SPXRAW: one value each 10 ms (SPXRAW codebook)
SLOPE_SAMPLES = 8  # 80 ms: steepest mean slope for time zero and PEF (ATS/ERS 2019); argued in docs/spirometry.md
PLATEAU_L = 0.025  # at most so much in the last second is a plateau (ATS/ERS 2019)
RISE_LOOKBACK = 100  # samples, 1 s: the flow rises from 10 to 90 % of its peak within this time or has no rise time
EQUAL = 1e-6  # slopes that differ by less are equal, as whole millilitres often make them: the first counts
END_VOLUME_L = 0.001  # one count of the spirometer: a curve of unknown length ends when all but this is out
CHUNK = 512  # curves at a time: 512 x 2044 float64 is 8 MB; larger is no faster and takes more memory


@dataclasses.dataclass(frozen=True)
class Indices:
    """What is read off n curves: float64 arrays (n,), NaN where a curve does not determine it.

    Nothing is determined for a curve shorter than 80 ms, without expired volume, or with a NaN among
    its samples. A curve that ends before t0 + x has its last volume as FEVx, as NHANES publishes it
    (SPXNFEV6 is there for expirations of 1.1 s): look at `fet`.
    """

    t0: Floats  # s from the first sample: where the steepest 80 ms chord meets zero volume; may be negative
    bev: Floats  # L, volume at time zero
    fev05: Floats  # L, volume 0.5 s after time zero; so on
    fev075: Floats
    fev1: Floats
    fev3: Floats
    fev6: Floats
    fvc: Floats  # L, the largest volume
    pef: Floats  # L/s, the steepest slope over 80 ms
    pef_instant: Floats  # L/s, the largest single sample
    t_pef: Floats  # s from time zero to the middle of the steepest 80 ms
    rise_time: Floats  # s from 10 to 90 % of pef_instant; NaN if the record begins above 10 %
    fef2575: Floats  # L/s, mean flow between 25 and 75 % of FVC
    fef50: Floats  # L/s, slope over the 80 ms around 50 % of FVC
    fet: Floats  # s from time zero to the end of the record
    t99: Floats  # s from time zero to 99 % of FVC
    last_second: Floats  # L expired in the last second of the record; at most 0.025 is a plateau
    end_flow: Floats  # L/s, mean of the 100 ms before all but 1 mL is out: large where flow is cut off
    cough: Floats  # L/s, largest rise of flow (50 ms means) after the peak within the first second

    def to_pandas(self) -> pd.DataFrame:
        """One row a curve, one float64 column an index."""
        return pd.DataFrame({field.name: getattr(self, field.name) for field in dataclasses.fields(self)})


def empty(n: int) -> Indices:
    """Indices of n curves, all NaN, to `put` those of some rows in."""
    return Indices(*(np.full(n, np.nan) for _ in dataclasses.fields(Indices)))


def put(into: Indices, rows: slice | NDArray, some: Indices) -> None:
    """Set the indices of some rows."""
    for field in dataclasses.fields(Indices):
        getattr(into, field.name)[rows] = getattr(some, field.name)


def indices(flow: NDArray, points: NDArray | None = None) -> Indices:
    """All indices of n curves.

    Args:
        flow: (n, T), L/s at BTPS, mean of each 10 ms.
        points: (n,), how many samples of each row are the curve; what follows is not looked at. Without
            it a curve ends when all but 1 mL of its volume is out.

    Raises:
        ValueError: the shapes do not fit.
    """
    flow = np.asarray(flow)
    if flow.ndim != 2:
        raise ValueError(f"flow has shape {flow.shape}; expected (curves, samples)")
    n = len(flow)
    if points is not None:
        points = np.asarray(points, dtype=np.int64)
        if points.shape != (n,) or (n and (points.min() < 0 or points.max() > flow.shape[1])):
            raise ValueError(f"points must be {n} whole numbers from 0 to {flow.shape[1]}")
    names = [field.name for field in dataclasses.fields(Indices)]
    table = np.empty((len(names), n))
    for start in range(0, n, CHUNK):
        rows = slice(start, start + CHUNK)
        table[:, rows] = _chunk(flow[rows], None if points is None else points[rows])
    return Indices(**dict(zip(names, table, strict=True)))


def volume(flow: NDArray) -> Floats:
    """Volume (n, T + 1) in L at the ends of the samples of flow (n, T) in L/s; 0 before the first."""
    result = np.empty((flow.shape[0], flow.shape[1] + 1))
    result[:, 0] = 0
    result[:, 1:] = flow
    result *= SAMPLE_PERIOD_S
    return np.cumsum(result, axis=1, out=result)


def end_of_flow(flow: NDArray) -> NDArray[np.int64]:
    """Samples (n,) up to the last with flow, of flow (n, T): a generated curve is 0 after its end."""
    return np.where((flow != 0).any(axis=1), flow.shape[1] - (flow[:, ::-1] != 0).argmax(axis=1), 0)


def volume_at(v: Floats, position: Floats) -> Floats:
    """Volume (n,) at a fractional sample `position` (n,), by straight lines; held beyond both ends."""
    last = v.shape[1] - 1
    position = np.clip(position, 0, last)
    left = np.minimum(position.astype(np.int64), last - 1)
    row = np.arange(len(v))
    low = v[row, left]
    return low + (position - left) * (v[row, left + 1] - low)


def _chunk(flow: NDArray, points: NDArray | None) -> Floats:
    """The rows of Indices (fields, n) for curves that fit the cache."""
    n, samples = flow.shape
    row = np.arange(n)
    if points is not None:
        samples = int(points.max(initial=0))
        flow = np.where(np.arange(samples) < points[:, None], flow[:, :samples], 0)
    if samples < SLOPE_SAMPLES:
        return np.full((len(dataclasses.fields(Indices)), n), np.nan)
    v = volume(flow)
    broken = ~np.isfinite(v[:, -1])
    if broken.any():
        flow = np.where(broken[:, None], 0, flow)
        v = volume(flow)
    with np.errstate(invalid="ignore", divide="ignore"):
        fvc = v.max(axis=1)

        rise = v[:, SLOPE_SAMPLES:] - v[:, :-SLOPE_SAMPLES]
        steepest = (rise >= rise.max(axis=1)[:, None] * (1 - EQUAL)).argmax(axis=1)
        pef = rise[row, steepest] / (SLOPE_SAMPLES * SAMPLE_PERIOD_S)
        t0 = steepest - v[row, steepest] / (pef * SAMPLE_PERIOD_S)  # in samples, as all below

        valid = (fvc > 0) & (pef > 0)
        if points is not None:
            valid &= points >= SLOPE_SAMPLES
        t0 = np.where(valid, t0, 0.0)
        bev, *fev = [volume_at(v, t0 + s / SAMPLE_PERIOD_S) for s in (0, 0.5, 0.75, 1, 3, 6)]

        t25, t50, t75, t99 = [_crossing(v, share * fvc) for share in (0.25, 0.5, 0.75, 0.99)]
        fef2575 = 0.5 * fvc / ((t75 - t25) * SAMPLE_PERIOD_S)
        half = SLOPE_SAMPLES / 2
        fef50 = (volume_at(v, t50 + half) - volume_at(v, t50 - half)) / (SLOPE_SAMPLES * SAMPLE_PERIOD_S)

        out = _crossing(v, fvc - END_VOLUME_L)
        end_flow = (volume_at(v, out) - volume_at(v, out - 0.1 / SAMPLE_PERIOD_S)) / 0.1
        end = out if points is None else points.astype(np.float64)
        last_second = volume_at(v, end) - volume_at(v, end - 1 / SAMPLE_PERIOD_S)

        peak = flow.argmax(axis=1)
        pef_instant = flow[row, peak].astype(np.float64)
        rise_time = _rise_time(flow, peak, pef_instant)
        t_pef = steepest + half
        cough = _cough(v, t_pef, t0)

    s = SAMPLE_PERIOD_S
    volumes = [bev, *fev, fvc]
    flows = [pef, pef_instant, (t_pef - t0) * s, rise_time, fef2575, fef50]
    ends = [(end - t0) * s, (t99 - t0) * s, last_second, end_flow]
    table = np.stack([t0 * s, *volumes, *flows, *ends, cough])
    table[:, ~valid] = np.nan
    return table


def _crossing(v: Floats, level: Floats) -> Floats:
    """Fractional sample (n,) at which each volume first reaches its level."""
    row = np.arange(len(v))
    right = np.maximum((v >= level[:, None]).argmax(axis=1), 1)
    low = v[row, right - 1]
    step = v[row, right] - low
    return right - 1 + np.clip(np.where(step > 0, (level - low) / step, 1.0), 0, 1)


def _rise_time(flow: NDArray, peak: NDArray, height: Floats) -> Floats:
    """Seconds from 10 to 90 % of the peak sample, by straight lines between the middles of samples."""
    before = peak[:, None] - np.arange(RISE_LOOKBACK + 1)  # from the peak backwards
    share = np.where(before >= 0, np.take_along_axis(flow, np.maximum(before, 0), axis=1), np.nan) / height[:, None]

    def below(level: float) -> Floats:
        """Samples back from the peak to the latest fall below the level, fractional; NaN without one."""
        first = (share < level).argmax(axis=1)
        row = np.arange(len(flow))
        low, high = share[row, first], share[row, first - 1]
        return np.where(first > 0, first - 1 + (high - level) / (high - low), np.nan)

    return (below(0.1) - below(0.9)) * SAMPLE_PERIOD_S


def _cough(v: Floats, t_pef: Floats, t0: Floats) -> Floats:
    """Largest rise (L/s) of the 50 ms mean flow above its earlier low between the peak and t0 + 1 s."""
    width, span = 5, 100  # samples
    start = np.ceil(t_pef).astype(np.int64)[:, None] + np.arange(span)
    last = v.shape[1] - 1
    ends = np.minimum(start + width, last)
    mean = np.take_along_axis(v, ends, axis=1) - np.take_along_axis(v, np.minimum(start, last), axis=1)
    mean = np.where(start + width <= t0[:, None] + span, mean / (width * SAMPLE_PERIOD_S), np.nan)
    lowest = np.fmin.accumulate(mean, axis=1)
    return np.maximum(np.nan_to_num(np.fmax.reduce(mean - lowest, axis=1), nan=0.0), 0.0)
