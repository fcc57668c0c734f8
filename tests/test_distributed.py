"""Several processes train as one does: the same batches, the same noise, the same curve of the loss."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from spiro_diffusion import grid
from spiro_diffusion.checkpoint import load_checkpoint
from spiro_diffusion.stage import read_params

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 96 exponential efforts as the stage resample leaves them."""
    folder = tmp_path_factory.mktemp("curves")
    rng = np.random.default_rng(0)
    time = grid.EDGES_S[:-1]
    flow = rng.uniform(3, 9, (96, 1)) * np.exp(-np.maximum(time, 0) / rng.uniform(0.3, 0.9, (96, 1)))
    np.save(folder / "signals.npy", np.where((time >= 0) & (time < 6), flow, 0).astype(np.float32))
    split = np.where(np.arange(96) % 6 == 0, "validation", "train")
    pd.DataFrame({"split": split, "btps": 1.08}).to_parquet(folder / "curves.parquet")
    return folder


def train(folder: Path, curves: Path, workers: int) -> Path:
    """Run the stage train_vqvae with so many processes."""
    folder.mkdir()
    params = read_params(ROOT / "params.yaml")
    small = {"epochs": 4, "batch": 16, "warmup_epochs": 2, "validate_every": 2, "width": 16, "blocks": 1, "codes": 8}
    params["train_vqvae"] |= small
    params["runtime"] |= {"workers": workers, "threads": 1, "device": "cpu"}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    paths = ["--signals", curves / "signals.npy", "--curves", curves / "curves.parquet"]
    outs = ["--vqvae", "vqvae.safetensors", "--metrics", "metrics"]
    done = subprocess.run(
        [sys.executable, "-m", "stages.train_vqvae", *map(str, [*paths, *outs])],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def series(folder: Path, name: str) -> np.ndarray:
    return pd.read_csv(folder / "metrics/plots/metrics" / f"{name}.tsv", sep="\t").iloc[:, -1].to_numpy()


def test_two_processes_train_as_one(curves: Path, tmp_path: Path) -> None:
    one, two = train(tmp_path / "one", curves, 1), train(tmp_path / "two", curves, 2)
    np.testing.assert_allclose(series(two, "loss"), series(one, "loss"), rtol=2e-3)
    assert len(series(two, "loss")) == 4, "each epoch is logged once"
    first, second = (load_checkpoint(folder / "vqvae.safetensors", "vqvae").tensors for folder in (one, two))
    for name, tensor in first.items():
        difference = (tensor - second[name]).norm() / (tensor.norm() + 1e-6)
        assert difference < 0.05, name
