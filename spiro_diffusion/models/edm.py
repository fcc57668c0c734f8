"""Diffusion on latents: the preconditioned denoiser and its loss (Karras et al. 2022, "EDM").

The network sees noise-scaled input and predicts a mix of signal and noise, so that its target has
unit variance at every noise level.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from spiro_diffusion.core.errors import within


@dataclass(frozen=True)
class Noise:
    """Noise levels (in units of the standardised latents' SD) at which the denoiser is trained and used."""

    mean: float = 0.0  # of log sigma in training
    sd: float = 1.4  # of log sigma in training
    minimum: float = 0.01  # last level of a sampler before zero
    maximum: float = 160.0  # first level of a sampler

    def __post_init__(self) -> None:
        within(self, mean=(-20, 20), sd=(0, 20), minimum=(1e-6, 1e6), maximum=(1e-6, 1e6))
        if self.minimum >= self.maximum:
            raise ValueError(f"the least noise level {self.minimum:g} is not below the largest, {self.maximum:g}")


class Network(Protocol):
    """What a denoiser wraps."""

    def prepare(self, conditions: Tensor) -> Any:
        """What no noise level changes of the conditions (B, k)."""

    def with_prepared(self, x: Tensor, c_noise: Tensor, prepared: Any) -> Tensor:
        """x (B, tokens, channels), c_noise (B,), prepared conditions → as x."""


class Denoiser(nn.Module):
    """Wrap a network F(x, c_noise, conditions) into D(x; sigma), the estimate of the clean latents."""

    def __init__(self, network: Network, sigma_data: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.sigma_data = sigma_data

    def forward(self, noisy: Tensor, sigma: Tensor, conditions: Tensor) -> Tensor:
        """noisy (B, tokens, channels), sigma (B,), conditions (B, k) → the same shape as noisy."""
        return self.with_prepared(noisy, sigma, self.network.prepare(conditions))

    def with_prepared(self, noisy: Tensor, sigma: Tensor, prepared: Any) -> Tensor:
        """`forward` with what the network prepares of the conditions, once for all noise levels."""
        s = sigma.to(torch.float32)[:, None, None]
        c_in = (s**2 + self.sigma_data**2).rsqrt()  # not by sqrt, see core.portable
        c_skip, c_out = (self.sigma_data * c_in) ** 2, s * self.sigma_data * c_in
        estimate = self.network.with_prepared(noisy * c_in, sigma.log() / 4, prepared)
        return c_skip * noisy + c_out * estimate.to(torch.float32)


def denoising_loss(
    denoiser: Denoiser,
    latents: Tensor,
    conditions: Tensor,
    sigma: Tensor,
    noise: Tensor,
    present: Tensor | None = None,
) -> Tensor:
    """Weighted squared error of one noise level a row → (B,); 1 for a network whose output is zero.

    Of rows that are sets, `present` (B, tokens) is 1 for the tokens that count, 0 for empty slots.
    """
    weight = (sigma**2 + denoiser.sigma_data**2) / (sigma * denoiser.sigma_data) ** 2
    estimate = denoiser(latents + sigma[:, None, None] * noise, sigma, conditions)
    error = ((estimate - latents) ** 2).mean(dim=2)
    if present is None:
        return weight * error.mean(dim=1)
    return weight * (error * present).sum(dim=1) / present.sum(dim=1)


def draw_sigma(rows: int, noise: Noise, generator: torch.Generator, device: torch.device) -> Tensor:
    """Log-normal noise levels (B,), spread evenly over the quantiles so that a batch covers them all."""
    even = (torch.arange(rows, device=device) + torch.rand(rows, generator=generator, device=device)) / rows
    order = torch.randperm(rows, generator=generator, device=device)
    normal = torch.erfinv((2 * even[order] - 1).clamp(-0.999999, 0.999999)) * 2**0.5
    return (noise.mean + noise.sd * normal).exp()
