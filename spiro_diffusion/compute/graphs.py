"""CUDA graphs: replay hundreds of small kernels at the cost of one launch."""

import sys
import weakref
from collections.abc import Callable

import torch
from torch import Tensor

from spiro_diffusion.compute import distributed

Step = Callable[..., dict[str, Tensor]]


class Graph:
    """A function of tensors that is captured once and then replayed, with its arguments copied into the captured ones.

    The first calls run the function as it is (they also warm up the libraries), and so do calls whose arguments have
    other shapes than those it was captured with. Where the capture fails every call does: the same result, slower.

    What several processes send one another is captured with the rest: all of them capture the same calls. NCCL's
    communicator waits at its end for the graphs that hold it, so these are forgotten first.
    """

    def __init__(self, function: Step, warm_up: int = 3) -> None:
        self.function, self.warm_up = function, warm_up
        self.possible = True
        self.forget()
        if distributed.grouped():
            distributed.before_end(weakref.WeakMethod(self.forget))

    def forget(self) -> None:
        """Capture anew, because the function computes something else from here on."""
        self.graph: torch.cuda.CUDAGraph | None = None
        self.calls = 0

    def __call__(self, *arguments: Tensor) -> dict[str, Tensor]:
        if not self.possible:
            return self.function(*arguments)
        if self.graph is None:
            if self.calls < self.warm_up:
                self.calls += 1
                return self._aside(*arguments)
            self._capture(*arguments)
        if self.graph is None or [a.shape for a in arguments] != [a.shape for a in self.arguments]:
            return self.function(*arguments)
        for captured, new in zip(self.arguments, arguments, strict=True):
            captured.copy_(new)
        self.graph.replay()
        return {k: v.clone() for k, v in self.result.items()}

    def _aside(self, *arguments: Tensor) -> dict[str, Tensor]:
        """Run on a stream of its own: capture needs one, and so does its warm-up."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            result = self.function(*arguments)
        torch.cuda.current_stream().wait_stream(side)
        return result

    def _capture(self, *arguments: Tensor) -> None:
        self.arguments = tuple(a.clone() for a in arguments)
        try:
            graph = torch.cuda.CUDAGraph()
            # a process in a group has a thread that asks NCCL for its state, which is no part of what is captured
            mode = "thread_local" if distributed.grouped() else "global"
            with torch.cuda.graph(graph, capture_error_mode=mode):
                self.result = self.function(*self.arguments)
        except RuntimeError as error:  # an operation that cannot be captured, or no memory for a second copy
            reason = str(error).splitlines()[0]
            print(f"no CUDA graph ({reason}); going on without; `runtime.graphs: off` asks for none", file=sys.stderr)
            self.possible = False
            return
        self.graph = graph
