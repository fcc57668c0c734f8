"""Checkpoints carry their config, give the same bytes, and are refused when they are not whole."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spiro_diffusion.api import SpiroGenerator
from spiro_diffusion.cli import main
from spiro_diffusion.core.artifacts import sha256
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.models import conditioning, effort_facts, index_diffusion, layers, mixture_density, vqvae
from spiro_diffusion.models.checkpoint import load_checkpoint, rebuilt, save_checkpoint
from spiro_diffusion.models.edm import Noise
from spiro_diffusion.models.header import MadeFrom
from spiro_diffusion.models.latent_diffusion import CLDM, CLDMConfig, load_cldm, save_cldm
from spiro_diffusion.models.samplers import Sampling
from spiro_diffusion.models.unet import UNetConfig
from spiro_diffusion.models.vqvae import VQVAEConfig, load_vqvae, save_vqvae
from spiro_diffusion.physiology import mean_surface, time_grid
from spiro_diffusion.reconstruction import calibration, dissimilarity, segments
from spiro_diffusion.reconstruction.densities import load_reconstructor

SHARED = Path(__file__).parents[2] / "shared"
MAN: dict[str, Any] = {"age": 45, "height": 175, "sex": "male"}
CONFIG = {"width": 4, "name": "toy", "list": [1, 2]}


def saved(folder: Path, name: str = "a.safetensors") -> Path:
    tensors = {"b": torch.arange(3.0), "a": torch.ones(2, 2).T}
    save_checkpoint(folder / name, "toy", tensors, CONFIG)
    return folder / name


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    tensors, config = load_checkpoint(saved(tmp_path), "toy")
    assert config == CONFIG
    assert torch.equal(tensors["b"], torch.arange(3.0))


def test_the_bytes_do_not_depend_on_the_name_or_the_process(tmp_path: Path) -> None:
    here = sha256(saved(tmp_path))
    there = tmp_path / "other-name.safetensors"
    code = (
        "import sys, torch; from pathlib import Path; from spiro_diffusion.models.checkpoint import save_checkpoint;"
        "save_checkpoint(Path(sys.argv[1]), 'toy', {'b': torch.arange(3.0), 'a': torch.ones(2, 2).T},"
        f" {dict(reversed(CONFIG.items()))!r})"
    )
    subprocess.run([sys.executable, "-c", code, str(there)], check=True)
    assert sha256(there) == here


def test_damaged_foreign_and_missing_files_are_refused_in_words(tmp_path: Path) -> None:
    file = saved(tmp_path)
    whole = file.read_bytes()
    for wrong, message in [
        (whole[:-3], "not a readable checkpoint"),
        (b"<!DOCTYPE html>", "not a readable checkpoint"),
        (b"", "not a readable checkpoint"),
    ]:
        file.write_bytes(wrong)
        with pytest.raises(SpiroError, match=message):
            load_checkpoint(file, "toy")
    file.write_bytes(whole)
    with pytest.raises(SpiroError, match=r"is no 'cldm' checkpoint of this project \(found: toy"):
        load_checkpoint(file, "cldm")
    file.unlink()
    with pytest.raises(SpiroError, match="dvc pull train_vqvae train_cldm"):
        load_checkpoint(file, "toy")


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", "toy", {"w": torch.tensor([1.0, torch.nan])}, {})
    with pytest.raises(SpiroError, match="tensor 'w' holds values that are not finite"):
        load_checkpoint(tmp_path / "a", "toy")


def test_weights_of_another_shape_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SpiroError, match="tensor 'weight' does not fit"):
        rebuilt(lambda: nn.Linear(2, 2), nn.Linear(3, 2).state_dict(), tmp_path)


def older(number: conditioning.Number) -> conditioning.Number:
    """A condition that other code centres elsewhere."""
    return replace(number, centre=number.centre + 5)


OTHER_CODE: list[tuple[ModuleType, str, Any, str, str]] = [  # module, its constant there, the checkpoint, what is said
    (time_grid, "EDGES_S", time_grid.EDGES_S * 1.001, "vqvae", r"time_grid\.edges_s\[0\] is -0\.5 in the file"),
    (vqvae, "FLOW_UNIT", 3.0, "vqvae", r"units\.flow is 2\.0 in the file and 3\.0 in this code"),
    (
        conditioning,
        "CONDITIONS",
        (older(conditioning.NUMBERS[0]), *conditioning.CONDITIONS[1:]),
        "cldm",
        r"conditions\.age\.centre is 45\.0 in the file and 50\.0 in this code",
    ),
    (
        conditioning,
        "CONDITIONS",
        (*conditioning.CONDITIONS[:-1], replace(conditioning.CATEGORIES[-1], values=("F", "E", "G"))),
        "cldm",
        r"conditions\.cycle\.values\[0\] is E in the file and F in this code",
    ),
    (conditioning, "NAMES", conditioning.NAMES[::-1], "cldm", r"condition_names\[0\] is age in the file and cycle"),
    (effort_facts, "NAMES", ("fvc", *effort_facts.NAMES[1:]), "cldm", r"facts\[0\] is fev1 in the file"),
    (layers, "STEP_FREQUENCIES", (0.5, 32.0, 32), "cldm", r"step_frequencies\[0\] is 0\.25 in the file"),
    (mean_surface, "features", lambda people: np.ones((len(people), 12)), "cldm", r"mean_surface\w+\[\d+\] is"),
    (segments, "KNOTS", segments.KNOTS[:-1], "reconstructor", r"segments\.knots is \[0\.03"),
    (time_grid, "EDGES_S", time_grid.EDGES_S * 1.001, "reconstructor", r"time_grid\.edges_s\[0\] is"),
    (
        calibration,
        "LEVELS",
        (0.1, 0.5, 0.9),
        "reconstructor",
        r"corrections\.levels\[0\] is 0\.05 in the file and 0\.1",
    ),
    (
        dissimilarity,
        "FARTHEST",
        9.0,
        "reconstructor",
        r"corrections\.farthest is 20\.0 in the file and 9\.0 in this code",
    ),
    (
        mixture_density,
        "FEATURE_LIMIT_SD",
        5.0,
        "reconstructor",
        r"density\.shown is 4\.0 in the file and 5\.0 in this code",
    ),
]


@pytest.mark.parametrize(("module", "name", "value", "file", "message"), OTHER_CODE)
def test_code_with_other_constants_refuses_a_checkpoint(
    module: ModuleType,
    name: str,
    value: Any,
    file: str,
    message: str,
    reconstructing: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = SpiroGenerator.from_checkpoint(reconstructing, device="cpu")._torch
    load = {
        "vqvae": load_vqvae,
        "cldm": load_cldm,
        "reconstructor": lambda f: load_reconstructor(f, generator),
    }
    load[file](reconstructing / f"{file}.safetensors")
    monkeypatch.setattr(module, name, value)
    with pytest.raises(SpiroError, match=message) as refused:
        load[file](reconstructing / f"{file}.safetensors")
    assert len(str(refused.value)) < 400
    assert "train again" in str(refused.value)


def test_a_checkpoint_without_the_constants_of_its_code_is_refused(models: Path, tmp_path: Path) -> None:
    tensors, config = load_checkpoint(models / "vqvae.safetensors", "vqvae")
    save_checkpoint(tmp_path / "vqvae.safetensors", "vqvae", tensors, {"network": config["network"]})
    with pytest.raises(SpiroError, match="has no part 'constants'; it is of other code than this"):
        load_vqvae(tmp_path / "vqvae.safetensors")


def test_a_model_draws_as_its_checkpoint_says(models: Path, tmp_path: Path) -> None:
    """Its sampler and steps are in the file: other defaults in other code change nothing."""
    model, made_from = load_cldm(models / "cldm.safetensors")
    vqvae_file = tmp_path / "vqvae.safetensors"
    vqvae_file.write_bytes((models / "vqvae.safetensors").read_bytes())
    drawn = []
    for sampling in (Sampling(), Sampling(steps=3), Sampling(noise_block=32), Sampling("euler")):
        config = replace(model.config, sampling=sampling)
        save_cldm(tmp_path / "cldm.safetensors", config, awake(model.state_dict()), MadeFrom(**made_from))
        generator = SpiroGenerator.from_checkpoint(tmp_path, device="cpu")._torch
        assert generator.cldm.config.sampling == sampling
        drawn.append(generator.sample(SpiroGenerator(generator).generate(**MAN).people, 40, 0, progress=False))
    assert all((drawn[0] != other).any() for other in drawn[1:])


def test_loading_and_drawing_leave_the_process_as_it_was_and_do_not_follow_it(models: Path) -> None:
    before = torch.get_num_threads()
    try:
        drawn = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            drawn.append(SpiroGenerator.from_checkpoint(models, device="cpu").generate(**MAN, n=5).flow)
            assert torch.get_num_threads() == threads
        np.testing.assert_array_equal(drawn[0], drawn[1])
    finally:
        torch.set_num_threads(before)


def awake(weights: dict[str, torch.Tensor], size: float = 0.3) -> dict[str, torch.Tensor]:
    """Weights with noise of this SD where a network starts at zero."""
    random = torch.Generator().manual_seed(1)
    return {k: v if v.any() else size * torch.randn(v.shape, generator=random) for k, v in weights.items()}


@pytest.mark.parametrize("which", ["facts.", "denoiser."])
def test_finite_but_absurd_weights_are_refused_with_the_first_draw(
    which: str, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What they draw overflows; an unknown condition or the nearest code would hide it."""
    model, made_from = load_cldm(models / "cldm.safetensors")
    weights = {
        k: torch.full_like(v, 1e38) if k.startswith(which) and k.endswith((".leave.weight", ".leave.2.weight")) else v
        for k, v in awake(model.state_dict()).items()
    }
    (tmp_path / "vqvae.safetensors").write_bytes((models / "vqvae.safetensors").read_bytes())
    save_cldm(tmp_path / "cldm.safetensors", model.config, weights, MadeFrom(**made_from))
    refused(tmp_path, capsys)


def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "curves.csv"
    person = ["--age", "45", "--height", "175", "--sex", "male"]
    assert main(["generate", "--models", str(folder), *person, "-n", "2", "--out", str(out)]) == 1
    output = capsys.readouterr().err.strip()
    assert "draw flow that is not finite" in output
    assert "\n" not in output
    assert not out.exists()


@pytest.mark.skipif(not (SHARED / "cases/3_ck1e38").is_dir(), reason="the shared cases are not beside the repository")
def test_the_weights_of_1e38_that_drew_curves_of_nan_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the constants and the conditions of this code, which the files of the case do not have yet."""
    case = SHARED / "cases/3_ck1e38"
    tensors, config = load_checkpoint(case / "vqvae.safetensors", "vqvae")
    save_vqvae(tmp_path / "vqvae.safetensors", VQVAEConfig(**config["network"]), tensors)
    tensors, config = load_checkpoint(case / "cldm.safetensors", "cldm")
    lists_and_facts = {"multipliers": tuple(config["network"]["multipliers"]), "facts": len(effort_facts.NAMES)}
    unet = UNetConfig(**config["network"] | lists_and_facts)
    facts, noise = index_diffusion.FactsConfig(**config["facts"]), Noise(**config["noise"])
    whole = CLDMConfig(unet, noise, facts, Noise(**config["facts_noise"]))
    weights = CLDM(whole).state_dict()
    weights |= {k: v for k, v in tensors.items() if k in weights and v.shape == weights[k].shape}
    assert max(v.abs().max() for v in weights.values()) > 1e37
    made_from = config["made_from"] | {"vqvae": sha256(tmp_path / "vqvae.safetensors")}
    save_cldm(tmp_path / "cldm.safetensors", whole, weights, MadeFrom(**made_from))
    refused(tmp_path, capsys)
