"""Compute parts of a request on the cores of a CPU, one on each."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def in_order(parts: Sequence[slice], compute: Callable[[slice], T], device: torch.device) -> Iterator[T]:
    """`compute(part)` for each part, in order; on a CPU as many at once as PyTorch has threads, each on one thread.

    Threads that share an operation wait for each other at its end, for long where other programs use the cores too; a
    thread with a part of its own does not wait. Curves are the same bytes with any number of threads. A single part has
    all threads, and a GPU computes one part after another.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or min(threads, len(parts)) < 2:
        yield from map(compute, parts)
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(compute, parts)
    finally:
        torch.set_num_threads(threads)
