"""The device of a stage or a request, and the settings that hold while it computes."""

import contextlib
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch

from spiro_diffusion.compute import distributed, portable_products
from spiro_diffusion.compute import kernels as fused
from spiro_diffusion.compute.launcher import Hosts, launch
from spiro_diffusion.compute.membership import Member
from spiro_diffusion.core.errors import SpiroError, printable, within
from spiro_diffusion.core.params import load_params


@dataclass(frozen=True)
class RuntimeParams:
    """The section `runtime` of params.yaml, on which no stage depends."""

    device: str = "auto"  # auto, cpu, cuda
    portable: bool = True  # the same bytes on any x86-64 processor; core.portable reads it
    threads: int = 2  # of the CPU; other numbers give other last digits
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 on a GPU
    graphs: Literal["auto", "off"] = "auto"  # auto: CUDA graphs on a GPU; off: each kernel launched alone
    kernels: Literal["auto", "off"] = "auto"  # auto: fused kernels on a GPU that has Triton; off: PyTorch's own
    workers: int = 1  # processes of this host that work together, one a GPU; 1 for those that torchrun started
    hosts: int = 1  # that work together, each with so many workers
    meeting: str = ""  # host:port, where several hosts meet; the host is one of them
    patience: float = distributed.PATIENCE_S  # s that a process may be silent; twice as long to come
    save_every: float = 10.0  # s, least time between two states that a killed training goes on from
    deterministic: bool = False  # of a GPU: the operations of PyTorch that sum in one order, which are slower

    def __post_init__(self) -> None:
        within(self, threads=(1, math.inf), workers=(1, math.inf), hosts=(1, math.inf))
        within(self, patience=(0.1, math.inf), save_every=(0, math.inf))


@dataclass(frozen=True)
class Runtime:
    """A device, its number type, and what PyTorch is set to while something is computed on it."""

    device: torch.device
    dtype: torch.dtype
    save_every: float = 10.0  # s between two states of a training
    graphs: bool = False  # whether what repeats is captured as a CUDA graph
    threads: int | None = None  # of the CPU; as PyTorch has it where None
    kernels: bool = True  # whether fused kernels may run
    deterministic: bool = False

    def exact(self) -> "Runtime":
        """The same device in float32, for what is small and counts millilitres."""
        return replace(self, dtype=torch.float32)

    def autocast(self) -> contextlib.AbstractContextManager:
        """Mixed precision, where the number type requires it."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    @contextlib.contextmanager
    def applied(self) -> Iterator["Runtime"]:
        """Threads, number formats and kernels of this runtime, for the time of the block; then those from before."""
        products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
        before = torch.get_num_threads(), products.allow_tf32, convolutions.allow_tf32
        ordered = torch.are_deterministic_algorithms_enabled()
        try:
            torch.set_num_threads(self.threads or before[0])
            if self.device.type == "cuda":
                products.allow_tf32 = convolutions.allow_tf32 = True
            if self.deterministic:
                torch.use_deterministic_algorithms(True, warn_only=True)
            with fused.fused(self.kernels):
                yield self
        finally:
            torch.set_num_threads(before[0])
            products.allow_tf32, convolutions.allow_tf32 = before[1:]
            if self.deterministic:
                torch.use_deterministic_algorithms(ordered)


def spread(module: str, arguments: list[str]) -> None:
    """Start `python -m module arguments` anew as several processes, where the section `runtime` requests them.

    Raises SpiroError where the section, or the environment, describes them wrongly, or other hosts do not come.
    """
    params = load_params(RuntimeParams, "runtime")
    if max(params.workers, params.hosts) == 1 or "WORLD_SIZE" in os.environ or Member.of_environment():
        return
    if params.hosts > 1 and not re.fullmatch(r"\S+:\d+", params.meeting):
        raise SpiroError(
            f"params.yaml: runtime.meeting is {printable(repr(params.meeting))}; with {params.hosts} hosts "
            "(runtime.hosts) expected host:port, such as gpu1:29400, the same on all of them"
        )
    meeting = params.meeting if params.hosts > 1 else Hosts().meeting
    launch(params.workers, module, arguments, Hosts(params.hosts, meeting, params.patience))


def start() -> Runtime:
    """The runtime of a stage, from the section `runtime` of params.yaml; joins the processes of torchrun, if any.

    Raises SpiroError where the requested device is not available.
    """
    params = load_params(RuntimeParams, "runtime")
    if params.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product is computed
    configured = configure(params)
    portable_products.settle()
    return replace(configured, device=distributed.start(configured.device, params.patience))


def configure(params: RuntimeParams) -> Runtime:
    """Choose the device and its number type; nothing of the process is set before `Runtime.applied`.

    Raises SpiroError where the requested device is not available.
    """
    name = params.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise SpiroError(f"params.yaml: runtime.device is {params.device!r}; expected auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise SpiroError("params.yaml: runtime.device is cuda, but PyTorch sees no GPU; use auto or cpu")
    half = params.precision == "bfloat16" or (params.precision == "auto" and name == "cuda")
    return Runtime(
        device=torch.device(name),
        dtype=torch.bfloat16 if half else torch.float32,
        save_every=params.save_every,
        graphs=name == "cuda" and params.graphs == "auto",
        threads=params.threads,
        kernels=params.kernels == "auto",
        deterministic=params.deterministic,
    )
