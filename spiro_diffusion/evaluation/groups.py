"""Distributions by subgroup: Wasserstein distance of each index by sex and age, ethnicity, obstruction.

The floor of a group is drawn, not computed once: as many training participants as the held-out group has,
again and again, each against the held-out group. That gives the distance that people alone make, and the
limit that only a wrong generator passes.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from spiro_diffusion.core.vocabulary import ETHNICITIES, SEXES
from spiro_diffusion.evaluation.figures import MIN_PEOPLE, Figure, Tree, figure, missing, too_few
from spiro_diffusion.evaluation.registry import leaves, node_at

AGE_BANDS = ((6, 12), (13, 19), (20, 39), (40, 59), (60, 79))  # years, both ends included
BINS = 512  # of the range of an index: its distribution is kept at their edges
MARGIN = 0.25  # of the real range, on both sides: values farther out count as lying there
TAIL = 0.05  # of the floor beyond the limit, shared by all groups and indices compared (Bonferroni)
FIGURES = ("distance", "relative", "floor", "limit", "over_floor", "beyond")


def sex_and_age(people: pd.DataFrame) -> NDArray[np.object_]:
    """Name (n,) of each curve's group by sex and age band, such as `female_20_39`; None outside 6 to 79."""
    names = np.full(len(people), None, dtype=object)
    age = np.floor(people["age"].to_numpy(float))
    for sex, word in SEXES.items():
        for low, high in AGE_BANDS:
            names[(people["sex"].to_numpy() == sex) & (age >= low) & (age <= high)] = f"{word}_{low}_{high}"
    return names


def ethnicity(people: pd.DataFrame) -> NDArray[np.object_]:
    """Name (n,) of each curve's race and Hispanic origin (RIDRETH1); None where unknown."""
    if "ethnicity" not in people:
        return np.full(len(people), None, dtype=object)
    return np.array([ETHNICITIES.get(code) for code in people["ethnicity"]], dtype=object)


def obstruction(obstructed: NDArray) -> NDArray[np.object_]:
    """Name (n,) of the group by FEV1/FVC below its lower limit (1.0), not below (0.0) or unknown (NaN)."""
    names = np.where(obstructed == 1, "obstructed", "not_obstructed").astype(object)
    names[np.isnan(obstructed)] = None
    return names


@dataclasses.dataclass(frozen=True)
class Values:
    """One index of n curves with what groups them."""

    seqn: NDArray
    values: NDArray  # (n,), or (n, draws) of a candidate
    weights: NDArray  # (n,)
    groups: NDArray  # (n,), or (n, draws) of a candidate: names or None


@dataclasses.dataclass(frozen=True)
class Group:
    """The real curves of one group: their distribution and how far people alone lie from it."""

    truth: NDArray[np.float64]  # (edges,) distribution function
    edges: NDArray[np.float64]
    mean: float
    floor: float  # mean distance of as many training participants
    limit: float  # its upper end


def reference(
    real: Values, train: Values, resamples: int, comparisons: int, rng: np.random.Generator
) -> dict[str, Group | Figure]:
    """Each group of the real held-out curves with its floor, or the reason why it has none.

    Args:
        train: all training curves. resamples: draws of the floor.
        comparisons: how many groups and indices share the 5 % beyond the limit.
    """
    low, high = (f(f(v.values[np.isfinite(v.values)]) for v in (real, train)) for f in (min, max))
    margin = MARGIN * max(high - low, 1e-6)
    edges = np.linspace(low - margin, high + margin, BINS + 1)
    found: dict[str, Group | Figure] = {}
    for name in sorted({g for g in real.groups if g is not None}):
        held_out, pool = _per_person(real, name, edges), _per_person(train, name, edges)
        people = min(len(held_out), len(pool))
        if people < MIN_PEOPLE:
            found[name] = too_few(people)
            continue
        truth = _distribution(held_out.sum(axis=0))
        drawn = rng.multinomial(len(held_out), np.full(len(pool), 1 / len(pool)), size=resamples) @ pool
        floor = _wasserstein(_distribution(drawn), truth, edges)
        rows = (real.groups == name) & np.isfinite(real.values)
        mean = float(np.average(real.values[rows], weights=real.weights[rows]))
        found[name] = Group(truth, edges, mean, float(floor.mean()), _upper(floor, TAIL / comparisons))
    return found


def distances(candidate: Values, groups: dict[str, Group | Figure]) -> Tree:
    """Wasserstein-1 distance of a candidate to the real curves of each group.

    Returns:
        For each group: `distance` in the unit of the index (mean over the draws, each as many curves as the
        real ones); `relative`, over the real mean; the `floor` and its `limit`; `over_floor`; `beyond`, 1
        where the distance passes the limit.
    """
    return {name: _distance(candidate, name, group) for name, group in groups.items()}


def summary(kind: str, branch: Mapping[str, Tree]) -> Tree:
    """Mean of `over_floor` and number of `beyond` over the indices and groups (index → group) of one kind."""
    over, beyond = (
        [f.value for path, f in leaves(dict(branch)) if path.endswith(f".{name}") and isinstance(f.value, float)]
        for name in ("over_floor", "beyond")
    )
    none = missing("no group could be compared")
    return {
        f"{kind}_mean_over_floor": figure(float(np.mean(over))) if over else none,
        f"{kind}_beyond": figure(float(sum(beyond))) if over else none,
    }


def group_names(tree: Tree, path: str) -> list[str]:
    """Names of the groups of one kind below a path of the tree, by sex and age where they have them."""
    node = node_at(tree, path)
    if not isinstance(node, dict):
        return []
    names = {group for groups in node.values() if isinstance(groups, dict) for group in groups}
    return sorted(names, key=_order)


def group_words(group: str) -> str:
    """Such as `female, 6 to 12 y`."""
    parts = group.split("_")
    if parts[-1].isdigit():
        return f"{parts[0]}, {parts[1]} to {parts[2]} y"
    return " ".join(part.capitalize() if part in ("mexican", "american", "hispanic") else part for part in parts)


def _order(group: str) -> tuple[str, int, str]:
    sex, _, rest = group.partition("_")
    first = rest.split("_")[0]
    return (sex, int(first), "") if first.isdigit() else ("", 0, group)


def _distance(candidate: Values, name: str, group: Group | Figure) -> Tree:
    if isinstance(group, Figure):
        return dict.fromkeys(FIGURES, group)
    columns = candidate.values.reshape(len(candidate.seqn), -1)
    names = np.broadcast_to(candidate.groups.reshape(len(candidate.seqn), -1), columns.shape)
    found = []
    for values, groups in zip(columns.T, names.T, strict=True):
        rows = (groups == name) & np.isfinite(values)
        if candidate.weights[rows].sum() > 0:
            distribution = _distribution(np.cumsum(_histogram(values[rows], candidate.weights[rows], group.edges)))
            found.append(float(_wasserstein(distribution, group.truth, group.edges)))
    if not found:
        return dict.fromkeys(FIGURES, missing("no curve of the candidate is in this group"))
    distance = float(np.mean(found))
    return {
        "distance": figure(distance),
        "relative": figure(distance / group.mean),
        "floor": figure(group.floor),
        "limit": figure(group.limit),
        "over_floor": figure(distance / group.floor),
        "beyond": figure(float(distance > group.limit)),
    }


def _per_person(side: Values, name: str, edges: NDArray) -> NDArray[np.float64]:
    """Cumulative weight (people, edges) of the index in one group: sums of it are sums of distributions."""
    rows = (side.groups == name) & np.isfinite(side.values) & (side.weights > 0)
    people, person = np.unique(side.seqn[rows], return_inverse=True)
    place = person * (BINS + 1) + _bins(side.values[rows], edges)
    flat = np.bincount(place, side.weights[rows], minlength=len(people) * (BINS + 1))
    return np.cumsum(flat.reshape(len(people), BINS + 1), axis=1)


def _histogram(values: NDArray, weights: NDArray, edges: NDArray) -> NDArray[np.float64]:
    return np.bincount(_bins(values, edges), weights, minlength=BINS + 1).astype(np.float64)


def _bins(values: NDArray, edges: NDArray) -> NDArray[np.int64]:
    """The edge from which on each value is counted."""
    step = (edges[-1] - edges[0]) / BINS
    return np.clip(np.ceil((values - edges[0]) / step), 0, BINS).astype(np.int64)


def _distribution(cumulative: NDArray) -> NDArray[np.float64]:
    return cumulative / cumulative[..., -1:]


def _wasserstein(first: NDArray, second: NDArray, edges: NDArray) -> NDArray[np.float64]:
    """Area (...,) between distribution functions (..., edges)."""
    return np.abs(first - second).sum(axis=-1) * (edges[1] - edges[0])


def _upper(values: NDArray, tail: float) -> float:
    """The value that a share `tail` of the drawn floor passes.

    Drawn values do not reach tails of 1 in 800: their logarithm, close to normal, is carried on beyond.
    """
    log = np.log(np.maximum(values, 1e-9))
    return float(np.exp(log.mean() - ndtri(tail) * log.std()))
