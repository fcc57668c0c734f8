"""Curves before the counter: its rounding is gone, the effort is as it was."""

import numpy as np

from spiro_diffusion.physiology import counter, dequantise, time_grid

BTPS = np.array([1.05, 1.08, 1.12])


def efforts() -> np.ndarray:
    """Flow (3, 2048) in L/s of each 10 ms: a rise of 60 ms from time zero, then an exponential, 6 s long."""
    time = np.arange(time_grid.N_10MS) * 0.01 - time_grid.LEAD_S
    rise = np.clip(time / 0.06, 0, 1)
    flow = np.array([6.0, 8.0, 3.0])[:, None] * rise * np.exp(-np.maximum(time, 0) / 0.6)
    return np.where((time >= 0) & (time < 6), flow, 0)


def counted() -> tuple[np.ndarray, np.ndarray]:
    """Signals of the efforts, true and counted."""
    flow = efforts()
    counts = counter.count(flow, BTPS, np.random.default_rng(0))
    zero = np.full(3, time_grid.LEAD_S)
    return time_grid.to_grid(flow, zero), time_grid.to_grid(counter.flow(counts, BTPS), zero)


def test_the_rounding_of_the_slow_part_is_taken_away() -> None:
    true, seen = counted()
    again = dequantise.before(seen, BTPS)
    slow = slice(80, 300)
    rounding, left = (np.sqrt(((x - true)[:, slow] ** 2).mean()) for x in (seen, again))
    assert rounding > 0.03
    assert left < 0.25 * rounding


def test_the_onset_stays_within_one_count() -> None:
    _, seen = counted()
    again = dequantise.before(seen, BTPS)
    np.testing.assert_allclose(again[:, 49:55], seen[:, 49:55], atol=0.1 * BTPS.max())
    assert (again[:, :49] == 0).all()


def test_no_volume_is_won_or_lost() -> None:
    _, seen = counted()
    error = time_grid.volume(dequantise.before(seen, BTPS)) - time_grid.volume(seen)
    assert np.abs(error).max() < 2 * 0.001 * BTPS.max()


def test_what_the_counts_speak_against_is_kept() -> None:
    """A cough is no rounding."""
    _, seen = counted()
    seen[:, 120:124] += 1.0
    again = dequantise.before(seen, BTPS)
    np.testing.assert_allclose(again[:, 118:126], seen[:, 118:126], atol=0.25)


def test_silence_stays_silence() -> None:
    assert (dequantise.before(np.zeros((2, 512), np.float32), np.array([1.1, 1.1])) == 0).all()
