"""Does each group look right: Wasserstein distance of each index by sex and age, ethnicity, obstruction.

The floor of a group is drawn, not computed once: as many training participants as the held-out group has,
again and again, each against the held-out group. That gives the distance that people alone make, and the
limit that only a wrong generator passes.
"""

import dataclasses

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from spiro_diffusion.evaluation.figures import MIN_PEOPLE, Figure, figure, missing

AGE_BANDS = ((6, 12), (13, 19), (20, 39), (40, 59), (60, 79))  # years, both ends included
ETHNICITIES = {1: "mexican_american", 2: "other_hispanic", 3: "white", 4: "black", 5: "other"}  # RIDRETH1
BINS = 512  # of the range of an index: its distribution is kept at their edges


def sex_and_age(people: pd.DataFrame) -> NDArray[np.object_]:
    """Name (n,) of each curve's group by sex and age band, such as `female_20_39`; None outside 6 to 79."""
    names = np.full(len(people), None, dtype=object)
    age = np.floor(people["age"].to_numpy(float))
    for sex, word in ((1, "male"), (2, "female")):
        for low, high in AGE_BANDS:
            names[(people["sex"].to_numpy() == sex) & (age >= low) & (age <= high)] = f"{word}_{low}_{high}"
    return names


def ethnicity(people: pd.DataFrame) -> NDArray[np.object_]:
    """Name (n,) of each curve's race and Hispanic origin (RIDRETH1)."""
    if "ethnicity" not in people:
        return np.full(len(people), None, dtype=object)
    return people["ethnicity"].map(ETHNICITIES).astype(object).where(people["ethnicity"].notna(), None).to_numpy()


def obstruction(obstructed: NDArray) -> NDArray[np.object_]:
    """Name (n,) of the group by FEV1/FVC below its lower limit (1.0), not below (0.0) or unknown (NaN)."""
    return np.where(np.isnan(obstructed), None, np.where(obstructed == 1, "obstructed", "not_obstructed"))


@dataclasses.dataclass(frozen=True)
class Values:
    """One index of n curves with what groups them."""

    seqn: NDArray
    values: NDArray  # (n,) or (n, draws)
    weights: NDArray  # (n,)
    groups: NDArray  # (n,) or (n, draws), names or None


def distances(
    real: Values, candidate: Values, train: Values, resamples: int, comparisons: int, rng: np.random.Generator
) -> dict[str, dict[str, Figure]]:
    """Wasserstein-1 distance to real curves for each of their groups.

    Args:
        real: held-out curves; candidate: what is judged, of one or several draws (their mean distance);
            train: all training curves, from which the floor is drawn.
        resamples: draws of the floor. comparisons: how many groups and indices share the 5 % of the limit
            (Bonferroni).

    Returns:
        For each group: `distance` in the unit of the index; `relative`, over the group's real mean; `floor`
        (mean of the drawn floor) and `limit` (its upper end); `over_floor`; `beyond`, 1 where the distance
        passes the limit.
    """
    edges = _edges(real.values, candidate.values, train.values)
    names = sorted({g for g in real.groups if g is not None})
    return {
        name: _one(real, candidate, train, name, edges, resamples, comparisons, np.random.default_rng(s))
        for name, s in zip(names, rng.integers(2**63, size=len(names)), strict=True)
    }


FIGURES = ("distance", "relative", "floor", "limit", "over_floor", "beyond")


def _one(
    real: Values,
    candidate: Values,
    train: Values,
    name: str,
    edges: NDArray,
    resamples: int,
    comparisons: int,
    rng: np.random.Generator,
) -> dict[str, Figure]:
    people = len(np.unique(real.seqn[real.groups == name]))
    pool = len(np.unique(train.seqn[train.groups == name]))
    drawn_from = min(people, pool)
    if drawn_from < MIN_PEOPLE:
        return {k: missing(f"{drawn_from} participants, fewer than {MIN_PEOPLE}") for k in FIGURES}
    truth = _per_person(real, name, edges).sum(axis=0)
    drawn = rng.multinomial(people, np.full(pool, 1 / pool), size=resamples) @ _per_person(train, name, edges)
    floor = _wasserstein(_distribution(drawn), _distribution(truth), edges)
    limit = _upper(floor, 0.05 / comparisons)
    columns = candidate.values.reshape(len(candidate.seqn), -1)
    groups = candidate.groups.reshape(len(candidate.seqn), -1)
    found = []
    for j in range(columns.shape[1]):
        one = Values(candidate.seqn, columns[:, j], candidate.weights, groups[:, min(j, groups.shape[1] - 1)])
        if (one.groups == name).any():
            of_draw = _per_person(one, name, edges).sum(axis=0)
            found.append(_wasserstein(_distribution(of_draw), _distribution(truth), edges))
    if not found:
        return {k: missing("no curve of the candidate is in this group") for k in FIGURES}
    distance = float(np.mean(found))
    rows = (real.groups == name) & np.isfinite(real.values)
    mean = np.average(real.values[rows], weights=real.weights[rows])
    return {
        "distance": figure(distance),
        "relative": figure(distance / mean),
        "floor": figure(float(floor.mean())),
        "limit": figure(limit),
        "over_floor": figure(distance / float(floor.mean())),
        "beyond": figure(float(distance > limit)),
    }


def _edges(*values: NDArray) -> NDArray[np.float64]:
    finite = [v[np.isfinite(v)] for v in values]
    low = min(float(v.min()) for v in finite if v.size)
    high = max(float(v.max()) for v in finite if v.size)
    return np.linspace(low, max(high, low + 1e-9), BINS + 1)


def _per_person(side: Values, name: str, edges: NDArray) -> NDArray[np.float64]:
    """Cumulative weight (people, edges) of the index in one group: sums of it are sums of distributions."""
    rows = (side.groups == name) & np.isfinite(side.values)
    people, person = np.unique(side.seqn[side.groups == name], return_inverse=True)
    person = person[np.isfinite(side.values[side.groups == name])]
    bins = np.clip(np.searchsorted(edges, side.values[rows], side="left"), 0, BINS)  # counted from this edge on
    table = np.zeros((len(people), BINS + 1))
    np.add.at(table, (person, bins), side.weights[rows])
    return np.cumsum(table, axis=1)


def _distribution(cumulative: NDArray) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return cumulative / cumulative[..., -1:]


def _wasserstein(first: NDArray, second: NDArray, edges: NDArray) -> NDArray[np.float64]:
    """Area (...,) between distribution functions (..., edges)."""
    return np.abs(first - second).sum(axis=-1) * (edges[1] - edges[0])


def _upper(values: NDArray, tail: float) -> float:
    """The value that a share `tail` of the drawn floor passes.

    Drawn values do not reach tails of 1 in 800: their logarithm, close to normal, is carried on beyond.
    """
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values):
        return float("nan")
    log = np.log(values)
    return float(np.exp(log.mean() - ndtri(tail) * log.std()))
