"""What `spiro export` writes draws the curves of the generator without PyTorch."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny

from spiro_diffusion.api import SpiroGenerator
from spiro_diffusion.cli import main
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.engines import onnx_export

WHY = "onnx and onnxruntime are not installed; pip install -r requirements.lock"
pytest.importorskip("onnx", reason=WHY)
OnnxEngine = pytest.importorskip("spiro_diffusion.engines.onnx_engine", reason=WHY, exc_type=ImportError).OnnxEngine
onnx_sampler = pytest.importorskip("spiro_diffusion.engines.onnx_sampler", reason=WHY, exc_type=ImportError)

PEOPLE: list[dict[str, Any]] = [
    {"age": 45.0, "height": 175.0, "sex": 1, "grade": "A", "test_type": "Pre", "best": True},
    {"age": 8.0, "height": 130.0, "sex": 2, "grade": "D", "test_type": "Pre", "best": False},
    {"age": 70.0, "height": 160.0, "sex": 2, "grade": None, "test_type": "Bron", "best": None},
]


@pytest.fixture(scope="module")
def generator(models: Path) -> SpiroGenerator:
    return tiny.lively(SpiroGenerator.from_checkpoint(models, device="cpu"))


@pytest.fixture(scope="module")
def exported(generator: SpiroGenerator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    assert [f.name for f in generator.export(folder)] == list(onnx_export.FILES)
    return folder


@pytest.mark.parametrize("n", [1, 7, 64, 100])  # 3 people: within and beyond a block of noise and a batch
def test_the_same_curves_as_the_generator_for_any_number(generator: SpiroGenerator, exported: Path, n: int) -> None:
    sampler = onnx_sampler.Sampler(exported)
    signals = sampler.draw(PEOPLE, n, seed=5)
    curves = generator.draw(pd.DataFrame(PEOPLE), n, seed=5)
    assert np.abs(curves.signals).max() > 0.1
    np.testing.assert_allclose(signals, curves.signals, atol=5e-4, rtol=0)
    fine = onnx_sampler.to_10ms(signals, sampler.edges_s)
    np.testing.assert_array_equal(fine["time_s"], curves.time)
    np.testing.assert_allclose(fine["flow_l_s"], curves.flow, atol=5e-4, rtol=0)
    np.testing.assert_allclose(fine["volume_l"], curves.volume, atol=5e-4, rtol=0)


def test_a_model_whose_sampler_the_export_lacks_is_refused(generator: SpiroGenerator, tmp_path: Path) -> None:
    cldm = generator._torch.cldm
    config = cldm.config
    cldm.config = dataclasses.replace(config, sampling=dataclasses.replace(config.sampling, sampler="heun"))
    try:
        with pytest.raises(SpiroError, match="draws by the sampler heun; an export draws by euler or dpmpp_2m"):
            generator.export(tmp_path)
    finally:
        cldm.config = config
    assert not list(tmp_path.iterdir())


def test_the_efforts_of_a_session_depend_on_each_other_as_in_the_generator(
    generator: SpiroGenerator, exported: Path
) -> None:
    efforts = pd.DataFrame({"age": 45.0, "height": 175.0, "sex": 1, "grade": None, "best": None, "person": 0,
                            "test_type": ["Pre"] * 3 + ["Bron"] * 2, "place": [1, 2, 3, 1, 2]})  # fmt: skip
    one, other = (e.session_facts(efforts, 7, None).logs for e in (generator._torch, OnnxEngine(exported)))
    np.testing.assert_allclose(one, other, atol=1e-3, rtol=0)
    fewer = OnnxEngine(exported).session_facts(efforts[:2], 7, None).logs
    assert np.abs(fewer - other[:2]).max() > 0.01


def test_every_condition_decides_the_curves(exported: Path) -> None:
    sampler = onnx_sampler.Sampler(exported)
    base = sampler.draw(PEOPLE[:1], 4, seed=1)
    others = {"age": 30.0, "height": 160.0, "sex": 2, "grade": "B", "test_type": "Bron", "best": None}
    for name, value in others.items():
        assert np.abs(sampler.draw([PEOPLE[0] | {name: value}], 4, seed=1) - base).max() > 1e-3, name


def test_another_seed_gives_other_curves(exported: Path) -> None:
    sampler = onnx_sampler.Sampler(exported)
    assert np.abs(sampler.draw(PEOPLE, 2, seed=1) - sampler.draw(PEOPLE, 2, seed=2)).max() > 1e-3


def test_the_sampler_beside_the_networks_runs_alone(generator: SpiroGenerator, exported: Path, tmp_path: Path) -> None:
    """Isolated from this project, and with neither PyTorch nor pandas."""
    program = (
        f"import runpy, sys; runpy.run_path({str(exported / 'sample.py')!r}, run_name='__main__'); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'pandas', 'scipy', 'spiro_diffusion')))"
    )
    person = ["--age", "45", "--height", "175", "--sex", "male"]
    arguments = [*person, "-n", "3", "--seed", "5", "--out", str(tmp_path / "c.npz")]
    ran = subprocess.run(
        [sys.executable, "-I", "-c", program, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert ran.returncode == 0, ran.stderr
    drawn = generator.generate(age=45, height=175, sex="male", n=3, seed=5)
    np.testing.assert_allclose(np.load(tmp_path / "c.npz")["flow_l_s"], drawn.flow, atol=5e-4, rtol=0)


def test_the_sampler_repeats_what_speaks_against_the_model(
    generator: SpiroGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "warnings", ["the figures of this model are bad"])
    with pytest.warns(UserWarning, match="the figures of this model are bad"):
        generator.export(tmp_path)
    person = ["--age", "45", "--height", "175", "--sex", "male", "-n", "1"]
    command = [sys.executable, str(tmp_path / "sample.py"), *person]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "warning: the figures of this model are bad\n")


def test_beyond_what_was_trained_the_sampler_refuses(exported: Path) -> None:
    sampler = onnx_sampler.Sampler(exported)
    with pytest.raises(ValueError, match="age beyond 6 to 79"):
        sampler.draw([PEOPLE[0] | {"age": 80.0}], 1, seed=0)


def test_the_command_writes_a_folder_once_and_says_how_near_it_is(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", "--models", str(models), "--out", str(tmp_path / "onnx")]
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [Path(f).name for f in result["files"]] == list(onnx_export.FILES)
    assert result["largest_difference_l_s"] < 1e-4
    (tmp_path / "onnx" / "sample.py").write_text("mine")
    assert main(command) == 1
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "onnx" / "sample.py").read_text() == "mine"


def test_without_onnx_it_says_what_to_install(
    generator: SpiroGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SpiroError, match="pip install onnx onnxruntime"):
        generator.export(tmp_path)
    assert not list(tmp_path.iterdir())
