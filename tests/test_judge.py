"""The judge judged: what is real scores at the floor, and each way of being wrong is called by its name."""

# mypy: no-strict-optional

import json
from typing import Any

import judge_world as world
import numpy as np
import pandas as pd
import pytest

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.vocabulary import JUDGED
from spiro_diffusion.evaluation import candidates, judge, registry, targets
from spiro_diffusion.evaluation.figures import Figure, Tree, to_json
from spiro_diffusion.evaluation.real import Real
from spiro_diffusion.evaluation.registry import at, leaves

DRAWS = 20
SPREAD = ("spread", "calibration", "groups")


@pytest.fixture(scope="module")
def real() -> Real:
    return world.real(held_out=150, each=3, seed=2)


@pytest.fixture(scope="module")
def floor(real: Real) -> Tree:
    return judged(real, candidates.floor(real, DRAWS, 0))


def judged(real: Real, candidate: Any, questions: Any = None) -> Tree:
    return judge.judge(candidate, real, resamples=200, questions=questions)


def node(tree: Tree, path: str) -> Any:
    """A figure or a branch."""
    found: Any = tree
    for name in path.split("."):
        found = found[name]
    return found


def of(real: Real, sampler: Any, questions: Any = None) -> Tree:
    return judged(real, candidates.of_sampler(sampler, real, DRAWS, 0, "test"), questions)


def interval_holds(figure: Any, value: Any) -> bool:
    return figure.low <= value <= figure.high


def missed(tree: Tree, floor: Tree, level: str = "every") -> set[str]:
    return {t.name for t in targets.verdicts(tree, floor) if t.level == level and t.verdict == "missed"}


def test_real_training_curves_score_as_real(floor: Tree) -> None:
    holding = []  # 95 % intervals that hold what they should
    for level in ("every", "best"):
        for index in JUDGED:
            holding.append(interval_holds(at(floor, f"spread.{level}.unweighted.{index}.residual_sd_ratio"), 1))
            holding.append(interval_holds(at(floor, f"spread.{level}.unweighted.{index}.mean_shift"), 0))
            holding.append(interval_holds(at(floor, f"calibration.{level}.unweighted.{index}.coverage_80"), 0.8))
        assert at(floor, f"groups.{level}.unweighted.sex_age_beyond").value == 0
        for kind in ("clinical", "detailed", "fine", "whole"):
            assert at(floor, f"two_sample.{level}.{kind}.auc").value < 0.58
            assert at(floor, f"two_sample.{level}.{kind}.precision").value > 0.85
        assert at(floor, f"utility.{level}.ratio").value > 0.93
        assert interval_holds(at(floor, f"copying.{level}.nearest_share"), 0.5)
        assert interval_holds(at(floor, f"copying.{level}.nearer_than_held"), 0.5)
        assert interval_holds(at(floor, f"physics.{level}.unweighted.any_difference"), 0)
    assert np.mean(holding) > 0.8


def test_new_held_out_people_score_at_the_floor(real: Real, floor: Tree) -> None:
    fresh, _ = world.measure(world.people(150, 77, first=900_000), 3, 77)
    tree = judged(real, candidates.Candidate(fresh, paired=False))
    assert at(tree, "two_sample.every.clinical.auc").value < 0.58
    assert at(tree, "two_sample.every.fine.auc").value < 0.58
    assert at(tree, "groups.every.unweighted.sex_age_beyond").value == 0
    assert interval_holds(at(tree, "copying.every.nearest_share"), 0.5)
    assert at(tree, "utility.every.ratio").value > 0.93
    assert at(tree, "calibration.every.unweighted.fev1.crps").value is None  # real people have no draws


def test_a_generator_that_knows_the_laws_passes(real: Real, floor: Tree) -> None:
    tree = of(real, world.perfect)
    # among two dozen targets with 95 % intervals one or two are missed by chance
    assert len(missed(tree, floor, "every") | missed(tree, floor, "best")) <= 2
    assert at(tree, "groups.every.unweighted.sex_age_mean_over_floor").value < 1
    assert at(tree, "two_sample.every.fine.auc").value < 0.58


def test_a_spread_narrowed_by_a_fifth_is_seen(real: Real, floor: Tree) -> None:
    def narrowed(people: pd.DataFrame, draws: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        many = people.loc[people.index.repeat(draws)].reset_index(drop=True)
        deviation = 0.8 * rng.standard_normal((len(many), 3)) * np.hypot(world.PERSON_SD, world.EFFORT_SD)
        return world.signals(many, deviation, rng).reshape(len(people), draws, -1)

    tree = of(real, narrowed, SPREAD)
    assert {"residual_sd", "explained_variance", "coverage_80", "coverage_90"} <= missed(tree, floor)
    for index in JUDGED:
        ratio = at(tree, f"spread.every.unweighted.{index}.residual_sd_ratio")
        assert ratio.high < 1
        found: Any = registry.node_at(tree, registry.named("pit", "every", index))
        pit = found.value
        assert pit[0] + pit[-1] > 1.5 * (pit[9] + pit[10])  # the truth lies outside the draws too often


def test_shuffled_conditions_are_seen(real: Real, floor: Tree) -> None:
    def shuffled(people: pd.DataFrame, draws: int, seed: int) -> np.ndarray:
        order = np.random.default_rng(seed).permutation(len(people))
        return world.perfect(people.iloc[order].reset_index(drop=True), draws, seed)

    tree = of(real, shuffled, SPREAD)
    assert {"residual_sd", "explained_variance", "coverage_50", "wasserstein", "wasserstein_groups"} <= missed(
        tree, floor
    )
    assert at(tree, "spread.every.unweighted.fev1.explained_variance").value < 0.1


def test_one_sex_s_curves_for_both_are_seen(real: Real, floor: Tree) -> None:
    tree = of(real, lambda people, draws, seed: world.perfect(people.assign(sex=1), draws, seed), SPREAD)
    assert "wasserstein_groups" in missed(tree, floor)
    beyond = [
        path.split(".")[-2]
        for path, figure in leaves(node(tree, "groups.every.unweighted.sex_age"))
        if path.endswith("beyond") and figure.value
    ]
    assert beyond
    assert all(group.startswith("female") for group in beyond)


def test_copies_of_training_curves_are_seen(real: Real, floor: Tree) -> None:
    def copied(people: pd.DataFrame, draws: int, seed: int) -> np.ndarray:
        rows = np.random.default_rng(seed).integers(len(real.train), size=(len(people), draws))
        return real.train_signals[rows]

    tree = of(real, copied, ("copying",))
    assert "nearest_share" in missed(tree, floor)
    copying = node(tree, "copying.every")
    assert copying["nearest_share"].low > 0.5
    assert copying["nearer_than_held"].value > 0.95
    assert copying["authenticity"].value < 0.05
    assert copying["near_copies"].value > 0.95


def test_curves_without_tremor_are_seen(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "TREMOR_L_S", 0.0)
    tree = of(real, world.perfect, ("two_sample",))
    assert at(tree, "two_sample.every.fine.auc").value > 0.85


def test_impossible_curves_are_counted(real: Real) -> None:
    def falling(people: pd.DataFrame, draws: int, seed: int) -> np.ndarray:
        signals = world.perfect(people, draws, seed)
        signals[..., 250:270] -= 0.6  # the volume falls by a third of a litre
        return signals

    tree = of(real, falling, ("physics",))
    assert at(tree, "physics.every.unweighted.falling_difference").low > 0.9


def test_a_loss_that_knows_its_training_curves_gives_members_away(real: Real) -> None:
    rng = np.random.default_rng(0)
    curves, losses = real.held_out, (rng.normal(0.9, 0.2, len(real.members)), rng.normal(1.1, 0.2, len(real.held_out)))
    leaking = judged(real, candidates.Candidate(curves, losses=losses), ("copying",))
    assert node(leaking, "copying.every.membership_loss_auc").low > 0.6
    blind = (rng.normal(size=len(real.members)), rng.normal(size=len(real.held_out)))
    tree = judged(real, candidates.Candidate(curves, losses=blind), ("copying",))
    assert interval_holds(node(tree, "copying.every.membership_loss_auc"), 0.5)


def test_indices_without_curves_leave_figures_open_with_a_reason(real: Real, floor: Tree) -> None:
    tree = judged(real, candidates.reference(real, DRAWS, 0))
    json.dumps(to_json(tree), allow_nan=False)
    assert at(tree, "calibration.best.unweighted.fev1.crps").value > 0
    for path, figure in leaves(tree):
        assert figure.value is not None or node(tree, path).reason, path
    assert at(tree, "two_sample.every.fine.auc").reason
    assert at(tree, "calibration.best.unweighted.fef2575.crps").value is None


def test_four_people_are_too_few_and_the_judge_says_so() -> None:
    real = world.real(held_out=4)
    tree = judged(real, candidates.of_sampler(world.perfect, real, DRAWS, 0, "test"))
    found = dict(leaves(tree))
    assert all(isinstance(f, Figure) and f.value is None and "4 participants" in f.reason for f in found.values())


def test_a_diverged_generator_ends_with_one_line(real: Real) -> None:
    with pytest.raises(SpiroError, match="9000 of 9000 generated curves are not finite"):
        of(real, lambda people, draws, seed: np.full((len(people), draws, 512), np.nan), ("spread",))


def test_the_same_seed_gives_the_same_figures() -> None:
    trees = [of(world.real(held_out=30), world.perfect) for _ in range(2)]
    assert trees[0] == trees[1]


def test_the_best_baseline_by_crps_is_the_one_to_beat(real: Real) -> None:
    good = of(real, world.perfect, ("crps_people",))
    poor = of(real, lambda p, d, s: world.perfect(p.iloc[::-1].reset_index(drop=True), d, s), ("crps_people",))
    against: Any = judge.over_baselines(poor, {"good": good, "poor": poor}, resamples=200)
    assert against["fev1"].baseline == "good"
    assert against["fev1"].low > 1.2
    alone: Any = judge.over_baselines(good, {}, resamples=200)
    assert alone["fev1"].value is None


def test_a_mistyped_path_is_refused_and_an_open_question_says_why(floor: Tree) -> None:
    with pytest.raises(
        SpiroError, match=r"calibration\.every\.unweighted\.fev1\.coverge_80: the judge found no such figure"
    ):
        at(floor, "calibration.every.unweighted.fev1.coverge_80")
    with pytest.raises(SpiroError, match="spred"):
        at(floor, "spred.every.unweighted.fev1.residual_sd")
    with pytest.raises(SpiroError, match="is no figure"):
        at(floor, "calibration.every.unweighted.fev1")
    with pytest.raises(KeyError):
        registry.named("coverge_80", "every", "fev1")
    assert at({}, "calibration.every.unweighted.fev1.crps").reason == "not asked"
    assert at(floor, "copying.every.membership_loss_auc").reason == "the candidate has no loss"


def test_every_figure_of_the_registry_is_judged(floor: Tree) -> None:
    """But for those of the autoencoder and the baselines, which test_evaluate looks up in the stage's file."""
    for level in registry.LEVELS:
        for line in registry.lines(level):
            assert registry.node_at(floor, line.path) is not None
    paths = [line.path for level in (None, *registry.LEVELS) for line in registry.lines(level)]
    assert len(paths) == len(set(paths))
    assert {entry.target for entry in registry.ENTRIES} - {None} == set(registry.TARGETS)
