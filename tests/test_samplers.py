"""Samplers with a denoiser known in closed form: data ~ N(mean, sd²), whose ODE ends at a known point."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from spiro_diffusion.api import SpiroGenerator
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.params import filled
from spiro_diffusion.models import conditioning
from spiro_diffusion.models.samplers import SAMPLERS, SamplerName, Sampling, karras_sigmas

MEAN, SD, SIGMA = 3.0, 0.5, 80.0


def denoise(x: Tensor, sigma: Tensor) -> Tensor:
    """E[x0 | x] for Gaussian data."""
    return MEAN + SD**2 / (SD**2 + sigma**2) * (x - MEAN)


def exact(start: Tensor) -> Tensor:
    """The probability-flow ODE's end: the start's z-score, kept."""
    return MEAN + (start - MEAN) * SD / (SD**2 + SIGMA**2) ** 0.5


def error(name: SamplerName, steps: int) -> float:
    start = torch.linspace(-2, 2, 9, dtype=torch.float64) * SIGMA
    sigmas = karras_sigmas(steps, 0.002, SIGMA).double()
    return (SAMPLERS[name](denoise, start, sigmas) - exact(start)).abs().max().item()


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_ends_where_the_ode_ends(name: SamplerName) -> None:
    assert error(name, 200) < 0.02


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2), ("dpmpp_2m", 2)])
def test_twice_the_steps_divide_the_error_by_the_order(name: SamplerName, order: int) -> None:
    assert error(name, 40) / error(name, 80) == pytest.approx(2**order, rel=0.35)


def test_a_sampler_that_is_none_is_refused_in_a_line(models: Path) -> None:
    with pytest.raises(SpiroError, match=r"^how\.sampler is 'ddim'; expected one of 'euler', 'heun', 'dpmpp_2m'$"):
        filled(Sampling, {"sampler": "ddim"}, "how.")
    generator = SpiroGenerator.from_checkpoint(models, device="cpu")._torch
    people = pd.DataFrame({"age": [45.0], "height": [175.0], "sex": [1]})
    with pytest.raises(SpiroError, match=r"^sampler is ddim; expected one of euler, heun, dpmpp_2m$"):
        generator.sample(people, 1, 0, sampler="ddim", progress=False)  # type: ignore[arg-type]


def test_noise_levels_fall_from_the_first_to_zero() -> None:
    sigmas = karras_sigmas(18, 0.02, 80.0)
    assert len(sigmas) == 19
    assert sigmas[0].item() == pytest.approx(80.0, rel=1e-5)
    assert sigmas[-2].item() == pytest.approx(0.02, rel=1e-4)
    assert sigmas[-1].item() == 0
    assert (sigmas.diff() < 0).all()


def test_what_a_graph_captures_takes_no_numbers_from_the_host(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA graph cannot hold such a copy; the tables a draw needs are on the device after the first one."""
    generator = SpiroGenerator.from_checkpoint(models, device="cpu")._torch
    finish = generator._finisher("euler", 2, 1.0)
    sizes = (len(conditioning.NAMES),), (len(generator.cldm.facts.coefficients),), generator.fact_shape
    arguments = [torch.zeros((2, *size)) for size in (*sizes, generator.latent_shape)]

    def refused(*arguments: object, **options: object) -> Tensor:
        raise AssertionError("a copy from the host")

    with torch.inference_mode():
        first = finish(*arguments)["flow"]
        for name in ("tensor", "as_tensor", "from_numpy"):
            monkeypatch.setattr(torch, name, refused)
        assert torch.equal(finish(*arguments)["flow"], first)
