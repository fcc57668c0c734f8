"""Conditions as tokens of a network, and their masking and jitter in training."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spiro_diffusion.models.conditioning import (
    CATEGORIES,
    CONDITIONS,
    HIDDEN_ALONE,
    HIDDEN_TOGETHER,
    NUMBERS,
    Number,
)
from spiro_diffusion.models.layers import GroupedLinear


class ConditionTokens(nn.Module):
    """Conditions (B, conditions + facts) with NaN for unknown → as many tokens (B, conditions + facts, width).

    The first are those of `encode`, the others numbers of about unit spread (`facts`). Numbers pass
    through Fourier features (Tancik et al. 2020) of geometrically spaced, low
    frequencies: lung function is a smooth function of age and height.
    """

    frequencies: Tensor

    def __init__(self, width: int, facts: int = 0, frequencies: int = 8) -> None:
        super().__init__()
        numbers = len(NUMBERS) + facts
        octaves = torch.logspace(math.log2(0.125), math.log2(2.0), frequencies, base=2.0)  # cycles per spread
        self.register_buffer("frequencies", 2 * math.pi * octaves)
        self.numbers = nn.Sequential(
            GroupedLinear(numbers, 2 * frequencies + 1, width),
            nn.SiLU(),
            GroupedLinear(numbers, width, width),
        )
        self.categories = nn.ModuleList(nn.Embedding(len(c.values), width) for c in CATEGORIES)
        self.unknown = nn.Parameter(torch.randn(len(CONDITIONS) + facts, width) * 0.02)
        self.mix = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, conditions: Tensor) -> Tensor:
        missing = torch.isnan(conditions)
        filled = torch.where(missing, 0.0, conditions)
        first, last = len(NUMBERS), len(CONDITIONS)
        value = torch.cat([filled[:, :first], filled[:, last:]], dim=1).T[..., None]  # (numbers, B, 1)
        phase = value * self.frequencies
        numbers = self.numbers(torch.cat([value, phase.sin(), phase.cos()], dim=-1)).transpose(0, 1)
        categories = [table(filled[:, i].long()) for i, table in enumerate(self.categories, start=first)]
        embedded = torch.cat([numbers[:, :first], torch.stack(categories, dim=1), numbers[:, first:]], dim=1)
        tokens = torch.where(missing[..., None], self.unknown.to(embedded.dtype), embedded)
        # the age at which a height is reached differs by sex: let the tokens see each other once
        return tokens + self.mix(tokens) + self.mix(tokens.mean(1, keepdim=True))


@dataclass(frozen=True)
class Augmentation:
    """What conditions (B, k) go through in training: noise, and each hidden alone or some of a row together."""

    jitter: Tensor  # (k,) SD of noise
    hidden: Tensor  # (k,) probability that one is hidden
    seldom: Tensor  # (k,) whether it is hidden with all others that are seldom known, for HIDDEN_TOGETHER of the rows
    all_hidden: float  # probability that all of a row are

    @classmethod
    def of(cls, optional: float, all_hidden: float, facts: int = 0, facts_jitter: float = 0.0) -> "Augmentation":
        """Of CONDITIONS, each that is optional hidden with probability `optional`, and of `facts` numbers behind
        them with noise of SD `facts_jitter`, hidden only with all others."""
        jitter = [c.jitter / c.spread if isinstance(c, Number) else 0.0 for c in CONDITIONS]
        hidden = [HIDDEN_ALONE if c.seldom else optional if c.optional else 0.0 for c in CONDITIONS]
        seldom = [c.seldom for c in CONDITIONS] + [False] * facts
        rest = [0.0] * facts
        return cls(
            torch.tensor(jitter + [facts_jitter] * facts), torch.tensor(hidden + rest), torch.tensor(seldom), all_hidden
        )

    def to(self, device: torch.device) -> "Augmentation":
        """The same on another device."""
        return Augmentation(self.jitter.to(device), self.hidden.to(device), self.seldom.to(device), self.all_hidden)

    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """What is added to conditions, (rows, k): noise, and NaN where one is hidden."""
        device, shape = self.jitter.device, (rows, len(self.jitter))
        noise = self.jitter * torch.randn(shape, generator=generator, device=device)
        draw = torch.rand(shape, generator=generator, device=device)
        every, seldom = torch.rand((rows, 2), generator=generator, device=device).chunk(2, dim=1)
        hidden = (every < self.all_hidden) | (draw < self.hidden) | (self.seldom & (seldom < HIDDEN_TOGETHER))
        return noise.masked_fill(hidden, torch.nan)
