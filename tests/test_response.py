"""Before and after a bronchodilator: the figures of people who took it, beside those of generated ones."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.evaluation import response
from spiro_diffusion.evaluation.figures import Figure
from spiro_diffusion.evaluation.registry import at


def world(people: int, seed: int, opened: float = 0.08) -> pd.DataFrame:
    """Efforts of people of whom every other one took the bronchodilator."""
    rng = np.random.default_rng(seed)
    rows = []
    for person in range(people):
        size = np.exp(rng.normal(0, 0.2))
        change = np.exp(rng.normal(opened, 0.07))
        for kind in ("Pre", "Bron") if person % 2 else ("Pre",):
            for number in range(3):
                noise = np.exp(rng.normal(0, 0.02))
                fev1 = 2.2 * size * noise * (change if kind == "Bron" else 1)
                rows.append((person, kind, number + 1, fev1, 3.4 * size * noise, 6 * size * noise, "A"))
    names = ["seqn", "test_type", "curve_number", "fev1", "fvc", "pef", "grade"]
    return pd.DataFrame(rows, columns=names).assign(age=50.0, height=170.0, sex=1)


def drawn(opened: float = 0.08) -> response.Drawer:
    """Of the same world, with the FEV1 and FVC before that are given."""

    def draw(efforts: pd.DataFrame, seed: int, known_best: np.ndarray) -> pd.DataFrame:
        rng = np.random.default_rng([seed, 7])
        person = pd.factorize(efforts["person"])[0]
        best = efforts["place"].to_numpy() == 1
        change = np.exp(rng.normal(opened, 0.07, len(known_best)))[person]
        after = (efforts["test_type"] == "Bron").to_numpy()
        less = np.where(best, 1.0, 0.97)
        fev1 = known_best[person, 0] * np.where(after, change, 1) * less
        pef = fev1 / np.where(after, change, 1) * 6 / 2.2
        return efforts.assign(fev1=fev1, fvc=known_best[person, 1] * less, pef=pef, grade="A")

    return draw


def test_people_who_took_it_are_those_with_efforts_that_count_in_both_sessions() -> None:
    table = world(6, seed=0)
    table.loc[(table["seqn"] == 1) & (table["test_type"] == "Bron"), "grade"] = "D"
    assert set(response.taken_by(table)["seqn"]) == {3, 5}


def test_what_follows_from_a_change_is_counted_by_its_rules() -> None:
    table = pd.DataFrame(
        {
            "person": [1, 1, 2, 2],
            "test_type": ["Pre", "Bron"] * 2,
            "fev1": [1.5, 1.75, 3.0, 3.25],  # 12 % and 200 mL; 8 %
            "fvc": [2.5, 2.5, 4.0, 4.5],  # none; 12.5 % and 500 mL
            "pef": 5.0,
            "grade": "A",
        }
    )
    found = response.of_people(table)
    assert found["responds"].tolist() == [1, 0]
    assert found["either"].tolist() == [1, 1]
    assert found["before"].tolist() == [1, 0]
    assert found["after"].tolist() == [0, 0]


def test_people_of_the_same_world_are_not_told_apart_and_others_are(tmp_path: Path) -> None:
    table = world(400, seed=1)
    same = response.judge(table, drawn(), draws=3, resamples=200, seed=1)
    for name in ("fev1_mean", "responds", "before", "after"):
        found = at(same, f"{name}.difference")
        assert isinstance(found, Figure)
        assert found.interval is not None
        assert found.interval[0] <= 0 <= found.interval[1], name
    other = response.judge(table, drawn(0.2), draws=3, resamples=200, seed=1)
    difference = at(other, "fev1_mean.difference")
    assert isinstance(difference, Figure)
    assert difference.interval is not None
    assert difference.interval[0] > 0.2
    response.write(tmp_path, same, 200)
    assert response.read(tmp_path) == (200, same)


def test_too_few_people_are_said_to_be_so() -> None:
    found = response.judge(world(4, seed=2), drawn(), draws=2, resamples=100, seed=1)
    assert all(isinstance(node, Figure) and node.reason for node in found.values())


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / response.FILE).write_text("{}")
    with pytest.raises(SpiroError, match="not figures of a response"):
        response.read(tmp_path)
