"""Sessions of one lung as users ask for them: in Python and on the command line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lungs import Lungs

from spiro_diffusion import api
from spiro_diffusion.api import SpiroGenerator
from spiro_diffusion.cli import main
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.physiology import effort_kinds, spirometry, time_grid
from spiro_diffusion.user_curves import read

PERSON = {"age": 45, "height": 175, "sex": "male"}
WORDS = ["--age", "45", "--height", "175", "--sex", "male"]


@pytest.fixture(scope="module")
def generator(models: Path) -> SpiroGenerator:
    return SpiroGenerator.from_checkpoint(models, device="cpu")


def test_a_session_is_efforts_of_one_lung_before_and_after(generator: SpiroGenerator) -> None:
    curves = generator.sessions(PERSON, efforts=5, after=3, n=2, seed=1)
    table = curves.indices()
    assert len(curves) == 16
    for lung in (0, 1):
        of_lung = table[table["draw"] == lung]
        assert of_lung["test_type"].tolist() == ["Pre"] * 5 + ["Bron"] * 3
        assert of_lung["effort"].tolist() == [1, 2, 3, 4, 5, 1, 2, 3]
        assert of_lung["grade"].isin(list("ABCD")).all()
        assert of_lung["best"].sum() <= 1
        assert not of_lung.loc[of_lung["test_type"] == "Bron", "best"].any()
    again = generator.sessions(PERSON, efforts=5, after=3, n=2, seed=1)
    np.testing.assert_array_equal(again.signals, curves.signals)
    assert np.abs(generator.sessions(PERSON, efforts=5, after=3, n=2, seed=2).signals - curves.signals).max() > 1e-3


def test_a_table_of_people_has_a_session_each(generator: SpiroGenerator) -> None:
    people = pd.DataFrame([PERSON | {"id": "a"}, {"age": 30, "height": 160, "sex": "female", "id": "b"}])
    found = generator.sessions(people, efforts=3).to_pandas(wide=True)
    assert found["id"].tolist() == ["a"] * 3 + ["b"] * 3
    assert found["person"].tolist() == [0] * 3 + [1] * 3


def test_what_cannot_be_is_refused(generator: SpiroGenerator) -> None:
    with pytest.raises(SpiroError, match="efforts is 9"):
        generator.sessions(PERSON, efforts=9)
    with pytest.raises(SpiroError, match="gold-2 is of values after a bronchodilator: draw efforts after it too"):
        generator.sessions(PERSON, pattern="gold-2")


def test_a_session_is_asked_for_by_its_best_values(generator: SpiroGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "SessionEfforts", lambda _: Lungs())
    heard: list[str] = []
    curves = generator.sessions(PERSON, efforts=4, after=2, n=3, fev1=2.5, tell=heard.append)
    table = curves.indices()
    assert table.groupby("draw").size().tolist() == [6, 6, 6]
    counted = table[(table["test_type"] == "Pre") & table["grade"].isin(list("ABC"))]
    assert (np.abs(counted.groupby("draw")["fev1"].max() - 2.5) <= 0.025).all()
    assert any("two puffs, at least ten minutes" in line for line in heard)


def test_a_session_of_a_kind_of_effort_has_at_least_one(
    generator: SpiroGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "SessionEfforts", lambda _: Lungs())
    people = pd.DataFrame([PERSON, PERSON]).assign(effort=pd.Series(["slow-start", None], dtype=object))
    curves = generator.sessions(people, efforts=3, n=2, tell=lambda _: None)
    flow = time_grid.to_10ms(curves.signals[curves.person == 0])
    found = spirometry.indices(flow, spirometry.end_of_flow(flow))
    kind = effort_kinds.carries("slow-start", found, np.full(len(flow), 45.0))
    assert kind.reshape(2, 3).any(axis=1).all()
    table = curves.indices()
    assert table["effort"].tolist() == [1, 2, 3] * 4
    assert table.loc[table["person"] == 0, "requested_effort"].eq("slow-start").all()


def test_the_command_draws_a_session(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "session.csv"
    command = ["generate", "--models", str(models), *WORDS, "--session", "4", "--after", "2", "-n", "1"]
    assert main([*command, "--out", str(out), "--json"]) == 0
    curves = json.loads(capsys.readouterr().out)["curves"]
    assert [curve["effort"] for curve in curves] == [1, 2, 3, 4, 1, 2]
    assert len(pd.read_csv(tmp_path / "session_indices.csv")) == 6
    efforts = pd.read_csv(out)[["test_type", "effort"]].drop_duplicates()
    assert efforts.to_numpy().tolist() == [["Pre", 1], ["Pre", 2], ["Pre", 3], ["Pre", 4], ["Bron", 1], ["Bron", 2]]
    with_arrays = [*command, "--out", str(tmp_path / "arrays.npz")]
    assert main(with_arrays) == 0
    with np.load(tmp_path / "arrays.npz") as arrays:
        assert arrays["effort"].tolist() == [1, 2, 3, 4, 1, 2]
        assert arrays["test_type"].tolist() == ["Pre"] * 4 + ["Bron"] * 2
    assert main(["generate", "--models", str(models), *WORDS, "--after", "2"]) == 1
    assert "--after is for --session" in capsys.readouterr().err
    assert main([*command, "--grade", "A"]) == 1
    assert "leave out --grade" in capsys.readouterr().err


def test_the_file_of_a_session_is_read_back_an_effort_at_a_time(tmp_path: Path) -> None:
    time = np.arange(300) * 0.01
    blow = {"time_s": time, "flow_l_s": 6 * np.minimum(time / 0.08, 1) * np.exp(-time / 0.6)}
    kinds = [("Pre", 1), ("Pre", 2), ("Bron", 1)]
    efforts = [pd.DataFrame(blow).assign(person=0, draw=0, test_type=kind, effort=number) for kind, number in kinds]
    path = tmp_path / "session.csv"
    pd.concat(efforts)[["person", "draw", "test_type", "effort", "time_s", "flow_l_s"]].to_csv(path, index=False)
    curves = read(path)
    assert curves.names == ["0/0/Pre/1", "0/0/Pre/2", "0/0/Bron/1"]
    assert any("before and after a bronchodilator" in note and "separately" in note for note in curves.notes)


def test_efforts_before_and_after_the_bronchodilator_are_graded_separately(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    time = np.arange(600) * 0.01
    kinds = [("Pre", 1, 0.6), ("Pre", 2, 0.6), ("Bron", 1, 0.7)]
    efforts = [
        pd.DataFrame({"time_s": time, "flow_l_s": 6 * np.minimum(time / 0.08, 1) * np.exp(-time / constant)}).assign(
            person=0, draw=0, test_type=kind, effort=number
        )
        for kind, number, constant in kinds
    ]
    path = tmp_path / "session.csv"
    pd.concat(efforts).to_csv(path, index=False)
    assert main(["indices", str(path), "--age", "45", "--height", "175", "--sex", "male", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [curve["session_fvc"] for curve in found["curves"]] == ["B", "B", "E"]
    assert [grades["fvc"] for grades in found["session"]["grades"].values()] == ["B", "E"]
