"""The spirometer's counter: whole millilitres that never lose more than one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spiro_diffusion.physiology import counter


def test_a_steady_half_millilitre_is_every_second_count() -> None:
    counts = counter.count(np.full((1, 200), 0.05), 1.0, np.random.default_rng(0))[0]
    assert set(counts.tolist()) == {0, 1}
    assert (counts[1:] != counts[:-1]).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1.04, 1.13))
def test_volume_is_never_off_by_more_than_a_millilitre(seed: int, btps: float) -> None:
    rng = np.random.default_rng(seed)
    flow = rng.uniform(-1, 12, (4, 300))
    counts = counter.count(flow, btps, rng)
    assert counts.dtype == np.int16
    error = np.cumsum(counter.flow(counts, btps) - flow, axis=1) * 0.01
    assert np.abs(error).max() <= 0.001 * btps + 1e-6


def test_counts_come_back_as_they_were() -> None:
    counts = np.random.default_rng(1).integers(-64, 193, (5, 400)).astype(np.int16)
    factors = np.array([1.04, 1.06, 1.08, 1.1, 1.129])
    flow = counter.flow(counts, factors).astype(np.float64)
    again = counter.count(flow + 1e-7, factors, np.random.default_rng(2))
    assert np.abs(np.cumsum(again - counts, axis=1)).max() <= 1


def test_the_scale_is_ten_millilitres_a_second_at_atps() -> None:
    assert counter.flow(np.array([[100]]), 1.1)[0, 0] == np.float32(11.0)


def test_a_count_beyond_the_range_is_held_at_its_end() -> None:
    counts = counter.count(np.array([[30.0, -20.0]]), 1.0, np.random.default_rng(0))
    assert counts.tolist() == [[192, -64]]


def test_the_same_generator_gives_the_same_counts() -> None:
    flow = np.random.default_rng(0).uniform(0, 8, (3, 100))
    first, second = (counter.count(flow, 1.08, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
