"""Find forced expirations in records of whole manoeuvres (tidal breaths, inspiration, blow) at their own rate.

ATS/ERS 2019 (doi 10.1164/rccm.201908-1590ST) requires the breath in before the blow and for a maximal one after it to
be recorded. Volume counts from full inspiration; the expiration ends at its greatest volume before the first breath in
of over 100 mL. A steady flow before the blow is a zero that is off: it is measured, and its volume is not counted.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.physiology import ats_ers, spirometry
from spiro_diffusion.physiology.breaths import BREATH_L, Breath, breaths, forced
from spiro_diffusion.physiology.peak_flow import peak_flow
from spiro_diffusion.physiology.spirometry import Indices, TimeZero

Floats = NDArray[np.float64]

COARSEST_S = 0.05  # a slower recorder has no peak flow
LEAST_L = 0.100  # a smaller expiration is no blow
ANOTHER_SHARE = 0.5  # of the largest blow's volume and peak flow, which another blow in the record has too
QUIET_S = 0.3  # flow that is steady so long before the blow is the zero
LONGEST_QUIET_S = 10.0  # and no more of it is looked at
QUIET_LPS, QUIET_SD_LPS, QUIET_CHANGE_LPS = 0.5, 0.06, 0.02  # a zero is below it, noisy and changing by less
CREEP_S = 1.0  # steady flow for less, of more than a faulty zero, is breath where the expiration ends in less flow
COUNT_L = 0.001  # steady flow of less volume in all is left where it is: nothing to be counted
STILL_LPS = 0.1  # the breath in is over when flow in comes below it
LEAK_L = 0.030  # the volume falls by more, slowly, before the breath in or the record's end: 5 mL more than a plateau
CLEARLY = 1.2  # times as much like a blow: then the record counts inspiration as positive


@dataclass(frozen=True)
class ForcedExpiration:
    """One forced expiration, and what was recorded around it."""

    flow: Floats  # (T,) L/s, positive out, from full inspiration to the end of expiration
    period_s: float
    begin_s: float  # where `flow` begins, s after the first sample of the record
    indices: Indices  # of one curve; t0 counts from the begin of `flow`
    inspired_l: float  # by the breath in before the blow; NaN if there is none, as below
    hesitation_s: float  # from the end of that breath to time zero
    fivc_l: float  # inspired after the blow, from its end
    pif_l_s: float  # peak flow of that inspiration
    drift_l_s: float  # steady flow before the blow; NaN where nothing is steady
    drift_l: float  # the volume that it would have added
    leak_l: float  # by which volume falls at the end without a breath in
    flipped: bool  # the record counts inspiration as positive
    cut: tuple[str, ...]  # what was cut away, in words

    @property
    def faulty_zero(self) -> bool:
        """Whether the zero is off by more than 0.025 L/s: table 7 of 2019 then accepts neither FEV1 nor FVC."""
        return bool(abs(self.drift_l_s) > ats_ers.FAULTY_ZERO_LPS)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Remarks for the technician, beyond the criteria of table 7."""
        remarks = []
        if self.hesitation_s > ats_ers.HESITATION_S:
            limit = ats_ers.HESITATION_S
            remarks.append(f"the blow began {self.hesitation_s:.1f} s after full inspiration, later than {limit:g} s")
        if self.faulty_zero:
            remarks.append(f"before the blow flow was {self.drift_l_s:+.3f} L/s: the zero is off")
        return tuple(remarks)


def observed(expirations: list[ForcedExpiration]) -> ats_ers.Observed:
    """What the records of n efforts show besides their indices, as `ats_ers.judge_2019` takes it."""
    return ats_ers.Observed(
        fivc=np.array([e.fivc_l for e in expirations]),
        faulty_zero=np.array([e.faulty_zero for e in expirations]),
        leak=np.array([e.leak_l > LEAK_L for e in expirations]),
    )


def stacked(expirations: list[ForcedExpiration]) -> Indices:
    """The indices of n efforts in one, as `ats_ers` takes them."""
    found = spirometry.empty(len(expirations))
    for row, expiration in enumerate(expirations):
        spirometry.put(found, slice(row, row + 1), expiration.indices)
    return found


def table(expirations: list[ForcedExpiration]) -> pd.DataFrame:
    """A row an effort: the columns of `Indices`, and what `Observed` takes; inspired, fivc (L) and pif (L/s)."""
    seen = observed(expirations)
    return (
        stacked(expirations)
        .to_pandas()
        .assign(
            inspired=[e.inspired_l for e in expirations],
            fivc=np.asarray(seen.fivc),
            pif=[e.pif_l_s for e in expirations],
            faulty_zero=np.asarray(seen.faulty_zero),
            leak=np.asarray(seen.leak),
        )
    )


def forced_expiration(
    flow: ArrayLike, period_s: float, time_zero: TimeZero = "tangent", where: str = "the record"
) -> ForcedExpiration:
    """The largest forced expiration (by FEV1 + FVC) of a record; see `forced_expirations`."""
    found = forced_expirations(flow, period_s, time_zero, where)
    return max(found, key=lambda e: float(e.indices.fev1[0] + e.indices.fvc[0]))


def forced_expirations(
    flow: ArrayLike, period_s: float, time_zero: TimeZero = "tangent", where: str = "the record"
) -> list[ForcedExpiration]:
    """The forced expirations of a record, in order, each with its indices at the record's own rate.

    Args:
        flow: (T,) L/s at BTPS, mean of each sample, of one or more manoeuvres. Expiration is positive; a record the
            other way round is recognised and turned (`flipped`). Of a record of volume (T + 1,) give its differences
            over the period.
        period_s: of the samples, s.
        time_zero: the rule of back-extrapolation.
        where: what an error names: the file, and the curve in it.

    Raises:
        SpiroError: there is no forced expiration, or the samples are not finite or too far apart.
    """
    flow = np.asarray(flow, dtype=np.float64)
    if flow.ndim != 1 or not len(flow):
        raise SpiroError(f"{where}: flow has shape {flow.shape}; expected the samples of one record")
    if not np.isfinite(flow).all():
        sample = int((~np.isfinite(flow)).argmax()) + 1
        raise SpiroError(f"{where}: flow is missing or not finite at sample {sample}; cut the record there")
    if not 0 < period_s <= COARSEST_S:
        raise SpiroError(f"{where}: a sample each {period_s} s; expected 0.01 s, at most {COARSEST_S:g} s")
    record = _oriented(flow, period_s)
    blows = _blows(record)
    found = [_expiration(record, blow, time_zero, many=len(blows) > 1) for blow in blows]
    found = [e for e in found if np.isfinite(e.indices.t0[0])]
    if not found:
        largest = 1000 * max((b.volume for b in record.breaths), default=0.0)
        raise SpiroError(
            f"{where}: no forced expiration is in it, the largest breath out is {largest:.0f} mL; "
            "expected flow in L/s, a blow of at least 100 mL and 80 ms"
        )
    return found


class _Record(NamedTuple):
    flow: Floats  # (T,) positive out
    volume: Floats  # (T + 1,) L
    breaths: list[Breath]
    period_s: float
    flipped: bool


def _oriented(flow: Floats, period_s: float) -> _Record:
    """The record with expiration positive: turned where its blow is clearly a breath in and the other way a blow."""
    volume = spirometry.volume(flow[None], period_s)[0]
    found = breaths(volume)
    turned = [breath._replace(volume=-breath.volume) for breath in found]
    blow, other = forced(found, flow), forced(turned, -flow)
    flip = blow is None and other is not None
    if blow is not None and other is not None and other.volume > ANOTHER_SHARE * blow.volume:
        flip = _likeness(other, -flow) > CLEARLY * _likeness(blow, flow)
    return _Record(-flow, -volume, turned, period_s, True) if flip else _Record(flow, volume, found, period_s, False)


def _likeness(breath: Breath, flow: Floats) -> float:
    """How much a breath is like a forced expiration: fast, and half out in a small share of the time 95 % takes.

    That share is 0.23 in the median of 526 recorded expirations, 0.62 in the breaths in after them.
    """
    part = flow[breath.begin : breath.end]
    half, most = np.searchsorted(np.maximum.accumulate(np.cumsum(part)), np.array([0.5, 0.95]) * part.sum())
    return float(part.max() * (1 - half / max(most, 1)) ** 2)


def _blows(record: _Record) -> list[Breath]:
    """The expirations that are forced: the largest, and those with half its volume and half its peak flow."""
    largest = forced(record.breaths, record.flow)
    if largest is None or largest.volume < LEAST_L:
        return []
    peak = record.flow[largest.begin : largest.end].max()

    def like(breath: Breath) -> bool:
        highest = record.flow[breath.begin : breath.end].max(initial=0)
        return breath.volume >= ANOTHER_SHARE * largest.volume and highest >= ANOTHER_SHARE * peak

    return [breath for breath in record.breaths if breath.volume > 0 and like(breath)]


def _expiration(record: _Record, blow: Breath, time_zero: TimeZero, many: bool) -> ForcedExpiration:
    dt, place = record.period_s, record.breaths.index(blow)
    before = record.breaths[place - 1] if place else None
    after = record.breaths[place + 1] if place + 1 < len(record.breaths) else None
    zero = _zero(record, blow)
    begin = zero.begin
    end = blow.end if after is not None else len(record.flow)
    flow = record.flow[begin:end]
    indices = spirometry.indices(flow[None], np.array([len(flow)]), dt, time_zero)
    hesitation = np.nan
    if before is not None:
        inward = np.flatnonzero(record.flow[before.begin : before.end] < -STILL_LPS)
        still = before.begin + int(inward[-1]) + 1 if len(inward) else before.end
        hesitation = (begin - still) * dt + float(indices.t0[0])
    cut = _cut(record, blow, begin, end)
    if many:
        cut = (f"one of several blows in the record, {begin * dt:.1f} s after its begin", *cut)
    return ForcedExpiration(
        flow=flow,
        period_s=dt,
        begin_s=begin * dt,
        indices=indices,
        inspired_l=-before.volume if before is not None else np.nan,
        hesitation_s=hesitation,
        fivc_l=-after.volume if after is not None else np.nan,
        pif_l_s=float(peak_flow(-record.flow[None, after.begin : after.end], dt).flow[0]) if after else np.nan,
        drift_l_s=zero.drift_l_s,
        drift_l=zero.drift_l,
        leak_l=float(record.volume[blow.end] - record.volume[end]),
        flipped=record.flipped,
        cut=cut,
    )


class _Zero(NamedTuple):
    begin: int  # the sample at which the blow begins, after all steady flow
    drift_l_s: float  # NaN where no flow is steady
    drift_l: float


def _zero(record: _Record, blow: Breath) -> _Zero:
    """The steady flow before the blow.

    A short stretch of more flow than flows at the end is no zero, which would show there too: the subject began slowly.
    """
    dt = record.period_s
    width = 2 * max(round(QUIET_S / dt / 2), 2)
    start = max(blow.begin - round(LONGEST_QUIET_S / dt), 0)
    flow = record.flow[start : blow.begin + int(record.flow[blow.begin : blow.end].argmax())]
    none = _Zero(blow.begin, np.nan, 0.0)
    if len(flow) < width:
        return none
    windows, half = np.lib.stride_tricks.sliding_window_view(flow, width), width // 2
    change = np.abs(windows[:, half:].mean(axis=1) - windows[:, :half].mean(axis=1))
    quiet = np.abs(windows.mean(axis=1)) < QUIET_LPS
    quiet &= (windows.std(axis=1) < QUIET_SD_LPS) & (change < QUIET_CHANGE_LPS)
    places = np.flatnonzero(quiet)
    if not len(places) or start + places[-1] + width < blow.begin:
        return none
    gaps = np.flatnonzero(np.diff(places) > 1)
    first, last = int(places[gaps[-1] + 1] if len(gaps) else places[0]), int(places[-1]) + width
    drift = float(flow[first:last].mean())
    end_flow = record.flow[blow.begin : blow.end][-round(1 / dt) :].mean()
    if drift > ats_ers.FAULTY_ZERO_LPS and (last - first) * dt < CREEP_S and end_flow < drift:
        return none
    begin = max(start + last, blow.begin)
    if abs(record.volume[begin] - record.volume[blow.begin]) < COUNT_L:
        begin = blow.begin
    return _Zero(begin, drift, drift * (last - first) * dt)


def _cut(record: _Record, blow: Breath, begin: int, end: int) -> tuple[str, ...]:
    dt, remarks = record.period_s, []
    if record.flipped:
        remarks.append("inspiration was recorded as positive; flow is turned round")
    early = record.volume[: blow.begin + 1]
    if blow.begin and np.ptp(early) > BREATH_L:
        remarks.append(f"{blow.begin * dt:.1f} s of breathing before full inspiration left out")
    if begin > blow.begin:
        steady = 1000 * (record.volume[begin] - record.volume[blow.begin])
        remarks.append(f"{(begin - blow.begin) * dt:.2f} s of steady flow before the blow ({steady:+.0f} mL) left out")
    if end < len(record.flow):
        remarks.append(f"{(len(record.flow) - end) * dt:.1f} s after the expiration's greatest volume left out")
    return tuple(remarks)
