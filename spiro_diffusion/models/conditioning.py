"""What the generator is told about a person and an effort, as numbers and then as tokens.

Age, height and sex are always known when a curve is real; effort grade, test type and whether the
effort is the person's best are optional. Anything left out is NaN here and a learned "unknown"
token in the network, which is also what condition dropout shows it in training.
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.models.layers import GroupedLinear

NUMBERS = {"age": (45.0, 22.0), "height": (163.0, 16.0)}  # years, cm: centre and spread near NHANES's, ages 6-79
CATEGORIES: Mapping[str, tuple[object, ...]] = {
    "sex": (1, 2),  # RIAGENDR: male, female
    "grade": ("A", "B", "C", "D"),  # SPAQEFF
    "test_type": ("Pre", "Bron"),  # SPATTYPE
    "best": (False, True),  # the person's best acceptable effort before the bronchodilator
}
NAMES = (*NUMBERS, *CATEGORIES)


def encode(people: pd.DataFrame) -> np.ndarray:
    """Conditions of each row as float32 (n, 6): standardised numbers, category positions, NaN for unknown.

    Columns that are absent are unknown.

    Raises SpiroError where a category is none of its known values.
    """
    columns: list[np.ndarray] = []
    for name, (centre, spread) in NUMBERS.items():
        numbers = people[name].to_numpy(float) if name in people else np.full(len(people), np.nan)
        columns.append((numbers - centre) / spread)
    for name, known in CATEGORIES.items():
        if name not in people:
            columns.append(np.full(len(people), np.nan))
            continue
        values = people[name]
        positions = values.map({value: float(i) for i, value in enumerate(known)}).astype(float)
        foreign = values[positions.isna() & values.notna()]
        if len(foreign):
            raise SpiroError(
                f"people: {name} is {foreign.iloc[0]} in row {foreign.index[0]}; expected one of "
                + ", ".join(map(str, known))
            )
        columns.append(positions.to_numpy(float))
    return np.stack(columns, axis=1).astype(np.float32)


class ConditionTokens(nn.Module):
    """Conditions (B, 6 + facts) with NaN for unknown → as many tokens (B, 6 + facts, width).

    The first six are those of `encode`, the others numbers of about unit spread (`facts`). Numbers pass
    through Fourier features (Tancik et al. 2020) of geometrically spaced, low
    frequencies: lung function is a smooth function of age and height.
    """

    frequencies: Tensor

    def __init__(self, width: int, facts: int = 0, frequencies: int = 8) -> None:
        super().__init__()
        numbers = len(NUMBERS) + facts
        octaves = torch.logspace(math.log2(0.125), math.log2(2.0), frequencies, base=2.0)  # cycles per spread
        self.register_buffer("frequencies", 2 * math.pi * octaves, persistent=False)
        self.numbers = nn.Sequential(
            GroupedLinear(numbers, 2 * frequencies + 1, width),
            nn.SiLU(),
            GroupedLinear(numbers, width, width),
        )
        self.categories = nn.ModuleList(nn.Embedding(len(known), width) for known in CATEGORIES.values())
        self.unknown = nn.Parameter(torch.randn(len(NAMES) + facts, width) * 0.02)
        self.mix = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, conditions: Tensor) -> Tensor:
        missing = torch.isnan(conditions)
        filled = torch.where(missing, 0.0, conditions)
        value = torch.cat([filled[:, : len(NUMBERS)], filled[:, len(NAMES) :]], dim=1).T[..., None]  # (numbers, B, 1)
        phase = value * self.frequencies
        numbers = self.numbers(torch.cat([value, phase.sin(), phase.cos()], dim=-1)).transpose(0, 1)
        first = len(NUMBERS)
        categories = [table(filled[:, i].long()) for i, table in enumerate(self.categories, start=first)]
        known = torch.cat([numbers[:, :first], torch.stack(categories, dim=1), numbers[:, first:]], dim=1)
        held = torch.where(missing[..., None], self.unknown.to(known.dtype), known)
        # the age at which a height is reached differs by sex: let the tokens see each other once
        return held + self.mix(held) + self.mix(held.mean(1, keepdim=True))


def drop(conditions: Tensor, share: float, each: Tensor, generator: torch.Generator) -> Tensor:
    """Condition dropout: all of a row with probability `share`, and each alone with its probability in `each`."""
    draw = torch.rand(conditions.shape, generator=generator, device=conditions.device)
    every = torch.rand((len(conditions), 1), generator=generator, device=conditions.device) < share
    return conditions.masked_fill(every | (draw < each), torch.nan)


def optional(share: float) -> Tensor:
    """`share` (6,) for the conditions that a user may leave out, 0 for the others."""
    return torch.tensor([share if name in ("grade", "test_type", "best") else 0.0 for name in NAMES])


def jitter(conditions: Tensor, scale: Tensor, generator: torch.Generator) -> Tensor:
    """Normal noise of SD `scale` (6,) on the conditions."""
    return conditions + scale * torch.randn(conditions.shape, generator=generator, device=conditions.device)


def jitter_scale(age_years: float, height_cm: float) -> Tensor:
    """Noise on age and height in their units (6,): age, height and sex nearly name a participant, and a
    network that can tell people apart learns them by heart instead of the population."""
    sd = {"age": age_years, "height": height_cm}
    return torch.tensor([sd[name] / NUMBERS[name][1] if name in sd else 0.0 for name in NAMES])
