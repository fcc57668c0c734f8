"""The conditional latent diffusion model as it is saved: denoiser, scale of the latents, noise levels."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spiro_diffusion.checkpoint import load_checkpoint, load_weights, save_checkpoint
from spiro_diffusion.diffusion import Denoiser, Noise
from spiro_diffusion.unet import UNet, UNetConfig


@dataclass(frozen=True)
class CLDMConfig:
    """What decides the shapes and the noise levels."""

    network: UNetConfig
    noise: Noise


class CLDM(nn.Module):
    """Denoiser of standardised latents; `mean` and `sd` (128,) return them to codebook vectors."""

    mean: Tensor
    sd: Tensor

    def __init__(self, config: CLDMConfig) -> None:
        super().__init__()
        self.config = config
        self.denoiser = Denoiser(UNet(config.network))
        self.register_buffer("mean", torch.zeros(128))
        self.register_buffer("sd", torch.ones(128))

    def standardise(self, latents: Tensor) -> Tensor:
        """Codebook vectors → mean 0, SD 1 a channel."""
        return (latents - self.mean) / self.sd

    def restore(self, standardised: Tensor) -> Tensor:
        """The inverse of `standardise`."""
        return standardised * self.sd + self.mean


def save_cldm(path: Path, config: CLDMConfig, weights: dict[str, Tensor], made_from: dict[str, Any]) -> None:
    """Write the model; `made_from` says on what it was trained (see `generation`)."""
    save_checkpoint(path, "cldm", weights, asdict(config) | {"made_from": made_from})


def load_cldm(path: Path) -> tuple[CLDM, dict[str, Any]]:
    """The trained model in eval mode on the CPU, and what it was trained on.

    Raises SpiroError where the checkpoint is missing, damaged or of another kind.
    """
    tensors, config = load_checkpoint(path, "cldm")
    network = config["network"] | {"multipliers": tuple(config["network"]["multipliers"])}
    model = CLDM(CLDMConfig(UNetConfig(**network), Noise(**config["noise"])))
    load_weights(model, tensors, path)
    return model.eval(), config["made_from"]
