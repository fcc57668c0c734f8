"""A stage's params: what a user may write wrong ends in one line that names it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from spiro_diffusion.errors import SpiroError
from spiro_diffusion.stage import load_params, run_stage


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
    ("wrong", "said"),
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
def test_a_wrong_section_is_refused(tmp_path: Path, wrong: str, said: str) -> None:
    with pytest.raises(SpiroError) as error:
        read(tmp_path, wrong)
    assert said in str(error.value)
    assert "params.yaml" in str(error.value)


def test_a_stage_takes_its_paths_from_arguments_and_ends_errors_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

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
