"""Indices of curves: waveforms with known ones, through the counter and the grid, and what cannot be known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spiro_diffusion.physiology import counter, spirometry, time_grid
from spiro_diffusion.physiology.waveforms import ExactIndices, Waveform, all_waveforms, sampled, searched

BTPS = 1.085


def at_10_ms(flow: np.ndarray) -> spirometry.Indices:
    return spirometry.indices(flow[None], np.array([len(flow)]))


def through_the_counter(flow: np.ndarray) -> np.ndarray:
    return counter.flow(counter.count(flow[None], BTPS, np.random.default_rng(0)), BTPS)[0]


def through_the_grid(flow: np.ndarray) -> spirometry.Indices:
    t0 = at_10_ms(flow).t0
    return spirometry.indices(time_grid.to_10ms(time_grid.to_grid(flow[None], t0)))


ROUTES = {
    "at 10 ms": at_10_ms,
    "with whole millilitres": lambda flow: at_10_ms(through_the_counter(flow)),
    "through the grid": through_the_grid,
    "through counter and grid": lambda flow: through_the_grid(through_the_counter(flow)),
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("wave", "exact"), all_waveforms(), ids=lambda value: getattr(value, "name", ""))
def test_indices_are_those_of_the_formula(route: str, wave: Waveform, exact: ExactIndices) -> None:
    found = ROUTES[route](sampled(wave))
    for name in ("fev05", "fev1", "fev6", "fvc"):
        truth = getattr(exact, name)
        allowed = 0.003 if name == "fev05" else 0.002  # means of 10 ms put time zero of a sharp peak 2 ms early
        assert getattr(found, name)[0] == pytest.approx(truth, rel=allowed, abs=0.005), name
    assert found.pef[0] == pytest.approx(exact.pef, rel=0.03)
    assert found.fef2575[0] == pytest.approx(exact.fef2575, rel=0.005)
    assert found.bev[0] == pytest.approx(exact.bev, rel=0.05, abs=0.006)


@pytest.mark.parametrize("period_s", [0.002, 0.004, 0.005])
@pytest.mark.parametrize(("wave", "exact"), all_waveforms(), ids=lambda value: getattr(value, "name", ""))
def test_a_faster_recorder_sees_more_of_the_peak(period_s: float, wave: Waveform, exact: ExactIndices) -> None:
    flow = sampled(wave, period_s)
    found = spirometry.indices(flow[None], np.array([len(flow)]), period_s)
    assert found.pef[0] == pytest.approx(exact.pef, rel=0.02)
    assert found.fev1[0] == pytest.approx(exact.fev1, rel=0.002, abs=0.005)
    within_a_sample = 0.3 * exact.pef * period_s  # where flow jumps, as no lung does
    assert found.bev[0] == pytest.approx(exact.bev, rel=0.05, abs=0.005 if exact.bev else within_a_sample)
    assert found.fvc[0] == pytest.approx(exact.fvc, abs=1e-6)


def test_the_rule_of_2005_moves_time_zero_and_nothing_else() -> None:
    wave, exact = all_waveforms()[9]
    flow = sampled(wave, 0.002)
    tangent, chord = (spirometry.indices(flow[None], None, 0.002, rule) for rule in ("tangent", "80 ms"))
    assert chord.t0[0] < tangent.t0[0] - 0.002  # a chord over the peak lies below its tangent
    assert chord.bev[0] < 0.8 * exact.bev
    assert (chord.pef[0], chord.fvc[0]) == (tangent.pef[0], tangent.fvc[0])


def test_one_wild_sample_is_not_the_peak() -> None:
    wave, exact = all_waveforms()[7]
    flow = sampled(wave)
    flow[150] = 3 * exact.pef
    assert at_10_ms(flow).pef[0] < 1.6 * exact.pef  # of 3.0


def test_noise_hardly_moves_the_peak() -> None:
    wave = all_waveforms()[9][0]
    rng = np.random.default_rng(0)
    flow = sampled(wave) * (1 + 0.01 * rng.standard_normal((300, round(wave.seconds / 0.01))))
    error = spirometry.indices(flow).pef / at_10_ms(sampled(wave)).pef - 1
    assert abs(error.mean()) < 0.005
    assert error.std() < 0.01


def test_volume_that_falls_is_no_plateau_and_a_breath_in_ends_the_expiration() -> None:
    flow = sampled(all_waveforms()[1][0])[:150]
    alone = at_10_ms(flow)
    looped = at_10_ms(np.concatenate([np.full(50, -1.0), flow, np.full(200, -0.5)]))
    for name in ("fev1", "fev6", "fvc", "pef", "fet", "last_second", "end_flow"):
        assert getattr(looped, name)[0] == pytest.approx(getattr(alone, name)[0]), name
    assert looped.t0[0] == pytest.approx(alone.t0[0] + 0.5)
    falling = np.concatenate([sampled(all_waveforms()[0][0]), np.full(100, -0.08)])  # 80 mL: no breath, no plateau
    assert at_10_ms(falling).last_second[0] == pytest.approx(0.08, abs=1e-3)


def test_a_later_volume_is_never_less() -> None:
    flow = np.concatenate([sampled(all_waveforms()[1][0]), np.full(200, -0.04)])
    found = at_10_ms(flow)
    volumes = [getattr(found, name)[0] for name in ("fev05", "fev075", "fev1", "fev3", "fev6", "fvc")]
    assert volumes == sorted(volumes)


@pytest.mark.parametrize(("wave", "exact"), all_waveforms(), ids=lambda value: getattr(value, "name", ""))
def test_time_zero_is_within_five_milliseconds_of_the_formula(wave: Waveform, exact: ExactIndices) -> None:
    assert at_10_ms(sampled(wave)).t0[0] == pytest.approx(exact.t0, abs=0.005)


def test_the_closed_forms_and_the_search_agree() -> None:
    for wave, exact in all_waveforms():
        np.testing.assert_allclose(searched(wave), exact, rtol=2e-3, atol=1e-3)


def test_a_linear_rise_has_its_rise_time_and_a_plateau_ends_with_nothing() -> None:
    wave, exact = next((w, k) for w, k in all_waveforms() if w.name.startswith("trapezoid"))  # 0.1 s to the peak
    found = at_10_ms(sampled(wave))
    assert found.rise_time[0] == pytest.approx(0.08, abs=0.001)  # from 10 to 90 %
    assert found.pef[0] == pytest.approx(exact.pef)
    assert found.last_second[0] == pytest.approx(0, abs=1e-9)
    assert found.fet[0] == pytest.approx(wave.seconds - exact.t0, abs=0.002)
    assert found.cough[0] == pytest.approx(0, abs=1e-9)


def test_a_cough_is_the_flow_it_gives_back() -> None:
    flow = np.full(300, 5.0)
    flow[:5] = 6.0  # a peak first, and a hole with 1 L/s for 100 ms
    flow[40:50] = 1.0
    assert at_10_ms(flow).cough[0] == pytest.approx(4.0)
    assert at_10_ms(np.concatenate([np.zeros(120), flow])).cough[0] == pytest.approx(4.0)


def test_samples_after_the_last_point_are_not_looked_at() -> None:
    flow = sampled(all_waveforms()[0][0])
    padded = np.full((1, 2044), np.nan)
    padded[0, : len(flow)] = flow
    whole, cut = at_10_ms(flow), spirometry.indices(padded, np.array([len(flow)]))
    for name, values in vars(whole).items():
        np.testing.assert_array_equal(getattr(cut, name), values, err_msg=name)


def test_many_curves_at_once_are_each_as_alone() -> None:
    flows = [sampled(wave) for wave, _ in all_waveforms()] * 60  # more than one chunk
    points = np.array([len(flow) for flow in flows])
    table = np.zeros((len(flows), points.max()))
    for row, flow in zip(table, flows, strict=True):
        row[: len(flow)] = flow
    together = spirometry.indices(table, points)
    for row in (0, 5, len(flows) - 1):
        alone = at_10_ms(flows[row])
        for name, values in vars(alone).items():
            assert getattr(together, name)[row] == values[0], name


def test_without_points_a_curve_ends_when_its_volume_is_out() -> None:
    flow = np.concatenate([sampled(all_waveforms()[4][0]), np.zeros(500)])
    found = spirometry.indices(flow[None])
    assert found.fet[0] < 1.1  # the trapezoid lasts 1.1 s, of 11 s
    assert found.last_second[0] > 1


@pytest.mark.parametrize(
    ("flow", "points"),
    [
        (np.zeros((1, 300)), [300]),
        (np.full((1, 300), -0.5), [300]),
        (np.ones((1, 300)), [7]),
        (np.ones((1, 300)), [0]),
        (np.where(np.arange(300) == 100, np.nan, 1.0)[None], [300]),
        (np.ones((1, 5)), [5]),
    ],
    ids=["silence", "breath in", "too short", "no points", "a NaN inside", "narrow array"],
)
def test_what_cannot_be_determined_is_nan(flow: np.ndarray, points: list[int]) -> None:
    found = spirometry.indices(flow, np.array(points))
    assert all(np.isnan(values).all() for values in vars(found).values())


def test_one_bad_curve_does_not_spoil_its_neighbours() -> None:
    flow = np.stack([sampled(all_waveforms()[0][0])] * 3)
    flow[1, 50] = np.nan
    found = spirometry.indices(flow)
    assert np.isnan(found.fev1).tolist() == [False, True, False]


@pytest.mark.parametrize("points", [[301], [-1], [1, 2]])
def test_points_that_do_not_fit_are_refused(points: list[int]) -> None:
    with pytest.raises(ValueError, match="points must be 1 whole numbers from 0 to 300"):
        spirometry.indices(np.ones((1, 300)), np.array(points))


def test_no_curves_give_an_empty_table() -> None:
    assert spirometry.indices(np.zeros((0, 100))).to_pandas().shape[0] == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 12), st.integers(1, 80), st.floats(0.3, 3))
def test_a_later_start_moves_time_zero_and_a_larger_lung_scales_volumes(which: int, later: int, size: float) -> None:
    flow = sampled(all_waveforms()[which][0])
    moved = size * np.concatenate([np.zeros(later), flow])
    before, after = at_10_ms(flow), at_10_ms(moved)
    assert after.t0[0] - before.t0[0] == pytest.approx(later * 0.01, abs=1e-9)
    for name in ("fev1", "fvc", "pef", "fef2575", "bev", "fev6"):
        assert getattr(after, name)[0] == pytest.approx(size * getattr(before, name)[0], rel=1e-9, abs=1e-12)
    assert after.fet[0] == pytest.approx(before.fet[0], abs=1e-9)
