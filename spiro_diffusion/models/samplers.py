"""Samplers of the probability-flow ODE: flat functions that share one signature.

`sampler(denoise, start, sigmas)`: `denoise(x, sigma) -> x0` with sigma a scalar tensor, `start` noise
already scaled to sigmas[0], `sigmas` (steps + 1,) falling to 0. Returns the final x0.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from spiro_diffusion.core.errors import within

SamplerName = Literal["euler", "heun", "dpmpp_2m"]  # each a function below
Denoise = Callable[[Tensor, Tensor], Tensor]
Sampler = Callable[[Denoise, Tensor, Tensor], Tensor]


def karras_sigmas(steps: int, minimum: float, maximum: float, rho: float = 7.0) -> Tensor:
    """Noise levels of Karras et al. 2022, equation 5, with a final 0: (steps + 1,)."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    low, high = minimum ** (1 / rho), maximum ** (1 / rho)
    return torch.cat([(high + ramp * (low - high)) ** rho, torch.zeros(1, dtype=torch.float64)]).float()


def euler(denoise: Denoise, start: Tensor, sigmas: Tensor) -> Tensor:
    """First order (DDIM, Song et al. 2021): one evaluation a step."""
    x = start
    for now, following in itertools.pairwise(sigmas):
        clean = denoise(x, now)
        x = clean + (x - clean) * (following / now)
    return x


def heun(denoise: Denoise, start: Tensor, sigmas: Tensor) -> Tensor:
    """Second order (Karras et al. 2022, algorithm 1): 2 x steps - 1 evaluations."""
    x = start
    for i, (now, following) in enumerate(itertools.pairwise(sigmas)):
        slope = (x - denoise(x, now)) / now
        ahead = x + (following - now) * slope
        if i < len(sigmas) - 2:
            slope = (slope + (ahead - denoise(ahead, following)) / following) / 2
            ahead = x + (following - now) * slope
        x = ahead
    return x


def dpmpp_2m(denoise: Denoise, start: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022): second order from the last step's estimate, one evaluation a step."""
    x, previous = start, None
    for i, (now, following) in enumerate(itertools.pairwise(sigmas)):
        clean = denoise(x, now)
        if i == len(sigmas) - 2:  # the last step goes to sigma 0, where the multistep is undefined
            return clean
        step = torch.log(now / following)
        if previous is None:
            blend = clean
        else:
            r = torch.log(sigmas[i - 1] / now) / step
            blend = clean + (clean - previous) / (2 * r)
        x = (following / now) * x - torch.expm1(-step) * blend
        previous = clean
    return x


SAMPLERS: dict[SamplerName, Sampler] = {name: globals()[name] for name in get_args(SamplerName)}


@dataclass(frozen=True)
class Sampling:
    """A model's default sampling settings; part of its checkpoint."""

    sampler: SamplerName = "dpmpp_2m"
    steps: int = 12  # noise levels of the latents: as good as 180 (docs/experiments.md, 42)
    facts_sampler: SamplerName = "dpmpp_2m"
    facts_steps: int = 24  # of the facts: 0.9 % wider at most than with 400 levels (docs/experiments.md, 151)
    facts_rho: float = 20.0  # spacing of these levels, see `karras_sigmas`
    noise_block: int = 64  # draws that share one seeded noise generator: it decides the curves, whatever the batch
    lung_share: float = 0.9  # of the latents' noise variance, common to a lung (docs/experiments.md, 142)

    def __post_init__(self) -> None:
        within(
            self,
            steps=(1, 10_000),
            facts_steps=(1, 10_000),
            facts_rho=(1, 1000),
            noise_block=(1, 4096),
            lung_share=(0, 1),
        )
