"""What a computation asks of a machine, what the machine can give, and the share of it that was reached.

Operations are those of products and convolutions (`torch.utils.flop_counter`). Bytes are those of every tensor that
an operation reads or writes, operation by operation, as PyTorch runs them: a fused kernel needs fewer. The limit of a
computation is the lower of the machine's largest rate of operations, and its bandwidth times the computation's
operations a byte (Williams et al. 2009). Small tensors stay in caches, so that a share may be above 1.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from spiro_diffusion.compute import kernels


class Work(NamedTuple):
    """What one call of a function asks for."""

    flops: int
    bytes: int


class Ceilings(NamedTuple):
    """What a machine gives: operations/s in a number type, and bytes/s."""

    flops: float
    bandwidth: float


class _Bytes(TorchDispatchMode):
    """Adds up what operations read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if func.is_view or name.startswith("empty") or name == "_unsafe_view":  # nothing moves
            return out
        self.total += sum(map(_size, tree_leaves((args, kwargs, out))))
        if not func._schema.returns:  # in place on lists: what is written is among the arguments only
            written = [a for a, s in zip(args, func._schema.arguments, strict=False) if s.is_write]
            self.total += sum(map(_size, tree_leaves(written)))
        return out


def _size(value: Any) -> int:
    if not isinstance(value, Tensor):
        return 0
    return min(value.numel() * value.element_size(), value.untyped_storage().nbytes())  # a broadcast moves once


def work(function: Callable[[], Any]) -> Work:
    """Operations and bytes of one call."""
    counted = _Bytes()
    with kernels.fused(False), FlopCounterMode(display=False) as flops, counted:
        function()
    return Work(flops.get_total_flops(), counted.total)


def synchronise(device: torch.device) -> None:
    """Wait for what a GPU was told to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def times(function: Callable[[], Any], device: torch.device, runs: int) -> list[float]:
    """Seconds of `runs` calls, after one that does not count."""
    function()
    found = []
    for _ in range(runs):
        synchronise(device)
        start = time.perf_counter()
        function()
        synchronise(device)
        found.append(time.perf_counter() - start)
    return found


def ceilings(device: torch.device, dtype: torch.dtype, runs: int) -> Ceilings:
    """Medians of a large matrix product in `dtype` and of a large copy."""
    gpu = device.type == "cuda"
    n, copied = (8192, 2**30) if gpu else (2048, 2**27)  # rows; bytes
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    repeats = 10 if gpu else 1  # a launch costs nothing beside ten products
    product = statistics.median(times(lambda: [a @ b for _ in range(repeats)], device, runs)) / repeats
    source = torch.zeros(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = statistics.median(times(lambda: [target.copy_(source) for _ in range(repeats)], device, runs)) / repeats
    return Ceilings(2 * n**3 / product, 2 * copied / copy)


def share(requested: Work, seconds: float, machine: Ceilings) -> float:
    """Share of the limit that was reached: the least time that the machine allows, over the time it took."""
    return max(requested.flops / machine.flops, requested.bytes / machine.bandwidth) / seconds
