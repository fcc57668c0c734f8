"""The trainings see the participants to learn from and to choose by, and no others."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny

from benchmarks.agreement import VQVAE_PARAMS
from spiro_diffusion.core.artifacts import read_json
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.dataset import splits
from spiro_diffusion.models.vqvae import load_vqvae
from spiro_diffusion.pipeline import train_vqvae
from spiro_diffusion.pipeline.train_cldm import Efforts


@pytest.fixture
def curves(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table with participants of every part, in a folder where a stage can run."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny.ROOT / "params.yaml", tmp_path)
    tiny.with_parts(pd.read_parquet(data / "curves.parquet")).to_parquet("curves.parquet")
    return Path("curves.parquet")


def test_the_diffusion_learns_from_train_and_is_chosen_by_those_to_choose_by(curves: Path) -> None:
    efforts, number = Efforts.read(curves)
    u = splits.hash_value(efforts.table["seqn"])
    assert number > len(efforts.table) == len(efforts.rows)
    assert (u[efforts.train] < 80).all()
    assert ((u[efforts.choosing] >= 80) & (u[efforts.choosing] < 85)).all()
    assert sorted([*efforts.train, *efforts.choosing]) == list(range(len(u)))


def test_the_vqvae_does_not_look_at_those_who_judge(curves: Path, data: Path) -> None:
    """Their curves may be no numbers."""
    signals = np.load(data / "signals_L512.npy")
    u = splits.hash_value(pd.read_parquet(curves)["seqn"])
    signals[u >= 85] = np.nan
    np.save("signals.npy", signals)
    paths = {"signals": Path("signals.npy"), "curves": curves, "vqvae": Path("v.safetensors"), "metrics": Path("m")}
    train_vqvae.train_vqvae(replace(VQVAE_PARAMS, epochs=2, batch=64, warmup_epochs=1, validate_every=1), **paths)
    assert load_vqvae(Path("v.safetensors")).config == VQVAE_PARAMS.network
    assert np.isfinite(read_json(Path("m/metrics.json"))["score"])


def test_without_participants_to_choose_by_no_training_begins(curves: Path) -> None:
    table = pd.read_parquet(curves)
    u = splits.hash_value(table["seqn"])
    table[(u < 80) | (u >= 85)].reset_index(drop=True).to_parquet(curves)
    with pytest.raises(SpiroError, match=r"no curve is of the choosing participants \(u 80-84\); use more"):
        Efforts.read(curves)
