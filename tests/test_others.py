"""Other efforts of the same person: never the effort itself, surer with them, nothing told without them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_reconstruction import MAN, blow, spiro, write

from spiro_diffusion import api
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.models.mixture_density import Density, DensityConfig
from spiro_diffusion.physiology import time_grid
from spiro_diffusion.reconstruction import examples, segments, sibling_efforts
from spiro_diffusion.reconstruction.sibling_efforts import NONE, Others
from spiro_diffusion.user_curves import read

MORE = blow(fast=3.4, slow=1.6, tau=(0.35, 2.0))  # the same first second, nearly; more to come than most have


@pytest.fixture(scope="module")
def generator(reconstructing: Path) -> api.SpiroGenerator:
    return api.SpiroGenerator.from_checkpoint(reconstructing)


@pytest.fixture(scope="module")
def table(data: Path) -> pd.DataFrame:
    return pd.read_parquet(data / "curves.parquet")


def width(found: api.Recovered) -> float:
    low, high = found.summary()[["low_90", "high_90"]].loc["fvc"].to_numpy(np.float64)
    return high - low


def test_an_effort_is_never_its_own_other_and_its_others_are_of_the_same_person_and_test(table: pd.DataFrame) -> None:
    rows = np.arange(len(table))
    found = sibling_efforts.siblings(table, rows)
    there = found != NONE
    assert there.any()
    assert not (found == rows[:, None]).any()
    for column in ("seqn", "test_type"):
        expected = np.broadcast_to(table[column].to_numpy()[:, None], found.shape)
        assert (table[column].to_numpy()[found][there] == expected[there]).all()
    assert table["acceptable"].to_numpy()[found[there]].all()
    row, among = sibling_efforts.best(table, found)
    size = (table["fev1"] + table["fvc"]).to_numpy()
    first = int(np.flatnonzero(among > 1)[0])
    assert size[row[first]] == size[found[first][there[first]]].max()
    assert (row[among == 0] == NONE).all()


def test_about_half_of_the_examples_are_shown_some_of_the_others(table: pd.DataFrame) -> None:
    found = np.tile(sibling_efforts.siblings(table, np.arange(len(table))), (20, 1))
    chosen = sibling_efforts.some(found, np.random.default_rng(0))
    assert ((chosen == found) | (chosen == NONE)).all()
    possible, number = (found != NONE).sum(axis=1), (chosen != NONE).sum(axis=1)
    assert (number[possible > 0] > 0).mean() == pytest.approx(sibling_efforts.GIVEN_SHARE, abs=0.05)
    assert set(number[possible == 3]) == {0, 1, 2, 3}


def test_what_is_told_knows_nothing_of_what_the_effort_itself_hides() -> None:
    v, other = (time_grid.volume(time_grid.to_grid(flow[None], np.array([0.2]))) for flow in (blow(), MORE))
    others, cut = Others(other, np.array([1])), np.array([250])
    before_cut = np.minimum(v, v[:, cut[0], None])
    features = sibling_efforts.tail_features(others, v, cut)
    np.testing.assert_array_equal(features, sibling_efforts.tail_features(others, before_cut, cut))
    end = segments.end_edge(np.diff(other, axis=1))
    np.testing.assert_allclose(features[:, :7], segments.tail_numbers(other, cut, end))
    late = np.pad(v, ((0, 0), (10, 0)), mode="edge")[:, :513]  # the same volume at the join, which comes later
    early, later = (sibling_efforts.onset_features(others, x, np.array([p])) for x, p in ((v, 70), (late, 80)))
    np.testing.assert_allclose(early, later)


def test_nothing_is_told_where_there_is_none(table: pd.DataFrame, data: Path) -> None:
    signals = np.load(data / "signals_L512.npy")
    rows = np.flatnonzero(examples.full(table, signals))
    for made in examples.examples(signals, table, rows, 2, seed=0).values():
        compared = made.features[:, -made.numbers.shape[1] - sibling_efforts.COMPARED :]
        absent = compared[:, -1] == 0
        assert absent.any()
        assert (compared[absent] == 0).all()
        assert (compared[~absent] != 0).any(axis=0).all()


def test_what_is_drawn_without_the_optional_features_does_not_suffer_for_them() -> None:
    generator = torch.Generator().manual_seed(0)
    x, optional = torch.randn(4000, 2, generator=generator), torch.randn(4000, 1, generator=generator)
    there = (torch.rand(4000, 1, generator=generator) < 0.5).float()
    y = x[:, :1] + 0.5 * optional + 0.05 * torch.randn(4000, 1, generator=generator)
    model = Density(DensityConfig(4, 1, optional=2, width=8, components=1))
    model.fit_scales(torch.cat([x, optional * there, there], dim=1), y)
    at = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 2.0, 1.0]])
    mean, sd = model._start(at, model._given(at))
    assert mean[:, 0].tolist() == pytest.approx([1.0, 2.0], abs=0.1)
    assert sd[:, 0].tolist() == pytest.approx([0.5, 0.05], rel=0.1)


def test_another_effort_moves_the_reconstruction_towards_it_and_makes_it_surer(generator: api.SpiroGenerator) -> None:
    cut = blow()[:150]
    alone = generator.reconstruct(cut, **MAN, n=60)
    full = generator.reconstruct(cut, **MAN, n=60, others=[blow(fast=3.6)])
    more = generator.reconstruct(cut, **MAN, n=60, others=[MORE])
    assert width(full) < width(alone)
    assert more.indices["fvc"].median() > full.indices["fvc"].median() + 0.1
    assert (alone.others, full.others) == (0, 1)
    assert "In a full effort, given another effort of the same person," in full.sentence
    assert "given" not in alone.sentence


def test_the_best_of_several_is_told_and_a_spoiled_one_left_out(generator: api.SpiroGenerator) -> None:
    breath = np.concatenate([blow(fast=3.6), -0.5 * np.ones(60), np.ones(60)])
    cut, lesser = blow()[:150], blow(fast=3.0)
    found = generator.reconstruct(cut, **MAN, n=5, others=[lesser, breath, MORE])
    assert found.others == 2
    assert found.notes == ["other effort 2 is left out: extra breath"]
    assert "given 2 other efforts" in found.sentence
    with pytest.raises(SpiroError, match="extra breath; give another effort without such a fault, or none"):
        generator.reconstruct(cut, **MAN, n=5, others=[breath])


def test_the_command_takes_another_file_or_the_rest_of_its_own(
    reconstructing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, rest = write(tmp_path / "one.csv", blow()[:150]), write(tmp_path / "rest.csv", MORE)
    both = pd.concat([pd.read_csv(f).assign(curve=n) for f, n in ((one, "a"), (rest, "b"))])
    both.to_csv(tmp_path / "both.csv", index=False)
    common = ("--models", str(reconstructing), "-n", "10", "--json")
    result = [
        json.loads(spiro(capsys, str(file), *more, *common)[1])
        for file, more in (
            (one, ("--others", str(rest))),
            (tmp_path / "both.csv", ("--curve", "a", "--others", str(tmp_path / "both.csv"))),
        )
    ]
    assert result[0]["others"] == result[1]["others"] == 1
    assert result[0]["indices"] == result[1]["indices"]
    status, _, err = spiro(capsys, str(one), "--others", str(one), *common)
    assert status == 1
    assert "holds no curve but the one to reconstruct" in err
    assert len(read(tmp_path / "both.csv").curves()) == 2


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (blow(), "the same curve again"),
        (np.zeros(300), "no expiration"),
        (MORE / 10, "other units"),
        (np.full(300, np.nan), "finite"),
    ],
)
def test_another_effort_that_is_none_ends_in_a_line(
    generator: api.SpiroGenerator, other: np.ndarray, words: str
) -> None:
    with pytest.raises(SpiroError, match=words) as refused:
        generator.reconstruct(blow()[:150], **MAN, others=[other])
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("other effort 1")
