"""Training a denoiser: what its conditions go through, and its loss on training and validation rows."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spiro_diffusion.core.batching import batches
from spiro_diffusion.models import conditioning
from spiro_diffusion.models.edm import Denoiser, Noise, denoising_loss, draw_sigma


@dataclass(frozen=True)
class Change:
    """What the conditions (B, k) go through in training."""

    jitter: Tensor  # (k,) SD of noise
    hidden: Tensor  # (k,) probability that one is hidden
    all_hidden: float  # probability that all of a row are

    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """What is added to conditions: noise, and NaN where one is hidden."""
        blank = torch.zeros((rows, len(self.jitter)), device=self.jitter.device)
        noisy = conditioning.jitter(blank, self.jitter, generator)
        return conditioning.drop(noisy, self.all_hidden, self.hidden, generator)

    def extended(self, jitter: float, number: int) -> "Change":
        """For `number` more conditions of one jitter, hidden only with all others."""
        more = torch.ones(number, device=self.jitter.device)
        return Change(torch.cat([self.jitter, jitter * more]), torch.cat([self.hidden, 0 * more]), self.all_hidden)


class DenoisingTask:
    """Denoising of clean rows given their conditions; see `training.Task`."""

    BATCH = 256  # rows a validation step

    def __init__(
        self,
        denoiser: Denoiser,
        clean: Tensor,
        known: Tensor,
        noise: Noise,
        change: Change,
        validation: Tensor,
        weights: Tensor,
        seed: int,
        repeats: int = 1,
    ) -> None:
        """`clean` (n, tokens, channels) and their conditions `known` (n, k); rows of `validation`, each denoised
        at `repeats` levels, with `weights` that make every participant count the same."""
        self.model, self.clean, self.known, self.noise, self.change = denoiser, clean, known, noise, change
        self.validation = validation.repeat(repeats)
        self.weights = weights.repeat(repeats) / repeats
        generator = torch.Generator().manual_seed(seed)  # the same noise at every validation
        n = len(self.validation)
        self.fixed_sigma = draw_sigma(n, noise, generator, torch.device("cpu")).to(known.device)
        self.fixed_noise = torch.randn((n, *clean.shape[1:]), generator=generator).to(known.device)

    def start_epoch(self, epoch: int, generator: torch.Generator) -> bool:
        return False

    def draw(self, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        device = self.known.device
        sigma = draw_sigma(rows, self.noise, generator, device)
        noise = torch.randn((rows, *self.clean.shape[1:]), generator=generator, device=device)
        return sigma, noise, self.change.draw(rows, generator)

    def loss(self, rows: Tensor, draws: tuple[Tensor, ...]) -> dict[str, Tensor]:
        sigma, noise, change = draws
        return {"loss": denoising_loss(self.model, self.clean[rows], self.known[rows] + change, sigma, noise).mean()}

    def validate(self) -> dict[str, float]:
        parts = []
        for part in batches(len(self.validation), self.BATCH):
            rows = self.validation[part]
            sigma, noise = self.fixed_sigma[part], self.fixed_noise[part]
            parts.append(denoising_loss(self.model, self.clean[rows], self.known[rows], sigma, noise))
        return {"score": (torch.cat(parts).double() * self.weights).sum().item()}


def equal_people(seqn: np.ndarray) -> Tensor:
    """Weights (n,) of efforts with which every participant counts the same; their sum is 1."""
    _, person, efforts = np.unique(seqn, return_inverse=True, return_counts=True)
    return torch.from_numpy(1 / efforts[person] / len(efforts))
