"""Test waveforms with known indices: volume as a closed formula of time."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Volume = Callable[[NDArray], NDArray]  # L at times in s


class Waveform(NamedTuple):
    """A volume that begins at 0 and its length in s."""

    name: str
    volume: Volume
    seconds: float


class ExactIndices(NamedTuple):
    """Indices in s, L and L/s."""

    t0: float
    bev: float
    fev05: float
    fev1: float
    fev6: float
    fvc: float
    pef: float
    fef2575: float


def exponential(onset: float, size: float, tau: float, seconds: float) -> Waveform:
    """All flow at once, then a single compartment."""

    def volume(t: NDArray) -> NDArray:
        return size * -np.expm1(-np.maximum(np.asarray(t) - onset, 0) / tau)

    return Waveform(f"exponential {size:g} L, {tau:g} s", volume, seconds)


def exponential_indices(onset: float, size: float, tau: float, seconds: float) -> ExactIndices:
    """In closed form: flow is highest at once."""
    fvc = size * -np.expm1(-(seconds - onset) / tau)
    fev05, fev1, fev6 = (size * -np.expm1(-min(s, seconds - onset) / tau) for s in (0.5, 1, 6))
    f = fvc / size
    fef = 0.5 * fvc / (tau * np.log((1 - 0.25 * f) / (1 - 0.75 * f)))
    return ExactIndices(onset, 0, fev05, fev1, fev6, fvc, size / tau, fef)


def trapezoid(onset: float, peak: float, rise: float, hold: float, fall: float, seconds: float) -> Waveform:
    """Flow rises in a line, holds, and falls in a line."""

    def volume(t: NDArray) -> NDArray:
        t = np.asarray(t) - onset
        up, flat, down = np.clip(t, 0, rise), np.clip(t - rise, 0, hold), np.clip(t - rise - hold, 0, fall)
        return peak * (up**2 / (2 * rise) + flat + down - down**2 / (2 * fall))

    return Waveform(f"trapezoid {peak:g} L/s, rise {rise:g} s", volume, seconds)


def trapezoid_indices(onset: float, peak: float, rise: float, hold: float, fall: float, seconds: float) -> ExactIndices:
    """In closed form: time zero lies in the middle of the rise."""
    volume = trapezoid(onset, peak, rise, hold, fall, seconds).volume
    t0 = onset + rise / 2
    fvc = peak * (rise + fall + 2 * hold) / 2
    fev05, fev1, fev6 = (float(volume(np.array(t0 + s))) for s in (0.5, 1, 6))
    flat = peak * rise / 2, peak * (rise / 2 + hold)  # volumes at which the hold begins and ends

    def time(v: float) -> float:
        if v <= flat[0]:
            return float(np.sqrt(2 * rise * v / peak))
        if v <= flat[1]:
            return rise + (v - flat[0]) / peak
        return rise + hold + fall * (1 - float(np.sqrt(1 - 2 * (v - flat[1]) / (peak * fall))))

    fef = 0.5 * fvc / (time(0.75 * fvc) - time(0.25 * fvc))
    return ExactIndices(t0, peak * rise / 8, fev05, fev1, fev6, fvc, peak, fef)


def lung(onset: float, rise: float, parts: list[tuple[float, float]], seconds: float) -> Waveform:
    """Compartments (size, tau) driven by a flow that takes `rise` to come in: a linear ramp into each."""

    def volume(t: NDArray) -> NDArray:
        t = np.maximum(np.asarray(t) - onset, 0)

        def integral(t: NDArray) -> NDArray:  # of the compartments' volume since 0
            return np.sum([size * (t + tau * np.expm1(-t / tau)) for size, tau in parts], axis=0)

        return (integral(t) - integral(np.maximum(t - rise, 0))) / rise

    return Waveform(f"{len(parts)} compartment{'s' if len(parts) > 1 else ''}, rise {rise:g} s", volume, seconds)


def searched(wave: Waveform) -> ExactIndices:
    """The same definitions on the formula itself, at 0.1 ms."""
    t = np.arange(0, wave.seconds, 1e-4)
    v = wave.volume(t)
    flow = np.gradient(v, t)
    k = int(flow.argmax())
    t0 = t[k] - v[k] / flow[k]
    fvc = float(wave.volume(np.array(wave.seconds)))
    t25, t75 = np.interp([0.25 * fvc, 0.75 * fvc], v, t)
    at = (float(wave.volume(np.array(min(t0 + s, wave.seconds)))) for s in (0, 0.5, 1, 6))
    bev, fev05, fev1, fev6 = at
    return ExactIndices(t0, bev, fev05, fev1, fev6, fvc, flow[k], 0.5 * fvc / (t75 - t25))


def sampled(wave: Waveform, period_s: float = 0.01) -> NDArray[np.float64]:
    """Flow (T,) in L/s: mean of each sample."""
    t = np.arange(round(wave.seconds / period_s) + 1) * period_s
    return np.diff(wave.volume(t)) / period_s


def all_waveforms() -> list[tuple[Waveform, ExactIndices]]:
    """Expirations from a small child's to a severe obstruction, with their indices."""
    exponentials = [(0.2, 4.0, 0.5, 8.0), (0.33, 1.2, 0.25, 4.0), (0.4137, 3.0, 1.8, 15.0), (0.05, 6.5, 0.4, 10.0)]
    trapezoids = [
        (0.3, 8.0, 0.1, 0.1, 0.9, 6.0),
        (0.2071, 3.0, 0.2, 0.15, 0.6, 3.0),
        (0.25, 12.0, 0.08, 0.12, 0.8, 8.0),
    ]
    lungs = [
        (0.3, 0.1, [(4.5, 0.45)], 9.0),
        (0.2537, 0.12, [(2.0, 0.3), (1.8, 1.1)], 12.0),
        (0.3, 0.06, [(1.0, 0.2), (0.6, 0.5)], 5.0),
        (0.41, 0.2, [(0.8, 0.25), (2.4, 3.0)], 18.0),
        (0.3, 0.09, [(3.0, 0.35), (1.5, 0.6), (0.5, 2.5)], 14.0),
        (0.2, 0.3, [(3.5, 0.5)], 7.0),
    ]
    waveforms = [(exponential(*p), exponential_indices(*p)) for p in exponentials]
    waveforms += [(trapezoid(*p), trapezoid_indices(*p)) for p in trapezoids]
    return waveforms + [(wave, searched(wave)) for wave in (lung(*p) for p in lungs)]
