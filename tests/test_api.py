"""The model and the data in Python: people in, curves out; the pipeline's curves, raw and on the grid."""

import tomllib
import warnings
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from repository import ROOT

from spiro_diffusion.api import Curves, SpiroGenerator, load_curves
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.subjects import conditioned
from spiro_diffusion.physiology import time_grid

MAN: dict[str, Any] = {"age": 45, "height": 175, "sex": "male"}


@pytest.fixture(scope="module")
def generator(models: Path) -> SpiroGenerator:
    return SpiroGenerator.from_checkpoint(models)


@pytest.fixture(scope="module")
def curves(generator: SpiroGenerator) -> Curves:
    return generator.generate(**MAN, n=3, seed=5)


def test_a_person_comes_as_keywords_a_dict_or_a_table(generator: SpiroGenerator, curves: Curves) -> None:
    for people in (MAN, {name: [value] for name, value in MAN.items()}, pd.DataFrame([MAN])):
        np.testing.assert_array_equal(generator.generate(people, n=3, seed=5).flow, curves.flow)
    both = generator.generate({"age": [30, 45], "height": [160, 175], "sex": "female"}, n=2)
    assert both.person.tolist() == [0, 0, 1, 1]
    assert both.people["sex"].tolist() == [2, 2]


def test_its_types_are_for_others_too() -> None:
    """Without the marker a type checker takes all of an installed package for Any (PEP 561)."""
    assert (resources.files("spiro_diffusion") / "py.typed").is_file()
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert "py.typed" in packaged["spiro_diffusion"]


def test_curves_are_flow_volume_and_time_in_step(curves: Curves) -> None:
    assert curves.flow.shape == curves.volume.shape == (len(curves), len(curves.time)) == (3, 2048)
    assert (curves.time[0], curves.time[50]) == (-0.5, 0.0)
    np.testing.assert_allclose(np.diff(curves.volume), 0.01 * curves.flow[:, :-1], atol=1e-5)
    np.testing.assert_allclose((curves.signals * time_grid.WIDTHS_S).sum(1), 0.01 * curves.flow.sum(1), atol=1e-3)


def test_tables_are_long_or_wide_on_either_grid(curves: Curves) -> None:
    long, wide = curves.to_pandas(), curves.to_pandas(wide=True)
    assert (len(long), len(wide)) == (3 * 2048, 3)
    np.testing.assert_array_equal(wide.filter(like="t_").to_numpy().ravel(), long["flow_l_s"])
    assert list(wide)[:6] == ["person", "draw", "age", "height", "sex", "t_-0.50"]
    samples = curves.to_pandas(wide=True, grid="512").filter(like="t_")
    assert samples.shape == (3, 512)
    np.testing.assert_allclose(samples, curves.signals, atol=1e-4)
    np.testing.assert_allclose(np.array([float(str(name)[2:]) for name in samples]), time_grid.EDGES_S[:-1], atol=1e-4)


def test_indices_and_a_picture(curves: Curves, tmp_path: Path) -> None:
    table = curves.indices()
    assert {"person", "draw", "fev1", "fvc", "fev1_z"} <= set(table)
    assert len(table) == 3
    figure = curves.plot(tmp_path / "curves.png")
    assert len(figure.axes) == 2
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_seed_gives_the_same_curves_whatever_the_batch(generator: SpiroGenerator) -> None:
    people = {"age": [20, 45, 70], "height": [180, 175, 160], "sex": [1, 1, 2]}
    table = conditioned(pd.DataFrame(people))
    one, other = (generator.draw(table, 50, 7, batch=size) for size in (64, 512))
    np.testing.assert_allclose(one.signals, other.signals, atol=1e-4)
    assert not np.array_equal(one.signals, generator.generate(people, n=50, seed=8).signals)


def test_near_the_ends_of_what_was_trained_it_warns(generator: SpiroGenerator) -> None:
    with pytest.warns(UserWarning, match="within 2 years"):
        generator.generate(age=78.5, height=175, sex="f")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generator.generate(MAN)


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        ({}, "no column age, height, sex"),
        ({"people": MAN, "age": 45}, "not both"),
        ({"people": {"age": [1, 2], "height": [1], "sex": "m"}}, "people: All arrays must be of the same length"),
        ({**MAN, "age": 80}, "age is 80"),
        ({**MAN, "grade": "E"}, "grade is E"),
        ({**MAN, "n": 0}, "n is 0"),
        ({**MAN, "seed": -1}, "seed is -1"),
        ({**MAN, "n": 100_000}, "more than 50000"),
        ({"people": MAN | {"draw": 3}}, "'draw' is a name of the output"),
    ],
)
def test_what_cannot_be_drawn_is_refused(generator: SpiroGenerator, requested: dict, message: str) -> None:
    with pytest.raises(SpiroError, match=message):
        generator.generate(**requested)


def test_the_data_alone_raw_and_on_the_grid(data: Path) -> None:
    every = load_curves(folder=data)
    assert every.signals.shape == (len(every), 512)
    rows = 0
    for batch in every.flow(size=50):
        some = every.table.iloc[batch.rows]
        np.testing.assert_allclose(batch.flow.cumsum(1).max(1) * 0.01, some["fvc"], atol=0.002)
        rows += len(batch.flow)
    assert rows == len(every)
    parts = [load_curves(split, data) for split in ("train", "validation", "test")]
    assert sum(map(len, parts)) == len(every)
    for part in parts:
        volume = time_grid.volume(part.signals)[:, 1:].max(1)
        np.testing.assert_allclose(volume, part.table["fvc"] - part.table["lead_volume"], atol=0.1)
        assert sum(len(batch.points) for batch in part.flow()) == len(part)


def test_data_that_are_not_there_are_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SpiroError, match="dvc repro"):
        load_curves(folder=tmp_path)
    with pytest.raises(SpiroError, match="expected one of train, validation, test"):
        load_curves("training", data)  # type: ignore[arg-type]
