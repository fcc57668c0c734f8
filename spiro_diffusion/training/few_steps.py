"""Training task that distils a denoiser into one that draws in a few evaluations; see `loop.Task`.

The student starts from the trained weights and learns as many jumps as it has evaluations: from one of its noise levels
to the next, each as far as the trained network, its teacher, gets along its flow in SUBSTEPS divided by the number of
jumps (progressive distillation, Salimans & Ho 2022, in one go; the segments of Heek et al. 2024). A jump starts from a
real curve's latents with noise on them, and the teacher goes all the way, so that the student never learns from itself.
It is sampled by `samplers.euler`.
"""

import copy

import torch
from torch import Tensor

from spiro_diffusion.core.batching import batches
from spiro_diffusion.models.condition_tokens import Augmentation
from spiro_diffusion.models.edm import Denoiser, Noise
from spiro_diffusion.models.samplers import karras_sigmas
from spiro_diffusion.training.denoising import DenoisingTask, Examples

SUBSTEPS = 24  # steps of the teacher from noise to latents, shared out over the jumps: twice as many as it samples with


def segments(noise: Noise, jumps: int) -> Tensor:
    """Noise levels (jumps, SUBSTEPS / jumps + 1) that the teacher passes in each jump; the last one ends at 0."""
    levels = karras_sigmas(SUBSTEPS, noise.minimum, noise.maximum)
    return levels.unfold(0, SUBSTEPS // jumps + 1, SUBSTEPS // jumps)


def flowed(denoiser: Denoiser, x: Tensor, sigmas: Tensor, conditions: Tensor) -> Tensor:
    """`x` moved along the flow by DPM-Solver++(2M) through each row's own levels (B, steps + 1); the last may be 0."""
    prepared = denoiser.network.prepare(conditions)
    earlier: Tensor | None = None
    for i in range(sigmas.shape[1] - 1):
        now, following = sigmas[:, i, None, None], sigmas[:, i + 1, None, None]
        clean = denoiser.with_prepared(x, sigmas[:, i], prepared)
        blend = clean
        if earlier is not None:
            past = torch.log(sigmas[:, i - 1, None, None] / now)
            blend = clean + (clean - earlier) * torch.log(now / following.clamp_min(1e-6)) / (2 * past)
        share = following / now
        x, earlier = torch.where(following == 0, clean, share * x + (1 - share) * blend), clean
    return x


class JumpTask(DenoisingTask):
    """Jumps of a student, as far as its teacher flows; see `loop.Task`."""

    def __init__(
        self, teacher: Denoiser, jumps: int, noise: Noise, examples: Examples, augmentation: Augmentation, seed: int
    ) -> None:
        """Noise, examples and augmentation are those of the teacher's training."""
        super().__init__(copy.deepcopy(teacher), examples, noise, augmentation, seed)
        self.teacher = teacher.eval()
        self.levels = segments(noise, jumps).to(self.conditions.device)

    @property
    def sampled(self) -> Noise:
        """The noise levels between which `karras_sigmas` gives those at which the jumps begin."""
        least = self.levels[-1, 0].item() if len(self.levels) > 1 else self.noise.minimum
        return Noise(self.noise.mean, self.noise.sd, least, self.noise.maximum)

    def draw(self, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        _, noise, change = super().draw(rows, generator)
        return self._jumps(rows), noise, change

    def _jumps(self, rows: int) -> Tensor:
        return torch.arange(rows, device=self.levels.device) % len(self.levels)

    def _losses(self, rows: Tensor, conditions: Tensor, jump: Tensor, noise: Tensor) -> Tensor:
        """Weighted squared error (B,) of the clean latents with which a jump lands where the teacher does."""
        sigmas = self.levels[jump]
        start, share = sigmas[:, 0], (sigmas[:, -1] / sigmas[:, 0])[:, None, None]
        x = self.clean[rows] + start[:, None, None] * noise
        with torch.no_grad():
            landed = flowed(self.teacher, x, sigmas, conditions)
            target = (landed - share * x) / (1 - share)
        return (1 + start**-2) * ((self.model(x, start, conditions) - target) ** 2).mean(dim=(1, 2))

    def loss(self, rows: Tensor, draws: tuple[Tensor, ...]) -> dict[str, Tensor]:
        jump, noise, change = draws
        return {"loss": self._losses(rows, self.conditions[rows] + change, jump, noise).mean()}

    def validate(self) -> dict[str, float]:
        parts = []
        for part in batches(len(self.validation), self.BATCH):
            rows = self.validation[part]
            parts.append(self._losses(rows, self.conditions[rows], self._jumps(len(rows)), self.fixed_noise[part]))
        return {"score": (torch.cat(parts).double() * self.weights).sum().item()}
