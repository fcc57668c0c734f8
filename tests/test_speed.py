"""Fast paths change nothing but rounding, and stages import no more than they need."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import agreement, models, roofline
from spiro_diffusion.compute import kernels
from spiro_diffusion.compute.graphs import Graph
from spiro_diffusion.compute.runtime import Runtime, RuntimeParams, configure
from spiro_diffusion.models.layers import Norm

ROOT = Path(__file__).parents[1]
CPU = Runtime(torch.device("cpu"), torch.float32)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small only wait for a second one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_each_fast_path_agrees_with_the_plain_one() -> None:
    """On a machine with a GPU the fused kernels and the CUDA graphs too."""
    gpu = torch.cuda.is_available()
    found = agreement.checks(Runtime(torch.device("cuda"), torch.bfloat16, graphs=True) if gpu else CPU)
    assert len(found) == (9 if gpu else 1)
    for check in found:
        assert check["difference"] <= check["allowed"], check["path"]
    assert found[0]["difference"] > 0, "bfloat16 rounds"


def test_what_the_checks_look_at_moves() -> None:
    assert np.ptp(agreement.vqvae_losses(CPU)) > 0.1
    assert np.ptp(agreement.unet_losses(CPU)) > 0.1
    drawn = agreement.curves(CPU)
    assert drawn.shape == (2, 100, 512)
    assert np.ptp(drawn, axis=1).max() > 0


def test_where_no_graph_can_be_captured_the_function_runs_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    def step(x: Tensor) -> dict[str, Tensor]:
        return {"twice": 2 * x, "sum": torch.tensor(x.sum().item())}  # reading a value back cannot be captured

    graph = Graph(step, warm_up=0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for _ in range(3):
        assert graph(torch.ones(4, device=device))["twice"].tolist() == [2, 2, 2, 2]
    output = capsys.readouterr().err
    assert output.startswith("no CUDA graph (")
    assert output.count("\n") == 1, "it is said once, in one line"


def test_graphs_are_for_a_gpu_and_can_be_turned_off() -> None:
    assert not configure(RuntimeParams(device="cpu", threads=1)).graphs
    if torch.cuda.is_available():
        assert configure(RuntimeParams(device="cuda")).graphs
        assert not configure(RuntimeParams(device="cuda", graphs="off")).graphs


def test_fused_kernels_are_for_a_gpu_and_can_be_turned_off() -> None:
    assert not kernels.usable(torch.ones(1))
    assert not configure(RuntimeParams(device="cpu", kernels="off")).kernels
    if torch.cuda.is_available():
        x = torch.ones(1, device="cuda")
        cases: tuple[tuple[Literal["off", "auto"], bool], ...] = (("off", False), ("auto", True))
        for requested, usable in cases:
            with configure(RuntimeParams(device="cuda", kernels=requested)).applied():
                assert kernels.usable(x) == usable


def test_a_norm_scales_shifts_and_activates_as_its_parts_do() -> None:
    torch.manual_seed(0)
    layer, x, modulation = Norm(8), torch.randn(3, 5, 8), torch.randn(3, 16)
    normal = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + layer.eps).sqrt()
    expected = normal * (1 + modulation[:, None, :8]) + modulation[:, None, 8:]
    torch.testing.assert_close(layer(x, modulation, silu=True), expected * torch.sigmoid(expected))
    torch.testing.assert_close(layer(x), normal)


def test_operations_and_bytes_are_counted_as_they_are() -> None:
    a, b = torch.ones(8, 16), torch.ones(16, 4)
    assert roofline.work(lambda: a @ b) == (2 * 8 * 16 * 4, 4 * (8 * 16 + 16 * 4 + 8 * 4))
    assert roofline.work(lambda: a.T.unflatten(0, (4, 4))) == (0, 0), "a view moves nothing"
    assert roofline.work(lambda: a.expand(100, 8, 16).sum()).bytes == 4 * (8 * 16 + 1), "a broadcast is read once"
    assert roofline.work(lambda: torch._foreach_mul_([a], 2.0)).bytes == 2 * 4 * 8 * 16, "read and written"


def test_the_limit_is_the_lower_of_two() -> None:
    machine = roofline.Ceilings(flops=100.0, bandwidth=10.0)
    assert roofline.share(roofline.Work(flops=100, bytes=1), 2.0, machine) == pytest.approx(0.5)
    assert roofline.share(roofline.Work(flops=1, bytes=10), 4.0, machine) == pytest.approx(0.25)


def test_the_exponent_of_a_power_is_found() -> None:
    points = [{"curves": n, "seconds": [1e-3 * n**1.5], "peak_bytes": 100 * n} for n in (100, 400, 1600)]
    assert models.exponents(points) == pytest.approx({"time_exponent": 1.5, "memory_exponent": 1.0})


@pytest.mark.parametrize(
    ("stages", "unused"),
    [
        ("download repair align filter resample", "torch sklearn matplotlib dvclive dvc jinja2"),
        ("encode evaluate baselines", "sklearn matplotlib dvclive dvc requests"),
        ("train_vqvae train_cldm train_reconstructor", "sklearn matplotlib dvclive dvc jinja2"),
    ],
)
def test_no_stage_imports_at_once_what_it_uses_late_or_never(stages: str, unused: str) -> None:
    imports = "; ".join(f"import spiro_diffusion.pipeline.{name}" for name in stages.split())
    code = f"import sys; {imports}; print(*(m for m in {unused.split()} if m in sys.modules))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert not done.stdout.split()
