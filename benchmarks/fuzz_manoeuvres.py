"""Fuzz the ruler with records of manoeuvres: shifted signs, pieces cut, noise, drifts, pauses, two blows in one.

Usage: python benchmarks/fuzz_manoeuvres.py [RECORDS] [SEED]

Each record must end in indices that it can hold, or in one line; anything else is printed and exits 1.
"""

import sys
import time

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.physiology import ats_ers, manoeuvre
from spiro_diffusion.physiology.waveforms import exponential, lung, sampled

Rng = np.random.Generator
PERIODS = (0.002, 0.004, 0.005, 0.008, 0.01, 0.01, 0.01, 1 / 60, 0.02)  # s
LONGEST_S = 2.0  # that a record may take


def blow(rng: Rng, period: float) -> NDArray[np.float64]:
    """An expiration of some lung, perhaps cut short or coughed."""
    size, tau, seconds = rng.uniform(0.4, 7), rng.uniform(0.15, 2.5), rng.uniform(0.3, 18)
    wave = exponential(rng.uniform(0, 1), size, tau, seconds + 1)
    if rng.random() < 0.8:
        wave = lung(rng.uniform(0, 1), rng.uniform(0.04, 0.5), [(size / 2, tau), (size / 2, tau / 3)], seconds + 1)
    flow = sampled(wave, period)
    if rng.random() < 0.2:
        at = rng.integers(len(flow))
        flow[at : at + round(0.1 / period)] *= rng.uniform(-0.5, 0.2)
    return flow[: rng.integers(1, len(flow) + 1)] if rng.random() < 0.2 else flow


def record(rng: Rng, period: float) -> NDArray[np.float64]:
    """Pieces of manoeuvres in some order, spoiled in some way."""
    pieces = []
    for _ in range(rng.integers(1, 6)):
        kind = rng.integers(5)
        if kind == 0:
            seconds = rng.uniform(0, 6)
            pieces.append(rng.uniform(0.2, 1) * np.sin(np.arange(0, seconds, period) * 2 * np.pi / 3))
        elif kind == 1:
            shape = np.sin(np.arange(0, rng.uniform(0.3, 3), period))
            pieces.append(-rng.uniform(0.1, 8) * np.abs(shape))
        elif kind == 2:
            pieces.append(np.full(round(rng.uniform(0, 3) / period), rng.normal(0, 0.03)))
        else:
            pieces.append(blow(rng, period))
    flow = np.concatenate(pieces)
    spoil = rng.integers(8)
    if spoil == 0:
        flow = flow + rng.normal(0, 0.1) * np.ones_like(flow)
    elif spoil == 1:
        flow = flow * (1 + 0.2 * rng.standard_normal(len(flow)))
    elif spoil == 2:
        flow = np.round(flow * 1000 * period) / (1000 * period)
    elif spoil == 3 and len(flow):
        flow = np.delete(flow, slice(*sorted(rng.integers(0, len(flow), 2))))
    elif spoil == 4 and len(flow):
        flow[rng.integers(len(flow))] = rng.choice([np.nan, np.inf, 1e30, -1e30, 1e300])
    return flow * rng.choice([1.0, 1.0, -1.0, 60.0, 1e-6])


def check(flow: NDArray[np.float64], period: float) -> None:
    """Raises AssertionError where an index is outside what the record can hold."""
    for found in manoeuvre.forced_expirations(flow, period):
        i, moved = found.indices, np.abs(np.diff(np.cumsum(np.concatenate([[0], flow])))).sum() * period
        seconds = len(flow) * period
        volumes = [float(getattr(i, name)[0]) for name in ("fev05", "fev075", "fev1", "fev3", "fev6", "fvc")]
        assert np.isfinite(volumes).all(), volumes
        assert volumes == sorted(volumes), volumes
        slack = 1e-9 * moved
        assert 0 <= i.fvc[0] <= moved + slack, (i.fvc[0], moved)
        assert -moved - slack <= i.bev[0] <= i.fvc[0] + slack, i.bev[0]
        assert 0 < i.pef[0] <= np.abs(flow).max() * (1 + 1e-9), i.pef[0]
        assert 0 <= found.begin_s <= seconds, found.begin_s
        assert len(found.flow) * period <= seconds + 1e-9
        assert not found.fivc_l < 0, found.fivc_l
        assert not found.fivc_l > moved + slack, found.fivc_l
        assert not found.pif_l_s > np.abs(flow).max() * (1 + 1e-9), found.pif_l_s
        assert not found.hesitation_s > seconds, found.hesitation_s
        assert i.fet[0] <= seconds - i.t0[0] + 1e-9, i.fet[0]
        judged = ats_ers.judge_2019(i, [30.0], None, manoeuvre.observed([found]))
        assert not (judged.fev1[0] and not judged.usable_fev1[0])


def fuzz(records: int, seed: int) -> int:
    """Check some records; how many held an expiration, the others ending in a line."""
    blows = 0
    for number in range(records):
        rng = np.random.default_rng([seed, number])
        period = float(rng.choice(PERIODS))
        flow = record(rng, period)
        begun = time.monotonic()
        try:
            with np.errstate(all="ignore"):
                check(flow, period)
            blows += 1
        except SpiroError as error:
            if "\n" in str(error):
                raise AssertionError(f"record {number} of seed {seed}: {error}") from error
        except Exception:
            print(f"record {number} of seed {seed}")
            raise
        assert time.monotonic() - begun < LONGEST_S, f"record {number} of seed {seed} takes too long"
    return blows


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    good = fuzz(count, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print(f"{count} records: {good} with a forced expiration, {count - good} refused in a line")
