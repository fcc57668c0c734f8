"""The conditional latent diffusion model as saved: facts, denoiser, axes of the latents, noise levels."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from spiro_diffusion.models import conditioning, effort_facts, layers
from spiro_diffusion.models.checkpoint import (
    Constants,
    load_checkpoint,
    mean_surface_probe,
    rebuilt,
    save_checkpoint,
)
from spiro_diffusion.models.edm import Denoiser, Noise
from spiro_diffusion.models.header import MadeFrom, configured
from spiro_diffusion.models.index_diffusion import Facts, FactsConfig
from spiro_diffusion.models.samplers import Sampling
from spiro_diffusion.models.unet import UNet, UNetConfig
from spiro_diffusion.models.vqvae import CHANNELS


@dataclass(frozen=True)
class CLDMConfig:
    """What decides the shapes, the noise levels and how the model draws."""

    network: UNetConfig
    noise: Noise
    facts: FactsConfig
    facts_noise: Noise
    sampling: Sampling = field(default_factory=Sampling)


EMPTY = 1e-5  # an axis with less than this share of the largest variance carries rounding only


class Axes(NamedTuple):
    """The space in which the diffusion works: latents = mean + (x * scale) @ axes.

    `axes` (r, 128) are the principal axes of the latents that carry variance: codes of few numbers
    fill only a few of the 128 dimensions. One scale for all keeps their geometry, in which a direction
    is as long as it matters to the decoder.
    """

    mean: Tensor  # (128,)
    axes: Tensor  # (r, 128), orthonormal rows
    scale: Tensor  # (), so that x has mean square 1


def principal_axes(mean: np.ndarray, covariance: np.ndarray) -> Axes:
    """Axes of latents with this mean (128,) and covariance (128, 128), the largest variance first."""
    variance, vectors = np.linalg.eigh(covariance)
    variance, vectors = variance[::-1], vectors[:, ::-1]
    kept = variance > EMPTY * variance[0]
    axes = vectors[:, kept].T
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]  # eigh leaves the sign open
    scale = np.sqrt(variance[kept].mean())
    return Axes(*(torch.tensor(np.array(a), dtype=torch.float32) for a in (mean, axes, scale)))


class CLDM(nn.Module):
    """Two denoisers: of the facts of an effort given the person, and of its latents, in their principal axes,
    given person and facts."""

    mean: Tensor
    axes: Tensor
    scale: Tensor

    def __init__(self, config: CLDMConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.network.channels
        self.facts = Facts(config.facts)
        self.denoiser = Denoiser(UNet(config.network))
        self.register_buffer("mean", torch.zeros(CHANNELS))
        self.register_buffer("axes", torch.eye(channels, CHANNELS))
        self.register_buffer("scale", torch.ones(()))

    def standardise(self, latents: Tensor) -> Tensor:
        """Latents (..., 128) → (..., r), mean 0 and mean square 1."""
        return (latents - self.mean) @ self.axes.T / self.scale

    def restore(self, standardised: Tensor) -> Tensor:
        """The inverse of `standardise`."""
        return self.mean + (standardised * self.scale) @ self.axes


def constants() -> Constants:
    """What decides a draw beside weights, shapes, noise levels and the sampler."""
    return {
        "conditions": {c.name: asdict(c) for c in conditioning.CONDITIONS},
        "condition_names": conditioning.NAMES,
        "facts": effort_facts.NAMES,
        **mean_surface_probe(),
        "step_frequencies": layers.STEP_FREQUENCIES,
    }


def save_cldm(path: Path, config: CLDMConfig, weights: dict[str, Tensor], made_from: MadeFrom) -> None:
    """Write the model and on what it was trained."""
    save_checkpoint(path, "cldm", weights, asdict(config) | {"made_from": asdict(made_from)}, constants())


def load_cldm(path: Path) -> tuple[CLDM, dict[str, Any]]:
    """The trained model in eval mode on the CPU, and what it was trained on.

    Raises SpiroError where the checkpoint is missing, damaged, of another kind or of code with other constants.
    """
    tensors, config = load_checkpoint(path, "cldm", constants())
    whole = CLDMConfig(
        configured(UNetConfig, config, "network", path),
        configured(Noise, config, "noise", path),
        configured(FactsConfig, config, "facts", path),
        configured(Noise, config, "facts_noise", path),
        configured(Sampling, config, "sampling", path),
    )
    made_from = asdict(configured(MadeFrom, config, "made_from", path))
    return rebuilt(lambda: CLDM(whole), tensors, path), made_from
