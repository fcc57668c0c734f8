"""The networks: shapes, the quantiser's identities, a codebook that stays alive, conditions that may be unknown."""

import numpy as np
import pandas as pd
import pytest
import torch

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.models import condition_tokens, conditioning, effort_facts, index_diffusion
from spiro_diffusion.models.edm import Denoiser, Noise, denoising_loss, draw_sigma
from spiro_diffusion.models.header import MadeFrom
from spiro_diffusion.models.latent_diffusion import CLDM, CLDMConfig, principal_axes
from spiro_diffusion.models.samplers import heun, karras_sigmas
from spiro_diffusion.models.unet import UNet, UNetConfig
from spiro_diffusion.models.vqvae import (
    VQVAE,
    Decoded,
    Lasting,
    LossWeights,
    Quantiser,
    VQVAEConfig,
    reconstruction_loss,
)
from spiro_diffusion.physiology import mean_surface

TINY_VQVAE = VQVAEConfig(width=16, blocks=2, groups=4, code_width=4, codes=16)
TINY_UNET = UNetConfig(channels=8, width=16, multipliers=(1, 2), blocks=1, head=16, context=16)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_vqvae_maps_512_bins_to_64_tokens_and_back() -> None:
    torch.manual_seed(0)
    model = VQVAE(TINY_VQVAE).eval()
    flow = torch.rand(3, 512)
    tokens = model.encode(flow)
    decoded = model.decode(tokens)
    assert tokens.shape == (3, 64, 128)
    assert decoded.flow.shape == decoded.log_sd.shape == (3, 512)


def test_quantising_twice_changes_nothing_in_eval_mode() -> None:
    torch.manual_seed(0)
    quantiser = Quantiser(groups=4, code_width=4, codes=16).eval()
    before = quantiser.codebook.clone()
    once = quantiser(torch.randn(2, 64, 16))
    twice = quantiser(once.vectors)
    assert torch.equal(once.codes, twice.codes)
    assert torch.allclose(once.vectors, twice.vectors)
    assert torch.equal(quantiser.lookup(once.codes), once.vectors)
    assert torch.equal(quantiser.codebook, before)


def test_the_nearest_code_is_nearest() -> None:
    torch.manual_seed(0)
    quantiser = Quantiser(groups=2, code_width=6, codes=8)
    vectors = torch.randn(2, 50, 6)
    brute = torch.cdist(vectors, quantiser.codebook).argmin(-1)
    assert torch.equal(quantiser.nearest(vectors), brute)


def test_gradients_pass_the_quantiser_as_if_it_were_not_there() -> None:
    quantiser = Quantiser(groups=4, code_width=4, codes=16).eval()
    tokens = torch.randn(2, 64, 16, requires_grad=True)
    weight = torch.randn(2, 64, 16)
    (quantiser(tokens).vectors * weight).sum().backward()
    assert torch.allclose(tokens.grad, weight)  # type: ignore[arg-type]


def test_a_dead_codebook_comes_back_to_life() -> None:
    torch.manual_seed(0)
    quantiser = Quantiser(groups=4, code_width=4, codes=32)
    quantiser.codebook += 100.0  # far from all data: one code would win every time
    quantiser.sums.copy_(quantiser.codebook)
    data = torch.randn(64, 64, 16)
    quantiser.train()
    for _ in range(60):
        quantiser(data)
    used = quantiser.eval()(data).codes.reshape(-1, 4)
    assert min(len(used[:, g].unique()) for g in range(4)) >= 30


def test_kmeans_starts_codebooks_that_fit_better_than_chance() -> None:
    torch.manual_seed(0)
    centres = torch.randn(32, 16) * 3  # 32 kinds of token, each a little blurred
    data = centres[torch.randint(0, 32, (32, 64), generator=generator())] + 0.1 * torch.randn(32, 64, 16)
    quantiser = Quantiser(groups=4, code_width=4, codes=64).eval()
    chance = quantiser(data).commitment
    quantiser.start(data, generator())
    assert quantiser(data).commitment < 0.1 * chance


def test_the_reconstruction_loss_falls_when_the_curve_is_read_right() -> None:
    torch.manual_seed(0)
    model = VQVAE(TINY_VQVAE)
    flow = torch.rand(4, 512)
    first = reconstruction_loss(model, flow, flow, False, LossWeights(0.03, 0.25)).total.item()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(30):
        optimizer.zero_grad()
        reconstruction_loss(model, flow, flow, False, LossWeights(0.03, 0.25)).total.backward()
        optimizer.step()
    assert reconstruction_loss(model, flow, flow, False, LossWeights(0.03, 0.25)).total.item() < 0.5 * first


def people() -> pd.DataFrame:
    return pd.DataFrame({"age": [30.0, 60.0], "height": [170.0, 160.0], "sex": [1, 2], "grade": ["A", None]})


def test_conditions_left_out_are_unknown() -> None:
    encoded = conditioning.encode(people())
    given = [
        [n for n, hidden in zip(conditioning.NAMES, row, strict=True) if not hidden]
        for row in np.isnan(encoded).tolist()
    ]
    assert given == [["age", "height", "sex", "grade"], ["age", "height", "sex"]]


def test_a_category_nobody_knows_is_refused() -> None:
    with pytest.raises(SpiroError, match="sex is 3 in row 1; expected one of 1, 2"):
        conditioning.encode(people().assign(sex=[1, 3]))


def test_dropout_and_jitter_touch_what_they_should() -> None:
    augmentation = condition_tokens.Augmentation.of(optional=0.2, all_hidden=0.1, facts=2, facts_jitter=0.5)
    drawn = augmentation.draw(8000, generator())
    hidden = dict(
        zip((*conditioning.NAMES, "first", "second"), torch.isnan(drawn).float().mean(0).tolist(), strict=True)
    )
    seldom = 1 - 0.9 * 0.5 * 2 / 3  # of weight, ethnicity and cycle, which few say
    for name, share in hidden.items():
        requested = name in ("grade", "test_type", "best")
        expected = 0.28 if requested else seldom if name in ("weight", "ethnicity", "cycle") else 0.1
        assert share == pytest.approx(expected, abs=0.02), name
    together = torch.isnan(drawn[:, [conditioning.NAMES.index(n) for n in ("weight", "ethnicity", "cycle")]])
    assert together.all(1).float().mean().item() == pytest.approx(0.1 + 0.9 * (0.5 + 0.5 / 27), abs=0.02)
    moved = [column[~column.isnan()].std().item() for column in drawn.T]
    assert moved == pytest.approx([1 / 22, 2 / 16, 2 / 25, 0, 0, 0, 0, 0, 0, 0.5, 0.5], abs=0.02)


def test_the_network_sees_its_conditions_and_its_noise_level() -> None:
    torch.manual_seed(0)
    network = UNet(TINY_UNET)
    for parameter in network.parameters():  # branches start at zero: move them
        torch.nn.init.normal_(parameter, std=0.1)
    x, conditions = torch.randn(1, 64, 8), torch.from_numpy(conditioning.encode(people()))[:1]
    here = network(x, torch.zeros(1), conditions)
    assert here.shape == x.shape
    assert not torch.allclose(here, network(x, torch.ones(1), conditions), atol=1e-3)
    for i in torch.isfinite(conditions[0]).nonzero()[:, 0]:
        other = conditions.clone()
        other[0, i] = torch.nan
        assert not torch.allclose(here, network(x, torch.zeros(1), other), atol=1e-5)


def test_a_network_that_knows_nothing_has_loss_one_at_every_noise_level() -> None:
    """EDM's preconditioning: the target of F has unit variance whatever sigma is."""
    torch.manual_seed(0)
    denoiser = Denoiser(UNet(TINY_UNET))  # its last layer starts at zero
    clean, noise = torch.randn(2, 500, 64, 8)
    conditions = torch.full((500, len(conditioning.NAMES)), torch.nan)
    for level in (0.05, 1.0, 20.0):
        with torch.no_grad():
            loss = denoising_loss(denoiser, clean, conditions, torch.full((500,), level), noise).mean()
        assert loss.item() == pytest.approx(1.0, abs=0.01)


def test_noise_levels_follow_their_distribution() -> None:
    levels = draw_sigma(10_000, Noise(mean=0.4, sd=1.2), generator(), torch.device("cpu")).log()
    assert levels.mean().item() == pytest.approx(0.4, abs=0.01)
    assert levels.std().item() == pytest.approx(1.2, abs=0.01)


def test_latents_return_from_their_principal_axes() -> None:
    """Codes of eight numbers fill eight of the 128 dimensions: nothing is lost, and the scale is one."""
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(400, 8)) @ rng.normal(size=(8, 128)) + rng.normal(size=128)
    axes = principal_axes(latents.mean(0), np.cov(latents.T, bias=True))
    assert axes.axes.shape == (8, 128)
    model = CLDM(CLDMConfig(TINY_UNET, Noise(), index_diffusion.FactsConfig(), Noise()))
    for name, value in axes._asdict().items():
        getattr(model, name).copy_(value)
    x = torch.tensor(latents, dtype=torch.float32)
    assert torch.allclose(model.restore(model.standardise(x)), x, atol=1e-4)
    assert model.standardise(x).pow(2).mean().item() == pytest.approx(1.0, abs=1e-3)


def test_an_effort_lasts_from_its_first_bin_with_flow_to_its_last() -> None:
    flow = torch.zeros(2, 512)
    flow[0, 50], flow[0, 200] = 3.0, -0.1
    lasting = Lasting.of(flow)
    there = lasting.begun * lasting.going
    assert there[0].nonzero().flatten().tolist() == list(range(50, 201))
    assert there[1].sum() == 0


def test_no_flow_is_read_before_the_begin_and_after_the_end() -> None:
    """A doubt about one bin, even a strong one, neither begins nor ends an effort."""
    yes, no = torch.ones(1, 512), -torch.ones(1, 512)
    begun, going = no.clone(), yes.clone()
    begun[0, 20], begun[0, 45:] = 9, 1
    going[0, 10], going[0, 400:] = -30, -1
    flow = Decoded(yes, yes, begun, going).flow
    assert flow[0].nonzero().flatten().tolist() == list(range(45, 400))


def test_snapping_tokens_to_codes_keeps_the_codes_and_mends_small_errors() -> None:
    torch.manual_seed(0)
    model = VQVAE(TINY_VQVAE).eval()
    tokens = model.encode(torch.rand(3, 512))
    assert torch.allclose(model.snap(tokens), tokens, atol=1e-4)
    assert torch.allclose(model.snap(tokens + 1e-3 * torch.randn_like(tokens)), tokens, atol=1e-4)


def facts_of_a_world(n: int) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    people = pd.DataFrame(
        {"age": rng.uniform(6, 79, n), "height": rng.uniform(120, 190, n), "sex": rng.integers(1, 3, n)}
    )
    means = mean_surface.features(people) @ rng.normal(size=(12, len(effort_facts.NAMES)))
    return people, means + rng.normal(size=means.shape) * np.linspace(0.1, 0.7, len(effort_facts.NAMES))


def test_facts_return_from_what_the_surface_leaves() -> None:
    people, logs = facts_of_a_world(500)
    model = index_diffusion.Facts(index_diffusion.FactsConfig(width=16, blocks=1))
    model.fit_scales(logs, people)
    x, features = torch.tensor(logs).float(), torch.tensor(mean_surface.features(people)).float()
    left = model.standardise(x, features)
    assert left.shape == (500, len(effort_facts.NAMES))
    assert torch.allclose(left.std(0), torch.ones(len(effort_facts.NAMES)), atol=0.03)
    assert torch.allclose(model.restore(left, features), x, atol=1e-4)
    assert torch.allclose(model.as_conditions(x).std(0), torch.ones(len(effort_facts.NAMES)), atol=0.03)


def test_an_untrained_network_draws_facts_around_the_surface() -> None:
    people, logs = facts_of_a_world(4000)
    model = index_diffusion.Facts(index_diffusion.FactsConfig(width=16, blocks=1)).eval()
    model.fit_scales(logs, people)
    conditions, features = (
        torch.from_numpy(conditioning.encode(people)),
        torch.tensor(mean_surface.features(people)).float(),
    )
    sigmas = karras_sigmas(40, index_diffusion.NOISE_MINIMUM, index_diffusion.NOISE_MAXIMUM)
    start = torch.randn(4000, 1, effort_facts.CHANNELS, generator=generator()) * sigmas[0]
    with torch.no_grad():
        alone = index_diffusion.alone(conditions)
        drawn = heun(lambda x, sigma: model.denoiser(x, sigma.expand(len(x)), alone), start, sigmas)[:, 0]
    left = model.restore(drawn, features) - features @ model.coefficients
    assert torch.allclose(left.std(0) / model.residual_sd, torch.ones(len(effort_facts.NAMES)), atol=0.04)
    assert left.mean(0).abs().max() < 0.05


def test_an_effort_without_a_fact_has_none() -> None:
    curves = pd.DataFrame({name: [1.0, 1.0, 1.0] for name in effort_facts.COLUMNS})
    curves.loc[1, "fef2575"], curves.loc[2, "bev"] = np.nan, 0.0
    assert np.isfinite(effort_facts.read(curves)).all(axis=1).tolist() == [True, False, False]


def test_a_network_told_the_facts_sees_each_of_them() -> None:
    torch.manual_seed(0)
    network = UNet(UNetConfig(channels=8, width=16, multipliers=(1, 2), head=16, context=16, facts=3))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    first = len(conditioning.NAMES)
    x, conditions = torch.randn(1, 64, 8), torch.zeros(1, first + 3)
    here = network(x, torch.zeros(1), conditions)
    for i in range(first, first + 3):
        other = conditions.clone()
        other[0, i] = 1.0
        assert not torch.allclose(here, network(x, torch.zeros(1), other), atol=1e-5)


def test_a_configuration_with_a_long_list_is_refused_in_a_short_line() -> None:
    with pytest.raises(ValueError, match=r"^multipliers is \[1, 1, .{,60}\.\.\.; expected 1 to 6 numbers"):
        UNetConfig(multipliers=(1,) * 10_000)
    with pytest.raises(ValueError, match=r"^age is \[1\.0, 1\.0, .{,60}\.\.\.; expected the lowest and the highest$"):
        MadeFrom("simulated", 1, 1, [1.0] * 10_000, [1.0, 2.0], "")
