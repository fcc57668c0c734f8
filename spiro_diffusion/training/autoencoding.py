"""Training task of a VQ-VAE: the round trip of curves; see `loop.Task`."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spiro_diffusion.core.batching import batches
from spiro_diffusion.models.quantiser import codebook_use
from spiro_diffusion.models.vqvae import TOKENS, VQVAE, LossWeights, reconstruction_loss
from spiro_diffusion.physiology import time_grid


@dataclass(frozen=True)
class AutoencodingRecipe:
    """What decides the training of a VQ-VAE beside the loop's recipe."""

    warmup_epochs: int  # epochs without the quantiser, before k-means
    token_noise: float  # SD of noise on the tokens in training, in units of theirs
    weights: LossWeights


class VQVAETask:
    """Round trip of curves; see `loop.Task`."""

    START_CURVES = 2048  # curves whose tokens start the codebooks
    BATCH = 64  # curves a validation step: larger pieces leave holes in memory that nothing fills

    def __init__(
        self, model: VQVAE, flow: Tensor, target: Tensor, train: Tensor, validation: Tensor, recipe: AutoencodingRecipe
    ) -> None:
        """Curves `flow` (n, bins) and what is to be read back, `target` (n, bins), see `dequantise.before`."""
        self.model, self.flow, self.target, self.recipe = model, flow, target, recipe
        self.train, self.validation = train, validation
        self.quantise = False

    def start_epoch(self, epoch: int, generator: torch.Generator) -> bool:
        self.quantise = epoch >= self.recipe.warmup_epochs
        if epoch == self.recipe.warmup_epochs:
            rows = self.train[torch.randperm(len(self.train), generator=generator, device=self.train.device)]
            with torch.no_grad():
                self.model.quantiser.start(self.model.narrowed(self.flow[rows[: self.START_CURVES]]), generator)
        return epoch == self.recipe.warmup_epochs

    def draw(self, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        if not self.recipe.token_noise:
            return ()
        shape = (rows, TOKENS, self.model.config.groups * self.model.config.code_width)
        return (self.recipe.token_noise * torch.randn(shape, generator=generator, device=self.flow.device),)

    def loss(self, rows: Tensor, draws: tuple[Tensor, ...]) -> dict[str, Tensor]:
        noise = draws[0] if draws else None
        curves = self.flow[rows], self.target[rows]
        losses = reconstruction_loss(self.model, *curves, self.quantise, self.recipe.weights, noise)
        parts = losses._asdict()
        return {"loss": parts.pop("total")} | parts

    def validate(self) -> dict[str, float]:
        errors, codes = [], []
        for part in batches(len(self.validation), self.BATCH):
            flow = self.flow[self.validation[part]]
            decoded, quantised = self.model(flow, self.quantise)
            errors.append(_errors(flow.cpu().numpy(), decoded.flow.cpu().numpy()))
            if quantised is not None:
                codes.append(quantised.codes.cpu())
        absolute = {name: np.concatenate([some[name] for some in errors]) for name in errors[0]}
        figures = {"flow_rmse": float(np.sqrt(absolute.pop("flow_squared").mean()))}
        figures |= {name: float(np.nanmedian(each)) for name, each in absolute.items()}
        # before the codebooks are there nothing may be kept as the best
        figures["score"] = (
            (figures["fev1_ml"] + figures["fvc_ml"] + 10 * (figures["pef_percent"] + figures["fef2575_percent"]))
            if codes
            else 1e9
        )
        if codes:
            figures |= codebook_use(torch.cat(codes).numpy(), self.model.config.codes)
        return figures


def _errors(real: np.ndarray, read: np.ndarray) -> dict[str, np.ndarray]:
    """Absolute errors of the indices, and the mean squared error of flow, of each of n curves (n, bins)."""
    a, b = (time_grid.indices_of_signals(signals) for signals in (real, read))
    return {
        "fev1_ml": np.abs(a.fev1 - b.fev1) * 1000,
        "fvc_ml": np.abs(a.fvc - b.fvc) * 1000,
        "pef_percent": np.abs(b.pef / a.pef - 1) * 100,
        "fef2575_percent": np.abs(b.fef2575 / a.fef2575 - 1) * 100,
        "flow_squared": ((real - read) ** 2 * time_grid.WIDTHS_S).sum(1) / time_grid.WIDTHS_S.sum(),
    }
