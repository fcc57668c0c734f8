"""Indices of forced expirations, by the ATS/ERS 2019 standard (doi 10.1164/rccm.201908-1590ST).

A curve is its mean flow in each sample, L/s at BTPS, from the first sample the spirometer kept; its
volume runs through the ends of those samples, beginning at 0, and is a straight line between them.
"""

import dataclasses
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.physiology import breaths
from spiro_diffusion.physiology.peak_flow import EQUAL, Peak, peak_flow

Floats = NDArray[np.floating]

SAMPLE_PERIOD_S = 0.01  # NHANES SPXRAW: one value each 10 ms (SPXRAW codebook)
SLOPE_SAMPLES = 8  # of 10 ms, the 80 ms of 2005: a shorter record has no index
TimeZero = Literal["tangent", "80 ms"]  # back-extrapolation of 2019, along the tangent at peak flow, or of 2005
CHORD_S = SLOPE_SAMPLES * SAMPLE_PERIOD_S  # of the 2005 rule: the steepest mean slope over 80 ms
PLATEAU_L = 0.025  # at most so much in the last second is a plateau (ATS/ERS 2019)
RISE_LOOKBACK_S = 1.0  # the flow rises from 10 to 90 % of its peak within this time or has no rise time
FEF50_S = 0.08  # around the crossing of 50 %
CLOSURE_S = 0.1  # before the end of flow, over which it is averaged to see whether it was cut off
COUGH_MEAN_S = 0.05  # a cough is looked for in means of flow over this time
END_VOLUME_L = 0.001  # one count of the spirometer: flow ends, and a curve of unknown length, when all but this is out
CHUNK = 512  # curves at a time: 512 x 2044 float64 is 8 MB; larger is no faster and takes more memory


@dataclasses.dataclass(frozen=True)
class Indices:
    """What is read off n curves: float64 arrays (n,), NaN where a curve does not determine it.

    Nothing is determined for a curve shorter than 80 ms, without expired volume, or with a NaN among
    its samples. A curve that ends before t0 + x has its last volume as FEVx, as NHANES publishes it
    (SPXNFEV6 is there for expirations of 1.1 s): look at `fet`. Where more than 100 mL are breathed in, the curve is
    the forced expiration alone: from full inspiration to the greatest volume before the first breath in after it.
    """

    t0: Floats  # s from the first sample: where the tangent at peak flow meets zero volume; may be negative
    bev: Floats  # L, volume at time zero
    fev05: Floats  # L, the greatest volume until 0.5 s after time zero; so on
    fev075: Floats
    fev1: Floats
    fev3: Floats
    fev6: Floats
    fvc: Floats  # L, the largest volume
    pef: Floats  # L/s, see `peak_flow`
    t_pef: Floats  # s from time zero to the middle of the sample of peak flow
    rise_time: Floats  # s from 10 to 90 % of PEF; NaN if the record begins above 10 %
    fef2575: Floats  # L/s, mean flow between 25 and 75 % of FVC
    fef50: Floats  # L/s, slope over the 80 ms around 50 % of FVC
    fet: Floats  # s from time zero to the end of the record
    t99: Floats  # s from time zero to 99 % of FVC
    last_second: Floats  # L by which volume changes in the last second of the record; at most 0.025 is a plateau
    end_flow: Floats  # L/s, mean of the 100 ms before all but 1 mL is out: large where flow is cut off
    cough: Floats  # L/s, largest rise of flow (50 ms means) after the peak within the first second
    cough075: Floats  # L/s, the same within the first 0.75 s, which count up to six years of age

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


def indices(
    flow: NDArray,
    points: NDArray | None = None,
    period_s: float = SAMPLE_PERIOD_S,
    time_zero: TimeZero = "tangent",
) -> Indices:
    """All indices of n curves.

    Args:
        flow: (n, T), L/s at BTPS, mean of each sample.
        points: (n,), how many samples of each row are the curve; what follows is not looked at. Without
            it a curve ends when all but 1 mL of its volume is out.
        period_s: of the samples, s.
        time_zero: the rule of back-extrapolation; PEF is the same by both.

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
        table[:, rows] = _chunk(flow[rows], None if points is None else points[rows], period_s, time_zero)
    return Indices(**dict(zip(names, table, strict=True)))


def volume(flow: NDArray, period_s: float = SAMPLE_PERIOD_S) -> Floats:
    """Volume (n, T + 1) in L at the ends of the samples of flow (n, T) in L/s; 0 before the first."""
    result = np.empty((flow.shape[0], flow.shape[1] + 1))
    result[:, 0] = 0
    result[:, 1:] = flow
    result *= period_s
    return np.cumsum(result, axis=1, out=result)


def at_10_ms(flow: NDArray, period_s: float) -> Floats:
    """Mean flow of each 10 ms, of flow (T,) of another period: volume is kept, by straight lines."""
    v = volume(np.asarray(flow)[None], period_s)[0]
    edges = np.arange(int(np.ceil(round(len(flow) * period_s / SAMPLE_PERIOD_S, 6))) + 1) * SAMPLE_PERIOD_S
    return np.diff(np.interp(edges, np.arange(len(v)) * period_s, v)) / SAMPLE_PERIOD_S


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


def _chunk(flow: NDArray, points: NDArray | None, dt: float, time_zero: TimeZero) -> Floats:
    """The rows of Indices (fields, n) for curves that fit the cache. Times are in samples until the end."""
    n = len(flow)
    if points is not None:
        samples = int(points.max(initial=0))
        flow = np.where(np.arange(samples) < points[:, None], flow[:, :samples], 0)
    shortest = round(CHORD_S / dt)
    if flow.shape[1] < max(shortest, 2):
        return np.full((len(dataclasses.fields(Indices)), n), np.nan)
    flow, v, points = _expirations(flow, points, dt)
    with np.errstate(invalid="ignore", divide="ignore"):
        fvc = v.max(axis=1)
        peak = peak_flow(flow, dt)
        t_pef = peak.sample + 0.5
        t0 = _tangent(v, peak, dt) if time_zero == "tangent" else _chord(v, dt)
        valid = (fvc > 0) & (peak.flow > 0) & np.isfinite(t0)
        if points is not None:
            valid &= points >= shortest
        t0 = np.where(valid, t0, 0.0)
        bev = volume_at(v, t0)
        fev = np.maximum.accumulate([volume_at(v, t0 + s / dt) for s in (0.5, 0.75, 1, 3, 6)])

        t25, t50, t75, t99 = [_crossing(v, share * fvc) for share in (0.25, 0.5, 0.75, 0.99)]
        fef2575 = 0.5 * fvc / ((t75 - t25) * dt)
        half = FEF50_S / dt / 2
        fef50 = (volume_at(v, t50 + half) - volume_at(v, t50 - half)) / FEF50_S

        out = _crossing(v, fvc - END_VOLUME_L)
        end_flow = (volume_at(v, out) - volume_at(v, out - CLOSURE_S / dt)) / CLOSURE_S
        end = out if points is None else points.astype(np.float64)
        last_second = np.abs(volume_at(v, end) - volume_at(v, end - 1 / dt))
        rise_time = _rise_time(flow, peak, dt)
        coughs = _cough(v, t_pef, t0, dt)

    flows = [peak.flow, (t_pef - t0) * dt, rise_time, fef2575, fef50]
    ends = [(end - t0) * dt, (t99 - t0) * dt, last_second, end_flow]
    table = np.stack([t0 * dt, bev, *fev, fvc, *flows, *ends, *coughs])
    table[:, ~valid] = np.nan
    return table


def _expirations(flow: NDArray, points: NDArray | None, dt: float) -> tuple[NDArray, Floats, NDArray | None]:
    """Flow, volume and ends of the forced expirations: zero where a NaN is, and outside where a breath in is."""
    v = volume(flow, dt)
    broken = ~np.isfinite(v[:, -1])
    if broken.any():
        flow = np.where(broken[:, None], 0, flow)
        v = volume(flow, dt)
    low = np.minimum(flow, 0).sum(axis=1) * dt < -breaths.BREATH_L
    if low.any():
        flow = flow.copy()
        points = points if points is None else points.copy()
        for row in np.flatnonzero(low):
            blow = breaths.forced(breaths.breaths(v[row]), flow[row])
            if blow is None:
                continue
            flow[row, : blow.begin] = 0
            if v[row, blow.end] - v[row, blow.end :].min() > breaths.BREATH_L:
                flow[row, blow.end :] = 0
                if points is not None:
                    points[row] = blow.end
        v[low] = volume(flow[low], dt)
    return flow, v, points


def _tangent(v: Floats, peak: Peak, dt: float) -> Floats:
    """Where the tangent at peak flow meets zero volume."""
    row = np.arange(len(v))
    middle = (v[row, peak.sample] + v[row, peak.sample + 1]) / 2
    return peak.sample + 0.5 - middle / (peak.flow * dt)


def _chord(v: Floats, dt: float) -> Floats:
    """Where the steepest chord over 80 ms meets zero volume."""
    width = max(round(CHORD_S / dt), 1)
    rise = v[:, width:] - v[:, :-width]
    steepest = (rise >= rise.max(axis=1)[:, None] * (1 - EQUAL)).argmax(axis=1)
    row = np.arange(len(v))
    return steepest - v[row, steepest] * width / rise[row, steepest]


def _crossing(v: Floats, level: Floats) -> Floats:
    """Fractional sample (n,) at which each volume first reaches its level."""
    row = np.arange(len(v))
    right = np.maximum((v >= level[:, None]).argmax(axis=1), 1)
    low = v[row, right - 1]
    step = v[row, right] - low
    return right - 1 + np.clip(np.where(step > 0, (level - low) / step, 1.0), 0, 1)


def _rise_time(flow: NDArray, peak: Peak, dt: float) -> Floats:
    """Seconds from 10 to 90 % of peak flow, by straight lines between the middles of samples."""
    before = peak.sample[:, None] - np.arange(round(RISE_LOOKBACK_S / dt) + 1)  # from the peak backwards
    share = np.where(before >= 0, np.take_along_axis(flow, np.maximum(before, 0), axis=1), np.nan) / peak.flow[:, None]

    def below(level: float) -> Floats:
        """Samples back from the peak to the latest fall below the level, fractional; NaN without one."""
        first = (share < level).argmax(axis=1)
        row = np.arange(len(flow))
        low, high = share[row, first], share[row, first - 1]
        return np.where(first > 0, first - 1 + (high - level) / (high - low), np.nan)

    return (below(0.1) - below(0.9)) * dt


def _cough(v: Floats, t_pef: Floats, t0: Floats, dt: float) -> tuple[Floats, Floats]:
    """Largest rise (L/s) of the 50 ms mean flow above its earlier low between the peak and t0 + 1 s, or 0.75 s."""
    width, span = max(round(COUGH_MEAN_S / dt), 1), round(1 / dt)
    start = np.ceil(t_pef).astype(np.int64)[:, None] + np.arange(span)
    last = v.shape[1] - 1
    ends = np.minimum(start + width, last)
    mean = np.take_along_axis(v, ends, axis=1) - np.take_along_axis(v, np.minimum(start, last), axis=1)
    mean = np.where(start + width <= t0[:, None] + span, mean / (width * dt), np.nan)
    rise = np.nan_to_num(np.fmax.accumulate(mean - np.fmin.accumulate(mean, axis=1), axis=1), nan=0.0)
    inside = (start + width <= t0[:, None] + 0.75 / dt).sum(axis=1)
    early = np.where(inside > 0, rise[np.arange(len(v)), np.maximum(inside - 1, 0)], 0.0)
    return np.maximum(rise[:, -1], 0.0), np.maximum(early, 0.0)
