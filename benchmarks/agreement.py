"""Each fast path beside the plain one: CUDA graphs and short number types change nothing but rounding.

`tests/test_speed.py` runs these checks too, on what the machine has.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from spiro_diffusion import training
from spiro_diffusion.cldm import CLDM, CLDMConfig
from spiro_diffusion.denoising import Change, DenoisingTask
from spiro_diffusion.diffusion import Denoiser, Noise
from spiro_diffusion.facts import NAMES, FactsConfig
from spiro_diffusion.generation import Generator
from spiro_diffusion.runtime import Runtime
from spiro_diffusion.unet import UNet, UNetConfig
from spiro_diffusion.vqvae import VQVAE, VQVAEConfig
from stages.train_vqvae import Params, VQVAETask

CURVES, BATCH, EPOCHS = 96, 16, 4  # six steps an epoch: three that warm up, then three of a graph
NETWORK = UNetConfig(channels=8, width=32, multipliers=(1, 2), head=16, context=32, facts=len(NAMES))
RECIPE = training.Recipe(
    epochs=100, batch=BATCH, lr=1e-3, warmup=0.0, weight_decay=0.01, clip=1.0, ema=0.9, validate_every=100, seed=1
)
VQVAE_PARAMS = Params(
    **vars(RECIPE),
    warmup_epochs=2,  # the graph is captured anew when the quantiser begins
    volume_weight=0.001,
    commitment_weight=0.25,
    token_noise=0.2,
    width=16,
    blocks=2,
    groups=2,
    code_width=4,
    codes=16,
)


def unet_losses(place: Runtime) -> np.ndarray:
    """Losses of some epochs of a small U-Net."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    denoiser = Denoiser(UNet(NETWORK)).to(place.device)
    clean = torch.randn((CURVES, 64, NETWORK.channels), generator=generator).to(place.device)
    known = torch.zeros((CURVES, 6 + len(NAMES)), device=place.device)
    zeros = torch.zeros(known.shape[1], device=place.device)
    rows = torch.arange(CURVES, device=place.device)
    weights = torch.ones(1, device=place.device)
    task = DenoisingTask(denoiser, clean, known, Noise(), Change(zeros, zeros, 0.1), rows[:1], weights, 1)
    return _losses(training._Loop(task, RECIPE, rows, place))


def vqvae_losses(place: Runtime) -> np.ndarray:
    """Losses of some epochs of a small VQ-VAE, the quantiser from the third on."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    flow = torch.rand((CURVES, 512), generator=generator).to(place.device)
    rows = torch.arange(CURVES, device=place.device)
    task = VQVAETask(VQVAE(VQVAE_PARAMS.network).to(place.device), flow, flow, rows, rows[:1], VQVAE_PARAMS)
    return _losses(training._Loop(task, VQVAE_PARAMS, rows, place))


def _losses(loop: training._Loop) -> np.ndarray:
    return np.array([loop.epoch(epoch)["loss"] for epoch in range(EPOCHS)])


def curves(place: Runtime) -> np.ndarray:
    """Curves of a small untrained generator in three full batches and a rest, (n, 512) L/s."""
    torch.manual_seed(0)
    config = CLDMConfig(NETWORK, Noise(), FactsConfig(width=16, blocks=1), Noise())
    vqvae, cldm = VQVAE(VQVAEConfig(width=16, blocks=2, groups=2, code_width=4, codes=16)), CLDM(config)
    vqvae.out.conv.bias.data = torch.tensor([0.1, 0.0, 5.0, 5.0])  # mean, spread, begun, going: something flows
    with torch.no_grad():
        for parameter in cldm.denoiser.network.leave.parameters():
            torch.nn.init.normal_(parameter, std=0.01)
    people = pd.DataFrame({"age": [45.0, 20.0], "height": [175.0, 160.0], "sex": [1, 2]})
    generator = Generator(vqvae, cldm, {}, place)
    return generator.sample(people, 100, 0, steps=4, batch=64, progress=False)


def _relative(found: np.ndarray, plain: np.ndarray) -> float:
    return float(np.abs(found - plain).max() / np.abs(plain).max())


def checks(place: Runtime) -> list[dict[str, Any]]:
    """Largest difference of each fast path from the plain one, over the largest value, and what rounding allows."""
    exact, found = replace(place, dtype=torch.float32, graphs=False), []
    short = replace(exact, dtype=torch.bfloat16)
    plain_unet, plain_vqvae, plain_curves = unet_losses(exact), vqvae_losses(exact), curves(exact)
    found.append(("U-Net training in bfloat16", _relative(unet_losses(short), plain_unet), 0.02))
    if place.graphs:
        graphs = replace(exact, graphs=True)
        found.append(("U-Net training as a CUDA graph", _relative(unet_losses(graphs), plain_unet), 1e-3))
        found.append(("VQ-VAE training as a CUDA graph", _relative(vqvae_losses(graphs), plain_vqvae), 1e-2))
        found.append(("sampling as a CUDA graph", _relative(curves(graphs), plain_curves), 1e-3))
        both = replace(short, graphs=True)
        found.append(("U-Net training as a CUDA graph in bfloat16", _relative(unet_losses(both), plain_unet), 0.02))
    return [{"path": name, "difference": difference, "allowed": allowed} for name, difference, allowed in found]
