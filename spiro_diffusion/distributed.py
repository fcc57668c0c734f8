"""The few collective operations that training needs; without torchrun each is the identity."""

import os

import torch
import torch.distributed as dist
from torch import Tensor


def start(device: torch.device) -> None:
    """Join the group that torchrun describes in the environment, if it describes one."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")


def stop() -> None:
    """Leave the group."""
    if dist.is_initialized():
        dist.destroy_process_group()


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
