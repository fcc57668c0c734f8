"""The 512 samples keep volume, the counter's first 1.5 s, and the way back to 10 ms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spiro_diffusion.physiology import time_grid
from spiro_diffusion.physiology.spirometry import volume


@pytest.fixture(scope="module")
def curves() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flow (50, 2044) of whole counts, points and time zero; some begin late, some fill the record."""
    rng = np.random.default_rng(3)
    flow = rng.integers(-5, 90, (50, 2044)) * 0.1085
    points = rng.integers(101, 2045, 50)
    points[:5] = 2044
    flow[np.arange(2044) >= points[:, None]] = 0
    return flow.astype(np.float32), points, rng.uniform(-0.04, 1.2, 50)


def test_the_window_is_as_the_contract_says() -> None:
    assert len(time_grid.WIDTHS_S) == 512
    assert time_grid.EDGES_S[[0, 50, 150]] == pytest.approx([-0.5, 0, 1])
    assert time_grid.EDGES_S[-1] == pytest.approx(19.98, abs=1e-4)
    assert time_grid.WIDTHS_S[-1] == pytest.approx(0.152, abs=5e-4)
    np.testing.assert_allclose(time_grid.WIDTHS_S[151:] / time_grid.WIDTHS_S[150:-1], 1.00754975)


def test_the_fine_bins_are_samples_of_the_counter(curves: tuple) -> None:
    flow, points, t0 = curves
    signals = time_grid.to_grid(flow, t0, points)
    zero = time_grid.zero_sample(t0)
    assert np.abs(zero * 0.01 - t0).max() <= 0.005
    for row in range(len(flow)):
        sample = zero[row] - 50 + np.arange(1, 150)
        inside = (sample >= 0) & (sample < points[row])
        np.testing.assert_array_equal(signals[row, 1:150], np.where(inside, flow[row, np.where(inside, sample, 0)], 0))


def test_all_volume_is_kept_also_before_and_after_the_window(curves: tuple) -> None:
    flow, points, t0 = curves
    signals = time_grid.to_grid(flow, t0, points)
    total = flow.sum(axis=1, dtype=float) * 0.01
    np.testing.assert_allclose(time_grid.volume(signals)[:, -1], total, atol=2e-5)
    np.testing.assert_allclose(time_grid.to_10ms(signals).sum(axis=1, dtype=float) * 0.01, total, atol=2e-3)
    late = time_grid.zero_sample(t0) > 50
    assert late.any()
    expected = [flow[row, : zero - 50].sum() * 0.01 for row, zero in enumerate(time_grid.zero_sample(t0)) if zero > 50]
    np.testing.assert_allclose(time_grid.lead_volume(flow, t0)[late], expected, rtol=1e-5)
    assert (time_grid.lead_volume(flow, t0)[~late] == 0).all()


def test_volume_at_every_edge_is_that_of_the_curve(curves: tuple) -> None:
    flow, points, t0 = curves
    signals = time_grid.to_grid(flow, t0, points)
    v = volume(np.where(np.arange(2044) < points[:, None], flow, 0))
    for row, zero in enumerate(time_grid.zero_sample(t0)):
        at = np.interp(zero * 0.01 + time_grid.EDGES_S[1:-1], np.arange(2045) * 0.01, v[row])
        np.testing.assert_allclose(time_grid.volume(signals[row : row + 1])[0, 1:-1], at, atol=2e-5)


def test_points_cut_what_follows(curves: tuple) -> None:
    flow, points, t0 = curves
    dirty = np.where(np.arange(2044) < points[:, None], flow, np.nan)
    np.testing.assert_array_equal(time_grid.to_grid(dirty, t0, points), time_grid.to_grid(flow, t0, points))


@settings(max_examples=25, deadline=None)
@given(arrays(np.float32, (3, 512), elements=st.floats(-2, 15, width=32)))
def test_the_way_back_keeps_volume_at_every_edge(signals: np.ndarray) -> None:
    at_10ms = volume(time_grid.to_10ms(signals))
    ticks = np.arange(2049) * 0.01 - 0.5
    for row in range(3):
        back = np.interp(time_grid.EDGES_S, ticks, at_10ms[row])
        # a 10 ms sample that two bins share may hold up to half its volume on the wrong side of the edge
        assert np.abs(back - time_grid.volume(signals)[row]).max() <= 0.01 * 17 / 2
    np.testing.assert_array_equal(time_grid.to_10ms(signals)[:, :150], signals[:, :150])


def test_going_back_and_forth_again_changes_nothing_in_the_fine_bins_and_little_after() -> None:
    smooth = np.exp(-np.arange(2044) / 80)[None] * 8
    once = time_grid.to_grid(smooth, np.array([0.3]))
    twice = time_grid.to_grid(time_grid.to_10ms(once), np.array([time_grid.LEAD_S]))
    np.testing.assert_array_equal(twice[:, :150], once[:, :150])
    assert np.abs(time_grid.volume(twice) - time_grid.volume(once)).max() < 1e-3


def test_the_stretched_grid_comes_back_with_the_length(curves: tuple) -> None:
    _, points, _ = curves
    smooth = np.exp(-np.arange(2044) / 80) * 8 * np.ones((50, 1))
    smooth[np.arange(2044) >= points[:, None]] = 0
    back = time_grid.from_stretch(time_grid.to_stretch(smooth, points), points)
    np.testing.assert_allclose(back.sum(axis=1), smooth.sum(axis=1), rtol=1e-5)
    assert np.abs(volume(back)[:, :2045] - volume(smooth)).max() < 0.01
    assert (back[np.arange(2048) >= points[:, None]] == 0).all()
