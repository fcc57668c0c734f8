"""Simulated lungs: they pass the wanted volumes in the form of real ones, and cannot be told from these."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from benchmarks.given_values import best_efforts
from spiro_diffusion.physiology import spirometry
from spiro_diffusion.simulation import expiration, lung_shapes
from spiro_diffusion.simulation.expiration import Knots, Shape

ROOT = Path(__file__).parents[1]
LOOPS = Path(__file__).parents[2] / "shared" / "real_loops"
SHAPES = lung_shapes.load()
LUNGS = {  # PEF, FEV0.5, FEV1, FEV3, FEV6, FET, BEV
    "adult": (2.0, 0.63, 0.82, 0.95, 0.985, 9.0, 0.018),
    "child": (2.6, 0.76, 0.92, 0.99, 0.995, 4.0, 0.02),
    "obstructed": (1.3, 0.30, 0.45, 0.70, 0.88, 14.0, 0.015),
}


def knots_of(kind: str, n: int = 200) -> Knots:
    return Knots(*(np.full(n, value) for value in LUNGS[kind]))


def drawn(knots: Knots, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Shape]:
    """Flow over FVC, time zero and shape of best efforts."""
    shape = SHAPES.drawn(knots, np.random.default_rng(seed))
    effort = expiration.best_effort(knots.pef, knots.bev, shape.onset)
    return expiration.flow(expiration.lungs(knots, shape), effort, 1600), expiration.time_zero(effort), shape


@pytest.mark.parametrize("kind", LUNGS)
def test_whatever_its_shape_a_lung_passes_its_volumes_and_its_peak(kind: str) -> None:
    knots = knots_of(kind)
    flow, zero, _ = drawn(knots)
    points = np.rint((zero + knots.fet) / 0.01).astype(int)
    found = spirometry.indices(flow, points)
    error = np.abs(flow.max(axis=1) / knots.pef - 1)
    assert np.quantile(error, 0.9) < 0.005
    assert error.max() < 0.05
    assert np.abs(found.fev1 - knots.fev1).max() < 0.012
    assert np.abs(found.fev1 - knots.fev1).mean() < 0.003
    np.testing.assert_allclose(found.fvc, 1, atol=0.002)
    np.testing.assert_allclose(np.median(found.bev), knots.bev[0], rtol=0.1)
    np.testing.assert_allclose(found.t0, zero, atol=0.02)


@pytest.mark.parametrize("kind", LUNGS)
def test_shapes_differ_between_people_and_flow_never_turns(kind: str) -> None:
    knots = knots_of(kind)
    flow, _, shape = drawn(knots)
    assert flow.min() >= -1e-6
    volume = np.cumsum(flow, axis=1) * 0.01
    assert volume[:, 40].std() > 0.002  # between time zero and 0.5 s
    assert np.isfinite(np.concatenate(shape, axis=1)).all()


def test_the_same_seed_gives_the_same_shapes() -> None:
    knots = knots_of("adult", 5)
    for one, two in zip(drawn(knots, 1)[2], drawn(knots, 1)[2], strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(drawn(knots, 1)[0], drawn(knots, 2)[0])


def test_a_peak_below_the_mean_flow_before_it_is_met_as_nearly_as_can_be() -> None:
    knots = Knots(*(np.full(3, value) for value in (0.9, 0.7, 0.85, 0.95, 0.99, 7.0, 0.02)))  # 0.7 in 0.5 s is 1.4
    flow, _, _ = drawn(knots)
    assert np.isfinite(flow).all()
    assert flow.max() < 2.5
    np.testing.assert_allclose(flow.sum(axis=1) * 0.01, 1, atol=0.002)


def test_coordinates_of_knots_go_there_and_back() -> None:
    knots = knots_of("adult", 2)
    np.testing.assert_allclose(lung_shapes.knots_at(lung_shapes.coordinates(knots)), knots, rtol=1e-9)


def test_flutter_has_the_size_and_the_memory_of_its_facts() -> None:
    flutter = SHAPES.flutter
    flow = np.full((300, 400), 1.0)
    unrest = flutter.drawn(flow, np.random.default_rng(0))[:, 100:]
    size = np.exp(np.log(unrest.std(axis=1)).mean())
    assert size == pytest.approx(np.hypot(flutter.share, flutter.least), rel=0.1)
    first, second = flutter.coefficients
    assert np.mean(unrest[:, 1:] * unrest[:, :-1]) / np.mean(unrest**2) == pytest.approx(first / (1 - second), abs=0.02)
    assert not flutter.drawn(0 * flow, np.random.default_rng(0)).any()


def test_facts_are_few_and_name_their_source() -> None:
    assert lung_shapes.PATH.stat().st_size < 200_000
    assert "PExOL" in SHAPES.source


def test_best_efforts_have_the_values_of_their_people() -> None:
    table = {"age": [25, 38], "height": [180.0, 160.0], "sex": [1, 2], "fvc": [5.5, 3.4], "fev1": [4.5, 2.7]}
    people = pd.DataFrame(table | {"pef": [9.5, 6.0], "ethnicity": 3}).loc[[0] * 100 + [1] * 100].reset_index(drop=True)
    flow, points = best_efforts(people, SHAPES, np.random.default_rng(0))
    found = spirometry.indices(flow, points).to_pandas()
    for name in ("fvc", "fev1", "pef"):
        ratio = found[name] / people[name]
        np.testing.assert_allclose(ratio.mean(), 1, atol=0.003, err_msg=name)
        assert ratio.std() < 0.01, name


def load_benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fit_lung_shapes", ROOT / "benchmarks" / "fit_lung_shapes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_the_loops_the_fit_says_so_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_benchmark().main(tmp_path, write=False)
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.skipif(not LOOPS.exists(), reason="the real loops are not here")
def test_best_efforts_cannot_be_told_from_real_loops_of_people_whom_the_facts_did_not_see() -> None:
    fit = load_benchmark()
    judge = fit.judge_of(LOOPS)
    flows, persons = judge.real_expirations()
    loops = [fit.read(flow) for flow in flows]
    drawn = fit.out_of_fold(loops, fit.people_of(LOOPS, persons), np.random.default_rng(0))
    found = judge.auc(judge.features(flows).to_numpy(), judge.features(drawn).to_numpy(), fit.DRAWS)
    assert all(mean <= 0.62 for mean, _ in found.values()), found
