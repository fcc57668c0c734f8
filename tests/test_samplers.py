"""Samplers with a denoiser known in closed form: data ~ N(mean, sd²), whose ODE ends at a known point."""

import pytest
import torch
from torch import Tensor

from spiro_diffusion.models.samplers import SAMPLERS, karras_sigmas

MEAN, SD, SIGMA = 3.0, 0.5, 80.0


def denoise(x: Tensor, sigma: Tensor) -> Tensor:
    """E[x0 | x] for Gaussian data."""
    return MEAN + SD**2 / (SD**2 + sigma**2) * (x - MEAN)


def exact(start: Tensor) -> Tensor:
    """The probability-flow ODE's end: the start's z-score, kept."""
    return MEAN + (start - MEAN) * SD / (SD**2 + SIGMA**2) ** 0.5


def error(name: str, steps: int) -> float:
    start = torch.linspace(-2, 2, 9, dtype=torch.float64) * SIGMA
    sigmas = karras_sigmas(steps, 0.002, SIGMA).double()
    return (SAMPLERS[name](denoise, start, sigmas) - exact(start)).abs().max().item()


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_ends_where_the_ode_ends(name: str) -> None:
    assert error(name, 200) < 0.02


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2), ("dpmpp_2m", 2)])
def test_twice_the_steps_divide_the_error_by_the_order(name: str, order: int) -> None:
    assert error(name, 40) / error(name, 80) == pytest.approx(2**order, rel=0.35)


def test_noise_levels_fall_from_the_first_to_zero() -> None:
    sigmas = karras_sigmas(18, 0.02, 80.0)
    assert len(sigmas) == 19
    assert sigmas[0].item() == pytest.approx(80.0, rel=1e-5)
    assert sigmas[-2].item() == pytest.approx(0.02, rel=1e-4)
    assert sigmas[-1].item() == 0
    assert (sigmas.diff() < 0).all()
