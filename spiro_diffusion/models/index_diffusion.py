"""The facts of an effort: the few numbers that a report prints, drawn before the curve.

How large, how fast and how long an effort is, given the person, is a distribution of seven numbers, and a
small network learns it from thousands of people without knowing them by heart. The curve is then drawn for
these numbers (cf. the prior of Ramesh et al. 2022). Each fact is the logarithm of an index, as its distance from
the mean surface of the training participants, so that what the network has to learn is what the surface
leaves: a network that knows nothing already draws a normal distribution around it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spiro_diffusion.core.errors import within
from spiro_diffusion.models.conditioning import ConditionTokens
from spiro_diffusion.models.edm import Denoiser
from spiro_diffusion.models.layers import step_phase, zero_linear
from spiro_diffusion.physiology import mean_surface

NOISE_MINIMUM, NOISE_MAXIMUM = 0.005, 40.0  # of the sampler, in residual SDs: 0.1 % of FEV1; no trace of it
NAMES = ("fev1", "fvc", "pef", "fef2575", "bev", "t_pef", "fet")  # columns of curves.parquet: L, L/s, s


def read(curves: pd.DataFrame) -> np.ndarray:
    """Natural logarithms (n, 7) of the facts of curves; NaN in a row where one is not determined or not positive."""
    values = curves[list(NAMES)].to_numpy(float)
    known = (values > 0).all(axis=1, keepdims=True)
    return np.log(np.where(known, values, np.nan))


@dataclass(frozen=True)
class FactsConfig:
    """What decides the shapes of the network."""

    width: int = 128
    blocks: int = 3
    dropout: float = 0.1

    def __post_init__(self) -> None:
        within(self, width=(1, 4096), blocks=(0, 64), dropout=(0, 1))


class FactsNet(nn.Module):
    """x (B, 1, 7), c_noise (B,), conditions (B, k) with NaN for unknown → as x. Residual layers on a vector."""

    def __init__(self, config: FactsConfig) -> None:
        super().__init__()
        width, self.dropout = config.width, config.dropout
        self.conditions = ConditionTokens(width)
        self.step = nn.Linear(64, width)
        self.enter = nn.Linear(len(NAMES), width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(config.blocks))
        self.modulate = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(config.blocks))
        self.widen = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(config.blocks))
        self.narrow = nn.ModuleList(zero_linear(2 * width, width) for _ in range(config.blocks))
        self.leave = zero_linear(width, len(NAMES))

    def forward(self, x: Tensor, c_noise: Tensor, conditions: Tensor) -> Tensor:
        return self.with_tokens(x, c_noise, self.conditions(conditions))

    def with_tokens(self, x: Tensor, c_noise: Tensor, tokens: Tensor) -> Tensor:
        """`forward` with the condition tokens (B, k, width), which no noise level changes."""
        context = F.silu(self.step(step_phase(c_noise)) + tokens.mean(1))
        h = self.enter(x[:, 0])
        for norm, modulate, widen, narrow in zip(self.norms, self.modulate, self.widen, self.narrow, strict=True):
            scale, shift = modulate(context).chunk(2, dim=-1)
            inner = F.silu(widen(norm(h) * (1 + scale) + shift))
            h = h + narrow(F.dropout(inner, self.dropout, self.training))
        return self.leave(h)[:, None]


class Facts(nn.Module):
    """Denoiser of the facts, their mean surface, and their scales."""

    coefficients: Tensor
    residual_sd: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, config: FactsConfig) -> None:
        super().__init__()
        n = len(NAMES)
        self.denoiser = Denoiser(FactsNet(config))
        self.register_buffer("coefficients", torch.zeros(12, n))  # of `mean_surface.features`
        self.register_buffer("residual_sd", torch.ones(n))  # around the surface
        self.register_buffer("centre", torch.zeros(n))  # of all curves
        self.register_buffer("spread", torch.ones(n))

    def fit_scales(self, logs: np.ndarray, people: pd.DataFrame) -> None:
        """Set the surface and the scales from the facts (n, 7) of training curves and their people."""
        x = mean_surface.features(people)
        coefficients = np.linalg.lstsq(x, logs, rcond=None)[0]
        found = coefficients, (logs - x @ coefficients).std(0), logs.mean(0), logs.std(0)
        for name, value in zip(("coefficients", "residual_sd", "centre", "spread"), found, strict=True):
            getattr(self, name).copy_(torch.tensor(value, dtype=torch.float32))

    def standardise(self, logs: Tensor, features: Tensor) -> Tensor:
        """Facts (B, 7) of people with these features (B, 12) → (B, 1, 7), what the surface leaves."""
        return ((logs - features @ self.coefficients) / self.residual_sd)[:, None]

    def restore(self, standardised: Tensor, features: Tensor) -> Tensor:
        """The inverse of `standardise`."""
        return features @ self.coefficients + standardised[:, 0] * self.residual_sd

    def as_conditions(self, logs: Tensor) -> Tensor:
        """Facts (B, 7) as conditions of the curve, about standard normal over all curves."""
        return (logs - self.centre) / self.spread
