"""Without PyTorch: an exported model draws curves and sessions and completes efforts, by onnxruntime."""

import json
import shutil
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from spiro_diffusion.api import SpiroGenerator
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.engines import package, store
from spiro_diffusion.generation import weights_licence
from spiro_diffusion.models import conditioning

pytestmark = pytest.mark.skipif(not find_spec("onnx") or not find_spec("onnxruntime"), reason="onnx is not installed")
MAN: dict[str, Any] = {"age": 45, "height": 175, "sex": "male"}
HEAVY = ("torch", "sklearn", "dvc", "dvclive", "dash", "plotly", "onnx")  # packages that the core does without
CLOSE = 1e-3  # L/s


@pytest.fixture(scope="module")
def both(reconstructing: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SpiroGenerator, SpiroGenerator]:
    """The same model by PyTorch and by onnxruntime."""
    trained = SpiroGenerator.from_checkpoint(reconstructing, device="cpu")
    folder = tmp_path_factory.mktemp("light") / "exported"
    trained.export(folder, tell=lambda _: None)
    return trained, SpiroGenerator.from_checkpoint(folder)


def far(both: tuple[SpiroGenerator, SpiroGenerator], draw: Any) -> int:
    """How many curves of a draw differ by more than CLOSE: those in which a token changed its code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, other = (draw(generator) for generator in both)
    return int((np.abs(one - other).reshape(len(one), -1).max(axis=1) > CLOSE).sum())


def test_curves_are_those_of_pytorch(both: tuple[SpiroGenerator, SpiroGenerator]) -> None:
    assert far(both, lambda g: g.generate(**MAN, n=300, seed=3).signals) == 0
    people = pd.DataFrame([MAN, MAN | {"age": 12, "height": 150}]).assign(weight=[80.0, np.nan])
    assert far(both, lambda g: g.generate(people, n=3, any_effort=True).signals) == 0


def test_sessions_are_those_of_pytorch(both: tuple[SpiroGenerator, SpiroGenerator]) -> None:
    sessions = [g.sessions(**MAN, efforts=4, after=3, n=3, tell=lambda _: None) for g in both]
    pd.testing.assert_frame_equal(sessions[0].keys, sessions[1].keys)
    assert far(both, lambda g: g.sessions(**MAN, efforts=4, after=3, n=3).signals) == 0


def test_facts_with_known_values_are_those_of_pytorch(both: tuple[SpiroGenerator, SpiroGenerator]) -> None:
    efforts = pd.DataFrame({"age": 45.0, "height": 175.0, "sex": 1, "test_type": "Pre", "grade": "A", "best": True},
                           index=range(5))  # fmt: skip
    known_best = np.full((5, 5), np.nan)
    known_best[:, 0] = 3.1
    one, other = (g._generator.effort_facts(efforts, 7, known_best).logs for g in both)
    assert np.abs(one - other).max() < 1e-4
    given = efforts.drop(columns=["grade", "best"]).assign(person=[0, 0, 0, 1, 1], place=[1, 2, 3, 1, 2])
    one, other = (g._generator.session_facts(given, 7, known_best[:2]).logs for g in both)
    assert np.abs(one - other).max() < 1e-4


def test_completions_are_those_of_pytorch(both: tuple[SpiroGenerator, SpiroGenerator]) -> None:
    t = np.arange(300) * 0.01
    flow = np.where(t < 2.5, 8 * t / 0.1 * np.exp(-t / 0.5) / 3, 0)
    assert far(both, lambda g: g.reconstruct(flow, mask="0:1.2", n=20, **MAN).flow) == 0


def test_an_export_cannot_be_guided_or_exported_again(
    both: tuple[SpiroGenerator, SpiroGenerator], tmp_path: Path
) -> None:
    with pytest.raises(SpiroError, match="draws without guidance"):
        both[1].generate(**MAN, guidance=2.0)
    with pytest.raises(SpiroError, match="is an export already"):
        both[1].export(tmp_path)


@pytest.mark.parametrize("name", ["facts.onnx", "tail_draw.onnx", "sampler.json", "reconstructor.json"])
def test_a_damaged_file_of_an_export_is_named(
    both: tuple[SpiroGenerator, SpiroGenerator], tmp_path: Path, name: str
) -> None:
    exported = both[1]._folder
    assert exported is not None
    copy = shutil.copytree(exported, tmp_path / "copy")
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(SpiroError, match=f"{name}: is damaged; export or fetch the model again"):
        SpiroGenerator.from_checkpoint(copy)
    (copy / name).unlink()
    with pytest.raises(SpiroError, match=r"no such (file|checkpoint)"):
        SpiroGenerator.from_checkpoint(copy)


def test_an_export_of_other_code_is_refused(
    both: tuple[SpiroGenerator, SpiroGenerator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditioning, "NAMES", (*conditioning.NAMES, "smoking"))
    with pytest.raises(SpiroError, match="was exported by another version of spiro-diffusion"):
        SpiroGenerator.from_checkpoint(both[1]._folder or "")


def test_where_both_lie_in_a_folder_the_checkpoints_draw(
    both: tuple[SpiroGenerator, SpiroGenerator], reconstructing: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(reconstructing, tmp_path / "copy")
    both[0].export(copy, tell=lambda _: None)
    assert len(SpiroGenerator.from_checkpoint(copy).generate(**MAN, n=1, guidance=1.5, tell=lambda _: None)) == 1


def test_the_core_draws_without_the_heavy_packages(both: tuple[SpiroGenerator, SpiroGenerator], tmp_path: Path) -> None:
    exported = both[1]._folder
    block = f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r})); from spiro_diffusion.cli import main"
    person = [f"--{name}={value}" for name, value in MAN.items()]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", f"{block}; sys.exit(main({[*words, '--models', str(exported)]!r}))"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    def spiro(*words: str) -> str:
        done = run(*words, *person)
        assert done.returncode == 0, done.stderr
        return done.stdout

    result = json.loads(spiro("generate", "-n", "3", "--out", "c.csv", "--plot", "c.png", "--json"))
    assert len(result["curves"]) == 3
    assert (tmp_path / "c.png").is_file()
    spiro("reconstruct", "c.csv", "--curve", "0/1", "--mask", "0:1.0", "-n", "10")
    refused = run("export")
    assert refused.stderr == "spiro: this needs torch: pip install 'spiro-diffusion[torch]'\n"


def test_a_model_of_simulated_people_goes_into_the_wheel_and_no_other(
    reconstructing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model"
    files = {file.name for file in package.package(reconstructing, out)}
    assert {"sampler.json", "reconstructor.json", "LICENSE"} < files
    assert "Creative Commons" in (out / "LICENSE").read_text()
    monkeypatch.setattr(store, "PACKAGED", out)
    monkeypatch.chdir(tmp_path)
    assert len(SpiroGenerator.from_checkpoint().generate(**MAN, n=2, tell=lambda _: None)) == 2
    monkeypatch.setattr(weights_licence, "SHIPPED", "another source")
    with pytest.raises(SpiroError, match="only models of simulated people are given away"):
        package.package(reconstructing, out)
