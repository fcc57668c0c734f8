"""Mixtures of normal distributions in NumPy: draws and quantiles, independent of the engine."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from spiro_diffusion.core.batching import by_rows
from spiro_diffusion.core.errors import SpiroError

WIDE = 6.0  # SDs of its components around all that a mixture holds
ROWS = 1024  # at a time
HALVINGS = 40  # of that range, in which a quantile is looked for
Floats = NDArray[np.float64]


class Mixtures(Protocol):
    """A conditional density of a few numbers; see `mixture_density.Density`."""

    @property
    def optional(self) -> int:
        """How many of the features, the last ones, may be absent."""

    def draw(self, features: NDArray, draws: int, rng: np.random.Generator) -> Floats:
        """Draws (n, draws, numbers) for features (n, f)."""

    def quantiles(self, features: NDArray, levels: Sequence[float]) -> Floats:
        """Quantiles (n, levels) of the first number."""

    def standardised(self, features: NDArray) -> Floats:
        """The first features (n, k) in SDs from what was usual in the training."""


class Scales(NamedTuple):
    """What is usual of f features: their means and SDs, and the mean and the SD of standardised features at each of
    some places of the first, with straight lines between."""

    mean: Floats  # (f,)
    sd: Floats  # (f,)
    places: Floats  # (p,)
    usual_mean: Floats  # (p, f)
    usual_sd: Floats  # (p, f)

    def standardised(self, features: NDArray) -> Floats:
        """The first features (n, k) in SDs from what was usual."""
        k = features.shape[1]
        x = (features - self.mean[:k]) / self.sd[:k]
        right = (x[:, :1] >= self.places[1:-1]).sum(1)
        low, high = self.places[right], self.places[right + 1]
        share = np.clip((x[:, 0] - low) / np.maximum(high - low, 1e-6), 0, 1)[:, None]
        middle, spread = (
            (1 - share) * table[right, :k] + share * table[right + 1, :k] for table in (self.usual_mean, self.usual_sd)
        )
        return np.asarray((x - middle) / spread)


def chances(rows: int, numbers: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What draws are made of, (rows, numbers) each: uniform numbers, which choose components, and normal ones."""
    shape = rows, numbers
    return rng.random(shape, dtype=np.float32), rng.standard_normal(shape, dtype=np.float32)


def within_range(drawn: NDArray, lowest: NDArray, highest: NDArray) -> Floats:
    """Draws (n, numbers) within what training saw.

    Raises SpiroError where one is not finite.
    """
    if not np.isfinite(drawn).all():
        raise SpiroError("the weights of the reconstructor draw what is not finite; fetch it again, or train again")
    return np.clip(drawn, lowest, highest).astype(np.float64)


def quantiles(parts: Sequence[Floats], levels: Sequence[float]) -> Floats:
    """Quantiles (n, levels) of mixtures, as `Density.first` gives them."""
    return by_rows(partial(_quantiles, levels), ROWS, *parts)


def _quantiles(
    levels: Sequence[float], log_weight: Floats, means: Floats, sds: Floats, start: Floats, sd: Floats
) -> Floats:
    weight = np.exp(log_weight)
    low, high = (means - WIDE * sds).min(axis=1), (means + WIDE * sds).max(axis=1)
    found = []
    for level in levels:
        below, above = low.copy(), high.copy()
        for _ in range(HALVINGS):
            middle = (below + above) / 2
            more = (weight * ndtr((middle[:, None] - means) / sds)).sum(axis=1) < level
            below, above = np.where(more, middle, below), np.where(more, above, middle)
        found.append(start + sd * (below + above) / 2)
    return np.stack(found, axis=1)
