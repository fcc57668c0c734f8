"""1D U-Net over 64 tokens: step embedding by scale and shift, conditions by cross-attention.

References: Ronneberger et al. 2015 (U-Net), Ho et al. 2020 and Dhariwal & Nichol 2021 (its use in
diffusion, scale and shift of the norms), Rombach et al. 2022 (conditions as tokens that the network
attends to).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spiro_diffusion.compute import kernels
from spiro_diffusion.core.errors import printable, within
from spiro_diffusion.models.condition_tokens import ConditionTokens
from spiro_diffusion.models.layers import Conv, Norm, step_phase, zero_linear
from spiro_diffusion.models.vqvae import TOKENS


@dataclass(frozen=True)
class UNetConfig:
    """What decides the shapes of the network."""

    channels: int = 8  # of the input and output
    width: int = 64  # channels at 64 tokens
    multipliers: tuple[int, ...] = (1, 2, 2)  # channels at 64, 32, 16 tokens, in units of width
    blocks: int = 1  # residual blocks a level, down and up
    head: int = 32  # channels of an attention head
    context: int = 64  # channels of step embedding and condition tokens
    dropout: float = 0.0
    facts: int = 0  # numbers of the effort that are conditions too, behind `conditioning.CONDITIONS`

    def __post_init__(self) -> None:
        within(self, channels=(1, 128), width=(1, 4096), blocks=(1, 16), head=(1, 4096), context=(1, 4096))
        within(self, dropout=(0, 1), facts=(0, 64))
        if not 1 <= len(self.multipliers) <= 6 or not all(1 <= m <= 64 for m in self.multipliers):
            raise ValueError(
                f"multipliers is {printable(list(self.multipliers))}; expected 1 to 6 numbers from 1 to 64"
            )
        for width in (self.width * m for m in self.multipliers):
            if width % max(1, width // self.head):
                raise ValueError(f"head is {self.head}; {width} channels do not share out to heads of that size")


class ResBlock(nn.Module):
    """Two convolutions; the context scales and shifts the second norm. Starts as the identity."""

    def __init__(self, inside: int, outside: int, context: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.conv1 = Norm(inside), Conv(inside, outside)
        self.norm2, self.conv2 = Norm(outside), Conv(outside, outside)
        self.modulate = nn.Linear(context, 2 * outside)
        self.skip = nn.Linear(inside, outside) if inside != outside else nn.Identity()
        self.dropout = dropout
        self.conv2.zero()

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        h = self.conv1(self.norm1(x, silu=True))
        h = self.norm2(h, self.modulate(context), silu=True)
        return self.skip(x) + self.conv2(F.dropout(h, self.dropout, self.training))


class Prepared(NamedTuple):
    """What no noise level changes: the condition tokens (B, k + facts, context), and the keys and values that layers
    which attended to them have made of them."""

    tokens: Tensor
    keys_values: dict[nn.Module, Tensor]


class Attention(nn.Module):
    """Attention of tokens to themselves, or to condition tokens where these are given."""

    def __init__(self, width: int, head: int, context: int | None = None) -> None:
        super().__init__()
        self.heads = max(1, width // head)
        self.norm = Norm(width)
        self.query = nn.Linear(width, width)
        self.keys_values = nn.Linear(context or width, 2 * width)
        self.out = zero_linear(width, width)

    def forward(self, x: Tensor, prepared: Prepared | None = None) -> Tensor:
        h = self.norm(x)
        query, keys_values = self.query(h), self.keys_values(h) if prepared is None else self._of_conditions(prepared)
        if kernels.attends(query, keys_values, self.heads):
            return x + self.out(kernels.attention(query, keys_values, self.heads))
        key, value = (self._split(t) for t in keys_values.chunk(2, dim=-1))
        mixed = F.scaled_dot_product_attention(self._split(query), key, value)
        return x + self.out(mixed.transpose(1, 2).flatten(2))

    def _of_conditions(self, prepared: Prepared) -> Tensor:
        if self not in prepared.keys_values:
            prepared.keys_values[self] = self.keys_values(prepared.tokens)
        return prepared.keys_values[self]

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, tokens, head)


class Level(nn.Module):
    """A residual block; where few tokens are left also attention to the conditions and to the tokens."""

    def __init__(self, inside: int, outside: int, config: UNetConfig, attend: bool) -> None:
        super().__init__()
        self.block = ResBlock(inside, outside, config.context, config.dropout)
        self.cross_attention = Attention(outside, config.head, config.context) if attend else None
        self.self_attention = Attention(outside, config.head) if attend else None

    def forward(self, x: Tensor, context: Tensor, prepared: Prepared) -> Tensor:
        x = self.block(x, context)
        if self.cross_attention is not None and self.self_attention is not None:
            x = self.self_attention(self.cross_attention(x, prepared))
        return x


class UNet(nn.Module):
    """x (B, 64, channels), c_noise (B,), conditions (B, k + facts) with NaN for unknown → as x."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * m for m in config.multipliers]
        deepest = len(widths) - 1
        self.conditions = ConditionTokens(config.context, config.facts)
        self.step = nn.Sequential(nn.Linear(64, config.context), nn.SiLU(), nn.Linear(config.context, config.context))
        self.enter = nn.Linear(config.channels, widths[0])
        self.place = nn.Parameter(torch.randn(TOKENS, widths[0]) * 0.02)  # a token's place in the blow
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        inside, kept = widths[0], []
        for i, width in enumerate(widths):
            for _ in range(config.blocks):
                self.down.append(Level(inside, width, config, attend=i > 0))
                inside = width
                kept.append(width)
            if i < deepest:
                self.shrink.append(Conv(width, width, stride=2))
        self.middle = Level(inside, inside, config, attend=True)
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for i in range(deepest, -1, -1):
            for _ in range(config.blocks):
                self.up.append(Level(inside + kept.pop(), widths[i], config, attend=i > 0))
                inside = widths[i]
            if i > 0:
                self.grow.append(Conv(inside, inside))
        self.leave = nn.Sequential(Norm(inside), nn.SiLU(), zero_linear(inside, config.channels))

    def forward(self, x: Tensor, c_noise: Tensor, conditions: Tensor) -> Tensor:
        return self.with_prepared(x, c_noise, self.prepare(conditions))

    def prepare(self, conditions: Tensor) -> Prepared:
        """What a sampler needs of the conditions, once for all noise levels."""
        return Prepared(self.conditions(conditions), {})

    def with_prepared(self, x: Tensor, c_noise: Tensor, prepared: Prepared) -> Tensor:
        """`forward` with prepared conditions."""
        context = F.silu(self.step(step_phase(c_noise)) + prepared.tokens.mean(1))
        h = self.enter(x)
        h = h + self.place.to(h.dtype)
        levels, skips = len(self.config.multipliers), []
        for i, level in enumerate(self.down):
            h = level(h, context, prepared)
            skips.append(h)
            if (i + 1) % self.config.blocks == 0 and i // self.config.blocks < levels - 1:
                h = self.shrink[i // self.config.blocks](h)
        h = self.middle(h, context, prepared)
        for i, level in enumerate(self.up):
            h = level(torch.cat([h, skips.pop()], dim=-1), context, prepared)
            if (i + 1) % self.config.blocks == 0 and i // self.config.blocks < levels - 1:
                h = self.grow[i // self.config.blocks](h.repeat_interleave(2, dim=1))
        return self.leave(h)
