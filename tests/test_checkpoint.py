"""Checkpoints carry their config, give the same bytes, and are refused when they are not whole."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from spiro_diffusion.core.artifacts import sha256
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.models.checkpoint import load_checkpoint, rebuilt, save_checkpoint

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
        "import sys, torch; from pathlib import Path; from spiro_diffusion.checkpoint import save_checkpoint;"
        "save_checkpoint(Path(sys.argv[1]), 'toy', {'b': torch.arange(3.0), 'a': torch.ones(2, 2).T},"
        f" {dict(reversed(CONFIG.items()))!r})"
    )
    subprocess.run([sys.executable, "-c", code, str(there)], check=True)
    assert sha256(there) == here


def test_damaged_foreign_and_missing_files_are_refused_in_words(tmp_path: Path) -> None:
    file = saved(tmp_path)
    whole = file.read_bytes()
    for wrong, said in [
        (whole[:-3], "not a readable checkpoint"),
        (b"<!DOCTYPE html>", "not a readable checkpoint"),
        (b"", "not a readable checkpoint"),
    ]:
        file.write_bytes(wrong)
        with pytest.raises(SpiroError, match=said):
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
