"""Training task of a conditional density by maximum likelihood; see `loop.Task`."""

import torch
from torch import Tensor

from spiro_diffusion.core.batching import batches
from spiro_diffusion.models.mixture_density import Density


class DensityTask:
    """Maximum likelihood of rows of numbers given features; see `loop.Task`."""

    BATCH = 65_536  # rows a validation step

    def __init__(self, model: Density, features: Tensor, numbers: Tensor, validation: Tensor, weights: Tensor) -> None:
        """`weights` (validation rows,) make every participant count the same; their sum is 1."""
        self.model = model
        parts = [model.standard(features[part], numbers[part]) for part in batches(len(features), self.BATCH)]
        self.features, self.numbers = (torch.cat(column) for column in zip(*parts, strict=True))
        self.validation, self.weights = validation, weights

    def start_epoch(self, epoch: int, generator: torch.Generator) -> bool:
        return False

    def draw(self, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        return ()

    def loss(self, rows: Tensor, draws: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return {"loss": -self.model.log_likelihood(self.features[rows], self.numbers[rows]).mean()}

    def validate(self) -> dict[str, float]:
        parts = [self.validation[part] for part in batches(len(self.validation), self.BATCH)]
        likely = torch.cat([self.model.log_likelihood(self.features[rows], self.numbers[rows]) for rows in parts])
        return {"score": -(likely.double() * self.weights).sum().item()}
