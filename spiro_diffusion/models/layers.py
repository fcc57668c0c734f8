"""Layers that several networks use. Between layers the layout is (B, tokens, channels)."""

import functools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spiro_diffusion.compute import kernels


@functools.cache
def table(values: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A small table of numbers on a device, copied there once: a copy cannot be part of a CUDA graph."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


def activated(x: Tensor) -> Tensor:
    """SiLU of what nothing else reads: in its place where no gradient needs it, which spares a pass over memory."""
    return F.silu(x, inplace=torch.is_inference_mode_enabled())


class Conv(nn.Module):
    """Convolution over tokens, kernel 3: (B, T, inside) → (B, T / stride, outside).

    Computed as a channels-last image of height 1: the tokens need no copy, and this is the layout that
    oneDNN and the tensor cores of a GPU want (2.4 times Conv1d on one CPU core, see docs/experiments.md).
    """

    def __init__(self, inside: int, outside: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inside, outside, (1, 3), stride=(1, stride), padding=(0, dilation), dilation=(1, dilation)
        )
        self.conv.weight.data = self.conv.weight.data.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        if self.conv.bias is not None and kernels.usable(x):
            return kernels.add_bias(self._convolved(x, None), self.conv.bias)
        return self._convolved(x, self.conv.bias)

    def _convolved(self, x: Tensor, bias: Tensor | None) -> Tensor:
        image, conv = x.transpose(1, 2).unsqueeze(2), self.conv
        image = F.conv2d(image, conv.weight, bias, conv.stride, conv.padding, conv.dilation)
        # squeezed, not indexed: the gradient of an index is copied into zeros, that of a squeeze is a view
        return image.squeeze(2).transpose(1, 2)

    def zero(self) -> None:
        """Start as a map to zero, so that a residual branch starts as the identity."""
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]


STEP_FREQUENCIES = (0.25, 32.0, 32)  # lowest, highest, number: radians a unit of c_noise


def step_phase(c_noise: Tensor) -> Tensor:
    """Fourier features (B, 64) of a noise level's c_noise = log(sigma) / 4 (B,), which spans a few units."""
    low, high, number = STEP_FREQUENCIES
    frequencies = torch.exp(torch.linspace(math.log(low), math.log(high), number, device=c_noise.device))
    phase = c_noise.float()[:, None] * frequencies
    return torch.cat([phase.sin(), phase.cos()], dim=1)


class Norm(nn.LayerNorm):
    """Layer norm over the channels of (B, T, C), and what follows it.

    It stays in the number type of its input (its sums are float32 anyway): under autocast PyTorch's own gives
    float32, and all that follows up to the next product moves twice the bytes.
    """

    def forward(self, x: Tensor, modulation: Tensor | None = None, silu: bool = False) -> Tensor:
        """`modulation` (B, 2 C) holds a scale and a shift of each row; with `silu` the activation comes last."""
        with torch.autocast(x.device.type, enabled=False):
            if kernels.norms(x):
                return kernels.norm(x, self.weight, self.bias, self.eps, modulation, silu)
            y = F.layer_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)
            if modulation is not None:
                scale, shift = modulation[:, None].chunk(2, dim=-1)
                y = torch.addcmul(shift, y, 1 + scale)  # one pass over memory less than * and +
            return activated(y) if silu else y


class GroupedLinear(nn.Module):
    """A linear layer of its own for each of G groups: (G, B, inside) → (G, B, outside), in one product."""

    def __init__(self, groups: int, inside: int, outside: int) -> None:
        super().__init__()
        bound = inside**-0.5  # as nn.Linear starts
        self.weight = nn.Parameter(torch.empty(groups, inside, outside).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(groups, 1, outside).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias.to(x.dtype), x, self.weight.to(x.dtype))


def zero_linear(inside: int, outside: int) -> nn.Linear:
    """A linear layer that starts as a map to zero."""
    layer = nn.Linear(inside, outside)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
