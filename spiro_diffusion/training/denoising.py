"""Training task of a denoiser: its loss on training and validation rows; see `loop.Task`."""

from typing import NamedTuple

import torch
from torch import Tensor

from spiro_diffusion.core.batching import batches
from spiro_diffusion.models.condition_tokens import Augmentation
from spiro_diffusion.models.edm import Denoiser, Noise, denoising_loss, draw_sigma


class Examples(NamedTuple):
    """Clean rows (n, tokens, channels) and their conditions (n, k); the positions (v,) of those that choose the
    weights kept, and weights (v,) of sum 1 with which every participant counts the same."""

    clean: Tensor
    conditions: Tensor
    validation: Tensor
    weights: Tensor


class DenoisingTask:
    """Denoising of clean rows given their conditions; see `loop.Task`."""

    BATCH = 256  # rows a validation step

    def __init__(
        self,
        denoiser: Denoiser,
        examples: Examples,
        noise: Noise,
        augmentation: Augmentation,
        seed: int,
        repeats: int = 1,
    ) -> None:
        """Each validation row is denoised at `repeats` noise levels, the same at every validation."""
        self.model, self.noise, self.augmentation = denoiser, noise, augmentation
        self.clean, self.conditions = examples.clean, examples.conditions
        self.validation = examples.validation.repeat(repeats)
        self.weights = examples.weights.repeat(repeats) / repeats
        generator, n, device = torch.Generator().manual_seed(seed), len(self.validation), self.conditions.device
        self.fixed_sigma = draw_sigma(n, noise, generator, torch.device("cpu")).to(device)
        self.fixed_noise = torch.randn((n, *self.clean.shape[1:]), generator=generator).to(device)

    def start_epoch(self, epoch: int, generator: torch.Generator) -> bool:
        return False

    def draw(self, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        device = self.conditions.device
        sigma = draw_sigma(rows, self.noise, generator, device)
        noise = torch.randn((rows, *self.clean.shape[1:]), generator=generator, device=device)
        return sigma, noise, self.augmentation.draw(rows, generator)

    def loss(self, rows: Tensor, draws: tuple[Tensor, ...]) -> dict[str, Tensor]:
        sigma, noise, change = draws
        return {
            "loss": denoising_loss(self.model, self.clean[rows], self.conditions[rows] + change, sigma, noise).mean()
        }

    def validate(self) -> dict[str, float]:
        parts = []
        for part in batches(len(self.validation), self.BATCH):
            rows = self.validation[part]
            sigma, noise = self.fixed_sigma[part], self.fixed_noise[part]
            parts.append(denoising_loss(self.model, self.clean[rows], self.conditions[rows], sigma, noise))
        return {"score": (torch.cat(parts).double() * self.weights).sum().item()}
