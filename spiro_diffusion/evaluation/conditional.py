"""Is the conditional spread right: explained variance, residual SD, coverage, PIT, CRPS.

Spread is measured around one fixed reference surface: the mean surface of the logarithm of an index over age, height
and sex, fitted to real training participants. Real and generated curves are measured around the same surface, so
that sixty held-out participants do not fit a surface of their own and look narrower than they are.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.vocabulary import SEXES
from spiro_diffusion.evaluation.bootstrap import Resamples
from spiro_diffusion.evaluation.figures import MIN_PEOPLE, Node, Tree, from_resamples, series, too_few
from spiro_diffusion.evaluation.registry import COVERAGES
from spiro_diffusion.physiology.mean_surface import features

PIT_BINS = 20


@dataclasses.dataclass(frozen=True)
class ReferenceSurface:
    """Mean of the logarithm of each index given age, height and sex, from real training curves."""

    coefficients: dict[str, NDArray[np.float64]]

    @classmethod
    def fit(cls, people: pd.DataFrame, indices: dict[str, NDArray], names: tuple[str, ...]) -> "ReferenceSurface":
        x = features(people)
        coefficients = {}
        for name in names:
            rows = usable(indices[name])
            coefficients[name] = np.linalg.lstsq(x[rows], np.log(indices[name][rows]), rcond=None)[0]
        return cls(coefficients)

    def mean(self, people: pd.DataFrame, name: str) -> NDArray[np.float64]:
        """(n,), mean of the logarithm."""
        return features(people) @ self.coefficients[name]


def usable(values: NDArray) -> NDArray[np.bool_]:
    """Where an index has a logarithm. Curves without one are counted in `physics`."""
    return np.isfinite(values) & (values > 0)


class Side(NamedTuple):
    """One side of a comparison: an index of n curves, of some draws each."""

    people: pd.DataFrame  # one row a curve
    values: NDArray  # (n, draws)
    weights: NDArray  # (n,)
    resamples: Resamples  # of the participants; the same object on both sides where they are the same people

    def of_sex(self, code: int) -> "Side":
        """The same rows and resamples, with the weight of the other sex taken away."""
        return self._replace(weights=self.weights * (self.people["sex"].to_numpy() == code))

    def participants(self) -> int:
        """Participants with weight."""
        return len(np.unique(self.resamples.person[self.weights > 0]))


def spread(reference_surface: ReferenceSurface, name: str, real: Side, candidate: Side) -> Node:
    """Explained variance and residual SD of log `name`, candidate against real."""
    people = min(real.participants(), candidate.participants())
    if people < MIN_PEOPLE:
        return too_few(people)
    r, c = _moments(reference_surface, name, real), _moments(reference_surface, name, candidate)
    result: Tree = {
        "explained_variance_real": from_resamples(r.explained),
        "explained_variance": from_resamples(c.explained),
        "explained_variance_difference": from_resamples(c.explained - r.explained),
        "residual_sd_real": from_resamples(r.sd),
        "residual_sd": from_resamples(c.sd),
        "residual_sd_ratio": from_resamples(c.sd / r.sd),
        "mean_shift": from_resamples(c.mean - r.mean),
    }
    for code, sex in SEXES.items():
        parts = [side.of_sex(code) for side in (real, candidate)]
        people = min(side.participants() for side in parts)
        if people < MIN_PEOPLE:
            result[f"residual_sd_ratio_{sex}"] = too_few(people)
            continue
        r, c = (_moments(reference_surface, name, side) for side in parts)
        result[f"residual_sd_ratio_{sex}"] = from_resamples(c.sd / r.sd)
    return result


@dataclasses.dataclass(frozen=True)
class _Moments:
    explained: NDArray[np.float64]  # (1 + B,) share of the variance of the logarithm
    sd: NDArray[np.float64]  # (1 + B,) of the residual
    mean: NDArray[np.float64]  # (1 + B,) of the residual


def _moments(reference_surface: ReferenceSurface, name: str, side: Side) -> _Moments:
    good = usable(side.values)
    log = np.log(np.where(good, side.values, 1.0))
    residual = np.where(good, log - reference_surface.mean(side.people, name)[:, None], 0.0)
    w = good * side.weights[:, None]
    rows = np.stack([v.sum(axis=1) for v in (w, w * log, w * log**2, w * residual, w * residual**2)], axis=1)
    sums = side.resamples.sums(rows)
    with np.errstate(invalid="ignore", divide="ignore"):
        log1, log2, mean, square = (sums[:, 1:] / sums[:, :1]).T
        variance = square - mean**2
        return _Moments(1 - variance / (log2 - log1**2), np.sqrt(variance), mean)


def calibration(observed: NDArray, draws: NDArray, weights: NDArray, resamples: Resamples) -> Node:
    """Coverage, PIT and CRPS of `observed` (n,) against its own `draws` (n, K).

    The rank of an observation among K exchangeable draws is uniform, so an interval's coverage comes from
    ranks, spread evenly over the width of their step (the non-randomised PIT of Czado, Gneiting and Held
    2009): it is exactly nominal for a perfect generator at any K, which sample quantiles are not.
    """
    good = np.isfinite(observed) & np.isfinite(draws).all(axis=1) & (weights > 0)
    people = len(np.unique(resamples.person[good]))
    if people < MIN_PEOPLE:
        return too_few(people)
    observed, draws, w = np.where(good, observed, 0.0), np.where(good[:, None], draws, 0.0), weights * good
    low, high = pit_steps(observed, draws)
    result: Tree = {}
    for nominal in COVERAGES:
        begin, end = 0.5 - nominal / 200, 0.5 + nominal / 200
        inside = np.clip(np.minimum(high, end) - np.maximum(low, begin), 0, None) / (high - low)
        result[f"coverage_{nominal}"] = from_resamples(resamples.means(inside, w))
    edges = np.linspace(0, 1, PIT_BINS + 1)
    share = np.clip((edges - low[:, None]) / (high - low)[:, None], 0, 1)  # (n, edges): each row's distribution
    sums = resamples.sums(np.column_stack([w, w[:, None] * share]))
    with np.errstate(invalid="ignore", divide="ignore"):
        distribution = sums[:, 1:] / sums[:, :1]
    result["pit"] = series(np.diff(distribution[0]))
    result["pit_distance"] = from_resamples(np.abs(distribution - edges).mean(axis=1))
    result["crps"] = from_resamples(resamples.means(crps(observed, draws), w))
    return result


def pit_steps(observed: NDArray, draws: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both ends (n,) of the step of the uniform distribution that each observation's rank stands for."""
    k = draws.shape[1]
    below = (draws < observed[:, None]).sum(axis=1)
    equal = (draws == observed[:, None]).sum(axis=1)
    return below / (k + 1), (below + equal + 1) / (k + 1)


def crps(observed: NDArray, draws: NDArray) -> NDArray[np.float64]:
    """Continuous ranked probability score (n,) of draws (n, K), in the unit of the index.

    The fair form (Ferro 2014): its expectation does not depend on K, so that 20 draws and 100 compare.
    """
    k = draws.shape[1]
    ordered = np.sort(draws.astype(np.float64), axis=1)
    between = ordered @ (2 * np.arange(1, k + 1) - k - 1) / (k * (k - 1) / 2)  # mean of |x - x'| over pairs
    return np.abs(ordered - observed[:, None]).mean(axis=1) - between / 2


def crps_ratio(observed: NDArray, draws: NDArray, baseline: NDArray, weights: NDArray, resamples: Resamples) -> Node:
    """CRPS of `draws` and of a baseline's draws for the same observations, and their ratio."""
    good = np.isfinite(observed) & np.isfinite(draws).all(axis=1) & np.isfinite(baseline).all(axis=1) & (weights > 0)
    people = len(np.unique(resamples.person[good]))
    if people < MIN_PEOPLE:
        return too_few(people)
    safe = np.where(good, observed, 0.0)
    of_draws, other = (
        resamples.means(crps(safe, np.where(good[:, None], d, 0.0)), weights * good) for d in (draws, baseline)
    )
    found = {"crps": of_draws, "baseline": other, "ratio": of_draws / other}
    return {name: from_resamples(values) for name, values in found.items()}
