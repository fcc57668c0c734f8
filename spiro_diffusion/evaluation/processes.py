"""Distribute work to forked processes, which see this process's arrays without a copy."""

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from spiro_diffusion.core.errors import SpiroError

PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when the one that made it is gone

T = TypeVar("T")
_function: Callable[[int], Any] | None = None  # set before the fork, so that it need not be sent


def in_processes(function: Callable[[int], T], count: int) -> Iterator[T]:
    """`function(i)` for each i in order, in as many processes as this one may use cores.

    Each has one thread, so that its last digits do not depend on how many there are. The function must not use a GPU.
    Where there is one core, or no Linux, all is computed here.

    Raises:
        SpiroError: a process was ended from outside.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    if cores < 2:
        with threadpool_limits(limits=1):
            yield from map(function, range(count))
        return
    global _function  # noqa: PLW0603
    _function = function
    try:
        with ProcessPoolExecutor(min(cores, count), multiprocessing.get_context("fork"), _begin) as pool:
            yield from pool.map(_call, range(count))
    except BrokenProcessPool:
        raise SpiroError(
            "a process that judged was ended from outside, perhaps for lack of memory; give it more"
        ) from None
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()  # what they compute is no longer needed
        raise
    finally:
        _function = None


def _begin() -> None:
    gc.freeze()  # what the first process left to be thrown away, a GPU's objects among it, is its own to throw away
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends them
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threadpool_limits(limits=1)


def _call(i: int) -> Any:
    assert _function is not None
    return _function(i)
