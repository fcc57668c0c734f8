"""Fused GPU kernels, with the plain layers on a CPU and on a GPU without Triton.

`norm` is layer norm, then (where one is given) scale and shift for each row, then SiLU: read once, written once, and
in the backward pass the sums over rows are taken on the way. `add_bias` is for the layers whose library does not.
`attention` is for so few tokens that the products of
one head fit in registers, read and written where the linear layers beside it have them. Kernels: `triton_kernels`.
"""

import contextlib
import functools
import importlib.util
from collections.abc import Iterator
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

MOST_TOKENS = 64  # of queries, and of keys
HEADS = (16, 32, 64, 128)  # channels of a head
MOST_CHANNELS = 2048  # of a norm: a row must fit in registers

_allowed = ContextVar("fused kernels allowed", default=True)


@contextlib.contextmanager
def fused(allowed: bool) -> Iterator[None]:
    """Whether fused kernels may run, for the time of the block and in this thread (`runtime.kernels`)."""
    token = _allowed.set(allowed)
    try:
        yield
    finally:
        _allowed.reset(token)


@functools.cache
def _installed() -> bool:
    return importlib.util.find_spec("triton") is not None


def _triton() -> ModuleType:
    from spiro_diffusion.compute import triton_kernels  # noqa: PLC0415 (needs Triton)

    return triton_kernels


def usable(x: Tensor) -> bool:
    """Whether x is where a fused kernel can run."""
    return _allowed.get() and x.is_cuda and not torch.compiler.is_compiling() and _installed()


def norms(x: Tensor) -> bool:
    """Whether `norm` can take x (B, T, channels)."""
    return usable(x) and x.ndim == 3 and x.shape[-1] <= MOST_CHANNELS


def attends(query: Tensor, keys_values: Tensor, heads: int) -> bool:
    """Whether `attention` can take queries (B, T, channels) and keys with values (B, S, 2 x channels)."""
    few = max(query.shape[1], keys_values.shape[1]) <= MOST_TOKENS
    half = query.dtype == keys_values.dtype == torch.bfloat16
    return usable(query) and few and half and query.shape[-1] // heads in HEADS


def norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float, modulation: Tensor | None, silu: bool) -> Tensor:
    """Layer norm of x (B, T, C) over channels, times 1 + scale and plus shift, then SiLU where `silu`.

    `modulation` (B, 2 C) holds the scale and the shift of each row. Computed in float32, returned as x.
    """
    return _Norm.apply(x, weight, bias, modulation, eps, silu)


def add_bias(x: Tensor, bias: Tensor) -> Tensor:
    """x (B, T, C) plus a bias (C,), whose gradient is summed faster than PyTorch does."""
    return _Bias.apply(x, bias)


def attention(query: Tensor, keys_values: Tensor, heads: int) -> Tensor:
    """Scaled dot-product attention of queries (B, T, C) to keys and values (B, S, 2 C), side by side: (B, T, C)."""
    return _Attention.apply(query, keys_values, heads)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, modulation: Tensor | None, eps: float, silu: bool
    ) -> Tensor:
        x = x.contiguous()
        modulation = None if modulation is None else modulation.contiguous()
        out, moments = _triton().norm(x, weight, bias, modulation, eps, silu)
        ctx.save_for_backward(x, weight, bias, modulation, moments)
        ctx.silu = silu
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, modulation, moments = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        found = _triton().norm_backward(gradient, x, weight, bias, modulation, moments, ctx.silu)
        return *found, None, None


class _Bias(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
        ctx.kind = bias.dtype
        return x + bias.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        return gradients[0], _triton().row_sum(gradients[0].contiguous(), ctx.kind)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, keys_values: Tensor, heads: int) -> Tensor:
        query, keys_values = query.contiguous(), keys_values.contiguous()
        ctx.save_for_backward(query, keys_values)
        ctx.heads = heads
        return _triton().attention(query, keys_values, heads)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, keys_values = ctx.saved_tensors
        return *_triton().attention_backward(gradients[0].contiguous(), query, keys_values, ctx.heads), None
