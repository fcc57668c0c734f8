"""Where a stage computes: its section of params.yaml is one that no stage depends on."""

import contextlib
import os
from dataclasses import dataclass, replace
from typing import Literal

import torch

from spiro_diffusion.compute import distributed
from spiro_diffusion.compute import kernels as fused
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.params import load_params


@dataclass(frozen=True)
class RuntimeParams:
    """The section `runtime`."""

    device: str = "auto"  # auto, cpu, cuda
    portable: bool = True  # the same bytes on any x86-64 processor; pipeline.portable reads it
    threads: int = 2  # of the CPU; other numbers give other last digits
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 on a GPU
    graphs: Literal["auto", "off"] = "auto"  # auto: CUDA graphs on a GPU; off: each kernel launched alone
    kernels: Literal["auto", "off"] = "auto"  # auto: fused kernels on a GPU that has Triton; off: PyTorch's own
    workers: int = 1  # processes of this host that work together, one a GPU; 1 for those that torchrun started
    save_every: float = 10.0  # s, least time between two states that a killed training goes on from
    deterministic: bool = False  # of a GPU: the operations of PyTorch that sum in one order, which are slower


@dataclass(frozen=True)
class Runtime:
    """A device and its number type."""

    device: torch.device
    dtype: torch.dtype
    save_every: float = 10.0  # s between two states of a training
    graphs: bool = False  # whether what repeats is captured as a CUDA graph

    def exact(self) -> "Runtime":
        """The same place in float32, for what is small and counts millilitres."""
        return replace(self, dtype=torch.float32)

    def autocast(self) -> contextlib.AbstractContextManager:
        """Mixed precision, where the number type asks for it."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def spread(module: str, arguments: list[str]) -> None:
    """Start `python -m module arguments` anew as several processes, where the section `runtime` asks for them."""
    workers = load_params(RuntimeParams, "runtime").workers
    if workers > 1 and not distributed.launched():
        distributed.launch(workers, module, arguments)


def start() -> Runtime:
    """Apply the section `runtime` of params.yaml to this process.

    Raises SpiroError where the device is asked for but not there.
    """
    return configure(load_params(RuntimeParams, "runtime"))


def configure(params: RuntimeParams) -> Runtime:
    """Set threads and precision, and choose the device."""
    torch.set_num_threads(params.threads)
    fused.use(params.kernels == "auto")
    name = params.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise SpiroError(f"params.yaml: runtime.device is {params.device!r}; expected auto, cpu or cuda")
    if params.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product is computed
        torch.use_deterministic_algorithms(True, warn_only=True)
    if name == "cuda":
        if not torch.cuda.is_available():
            raise SpiroError("params.yaml: runtime.device is cuda, but PyTorch sees no GPU; use auto or cpu")
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    device = distributed.start(torch.device(name))
    half = params.precision == "bfloat16" or (params.precision == "auto" and name == "cuda")
    dtype = torch.bfloat16 if half else torch.float32
    return Runtime(device, dtype, params.save_every, name == "cuda" and params.graphs == "auto")
