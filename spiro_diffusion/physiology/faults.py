"""Detect the faults of an effort on its curve: kind, time span, and the part that can be trusted.

Limits are those of ATS/ERS 2019 (doi 10.1164/rccm.201908-1590ST) where it gives any, see `ats_ers`; leaks and extra
breaths are only detected as far as the flow shows them.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.physiology import spirometry, time_grid
from spiro_diffusion.physiology.ats_ers import LONGEST_NEEDED_S, bev_limit, cough_limit
from spiro_diffusion.physiology.breaths import BREATH_L
from spiro_diffusion.physiology.spirometry import COUGH_MEAN_S, PLATEAU_L, SAMPLE_PERIOD_S, Indices

FaultKind = Literal["early end", "cough", "slow start", "leak", "extra breath"]

ABRUPT_L_S = 0.12  # mean flow of the last 100 ms: a full expiration ends at a tenth of it
STOP_S = 0.1  # before a sudden end: the glottis takes 50 ms to close, and 50 ms are left for doubt
RISE_S = 0.3  # from 10 to 90 % of the peak: twice the limit of ATS/ERS 2019 (0.15 s)
AFTER_PEAK_S = 0.05  # a slow start is over so long after the peak: from there the lung sets the flow
SMOOTH = round(COUGH_MEAN_S / SAMPLE_PERIOD_S)  # samples
COUGH_BEFORE_S, COUGH_AFTER_S = 0.12, 0.12  # beside the lowest flow of a cough, and after its burst
BURST_S = 0.3  # in which the flow comes back after it ceased
LEAK_L = 0.030  # the volume falls by more than this, slowly: 5 mL more than a plateau may rise
BREATH_L_S, BREATH_S = 0.20, 0.3  # a breath: the mean flow over this time comes back by so much after the first second


class Fault(NamedTuple):
    """What is wrong, why it is thought so, and from when to when (s after time zero) nothing is trusted."""

    kind: FaultKind
    reason: str
    begin: float
    end: float


def detect(flow: NDArray, points: int | None = None) -> list[Fault]:
    """Faults of one effort, the earliest first.

    Args:
        flow: (T,) L/s of each 10 ms. points: samples that are the record; without it up to the last flow.

    Returns:
        None where the curve has no time zero: there is no expiration to judge.
    """
    flow = np.asarray(flow, dtype=np.float64)
    there = np.flatnonzero(flow)
    if points is None:
        points = int(there[-1]) + 1 if len(there) else 0
    flow = flow[:points]
    found = spirometry.indices(flow[None], np.array([points]))
    t0 = float(found.t0[0])
    if not np.isfinite(t0):
        return []
    record = _Record(flow, t0, points * SAMPLE_PERIOD_S - t0)
    breath = _extra_breath(record, float(found.t_pef[0])) or _leak(record)
    end = None if breath else _early_end(record)  # of an effort that leaked or breathed in, before it did
    faults = [_slow_start(found), *_coughs(record, found), breath, end]
    return sorted((f for f in faults if f is not None), key=lambda fault: fault.begin)


def trusted(faults: list[Fault]) -> NDArray[np.bool_]:
    """Bins (512,) of the grid that no fault touches."""
    mask = np.ones(time_grid.N_SAMPLES, dtype=bool)
    for fault in faults:
        mask &= (time_grid.EDGES_S[1:] <= fault.begin + 1e-9) | (time_grid.EDGES_S[:-1] >= fault.end - 1e-9)
    return mask


class _Record(NamedTuple):
    flow: NDArray[np.float64]  # (T,) L/s
    t0: float  # s from the first sample
    end: float  # s after time zero

    def sample(self, time: float) -> int:
        return int(np.clip(round((time + self.t0) / SAMPLE_PERIOD_S), 0, len(self.flow)))

    def time(self, sample: float) -> float:
        return sample * SAMPLE_PERIOD_S - self.t0

    @property
    def volume(self) -> NDArray[np.float64]:
        return np.concatenate([[0.0], np.cumsum(self.flow) * SAMPLE_PERIOD_S])


def _slow_start(found: Indices) -> Fault | None:
    limit, bev, rise = float(bev_limit(found.fvc)[0]), float(found.bev[0]), float(found.rise_time[0])
    if bev > limit:
        reason = f"{1000 * bev:.0f} mL were out before time zero, more than {1000 * limit:.0f} mL"
    elif rise > RISE_S:
        reason = f"flow took {rise:.2f} s to rise to its peak, more than {RISE_S:g} s"
    else:
        return None
    return Fault("slow start", reason, -time_grid.LEAD_S, float(found.t_pef[0]) + AFTER_PEAK_S)


def _coughs(record: _Record, indices: Indices) -> list[Fault]:
    """Each fall of flow between the peak and 1 s from which it comes back in a burst."""
    limit, t_pef = float(cough_limit(indices.pef)[0]), float(indices.t_pef[0])
    found: list[Fault] = []
    if not indices.cough[0] > limit:
        return found
    first, last = record.sample(t_pef), record.sample(1.0)
    mean = np.convolve(record.flow[first:last], np.ones(SMOOTH) / SMOOTH, mode="valid")
    start, burst = 0, round(BURST_S / SAMPLE_PERIOD_S)
    while start < len(mean):
        rest = mean[start:]
        back = np.flatnonzero(rest - np.minimum.accumulate(rest) > limit)
        if not len(back):
            break
        low = start + int(rest[: back[0] + 1].argmin())
        peak = low + int(mean[low : low + burst].argmax())
        middle = first + SMOOTH / 2
        begin = max(record.time(middle + low) - COUGH_BEFORE_S, t_pef)
        end = record.time(middle + peak) + COUGH_AFTER_S
        reason = f"the flow fell to {mean[low]:.1f} L/s and came back to {mean[peak]:.1f} L/s within the first second"
        found.append(Fault("cough", reason, begin, end))
        start = peak + round(COUGH_AFTER_S / SAMPLE_PERIOD_S)
    return found


def _extra_breath(record: _Record, t_pef: float) -> Fault | None:
    after = record.sample(t_pef)
    v = record.volume[after:]
    fall = np.maximum.accumulate(v) - v
    if fall.max() > BREATH_L:
        begin = record.time(after + int(v[: int(fall.argmax()) + 1].argmax()))
        return Fault("extra breath", f"{1000 * fall.max():.0f} mL were breathed in again", begin, np.inf)
    width, first = round(BREATH_S / SAMPLE_PERIOD_S), max(after, record.sample(1.0))
    flow = record.flow[first:]
    if len(flow) <= 2 * width:
        return None
    mean = np.convolve(flow, np.ones(width) / width, mode="valid")
    back = mean - np.minimum.accumulate(mean)
    if back.max() > BREATH_L_S:
        low = int(mean[: int(back.argmax()) + 1].argmin())
        reason = f"after the first second the flow came back by {back.max():.2f} L/s, which late flow never does"
        return Fault("extra breath", reason, record.time(first + low), np.inf)
    return None


def _leak(record: _Record) -> Fault | None:
    v = record.volume
    lost = v.max() - v[-1]
    if lost <= LEAK_L:
        return None
    reason = f"the volume fell by {1000 * lost:.0f} mL without a breath in"
    return Fault("leak", reason, record.time(int(v.argmax())), np.inf)


def _early_end(record: _Record) -> Fault | None:
    """A sudden end, or one without a plateau."""
    v, second = record.volume, round(1 / SAMPLE_PERIOD_S)
    flow_ends = spirometry.indices(record.flow[None])
    last, stop = float(flow_ends.fet[0]), float(flow_ends.end_flow[0])
    if stop > ABRUPT_L_S:
        return Fault("early end", f"the flow ceased at once from {stop:.2f} L/s", last - STOP_S, np.inf)
    rest = v[-1] - v[max(len(v) - 1 - second, 0)]
    if rest > PLATEAU_L and record.end < LONGEST_NEEDED_S:
        reason = f"{1000 * rest:.0f} mL came out in the last second, more than {1000 * PLATEAU_L:.0f} mL: no plateau"
        return Fault("early end", reason, record.end, np.inf)
    return None
