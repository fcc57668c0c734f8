"""Conditional density of a few numbers: an autoregressive mixture of normal distributions.

References: Bishop 1994 (mixture density networks); Uria et al. 2013 (the same, autoregressive). Its likelihood is
exact and a draw costs as many small matrix products as there are numbers, so a thousand draws take no time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from spiro_diffusion.core.batching import batches
from spiro_diffusion.core.errors import within
from spiro_diffusion.models import mixtures
from spiro_diffusion.models.layers import GroupedLinear
from spiro_diffusion.models.mixtures import Floats, Scales

LEAST_SD = 0.01  # of a component, in SDs of the number: a mixture that may shrink to a point has no likelihood
RIDGE = 1e-4  # penalty a row of the linear start, on standardised features
PLACES = 12  # of the first feature, with a regression each
LEAST_USUAL = 0.001  # SD of a feature at one time, in its overall SD: below it the counter's noise would be a feature
CHUNK = 8192  # rows at a time
FEATURE_LIMIT_SD = 4.0  # features are held within so many SDs: nothing beyond was seen in training


@dataclass(frozen=True)
class DensityConfig:
    """What decides the shapes of the network."""

    features: int  # numbers that are given
    numbers: int  # that are drawn
    optional: int = 0  # the last of the features: may be absent, then all 0; the very last is 1 if they are there
    width: int = 128
    components: int = 5
    dropout: float = 0.1

    def __post_init__(self) -> None:
        within(self, features=(1, 4096), numbers=(1, 256), optional=(0, self.features - 1), width=(1, 4096))
        within(self, components=(1, 256), dropout=(0, 1))


class Density(nn.Module):
    """p(numbers | features), both in their own units: the scales are inside.

    Number k is its ridge regression on the features, with coefficients that change with the first one (Hastie and
    Tibshirani 1993), plus a mixture of normal distributions whose weights, means and SDs follow from the features and
    the numbers before it. Where optional features are given, a second regression on all features adds their effect:
    what is drawn without them does not suffer for them.

    Features are given in SDs from the usual value at the same first feature: of tails, of efforts cut at one
    time, which differ far less than those cut at any time.
    """

    feature_mean: Tensor
    feature_sd: Tensor
    usual_mean: Tensor
    usual_sd: Tensor
    places: Tensor
    coefficients: Tensor
    further: Tensor
    number_sd: Tensor
    further_sd: Tensor
    lowest: Tensor
    highest: Tensor
    earlier: Tensor

    def __init__(self, config: DensityConfig) -> None:
        super().__init__()
        self.config = config
        f, k, width = config.features, config.numbers, config.width
        self.register_buffer("feature_mean", torch.zeros(f))
        self.register_buffer("feature_sd", torch.ones(f))
        self.register_buffer("usual_mean", torch.zeros(PLACES, f))  # of standardised features, at each of the places
        self.register_buffer("usual_sd", torch.ones(PLACES, f))
        self.register_buffer("places", torch.linspace(-2.0, 2.0, PLACES))  # of the first standardised feature
        self.register_buffer("coefficients", torch.zeros(PLACES * (f + 1), k))
        self.register_buffer("further", torch.zeros(PLACES * (f + 1), k))  # added where optional features are given
        self.register_buffer("number_sd", torch.ones(k))  # around what they predict
        self.register_buffer("further_sd", torch.ones(k))  # likewise, where optional features are given
        self.register_buffer("lowest", torch.full((k,), -1e6))  # seen in training: no draw lies beyond
        self.register_buffer("highest", torch.full((k,), 1e6))
        self.register_buffer("earlier", torch.ones(k, k).tril(-1), persistent=False)  # row: what number k may see
        self.trunk = nn.Sequential(
            nn.Linear(f, width), nn.SiLU(), nn.Dropout(config.dropout), nn.Linear(width, width), nn.SiLU()
        )
        self.heads = GroupedLinear(k, width + k, width)
        self.out = GroupedLinear(k, width, 3 * config.components)

    def fit_scales(self, features: Tensor, numbers: Tensor) -> None:
        """Set the scales and the ridge regressions from training rows (n, features) and (n, numbers)."""
        required = self.config.features - self.config.optional
        there = self._there(features)[:, 0] > 0
        self.feature_mean.copy_(features.mean(0))
        self.feature_sd.copy_(features.std(0).clamp_min(1e-6))
        if there.any():
            self.feature_mean[required:-1] = features[there, required:-1].mean(0)
            self.feature_sd[required:-1] = features[there, required:-1].std(0).clamp_min(1e-6)
        if self.config.optional:
            self.feature_mean[-1], self.feature_sd[-1] = 0.0, 1.0
        x = (features - self.feature_mean) / self.feature_sd
        first = x[:, 0].clamp(-FEATURE_LIMIT_SD, FEATURE_LIMIT_SD)
        self.places.copy_(torch.quantile(first, torch.linspace(0, 1, PLACES, device=x.device)))
        self._fit_usual(x, slice(1, required))
        given = self._given(features)
        seen = given.clone()
        seen[:, required:] = 0
        rest = self._regress(seen, numbers, self.coefficients)
        self.number_sd.copy_(rest.std(0).clamp_min(1e-6))
        if there.any():
            rest = self._regress(given[there], rest[there], self.further)
            self.further_sd.copy_(rest.std(0).clamp_min(1e-6))
        self.lowest.copy_(numbers.min(0).values)
        self.highest.copy_(numbers.max(0).values)

    def _fit_usual(self, x: Tensor, columns: slice) -> None:
        """Set what is usual at each place of some columns of standardised features (n, f): straight lines between the
        places through their means, and the SD around these."""
        products, sums, squares = np.zeros((PLACES, PLACES)), np.zeros((PLACES, x.shape[1])), 0.0
        parts = [(self._weights(x[part, 0]), x[part]) for part in batches(len(x), CHUNK)]
        pairs = [[tensor.double().cpu().numpy() for tensor in part] for part in parts]
        for weight, y in pairs:
            products += weight.T @ weight
            sums += weight.T @ y
        mean = np.linalg.solve(products + RIDGE * products.diagonal().mean() * np.eye(PLACES), sums)
        for weight, y in pairs:
            squares = squares + weight.T @ np.square(y - weight @ mean)
        sd = np.sqrt(squares / np.maximum(sum(weight.sum(axis=0) for weight, _ in pairs), 1e-9)[:, None])
        self.usual_mean[:, columns] = torch.from_numpy(mean[:, columns]).to(self.usual_mean)
        self.usual_sd[:, columns] = torch.from_numpy(np.maximum(sd[:, columns], LEAST_USUAL)).to(self.usual_sd)

    def _regress(self, given: Tensor, numbers: Tensor, coefficients: Tensor) -> Tensor:
        """Set the coefficients of a ridge regression of numbers on standardised features; what it leaves of them."""
        size = len(coefficients)
        products, sums = np.zeros((size, size)), np.zeros((size, numbers.shape[1]))
        parts = list(batches(len(given), CHUNK))
        for part in parts:  # NumPy's products: in the portable mode PyTorch's of float64 are several times slower
            x, y = (tensor.double().cpu().numpy() for tensor in (self._linear(given[part]), numbers[part]))
            products += x.T @ x
            sums += x.T @ y
        penalty = RIDGE * products.diagonal().mean() * np.eye(size)
        coefficients.copy_(torch.from_numpy(np.linalg.solve(products + penalty, sums)))
        return torch.cat([numbers[part] - self._linear(given[part]) @ coefficients for part in parts])

    @torch.no_grad()
    def standard(self, features: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised features (B, f), and the numbers (B, k) in SDs from what the regressions predict: no weight that
        is trained decides them."""
        x = self._given(features)
        mean, sd = self._start(features, x)
        return x, (numbers - mean) / sd

    def log_likelihood(self, x: Tensor, y: Tensor) -> Tensor:
        """(B,), of features and numbers as `standard` gives them."""
        seen = self._seen(x) + (y @ self._earlier_weight().transpose(0, 1).flatten(1)).view(
            len(x), len(self.earlier), -1
        )
        weight, means, sds = self._components(self.out(F.silu(seen).transpose(0, 1)))  # (k, B, components) each
        each = weight - 0.5 * ((y.T[..., None] - means) / sds) ** 2 - sds.log() - 0.5 * math.log(2 * math.pi)
        return torch.logsumexp(each, dim=-1).sum(0)

    def forward(self, features: Tensor, chance: Tensor, noise: Tensor) -> Tensor:
        """One draw (B, numbers) for each row of features, in their units, from uniform numbers `chance` (B, numbers),
        which choose the component, and standard normal ones; not finite where the weights are not."""
        x = self._given(features)
        seen = self._seen(x)
        y = torch.zeros_like(noise)
        for k in range(self.config.numbers):
            weight, means, sds = self._mixture(seen, y, k)
            passed = weight.exp().cumsum(1)[:, :-1] < chance[:, k : k + 1]
            chosen = passed.sum(1, keepdim=True)
            drawn = means.gather(1, chosen) + sds.gather(1, chosen) * noise[:, k : k + 1]
            y = torch.cat([y[:, :k], drawn, y[:, k + 1 :]], dim=1)
        mean, sd = self._start(features, x)
        return mean + y * sd

    def first(self, features: Tensor) -> tuple[Tensor, ...]:
        """The mixture of the first number: log weights, means and SDs (B, components) in SDs, and the mean and the SD
        (B,) that bring it to its unit."""
        x = self._given(features)
        earlier = torch.zeros_like(features[:, :1]).expand(-1, self.config.numbers)
        start, sd = self._start(features, x)
        return *self._mixture(self._seen(x), earlier, 0), start[:, 0], sd[:, 0]

    @property
    def optional(self) -> int:
        """How many of the features may be absent."""
        return self.config.optional

    @property
    def scales(self) -> Scales:
        """What is usual of the features."""
        buffers = self.feature_mean, self.feature_sd, self.places, self.usual_mean, self.usual_sd
        return Scales(*(part.cpu().double().numpy() for part in buffers))

    def quantiles(self, features: NDArray, levels: Sequence[float]) -> Floats:
        """Quantiles (n, levels) of the first number for features (n, f), in its unit."""
        with torch.inference_mode():
            parts = self.first(self._sent(features))
        return mixtures.quantiles([part.double().cpu().numpy() for part in parts], levels)

    def draw(self, features: NDArray, draws: int, rng: np.random.Generator, batch: int = 65_536) -> Floats:
        """Draws (n, draws, numbers) for features (n, f).

        Raises SpiroError where the weights give what is not finite.
        """
        given, parts = np.repeat(features, draws, axis=0), []
        chance, noise = mixtures.chances(len(given), self.config.numbers, rng)
        with torch.inference_mode():
            for part in batches(len(given), batch):
                parts.append(self(*map(self._sent, (given[part], chance[part], noise[part]))).cpu().numpy())
        limits = (part.cpu().numpy() for part in (self.lowest, self.highest))
        return mixtures.within_range(np.concatenate(parts), *limits).reshape(len(features), draws, -1)

    def standardised(self, features: NDArray) -> Floats:
        """The first features (n, k) in SDs from what was usual in the training, beyond FEATURE_LIMIT_SD too."""
        return self.scales.standardised(features)

    def _sent(self, numbers: NDArray) -> Tensor:
        return torch.from_numpy(numbers.astype(np.float32)).to(self.feature_mean.device)

    def _given(self, features: Tensor) -> Tensor:
        """Features in SDs from what is usual; optional ones that are absent are 0, their mean."""
        x = (features - self.feature_mean) / self.feature_sd
        weight = self._weights(x[:, 0])
        x = ((x - weight @ self.usual_mean) / (weight @ self.usual_sd)).clamp(-FEATURE_LIMIT_SD, FEATURE_LIMIT_SD)
        required = self.config.features - self.config.optional
        return torch.cat([x[:, :required], x[:, required:] * self._there(features)], dim=1)

    def _there(self, features: Tensor) -> Tensor:
        """(B, 1): 1 where optional features are given, else 0."""
        return features[:, -1:] if self.config.optional else torch.zeros_like(features[:, -1:])

    def _start(self, features: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """What the regressions predict, (B, numbers), and the SD around it."""
        there, linear = self._there(features), self._linear(given)
        mean = linear @ self.coefficients + there * (linear @ self.further)
        return mean, torch.where(there > 0, self.further_sd, self.number_sd)

    def _linear(self, given: Tensor) -> Tensor:
        """Features and 1, times the weight of each place: straight lines between the places."""
        weight = self._weights(given[:, 0])
        return (weight[:, :, None] * F.pad(given, (0, 1), value=1.0)[:, None]).flatten(1)

    def _weights(self, first: Tensor) -> Tensor:
        """The weight (n, PLACES) of each place for a standardised first feature (n,): of the two beside it."""
        right = (first[:, None] >= self.places[1:-1]).sum(1)
        low, high = self.places[right], self.places[right + 1]
        share = ((first - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)[:, None]
        place = torch.arange(PLACES, device=first.device) - right[:, None]
        return (place == 0) * (1 - share) + (place == 1) * share

    def _seen(self, x: Tensor) -> Tensor:
        """Each head's response to the features, (B, k, width), before it is conditioned on the preceding numbers."""
        weight = self.heads.weight[:, : self.config.width].transpose(0, 1).flatten(1)
        return torch.addmm(self.heads.bias.flatten(), self.trunk(x), weight).unflatten(1, (len(self.earlier), -1))

    def _earlier_weight(self) -> Tensor:
        """(k, k, width), which condition each number's head on the preceding numbers."""
        return self.heads.weight[:, self.config.width :] * self.earlier[:, :, None]

    def _mixture(self, seen: Tensor, y: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, means and SDs (B, components) of number k, given the numbers (B, k) before it."""
        hidden = F.silu(seen[:, k] + y @ self._earlier_weight()[k])
        return self._components(torch.addmm(self.out.bias[k], hidden, self.out.weight[k]))

    @staticmethod
    def _components(out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, mean, spread = out.float().chunk(3, dim=-1)
        return weight.log_softmax(-1), mean, LEAST_SD + F.softplus(spread)


class First(nn.Module):
    """The first number of a density alone, as `Density.first` gives it."""

    def __init__(self, density: Density) -> None:
        super().__init__()
        self.density = density

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        return self.density.first(features)
