"""Several processes that train together: how they begin, and the few collective operations that training needs.

Without torchrun each operation is the identity.
"""

import atexit
import os
import sys
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import Tensor


def launched() -> bool:
    """Whether torchrun started this process."""
    return "WORLD_SIZE" in os.environ


def launch(workers: int, module: str, arguments: list[str]) -> NoReturn:
    """Become torchrun, which starts `workers` processes of `python -m module arguments` on this host."""
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={workers}"]
    os.execv(sys.executable, [*program, "-m", "--", module, *arguments])  # "--": torchrun has options like ours


def start(device: torch.device) -> torch.device:
    """Join the group that torchrun describes in the environment, if it describes one; this process's device."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    return device


def rank() -> int:
    """This process's number, 0 for the first."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes work together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def total(tensor: Tensor) -> Tensor:
    """Sum over the processes."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def from_first(tensor: Tensor) -> Tensor:
    """The first process's tensor, everywhere."""
    if dist.is_initialized():
        dist.broadcast(tensor, 0)
    return tensor


def share(rows: int) -> slice:
    """This process's part of a global batch."""
    return slice(rows * rank() // world(), rows * (rank() + 1) // world())


def sum_gradients(parameters: list[Tensor]) -> None:
    """Add up the gradients of all processes, in one message."""
    if not dist.is_initialized():
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
        grad.copy_(part.view_as(grad))
