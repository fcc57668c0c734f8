"""Split rows into batches, and compute batches on all cores."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

MOST_THREADS = 16  # each has arrays of its own
T = TypeVar("T")


def batches(rows: int, size: int) -> Iterator[slice]:
    """Slices that cover `rows`, of `size` rows each but the last."""
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def in_parallel(function: Callable[[int], T], count: int) -> Iterator[T]:
    """`function(i)` for each i in order, on all cores: numpy lets go of the interpreter while it computes.

    Each call has one core, so that its last digits do not depend on how many there are.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        yield from _in_threads(function, count)


def _in_threads(function: Callable[[int], T], count: int) -> Iterator[T]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(max_workers=min(cores, MOST_THREADS)) as pool:
        yield from pool.map(function, range(count))


def by_rows(function: Callable[..., NDArray[Any]], size: int, *arrays: NDArray[Any]) -> NDArray[Any]:
    """`function(*arrays)` of a function that computes each row by itself and without BLAS, `size` rows at a time and on
    all cores: what lies in the caches is not written to memory in between."""
    parts = list(batches(len(arrays[0]), size))
    if len(parts) < 2:
        return function(*arrays)
    return np.concatenate(list(_in_threads(lambda i: function(*(one[parts[i]] for one in arrays)), len(parts))))
