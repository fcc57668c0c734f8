"""Several processes train, encode and sample as one does: the same batches, the same noise, the same curves."""

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from spiro_diffusion.compute import distributed
from spiro_diffusion.core.batching import batches
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.params import read_params
from spiro_diffusion.dataset import splits
from spiro_diffusion.dataset.signals import load_rows, pieces
from spiro_diffusion.models.checkpoint import load_checkpoint
from spiro_diffusion.physiology import time_grid

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 96 exponential efforts as the stage resample leaves them."""
    folder = tmp_path_factory.mktemp("curves")
    rng = np.random.default_rng(0)
    time = time_grid.EDGES_S[:-1]
    flow = rng.uniform(3, 9, (96, 1)) * np.exp(-np.maximum(time, 0) / rng.uniform(0.3, 0.9, (96, 1)))
    np.save(folder / "signals.npy", np.where((time >= 0) & (time < 6), flow, 0).astype(np.float32))
    u = splits.hash_value(people := np.arange(50_000, 53_000))
    train, choosing = people[u < 80][:80], people[(u >= 80) & (u < 85)][:16]
    seqn = np.concatenate([np.insert(train[i::16], 0, choosing[i]) for i in range(16)])  # each sixth chooses
    table = pd.DataFrame({"seqn": seqn, "split": splits.split(seqn), "btps": 1.08})
    table.to_parquet(folder / "curves.parquet")
    return folder


def run(command: list[str], folder: Path) -> None:
    """Run Python in `folder` with one thread a process."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def stage(name: str, folder: Path, workers: int, section: dict[str, Any], paths: dict[str, Path]) -> None:
    """Run a stage with so many processes in `folder`; what it makes lies there."""
    folder.mkdir()
    params = read_params(ROOT / "params.yaml")
    params[name] |= section
    params["runtime"] |= {"workers": workers, "threads": 1, "device": "cpu"}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    run(["-m", f"stages.{name}", *(f"--{key}={path}" for key, path in paths.items())], folder)


def train(folder: Path, curves: Path, workers: int) -> Path:
    """Train the VQ-VAE."""
    small = {"epochs": 4, "batch": 16, "warmup_epochs": 2, "validate_every": 2, "width": 16, "blocks": 1, "codes": 8}
    made = {"vqvae": Path("vqvae.safetensors"), "metrics": Path("metrics")}
    stage("train_vqvae", folder, workers, small, sources(curves) | made)
    return folder


def encode(folder: Path, curves: Path, vqvae: Path, workers: int, latents: str = "float32") -> list[bytes]:
    """Encode in batches of 7: the last is smaller, and one process has a batch more."""
    made = {"latents": Path("latents.npy"), "moments": Path("moments.json")}
    stage("encode", folder, workers, {"batch": 7, "latents": latents}, sources(curves) | {"vqvae": vqvae} | made)
    return [(folder / file).read_bytes() for file in made.values()]


def sources(curves: Path) -> dict[str, Path]:
    return {"signals": curves / "signals.npy", "curves": curves / "curves.parquet"}


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


def test_parts_come_in_order_and_without_a_gpu_none_is_computed_ahead() -> None:
    happened: list[str] = []

    def compute(part: slice) -> torch.Tensor:
        happened.append(f"computed {part.start}")
        return torch.full((part.stop - part.start, 2), float(part.start))

    parts = list(batches(5, 2))
    for part, result in zip(parts, distributed.in_order(parts, compute, (2,)), strict=True):
        happened.append(f"used {part.start}")
        assert result.tolist() == [[part.start] * 2] * (part.stop - part.start)
    assert happened == ["computed 0", "used 0", "computed 2", "used 2", "computed 4", "used 4"]
    assert list(distributed.in_order([], compute, (2,))) == []


def test_two_processes_encode_the_same_bytes_as_one(curves: Path, models: Path, tmp_path: Path) -> None:
    vqvae = models / "vqvae.safetensors"
    one, two = encode(tmp_path / "one", curves, vqvae, 1), encode(tmp_path / "two", curves, vqvae, 2)
    assert len(one[0]) > 96 * 64 * 128 * 4
    assert two == one


def test_latents_stored_as_half_are_the_same_rounded(curves: Path, models: Path, tmp_path: Path) -> None:
    vqvae = models / "vqvae.safetensors"
    whole, half = (encode(tmp_path / kind, curves, vqvae, 1, kind) for kind in ("float32", "float16"))
    assert half[1] == whole[1], "mean and covariance do not depend on it"
    assert len(half[0]) < 0.51 * len(whole[0])
    latents = np.load(tmp_path / "float32/latents.npy")
    shape = latents.shape[1:]
    rows = load_rows(tmp_path / "float16/latents.npy", len(latents), shape, half=True)
    (_, read), *_ = pieces(rows, np.arange(len(latents)))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, latents.astype(np.float16)[: len(read)])
    np.testing.assert_allclose(read, latents[: len(read)], rtol=1e-3, atol=1e-4)
    with pytest.raises(SpiroError, match="holds float16"):
        load_rows(tmp_path / "float16/latents.npy", len(latents), shape)


SAMPLE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np, pandas as pd, torch
from spiro_diffusion.compute import distributed
from spiro_diffusion.compute.runtime import RuntimeParams, configure
from spiro_diffusion.generation.generator import Generator

models, out = map(Path, sys.argv[1:])
place = configure(RuntimeParams(device="cpu", threads=1))
distributed.start(place.device)
generator = Generator.from_checkpoints(models / "vqvae.safetensors", models / "cldm.safetensors", place)
if distributed.rank():
    generator.help()
else:
    people = pd.DataFrame({"age": [45.0, 20.0, 70.0], "height": [175.0, 160.0, 165.0], "sex": [1, 2, 2]})
    first = generator.sample(people, 70, 3, steps=3, batch=64, progress=False)  # four batches, one of 18 draws
    then = generator.sample(people[:1], 5, 4, sampler="heun", steps=2, guidance=1.5, progress=False)
    np.savez(out, first=first, then=then, processes=distributed.world())
    distributed.dismiss()
"""


def test_two_hosts_sample_the_same_curves_as_one_process(models: Path, tmp_path: Path) -> None:
    script = tmp_path / "sample.py"
    script.write_text(SAMPLE)
    run([str(script), str(models), "one.npz"], tmp_path)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        meeting = f"127.0.0.1:{found.getsockname()[1]}"
    torchrun = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d"]
    host = [*torchrun, f"--rdzv-endpoint={meeting}", "--rdzv-id=test", str(script), str(models), "two.npz"]
    with ThreadPoolExecutor() as hosts:  # both on this one
        list(hosts.map(lambda _: run(host, tmp_path), range(2)))
    one, two = np.load(tmp_path / "one.npz"), np.load(tmp_path / "two.npz")
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["first"].shape == (3, 70, 512)
    assert np.ptp(one["first"], axis=1).max() > 0, "the draws of a person differ"
    np.testing.assert_array_equal(two["first"], one["first"])
    np.testing.assert_array_equal(two["then"], one["then"])
