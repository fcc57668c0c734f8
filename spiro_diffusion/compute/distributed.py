"""Start a group of processes, and the few collective operations that training needs.

Without torchrun each operation is the identity.
"""

import atexit
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from spiro_diffusion.compute import membership
from spiro_diffusion.compute.membership import Member
from spiro_diffusion.core.errors import SpiroError

PATIENCE_S = 20.0  # s for which a process may say nothing; with torchrun's own waiting the run ends within a minute
MESSAGE = timedelta(minutes=30)  # PyTorch's own timeout for gloo; who ended or stopped is noticed by `membership.Watch`
REQUEST = timedelta(days=1)


@dataclass
class _State:
    """What the group of this process holds beside PyTorch's."""

    watch: membership.Watch | None = None
    waiting: dist.ProcessGroup | None = None
    before_end: list[Callable[[], Callable[[], None] | None]] = field(default_factory=list)


_state = _State()


def start(device: torch.device, patience_s: float = PATIENCE_S) -> torch.device:
    """Join the group that torchrun describes in the environment, if it describes one; this process's device.

    Raises SpiroError where the description is wrong, or the others are not there in time.
    """
    member = Member.of_environment()
    if member is None:
        return device
    if device.type == "cuda":
        gpus = torch.cuda.device_count()
        if member.local_rank >= gpus:
            raise SpiroError(
                f"LOCAL_RANK is {member.local_rank}, but PyTorch sees {gpus} GPUs here, one for each process: "
                f"start at most {gpus} (`runtime.workers`, or torchrun's --nproc-per-node)"
            )
        device = torch.device("cuda", member.local_rank)
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        store, members = membership.meet(member, patience_s)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        group: dict[str, Any] = {"store": store, "rank": member.rank, "world_size": member.world}
        dist.init_process_group(backend, timeout=MESSAGE, **group)
        _state.watch = membership.Watch(member, members, patience_s)
        # the judge looks at curves for long between two requests that the others wait for
        _state.waiting = dist.new_group(backend="gloo", timeout=REQUEST)
        membership.leave_on_errors()
        atexit.register(end)
    return device


def before_end(action: Callable[[], Callable[[], None] | None]) -> None:
    """Have the function that `action` (a weak reference) holds called before the group ends, if it is still there."""
    _state.before_end.append(action)


def end() -> None:
    """Leave the group."""
    for action in _state.before_end:
        function = action()
        if function is not None:
            function()
    _state.before_end.clear()
    if _state.watch is not None:
        _state.watch.close()
        _state.watch = None
    if dist.is_initialized():
        dist.destroy_process_group()


def fail(line: str) -> None:
    """End a process of several with a line, at once; a process alone goes on to end as it does."""
    if world() > 1:
        membership.leave(line)


def rank() -> int:
    """This process's number, 0 for the first."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes work together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def grouped() -> bool:
    """Whether this process is in a group, if only its own."""
    return dist.is_initialized()


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


def from_first_text(text: str = "") -> str:
    """The first process's text, everywhere; it goes over the CPU's network."""
    if not dist.is_initialized():
        return text
    length = torch.tensor([len(text.encode())])
    dist.broadcast(length, 0, group=_state.waiting)
    letters = (
        torch.tensor(list(text.encode()), dtype=torch.uint8)
        if rank() == 0
        else torch.empty(int(length), dtype=torch.uint8)
    )
    return bytes(from_first(letters).tolist()).decode()


def dismiss() -> None:
    """End the processes that wait for further texts of the first one."""
    from_first_text()


def in_order(parts: Sequence[slice], compute: Callable[[slice], Tensor], shape: tuple[int, ...]) -> Iterator[Tensor]:
    """`compute(part)`, a tensor (rows of the part, *shape), for each part, on the CPU, shared out over the processes.

    The first process gets all of them in order; in the others, which send it theirs, nothing comes. A part is
    computed by one process as it would be by one alone: the same bytes. A GPU computes the next part while one is
    fetched and used.
    """
    before: Iterator[Tensor] = iter(())  # the turn that is on its way
    for first in range(0, len(parts), world()):
        turn = parts[first : first + world()]
        if rank() == 0:
            others = [torch.empty((part.stop - part.start, *shape)) for part in turn[1:]]
            coming = [dist.irecv(other, worker) for worker, other in enumerate(others, 1)]  # while it computes its own
            here, event = _fetched(compute(turn[0]))
            arriving = _arrived(here, event, list(zip(others, coming, strict=True)))
            if event is None:  # it is here already
                yield from arriving
            else:
                yield from before
                before = arriving
        elif rank() < len(turn):
            dist.send(compute(turn[rank()]).cpu().contiguous(), 0)
    yield from before


def _fetched(result: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """A result on the CPU, where it is when the event, if there is one, has happened."""
    if not result.is_cuda:
        return result, None
    host, event = torch.empty(result.shape, dtype=result.dtype, pin_memory=True), torch.cuda.Event()
    host.copy_(result, non_blocking=True)
    event.record()
    return host, event


def _arrived(
    here: Tensor, event: torch.cuda.Event | None, others: list[tuple[Tensor, dist.Work | None]]
) -> Iterator[Tensor]:
    """The results of a turn, each when it is there."""
    if event is not None:
        event.synchronize()
    yield here
    for other, work in others:
        assert work is not None  # the others are in the group
        work.wait()
        yield other


def share(rows: int) -> slice:
    """This process's part of a global batch."""
    return slice(rows * rank() // world(), rows * (rank() + 1) // world())


def sum_gradients(parameters: list[Tensor]) -> None:
    """Add up the gradients of all processes, in one message."""
    if not dist.is_initialized():
        return
    # as they lie in memory, gapless and everywhere alike: each way between them and the message is one kernel
    grads = [p.grad.as_strided((p.grad.numel(),), (1,)) for p in parameters if p.grad is not None]
    flat = torch.cat(grads)
    dist.all_reduce(flat)
    torch._foreach_copy_(grads, flat.split([g.numel() for g in grads]))
