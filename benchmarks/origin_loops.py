"""The loops that this project began with, rewritten: what `benchmarks/models.py` compares with.

Curves in main memory, a DataLoader that collates them one by one, batches of 64, float32, plain AdamW, and
`loss.item()` at every step; sampling by all steps of a DDPM, 1024 curves at a time. The networks are those of
`spiro_diffusion.evaluation.origin`.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from spiro_diffusion.evaluation.origin import CHANNELS, TOKENS, PlainUNet, PlainVQVAE, Schedule

BATCH, SAMPLED, RATE = 64, 1024, 3e-4


class Trainer:
    """A model, its optimiser and a loss of a batch from the loader."""

    def __init__(self, model: nn.Module, loss: Callable[..., Tensor], *data: Tensor) -> None:
        self.device = next(model.parameters()).device
        self.model, self.loss = model, loss
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
        pinned = self.device.type == "cuda"
        self.loader = DataLoader(
            TensorDataset(*data), batch_size=BATCH, shuffle=True, drop_last=True, pin_memory=pinned
        )

    def epoch(self) -> float:
        """Mean loss of one pass over the data."""
        self.model.train()
        total = 0.0
        for batch in self.loader:
            self.optimizer.zero_grad()
            loss = self.loss(*(part.to(self.device) for part in batch))
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(self.loader)


def vqvae(model: PlainVQVAE, flow: Tensor) -> Trainer:
    """Training of the VQ-VAE on curves (n, 512)."""
    return Trainer(model, model.loss, flow)


def unet(model: PlainUNet, tokens: Tensor, conditions: Tensor, schedule: Schedule) -> Trainer:
    """Training of the U-Net on tokens (n, 64, 128) of people (n, 3)."""

    def loss(clean: Tensor, conditions: Tensor) -> Tensor:
        step = torch.randint(len(schedule.beta), (len(clean),), device=clean.device)
        noise = torch.randn_like(clean)
        kept = schedule.kept[step][:, None, None]
        return F.mse_loss(model(kept.sqrt() * clean + (1 - kept).sqrt() * noise, step, conditions), noise)

    return Trainer(model, loss, tokens, conditions)


@torch.no_grad()
def encode(model: PlainVQVAE, flow: Tensor) -> np.ndarray:
    """Tokens (n, 64, 128) of curves (n, 512), gathered in a list and joined at the end."""
    device = next(model.parameters()).device
    batches = DataLoader(TensorDataset(flow), batch_size=BATCH)
    return np.concatenate([model.snap(model.encode(part.to(device))).cpu().numpy() for (part,) in batches])


@torch.no_grad()
def denoise(model: PlainUNet, conditions: Tensor, schedule: Schedule, steps: int) -> Tensor:
    """Tokens (n, 64, 128) after the first `steps` of a DDPM's steps, which all cost the same."""
    beta, kept = schedule
    x = torch.randn(len(conditions), TOKENS, CHANNELS, device=conditions.device)
    for i in list(reversed(range(len(beta))))[:steps]:
        noise = model(x, torch.full((len(conditions),), i, device=conditions.device), conditions)
        x = (x - beta[i] / (1 - kept[i]).sqrt() * noise) / (1 - beta[i]).sqrt()
        if i:
            x = x + beta[i].sqrt() * torch.randn_like(x)
    return x


@torch.no_grad()
def decode(model: PlainVQVAE, tokens: Tensor) -> np.ndarray:
    """Curves (n, 512) of tokens (n, 64, 128) before they are snapped."""
    return np.concatenate([model.decode(model.snap(part)).cpu().numpy() for part in tokens.split(SAMPLED)])
