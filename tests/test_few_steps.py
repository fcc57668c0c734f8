"""Distillation to a few evaluations: the teacher's flow, the student's levels, what a student has to learn."""

import pytest
import torch

from spiro_diffusion.models.condition_tokens import Augmentation
from spiro_diffusion.models.conditioning import CONDITIONS, NUMBERS
from spiro_diffusion.models.edm import Noise
from spiro_diffusion.models.effort_facts import NAMES
from spiro_diffusion.models.index_diffusion import FactsConfig
from spiro_diffusion.models.latent_diffusion import CLDM, CLDMConfig
from spiro_diffusion.models.samplers import dpmpp_2m, karras_sigmas
from spiro_diffusion.models.unet import UNetConfig
from spiro_diffusion.training import few_steps
from spiro_diffusion.training.denoising import Examples

ROWS, KNOWN = 12, len(CONDITIONS) + len(NAMES)


@pytest.fixture(scope="module")
def cldm() -> CLDM:
    """Small, with random weights also where a network begins at zero."""
    torch.manual_seed(0)
    network = UNetConfig(channels=4, width=8, multipliers=(1, 2), head=8, context=8, facts=len(NAMES))
    model = CLDM(CLDMConfig(network, Noise(1.0, 1.6, 0.02, 160.0), FactsConfig(8, 1), Noise())).eval()
    for parameter in model.denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def task(cldm: CLDM, jumps: int) -> few_steps.JumpTask:
    generator = torch.Generator().manual_seed(1)
    clean, conditions = torch.randn((ROWS, 64, 4), generator=generator), torch.randn((ROWS, KNOWN), generator=generator)
    conditions[:, len(NUMBERS) : len(CONDITIONS)] = 0.0  # categories
    none, rows = torch.zeros(KNOWN), torch.arange(ROWS)
    examples = Examples(clean, conditions, rows, torch.ones(ROWS) / ROWS)
    rest = examples, Augmentation(none, none, none.bool(), 0.0), 1
    return few_steps.JumpTask(cldm.denoiser, jumps, cldm.config.noise, *rest)


@torch.no_grad()
def test_the_teacher_flows_as_the_sampler_does(cldm: CLDM) -> None:
    start = 160 * torch.randn((ROWS, 64, 4), generator=torch.Generator().manual_seed(0))
    conditions = torch.zeros((ROWS, KNOWN))
    prepared = cldm.denoiser.network.prepare(conditions)
    sigmas = karras_sigmas(few_steps.SUBSTEPS, 0.02, 160.0)
    sampled = dpmpp_2m(lambda x, sigma: cldm.denoiser.with_prepared(x, sigma.expand(ROWS), prepared), start, sigmas)
    segments = few_steps.segments(cldm.config.noise, 1).expand(ROWS, -1)
    flowed = few_steps.flowed(cldm.denoiser, start, segments, conditions)
    assert sampled.std() > 0.1
    torch.testing.assert_close(flowed, sampled, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("jumps", [2, 3, 4])
def test_jumps_join_and_begin_where_the_sampler_evaluates(cldm: CLDM, jumps: int) -> None:
    levels = few_steps.segments(cldm.config.noise, jumps)
    assert levels.shape == (jumps, few_steps.SUBSTEPS // jumps + 1)
    assert levels[-1, -1] == 0
    torch.testing.assert_close(levels[1:, 0], levels[:-1, -1])
    sampled = task(cldm, jumps).sampled
    torch.testing.assert_close(karras_sigmas(jumps, sampled.minimum, sampled.maximum)[:-1], levels[:, 0])


@torch.no_grad()
def test_only_jumps_longer_than_the_teachers_steps_are_to_be_learned(cldm: CLDM) -> None:
    assert task(cldm, few_steps.SUBSTEPS).validate()["score"] < 1e-6  # one step of the teacher is one of the student
    assert task(cldm, 4).validate()["score"] > 1e-4
