"""Check records of a calibration syringe: volume at several flows, linearity, repeatability, zero, BTPS.

ATS/ERS 2019 requires 3 L within 3 % at low, middle and high flow (0.5 to 12 L/s), the syringe's own 0.5 % included.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.physiology import spirometry
from spiro_diffusion.physiology.ats_ers import FAULTY_ZERO_LPS
from spiro_diffusion.physiology.breaths import breaths

ACCURATE = 0.03  # of the syringe's volume (ATS/ERS 2019)
LINEAR = 0.03  # the mean errors at low, middle and high flow lie within it of each other (ours: the width of accuracy)
REPEATABLE = 0.03  # so do the strokes of like flow (ours)
SPEEDS = {"low": (0.0, 1.5), "middle": (1.5, 5.0), "high": (5.0, 12.0)}  # L/s, mean flow of a stroke
STROKE_SHARE = 0.5  # of the syringe: a smaller movement is none
STILL_S = 0.3  # flow is looked at where nothing moves for so long
STILL_LPS = 0.1
BTPS_FACTORS = (1.06, 1.13)  # a record that is so much too large is at BTPS, and the syringe's air is not


class Stroke(NamedTuple):
    """One movement of the piston."""

    volume: float  # L, without sign
    flow: float  # L/s, mean
    out: bool


@dataclass(frozen=True)
class SyringeReport:
    """What was found, and what is beyond its limit."""

    strokes: tuple[Stroke, ...]
    zero_l_s: float  # flow where nothing moves; NaN where it always does
    faults: tuple[str, ...]

    def markdown(self, syringe_l: float) -> str:
        """A table of the strokes and the faults."""
        lines = ["| stroke | direction | mean flow (L/s) | volume (L) | error |", "| --- | --- | --- | --- | --- |"]
        for number, stroke in enumerate(self.strokes, 1):
            error = 100 * (stroke.volume / syringe_l - 1)
            way = "out" if stroke.out else "in"
            lines.append(f"| {number} | {way} | {stroke.flow:.2f} | {stroke.volume:.3f} | {error:+.2f} % |")
        lines += ["", f"Zero: {self.zero_l_s:+.4f} L/s." if np.isfinite(self.zero_l_s) else "Zero: nothing was still."]
        lines += [f"- {fault}" for fault in self.faults] or ["All limits hold."]
        return "\n".join(lines) + "\n"


def check(records: list[tuple[NDArray[np.float64], float]], syringe_l: float = 3.0, btps: float = 1.0) -> SyringeReport:
    """Judge records of strokes.

    Args:
        records: flow (T,) in L/s and the period of its samples (s), each of one or more strokes.
        syringe_l: the syringe's volume, L.
        btps: the factor that the records hold already; they are divided by it, since the syringe's air is ambient.

    Raises SpiroError where there is no stroke of half the volume.
    """
    strokes, still = [], []
    for record, period_s in records:
        width = max(round(STILL_S / period_s), 1)
        flow = np.asarray(record, dtype=np.float64) / btps
        moving = np.convolve(np.abs(flow) > STILL_LPS, np.ones(width), mode="same") > 0
        still.append(flow[~moving])
        zero = float(flow[~moving].mean()) if (~moving).any() else 0.0
        volume = spirometry.volume((flow - zero)[None], period_s)[0]
        for breath in breaths(volume):
            if abs(breath.volume) < STROKE_SHARE * syringe_l:
                continue
            part = np.abs(flow[breath.begin : breath.end])
            seconds = max((part > STILL_LPS).sum() * period_s, period_s)
            strokes.append(Stroke(abs(breath.volume), abs(breath.volume) / seconds, breath.volume > 0))
    if not strokes:
        raise SpiroError(f"no stroke of a {syringe_l:g} L syringe is in the records; expected flow in L/s")
    quiet = np.concatenate(still)
    zero_l_s = float(quiet.mean()) if len(quiet) else np.nan
    return SyringeReport(tuple(strokes), zero_l_s, tuple(_faults(strokes, zero_l_s, syringe_l)))


def _faults(strokes: list[Stroke], zero_l_s: float, syringe_l: float) -> list[str]:
    faults = []
    volumes = np.array([stroke.volume for stroke in strokes])
    error = volumes / syringe_l - 1
    if (np.abs(error) > ACCURATE).any():
        worst = int(np.abs(error).argmax())
        hint = ""
        if BTPS_FACTORS[0] <= volumes.mean() / syringe_l <= BTPS_FACTORS[1]:
            hint = "; all are so large as at BTPS: give its factor, a syringe's air is ambient"
        finding = f"stroke {worst + 1} is {volumes[worst]:.3f} L, {100 * error[worst]:+.1f} % from {syringe_l:g} L"
        faults.append(f"accuracy: {finding}, beyond {100 * ACCURATE:g} %{hint}")
    flow = np.array([stroke.flow for stroke in strokes])
    means = {}
    for speed, (low, high) in SPEEDS.items():
        some = error[(flow >= low) & (flow < high)]
        if not len(some):
            faults.append(f"linearity: no stroke at {speed} flow ({low:g} to {high:g} L/s)")
            continue
        means[speed] = some.mean()
        if np.ptp(some) > REPEATABLE:
            faults.append(f"repeatability: strokes at {speed} flow differ by {100 * np.ptp(some):.1f} % of the volume")
    if means and np.ptp(list(means.values())) > LINEAR:
        faults.append(f"linearity: mean errors at the speeds differ by {100 * np.ptp(list(means.values())):.1f} %")
    if abs(zero_l_s) > FAULTY_ZERO_LPS:
        faults.append(f"zero: flow is {zero_l_s:+.3f} L/s where nothing moves, beyond {FAULTY_ZERO_LPS:g} L/s")
    return faults
