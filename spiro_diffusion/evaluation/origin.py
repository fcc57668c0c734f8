"""A baseline: the first recipe of this project, a VQ-VAE with a DDPM on its tokens, rewritten.

A VQ-VAE whose codebook learns by gradient (no averages, no revival, no k-means), then a 1D U-Net that predicts the
noise of a DDPM (Ho et al. 2020: linear schedule, 1000 steps) on its tokens, conditioned on age, height and sex by one
vector added to the step embedding. Known only from its description: 64 tokens x 128, 0.19 M and 1.29 M parameters.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from spiro_diffusion.compute.runtime import Runtime
from spiro_diffusion.core.batching import batches
from spiro_diffusion.models import conditioning
from spiro_diffusion.physiology.time_grid import N_SAMPLES

TOKENS, CHANNELS, CODES = N_SAMPLES // 8, 128, 512  # 64 tokens of 512 samples
FLOW_UNIT = 2.0  # L/s
BETAS = (1e-4, 0.02)  # of the linear schedule (Ho et al. 2020)
CONDITIONS = tuple(conditioning.NAMES.index(name) for name in ("age", "height", "sex"))


class PlainVQVAE(nn.Module):
    """flow (B, 512) in L/s → 64 tokens x 128 → flow. Each stride halves the length."""

    def __init__(self, width: int = 80) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv1d(1, width // 2, 4, 2, 1),
            nn.SiLU(),
            nn.Conv1d(width // 2, width, 4, 2, 1),
            nn.SiLU(),
            nn.Conv1d(width, CHANNELS, 4, 2, 1),
        )
        self.codebook = nn.Parameter(torch.empty(CODES, CHANNELS).uniform_(-1 / CODES, 1 / CODES))
        self.decoder = nn.Sequential(
            nn.ConvTranspose1d(CHANNELS, width, 4, 2, 1),
            nn.SiLU(),
            nn.ConvTranspose1d(width, width // 2, 4, 2, 1),
            nn.SiLU(),
            nn.ConvTranspose1d(width // 2, 1, 4, 2, 1),
        )

    def encode(self, flow: Tensor) -> Tensor:
        """flow (B, 512) → tokens (B, 64, 128) before they are quantised."""
        return self.encoder(flow[:, None] / FLOW_UNIT).transpose(1, 2)

    def snap(self, tokens: Tensor) -> Tensor:
        """The nearest codes (B, 64, 128)."""
        nearest = torch.cdist(tokens.flatten(0, 1), self.codebook).argmin(-1)
        return F.embedding(nearest, self.codebook).view_as(tokens)

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens (B, 64, 128) → flow (B, 512), L/s."""
        return self.decoder(tokens.transpose(1, 2))[:, 0] * FLOW_UNIT

    def loss(self, flow: Tensor) -> Tensor:
        """Squared error, codebook and commitment terms (van den Oord et al. 2017)."""
        tokens = self.encode(flow)
        codes = self.snap(tokens)
        read = self.decode(tokens + (codes - tokens).detach())
        pull = F.mse_loss(codes, tokens.detach()) + 0.25 * F.mse_loss(tokens, codes.detach())
        return F.mse_loss(read / FLOW_UNIT, flow / FLOW_UNIT) + pull


class _GroupNorm(nn.GroupNorm):
    """Group norm that stays in the number type of its input under autocast, as `layers.Norm` does."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return F.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


class _Residual(nn.Module):
    """Two convolutions with the embedding added between them: (B, inside, T) → (B, outside, T)."""

    def __init__(self, inside: int, outside: int, context: int) -> None:
        super().__init__()
        self.first = nn.Sequential(_GroupNorm(8, inside), nn.SiLU(), nn.Conv1d(inside, outside, 3, padding=1))
        self.add = nn.Linear(context, outside)
        self.second = nn.Sequential(_GroupNorm(8, outside), nn.SiLU(), nn.Conv1d(outside, outside, 3, padding=1))
        self.skip = nn.Conv1d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        return self.skip(x) + self.second(self.first(x) + self.add(context)[..., None])


class PlainUNet(nn.Module):
    """Tokens (B, 64, 128), step (B,), conditions (B, 3) → the noise in them."""

    def __init__(self, width: int = 112, context: int = 128) -> None:
        super().__init__()
        self.context = context
        self.step = nn.Sequential(nn.Linear(context, context), nn.SiLU(), nn.Linear(context, context))
        self.people = nn.Sequential(nn.Linear(len(CONDITIONS), context), nn.SiLU(), nn.Linear(context, context))
        self.enter = nn.Conv1d(CHANNELS, width, 3, padding=1)
        self.down = nn.ModuleList([_Residual(width, width, context), _Residual(width, 2 * width, context)])
        self.shrink = nn.Conv1d(width, width, 4, 2, 1)
        self.middle = _Residual(2 * width, 2 * width, context)
        self.grow = nn.ConvTranspose1d(2 * width, 2 * width, 4, 2, 1)
        self.up = _Residual(3 * width, width, context)
        self.leave = nn.Sequential(_GroupNorm(8, width), nn.SiLU(), nn.Conv1d(width, CHANNELS, 3, padding=1))

    def forward(self, x: Tensor, step: Tensor, conditions: Tensor) -> Tensor:
        rates = torch.exp(-math.log(10_000) * torch.arange(self.context // 2, device=x.device) / (self.context // 2))
        phase = step[:, None] * rates
        context = F.silu(self.step(torch.cat([phase.sin(), phase.cos()], 1)) + self.people(conditions))
        wide = self.down[0](self.enter(x.transpose(1, 2)), context)
        h = self.middle(self.down[1](self.shrink(wide), context), context)
        return self.leave(self.up(torch.cat([self.grow(h), wide], 1), context)).transpose(1, 2)


class Schedule(NamedTuple):
    """Betas of the linear schedule and the running product of 1 - beta, (steps,) each."""

    beta: Tensor
    kept: Tensor

    @classmethod
    def linear(cls, steps: int, device: torch.device) -> "Schedule":
        """`steps` betas; fewer than 1000 are larger, so that as little of the signal is left."""
        beta = torch.linspace(*BETAS, steps, device=device) * (1000 / steps)
        return cls(beta.clamp(max=0.5), (1 - beta.clamp(max=0.5)).cumprod(0))


@dataclass
class VQVAETask:
    """Reconstruction; see `training.Task`."""

    model: PlainVQVAE
    flow: Tensor
    validation: Tensor

    def start_epoch(self, epoch: int, generator: torch.Generator) -> bool:
        return False

    def draw(self, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        return ()

    def loss(self, rows: Tensor, draws: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return {"loss": self.model.loss(self.flow[rows])}

    def validate(self) -> dict[str, float]:
        return {"score": self.model.loss(self.flow[self.validation]).item()}


@dataclass
class NoiseTask:
    """Prediction of the noise; see `training.Task`."""

    model: PlainUNet
    tokens: Tensor
    conditions: Tensor
    validation: Tensor
    schedule: Schedule

    def start_epoch(self, epoch: int, generator: torch.Generator) -> bool:
        return False

    def draw(self, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        device = self.tokens.device
        step = torch.randint(len(self.schedule.beta), (rows,), generator=generator, device=device)
        return step, torch.randn((rows, TOKENS, CHANNELS), generator=generator, device=device)

    def loss(self, rows: Tensor, draws: tuple[Tensor, ...]) -> dict[str, Tensor]:
        step, noise = draws
        kept = self.schedule.kept[step][:, None, None]
        noisy = kept.sqrt() * self.tokens[rows] + (1 - kept).sqrt() * noise
        return {"loss": F.mse_loss(self.model(noisy, step, self.conditions[rows]), noise)}

    def validate(self) -> dict[str, float]:
        generator = torch.Generator(self.tokens.device).manual_seed(0)
        draws = self.draw(len(self.validation), generator)
        return {"score": self.loss(self.validation, draws)["loss"].item()}


class Origin:
    """The trained recipe: people in, signals out."""

    BATCH = 1024  # curves at a time

    def __init__(self, vqvae: PlainVQVAE, unet: PlainUNet, schedule: Schedule, runtime: Runtime) -> None:
        self.vqvae, self.unet, self.schedule, self.runtime = vqvae.eval(), unet.eval(), schedule, runtime

    def sample(self, people: pd.DataFrame, draws: int, seed: int) -> np.ndarray:
        """Signals float32 (people, draws, 512), L/s, by ancestral sampling over all steps."""
        conditions = encoded_conditions(people).repeat_interleave(draws, 0).to(self.runtime.device)
        generator = torch.Generator(self.runtime.device).manual_seed(seed)
        parts = [self._sample(conditions[part], generator) for part in batches(len(conditions), self.BATCH)]
        return torch.cat(parts).cpu().numpy().reshape(len(people), draws, N_SAMPLES)

    @torch.inference_mode()
    def _sample(self, conditions: Tensor, generator: torch.Generator) -> Tensor:
        beta, kept = self.schedule
        shape, device = (len(conditions), TOKENS, CHANNELS), conditions.device
        x = torch.randn(shape, generator=generator, device=device)
        for i in tqdm(reversed(range(len(beta))), total=len(beta), desc="DDPM", unit="step", leave=False, delay=1):
            with self.runtime.autocast():
                noise = self.unet(x, torch.full((len(conditions),), i, device=device), conditions).float()
            x = (x - beta[i] / (1 - kept[i]).sqrt() * noise) / (1 - beta[i]).sqrt()
            if i:
                x = x + beta[i].sqrt() * torch.randn(shape, generator=generator, device=device)
        return self.vqvae.decode(self.vqvae.snap(x))


def encoded_conditions(people: pd.DataFrame) -> Tensor:
    """Age, height and sex (n, 3), as numbers near 0."""
    return torch.from_numpy(conditioning.encode(people)[:, CONDITIONS])
