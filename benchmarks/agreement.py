"""Each fast path beside the plain one: CUDA graphs, fused kernels and short number types change nothing but rounding.

`tests/test_speed.py` runs these checks too, on what the machine has.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from spiro_diffusion.compute.runtime import Runtime
from spiro_diffusion.generation.generator import Generator
from spiro_diffusion.models.condition_tokens import Augmentation
from spiro_diffusion.models.conditioning import CONDITIONS
from spiro_diffusion.models.edm import Denoiser, Noise
from spiro_diffusion.models.effort_facts import NAMES
from spiro_diffusion.models.index_diffusion import FactsConfig
from spiro_diffusion.models.latent_diffusion import CLDM, CLDMConfig
from spiro_diffusion.models.unet import UNet, UNetConfig
from spiro_diffusion.models.vqvae import VQVAE, VQVAEConfig
from spiro_diffusion.pipeline.train_vqvae import Params
from spiro_diffusion.training import loop as training
from spiro_diffusion.training.autoencoding import VQVAETask
from spiro_diffusion.training.denoising import DenoisingTask, Examples

CURVES, BATCH, EPOCHS = 48, 8, 4  # six steps an epoch: three that warm up, then three of a graph
NETWORK = UNetConfig(channels=8, width=16, multipliers=(1, 2), head=16, context=16, facts=len(NAMES))
RECIPE = training.Recipe(
    epochs=100, batch=BATCH, lr=1e-2, warmup=0.0, weight_decay=0.01, clip=1.0, ema=0.9, validate_every=100, seed=1
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


def unet_losses(compute: Runtime) -> np.ndarray:
    """Losses of some epochs of a small U-Net."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    denoiser = Denoiser(UNet(NETWORK)).to(compute.device)
    alike, distinct = (torch.randn((n, 64, NETWORK.channels), generator=generator) for n in (1, CURVES))
    clean = (alike + 0.1 * distinct).to(compute.device)  # what is alike is soon learned
    conditions = torch.zeros((CURVES, len(CONDITIONS) + len(NAMES)), device=compute.device)
    zeros = torch.zeros(conditions.shape[1], device=compute.device)
    rows = torch.arange(CURVES, device=compute.device)
    weights = torch.ones(1, device=compute.device)
    task = DenoisingTask(
        denoiser,
        Examples(clean, conditions, rows[:1], weights),
        Noise(),
        Augmentation(zeros, zeros, zeros.bool(), 0.1),
        1,
    )
    return _losses(training._Loop(task, RECIPE, rows, compute))


def vqvae_losses(compute: Runtime) -> np.ndarray:
    """Losses of some epochs of a small VQ-VAE, the quantiser from the third on."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    flow = torch.rand((CURVES, 512), generator=generator).to(compute.device)
    rows = torch.arange(CURVES, device=compute.device)
    task = VQVAETask(
        VQVAE(VQVAE_PARAMS.network).to(compute.device), flow, flow, rows, rows[:1], VQVAE_PARAMS.autoencoding
    )
    return _losses(training._Loop(task, VQVAE_PARAMS, rows, compute))


def _losses(loop: training._Loop) -> np.ndarray:
    with loop.runtime.applied():
        return np.array([loop.epoch(epoch)["loss"] for epoch in range(EPOCHS)])


def curves(compute: Runtime) -> np.ndarray:
    """Curves of a small untrained generator in three full batches and a rest, (n, 512) L/s."""
    torch.manual_seed(0)
    config = CLDMConfig(NETWORK, Noise(), FactsConfig(width=16, blocks=1), Noise())
    vqvae, cldm = VQVAE(VQVAEConfig(width=16, blocks=2, groups=2, code_width=4, codes=16)), CLDM(config)
    assert vqvae.out.conv.bias is not None
    vqvae.out.conv.bias.data = torch.tensor([0.1, 0.0, 5.0, 5.0])  # mean, spread, begun, going: something flows
    for name, parameter in cldm.denoiser.named_parameters():
        if "leave" in name:  # it begins at zero
            torch.nn.init.normal_(parameter, std=0.01)
    people = pd.DataFrame({"age": [45.0, 20.0], "height": [175.0, 160.0], "sex": [1, 2]})
    generator = Generator(vqvae, cldm, {}, compute)
    return generator.sample(people, 100, 0, steps=4, batch=64, progress=False)


def apart(found: np.ndarray, plain: np.ndarray) -> float:
    """Largest difference, over the range of the plain values."""
    return float(np.abs(found - plain).max() / np.ptp(plain))


def checks(compute: Runtime) -> list[dict[str, Any]]:
    """How far each fast path is from the plain one in float32, and what rounding allows."""
    exact = replace(compute, dtype=torch.float32, graphs=False)
    short = replace(exact, dtype=torch.bfloat16)
    found = [("U-Net training in bfloat16", unet_losses, short, 0.15)]
    if compute.device.type == "cuda":
        found += [
            ("U-Net training with fused kernels", unet_losses, exact, 1e-2),
            ("U-Net training with fused kernels in bfloat16", unet_losses, short, 0.15),
            ("VQ-VAE training with fused kernels", vqvae_losses, exact, 1e-2),
            ("sampling with fused kernels", curves, exact, 1e-3),
        ]
    if compute.graphs:
        found += [
            ("U-Net training as a CUDA graph", unet_losses, replace(exact, graphs=True), 1e-2),
            ("U-Net training as a CUDA graph in bfloat16", unet_losses, replace(short, graphs=True), 0.15),
            ("VQ-VAE training as a CUDA graph", vqvae_losses, replace(exact, graphs=True), 1e-2),
            ("sampling as a CUDA graph", curves, replace(exact, graphs=True), 1e-3),
        ]
    slow = replace(exact, kernels=False)
    plain = {function: function(slow) for _, function, _, _ in found}
    return [
        {"path": name, "difference": apart(function(fast), plain[function]), "allowed": allowed}
        for name, function, fast, allowed in found
    ]
