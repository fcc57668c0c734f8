"""Matrix products by oneDNN on a CPU, for the portable mode.

PyTorch computes them by MKL, which gives the same bytes on all processors only without vector instructions
(`core.portable`), three to five times slower. oneDNN, held to AVX2, gives the same bytes with them; it computes
PyTorch's convolutions anyway.
"""

import functools
import warnings

import torch
from torch import Tensor

from spiro_diffusion.core import portable

_libraries: list[torch.library.Library] = []  # once one is forgotten, PyTorch has its own kernels again


@functools.cache
def settle() -> None:
    """Let oneDNN compute this process's products of float32 matrices, forward and backward, where it is portable."""
    if not portable.holds() or not torch.backends.mkldnn.is_available():
        return
    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that kernels are replaced, which is intended
        library.impl("mm", mm, "CPU")
        library.impl("addmm", addmm, "CPU")
    _libraries.append(library)


def mm(a: Tensor, b: Tensor) -> Tensor:
    """a (n, k) times b (k, m)."""
    if a.dtype != torch.float32 or not a.numel() or not b.numel():
        return torch.mm(a, b, out=a.new_empty(a.shape[0], b.shape[1]))  # PyTorch's own: another operator
    return _linear(a, b, None)


def addmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta times bias, plus alpha times a (n, k) times b (k, m)."""
    row = bias.shape == b.shape[1:] and beta == alpha == 1
    if not row or a.dtype != torch.float32 or not a.numel() or not b.numel():
        return torch.addmm(bias, a, b, beta=beta, alpha=alpha, out=a.new_empty(a.shape[0], b.shape[1]))
    return _linear(a, b, bias)


def _linear(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    """By the operator that torch.compile takes for linear layers on a CPU."""
    return torch.ops.mkldnn._linear_pointwise(a, b.t(), bias, "none", [], "")
