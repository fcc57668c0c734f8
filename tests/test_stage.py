"""A stage's params: what a user may write wrong ends in one line that names it."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.params import load_params
from spiro_diffusion.pipeline.stage import run_stage


@dataclass(frozen=True)
class Params:
    lr: float
    epochs: int
    grid: Literal["warped", "stretch"]
    grades: list[str]
    limit: float | None = None


GOOD = "toy: {lr: 1e-05, epochs: 3, grid: warped, grades: [A, B]}"


def read(tmp_path: Path, text: str) -> Params:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    return load_params(Params, "toy", file)


def test_a_number_as_dvc_writes_it_is_a_number(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD) == Params(1e-05, 3, "warped", ["A", "B"])


def test_an_integer_serves_as_a_float(tmp_path: Path) -> None:
    lr = read(tmp_path, GOOD.replace("1e-05", "1")).lr
    assert (lr, type(lr)) == (1.0, float)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (GOOD.replace("epochs", "epoch"), "toy.epoch is not a parameter; known: lr, epochs"),
        (GOOD.replace("epochs: 3, ", ""), "toy.epochs is missing"),
        (GOOD.replace("3", "3.5"), "toy.epochs is 3.5; expected int"),
        (GOOD.replace("3", "true"), "toy.epochs is True; expected int"),
        (GOOD.replace("1e-05", "fast"), "toy.lr is 'fast'; expected float"),
        (GOOD.replace("warped", "bent"), "toy.grid is 'bent'; expected one of 'warped', 'stretch'"),
        (GOOD.replace("[A, B]", "A"), "toy.grades is 'A'; expected a list"),
        ("other: {}", "section 'toy' is missing"),
        ("- toy", "holds no sections"),
        ("toy: {", "not YAML"),
    ],
)
def test_a_wrong_section_is_refused(tmp_path: Path, wrong: str, message: str) -> None:
    with pytest.raises(SpiroError) as error:
        read(tmp_path, wrong)
    assert message in str(error.value)
    assert "params.yaml" in str(error.value)


def test_a_stage_takes_its_paths_from_arguments_and_ends_errors_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def toy(params: Params, *, raw_data: Path, out: Path = Path("default")) -> None:
        seen.update(params=params, raw_data=raw_data, out=out)
        if params.epochs > 5:
            raise SpiroError("two\nlines")

    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(GOOD)
    run_stage(toy, Params, ["--raw-data", "x"])
    assert seen == {"params": read(tmp_path, GOOD), "raw_data": Path("x"), "out": Path("default")}
    Path("params.yaml").write_text(GOOD.replace("3", "6"))
    with pytest.raises(SystemExit) as end:
        run_stage(toy, Params, ["--raw-data", "x"])
    assert end.value.code == "toy: two lines"


def _map() -> None:
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))  # what mmap says


@pytest.mark.parametrize("allocate", [lambda: np.empty(1 << 50), lambda: torch.empty(1 << 50), _map])
def test_a_lack_of_memory_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allocate: Callable[[], object]
) -> None:
    def toy(params: Params) -> None:
        allocate()

    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(GOOD)
    with pytest.raises(SystemExit, match=r"^toy: not enough memory \(.*\d.*\); nothing that was made is lost"):
        run_stage(toy, Params, [])


def test_another_run_of_a_stage_is_refused_until_the_first_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[Any] = []

    def toy(params: Params) -> None:
        runs.append(len(runs))
        if len(runs) == 1:
            with pytest.raises(SystemExit, match="toy: another run of this stage is going on here; wait for it"):
                run_stage(toy, Params, [])

    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(GOOD)
    run_stage(toy, Params, [])
    run_stage(toy, Params, [])
    assert len(runs) == 2
