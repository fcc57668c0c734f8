"""The figures of the judge against what is known of them: closed forms, other libraries, brute force."""

# mypy: no-strict-optional

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scoringrules
from hypothesis import given, settings
from hypothesis import strategies as st
from prdc import compute_prdc
from scipy.stats import norm, wasserstein_distance
from sklearn.linear_model import Ridge
from sklearn.metrics import explained_variance_score, r2_score, roc_auc_score
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from spiro_diffusion.evaluation import conditional, copying, figures, groups, two_sample, utility
from spiro_diffusion.evaluation.bootstrap import Resamples, auc
from spiro_diffusion.evaluation.figures import Figure, too_few
from spiro_diffusion.evaluation.learners import ridge
from spiro_diffusion.evaluation.registry import Rule
from spiro_diffusion.models.quantiser import codebook_use


def value(tree: Any, *path: str) -> float:
    for name in path:
        tree = tree[name]
    return tree.value


def everybody(n: int, seed: int = 0, count: int = 200) -> Resamples:
    return Resamples(np.arange(n), count, np.random.default_rng(seed))


def test_a_figure_that_is_no_number_is_null_with_a_reason() -> None:
    assert figures.figure(float("nan")).value is None
    assert figures.figure(float("nan")).reason
    assert figures.from_resamples(np.full(100, np.inf)).value is None
    assert figures.figure(0.123456789).value == 0.123457


def test_figures_are_the_same_after_they_were_written() -> None:
    tree = {"a": {"b": figures.figure(1.0, 0.5, 2.0), "c": too_few(3)}, "d": figures.series([1, 2.5])}
    written = figures.to_json(tree)
    assert written["a"]["b"] == {"value": 1.0, "low": 0.5, "high": 2.0}
    assert written["a"]["c"] == {"value": None, "reason": "3 participants, fewer than 5"}
    assert figures.from_json(written) == tree


def test_ridge_is_the_same_from_many_rows_and_from_few() -> None:
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(40, 60)), rng.normal(size=(5, 60))
    y = x @ rng.normal(size=60)
    a = (x - x.mean(axis=0)) / x.std(axis=0)
    weights = np.linalg.solve(a.T @ a + 2 * np.eye(60), a.T @ (y - y.mean()))
    assert ridge(x, y, new, 2.0) == pytest.approx((new - x.mean(axis=0)) / x.std(axis=0) @ weights + y.mean())


def test_resamples_take_all_efforts_of_a_drawn_person() -> None:
    seqn = np.repeat([10, 20, 30], [1, 2, 3])
    resamples = Resamples(seqn, 500, np.random.default_rng(0))
    sums = resamples.sums(np.column_stack([seqn == s for s in (10, 20, 30)]))
    assert (sums[0] == [1, 2, 3]).all()
    assert (sums[:, 1] % 2 == 0).all()
    assert (sums[:, 2] % 3 == 0).all()
    assert np.allclose(sums @ [1, 1 / 2, 1 / 3], 3)


def test_clustered_intervals_are_as_wide_as_the_people_are_few() -> None:
    rng = np.random.default_rng(0)
    value = rng.normal(size=100).repeat(10)  # ten equal efforts each: a hundred facts, not a thousand
    clustered = figures.from_resamples(Resamples(np.arange(100).repeat(10), 1000, rng).means(value))
    width = clustered.high - clustered.low
    assert width == pytest.approx(2 * 1.96 * value.std() / 10, rel=0.15)


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(0, 10_000))
def test_auc_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 6, 20) + 0.5 * rng.integers(0, 2, 20), rng.integers(0, 6, 30)  # with ties
    ours = auc(first, everybody(20, count=1), second, everybody(30, count=1))[0]
    truth = roc_auc_score(np.repeat([1, 0], [20, 30]), np.concatenate([first, second]))
    assert ours == pytest.approx(truth)


def efforts(people: int, seed: int, first: int = 0) -> Resamples:
    """Resamples of people of one to four efforts each."""
    rng = np.random.default_rng(seed)
    return Resamples(first + np.arange(people).repeat(rng.integers(1, 5, people)), 20, rng)


def weights(resamples: Resamples) -> np.ndarray:
    """Weights (1 + B, n) of the rows in the sample and in each resample."""
    return resamples.weights[:, resamples.person]


@pytest.mark.parametrize("seed", range(5))
def test_auc_of_resampled_people_is_that_of_scikit_learn_with_weights(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sides = efforts(12, seed), efforts(15, seed + 100)
    scores = [rng.integers(0, 9, len(side.person)) + shift for side, shift in zip(sides, (2, 0), strict=True)]
    truth = [
        roc_auc_score(np.repeat([1, 0], [len(s) for s in scores]), np.concatenate(scores), sample_weight=weight)
        for weight in np.hstack([weights(side) for side in sides])
    ]
    np.testing.assert_allclose(auc(scores[0], sides[0], scores[1], sides[1]), truth, rtol=1e-12)


@pytest.mark.parametrize("draws", [2, 5, 20])
def test_crps_is_that_of_scoringrules(draws: int) -> None:
    rng = np.random.default_rng(draws)
    side = efforts(80, draws)
    observed = rng.lognormal(1, 0.3, len(side.person))
    drawn = rng.lognormal(1.1, 0.2, (len(observed), draws)).round(2)  # some of them equal
    truth = scoringrules.crps_ensemble(observed, drawn, estimator="fair")
    np.testing.assert_allclose(conditional.crps(observed, drawn), truth, rtol=0, atol=1e-12)
    weight = rng.integers(0, 3, len(observed)).astype(float)
    found = conditional.calibration(observed, drawn, weight, side)
    assert value(found, "crps") == pytest.approx(np.average(truth, weights=weight), abs=1e-5)
    means = [np.average(truth, weights=weight * row) for row in weights(side)[1:]]
    np.testing.assert_allclose(side.means(conditional.crps(observed, drawn), weight)[1:], means, rtol=1e-10)


def test_explained_variance_and_r2_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    side = efforts(60, 0)
    n = len(side.person)
    people = pd.DataFrame(
        {"age": rng.uniform(8, 79, n), "height": rng.normal(165, 10, n), "sex": rng.integers(1, 3, n)}
    )
    fev1 = np.exp(rng.normal(1, 0.2, n) + people["height"].to_numpy() / 100)
    surface = conditional.ReferenceSurface.fit(people, {"fev1": fev1}, ("fev1",))
    new, weight = fev1 * np.exp(rng.normal(0.1, 0.1, n)), rng.integers(0, 3, n).astype(float)
    moments = conditional._moments(surface, "fev1", conditional.Side(people, new[:, None], weight, side))
    expected, log = surface.mean(people, "fev1"), np.log(new)
    everyone = weights(side) * weight
    truth = [explained_variance_score(log, expected, sample_weight=row) for row in everyone]
    np.testing.assert_allclose(moments.explained, truth, rtol=1e-9)
    spread = [np.sqrt(np.cov(log - expected, aweights=row, ddof=0)) for row in everyone]
    np.testing.assert_allclose(moments.sd, spread, rtol=1e-9)
    truth = [r2_score(log, expected, sample_weight=row) for row in everyone]
    np.testing.assert_allclose(utility._r2(log, expected, weight, side), truth, rtol=1e-9)


def test_ridge_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for n, d in ((200, 12), (40, 60)):
        x, new, y = rng.normal(2, 3, (n, d)), rng.normal(2, 3, (9, d)), rng.normal(size=n)
        scaler = StandardScaler().fit(x)
        truth = Ridge(alpha=0.7).fit(scaler.transform(x), y).predict(scaler.transform(new))
        np.testing.assert_allclose(ridge(x, y, new, 0.7), truth, rtol=1e-6, atol=1e-9)


def test_quantiles_of_resampled_people_are_those_of_numpy_with_weights() -> None:
    rng = np.random.default_rng(0)
    side = efforts(50, 0)
    values = rng.normal(size=len(side.person))
    for share in (0.1, 0.5, 0.93):
        truth = [np.quantile(values, share, method="inverted_cdf", weights=row) for row in weights(side)]
        np.testing.assert_allclose(side.quantiles(values, share), truth)


def test_crps_of_a_normal_forecast_has_its_closed_form() -> None:
    rng = np.random.default_rng(0)
    observed = rng.normal(size=4000)
    exact = observed * (2 * norm.cdf(observed) - 1) + 2 * norm.pdf(observed) - 1 / np.sqrt(np.pi)
    for k in (5, 50):  # the fair form does not depend on the number of draws
        found = conditional.crps(observed, rng.normal(size=(4000, k)))
        assert found.mean() == pytest.approx(exact.mean(), abs=0.03)


@pytest.mark.parametrize("draws", [5, 20, 100])
def test_coverage_of_a_perfect_forecast_is_nominal_at_any_number_of_draws(draws: int) -> None:
    rng = np.random.default_rng(draws)
    n = 6000
    centre = rng.normal(size=(n, 1))
    found: Any = conditional.calibration(
        (centre + rng.normal(size=(n, 1)))[:, 0], centre + rng.normal(size=(n, draws)), np.ones(n), everybody(n)
    )
    for nominal in (50, 80, 90):
        assert found[f"coverage_{nominal}"].value == pytest.approx(nominal / 100, abs=0.02)
    assert sum(found["pit"].value) == pytest.approx(1, abs=1e-4)
    assert found["pit_distance"].value < 0.02


def test_a_ruler_keeps_few_people_from_looking_narrow() -> None:
    rng = np.random.default_rng(0)

    def people(n: int) -> pd.DataFrame:
        return pd.DataFrame(
            {"age": rng.uniform(8, 79, n), "height": rng.normal(165, 10, n), "sex": rng.integers(1, 3, n)}
        )

    train, few = people(4000), people(40)
    reference_surface = conditional.ReferenceSurface.fit(train, {"fev1": np.exp(rng.normal(1, 0.2, 4000))}, ("fev1",))
    ratios = []
    for _ in range(40):
        sides = [
            conditional.Side(few, np.exp(rng.normal(1, 0.2, (40, k))), np.ones(40), everybody(40, count=2))
            for k in (1, 50)
        ]
        ratios.append(value(conditional.spread(reference_surface, "fev1", *sides), "residual_sd_ratio"))
    assert np.mean(ratios) == pytest.approx(1, abs=0.05)  # a surface of their own (12 columns) would make it 1.2


def test_wasserstein_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(3, 1, 400), rng.normal(3.4, 1.2, 400)
    group = np.full(400, "all", dtype=object)
    real = groups.Values(np.arange(400), a, np.ones(400), group)
    train = groups.Values(np.arange(400), rng.normal(3, 1, 400), np.ones(400), group)
    floor = groups.reference(real, train, 300, 1, rng)
    found: Any = groups.distances(groups.Values(np.arange(400), b, np.ones(400), group), floor)["all"]
    assert found["distance"].value == pytest.approx(wasserstein_distance(a, b), rel=0.02)
    assert found["beyond"].value == 1
    same: Any = groups.distances(groups.Values(np.arange(400), a, np.ones(400), group), floor)["all"]
    assert same["over_floor"].value < 0.05


def test_the_floor_s_limit_is_passed_by_one_in_twenty() -> None:
    rng = np.random.default_rng(0)
    group = np.full(80, "all", dtype=object)
    beyond = []
    for _ in range(150):
        train = groups.Values(np.arange(800), rng.normal(size=800), np.ones(800), np.full(800, "all", dtype=object))
        real = groups.Values(np.arange(80), rng.normal(size=80), np.ones(80), group)
        new = groups.Values(np.arange(80), rng.normal(size=80), np.ones(80), group)
        beyond.append(value(groups.distances(new, groups.reference(real, train, 200, 1, rng)), "all", "beyond"))
    assert np.mean(beyond) < 0.12


def test_a_group_of_four_has_no_distance() -> None:
    group = np.full(4, "all", dtype=object)
    values = groups.Values(np.arange(4), np.arange(4.0), np.ones(4), group)
    assert groups.reference(values, values, 10, 1, np.random.default_rng(0)) == {"all": too_few(4)}


def test_the_nearest_share_is_that_of_all_choices_of_training_people() -> None:
    rng = np.random.default_rng(0)
    train, held_out, new = rng.normal(size=(40, 3)), rng.normal(size=(12, 3)), rng.normal(size=(30, 3))
    cloud = copying.Cloud.of(train, np.arange(1000, 1040))
    others = copying.Points(held_out.astype(np.float32), Resamples(np.arange(500, 512), 200, rng))
    ours = value(
        copying.copies(copying.Points(new.astype(np.float32), everybody(30)), cloud, others, np.array([1.0])),
        "nearest_share",
    )

    def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2))

    to_train, to_held_out = distance(new, train), distance(new, held_out).min(axis=1)
    shares = [(to_train[:, rng.permutation(40)[:12]].min(axis=1) < to_held_out).mean() for _ in range(4000)]
    assert ours == pytest.approx(np.mean(shares), abs=0.01)


def test_precision_is_low_outside_and_recall_is_low_for_one_repeated_curve() -> None:
    rng = np.random.default_rng(0)
    real, sides = rng.normal(size=(200, 4)), (everybody(200), everybody(200))
    far: Any = two_sample.overlap(real, rng.normal(size=(200, 4)) + 8, sides)
    assert far["precision"].value == 0
    one: Any = two_sample.overlap(real, 0.01 * rng.normal(size=(200, 4)), sides)
    assert one["precision"].value > 0.95
    assert one["recall"].value < 0.1
    alike: Any = two_sample.overlap(real, rng.normal(size=(200, 4)), sides)
    assert min(figure.value for figure in alike.values()) > 0.8


@pytest.mark.parametrize("seed", range(4))
def test_precision_recall_density_and_coverage_are_those_of_prdc(seed: int) -> None:
    rng = np.random.default_rng(seed)
    real, new = rng.normal(size=(90, 4)), rng.normal(0.3, 0.8, (70, 4))
    found: Any = two_sample.overlap(real, new, (everybody(90), everybody(70)))
    truth = compute_prdc(real_features=real, fake_features=new, nearest_k=two_sample.NEIGHBOURS)
    assert {name: figure.value for name, figure in found.items()} == pytest.approx(truth, abs=1e-5)


def test_with_several_efforts_a_person_the_balls_are_those_of_scikit_learn_without_the_own_efforts() -> None:
    rng = np.random.default_rng(0)
    sides = efforts(40, 1), efforts(30, 2)
    real, new = (
        rng.normal(size=(len(side.people), 4))[side.person] + 0.1 * rng.normal(size=(len(side.person), 4))
        for side in sides
    )

    def inside(points: np.ndarray, person: np.ndarray, requested: np.ndarray) -> np.ndarray:
        """Which points (n, 1) have which of those asked (m) in their ball: (n, m)."""
        radius = np.empty(len(points))
        for others, members in LeaveOneGroupOut().split(points, groups=person):
            search = NearestNeighbors(n_neighbors=two_sample.NEIGHBOURS).fit(points[others])
            radius[members] = search.kneighbors(points[members])[0][:, -1]
        return np.linalg.norm(points[:, None] - requested, axis=2) <= radius[:, None]

    of_real, of_new = inside(real, sides[0].person, new), inside(new, sides[1].person, real)
    truth = {
        "precision": of_real.any(axis=0).mean(),
        "recall": of_new.any(axis=0).mean(),
        "density": of_real.sum() / len(new) / two_sample.NEIGHBOURS,
        "coverage": of_real.any(axis=1).mean(),
    }
    found: Any = two_sample.overlap(real, new, sides)
    assert {name: figure.value for name, figure in found.items()} == pytest.approx(truth, abs=1e-5)


def test_a_codebook_half_in_use_says_so() -> None:
    codes = np.arange(64).reshape(1, 64, 1) % 8
    found: Any = codebook_use(codes, 16)
    assert found["codes_in_use"] == 0.5
    assert found["perplexity"] == pytest.approx(8)


def test_verdicts() -> None:
    rule = Rule(0.95, 1.05, holds=1.0)
    assert rule.verdict(Figure(1.01, 0.97, 1.04)) == "met"
    assert rule.verdict(Figure(1.08, 0.98, 1.2)) == "within_noise"
    assert rule.verdict(Figure(1.04, 1.01, 1.07)) == "missed"  # surely not 1
    assert rule.verdict(Figure(None, reason="too few")) == "open"
    assert Rule(high=0.55).verdict(Figure(0.57, 0.54, 0.6)) == "within_noise"
    assert Rule(high=0.55).verdict(Figure(0.6, 0.58, 0.62)) == "missed"
