"""The attack with shadow models: what it finds where a model knows its people, and nothing where it does not."""

import numpy as np

from benchmarks import shadow_models

COUNT, PEOPLE = 8, 400


def attacked(learned: float) -> dict:
    """Success against models whose loss on a person falls by `learned` SDs where they saw them."""
    rng = np.random.default_rng(0)
    inside = shadow_models.assigned(np.arange(PEOPLE), COUNT, rng)
    difficulty = 3 * rng.standard_normal(PEOPLE)  # of the person, the same for every model
    losses = difficulty + rng.standard_normal((COUNT, PEOPLE)) - learned * inside
    return shadow_models.success(shadow_models.scores(losses, inside), inside, rng)


def test_what_the_others_saw_says_nothing_of_the_attacked_model() -> None:
    inside = shadow_models.assigned(np.arange(5000), COUNT, np.random.default_rng(1))
    assert np.abs(np.asarray(np.corrcoef(inside))[0, 1:]).max() < 0.05


def test_models_that_learned_nobody_give_nothing_away() -> None:
    found = attacked(0.0)
    assert found["auc"]["low"] <= 0.5 <= found["auc"]["high"]
    assert found["true_at_1_percent"]["low"] <= 0.01 <= found["true_at_1_percent"]["high"]


def test_models_that_know_their_people_are_found_out() -> None:
    found = attacked(3.0)
    assert found["auc"]["low"] > 0.85
    assert found["true_at_1_percent"]["low"] > 0.2
