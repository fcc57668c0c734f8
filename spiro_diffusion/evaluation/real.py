"""The held-out and training curves that all candidates are compared with, and what is computed from them once."""

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.vocabulary import JUDGED
from spiro_diffusion.evaluation import conditional, groups, shapes, two_sample, utility
from spiro_diffusion.evaluation.figures import Figure
from spiro_diffusion.evaluation.measured import Measured
from spiro_diffusion.evaluation.registry import GROUPINGS, LEVELS, WEIGHTINGS, Grouping, Level, Weighting


@dataclasses.dataclass(frozen=True, eq=False)
class Real:
    """The real curves that a candidate is held against.

    `held_out`: the held-out participants'. `members`: those of as many training participants, the floor.
    `others`: those of as many again, what a model is trained on to compare with training on generated ones.
    `train`, `train_indices`, `train_signals`: all training curves: table, indices of the 10 ms curve with
    `ratio`, and signals (n, 512).
    """

    held_out: Measured
    members: Measured
    others: Measured
    train: pd.DataFrame
    train_indices: dict[str, NDArray]
    train_signals: NDArray

    def prepare(self) -> None:
        """Compute what several questions share, before processes are forked that would each compute it."""
        for name in ("train_shapes", "held_out_shapes", "pairs", "embedded"):
            getattr(self, name)

    @functools.cached_property
    def train_shapes(self) -> NDArray[np.float32]:
        return shapes.shapes(self.train_signals)

    @functools.cached_property
    def held_out_shapes(self) -> NDArray[np.float32]:
        return shapes.of_measured(self.held_out)

    @functools.cached_property
    def pairs(self) -> NDArray[np.float64]:
        return shapes.between_efforts(self.held_out_shapes, self.held_out.seqn)

    @functools.cached_property
    def convolutions(self) -> dict[str, two_sample.Convolutions]:
        return {
            name: two_sample.Convolutions(self.held_out.counts, window, np.random.default_rng(0))
            for name, window in two_sample.WINDOWS.items()
        }

    @functools.cached_property
    def embedded(self) -> dict[str, NDArray]:
        return embed(self.held_out, self.convolutions)

    @functools.cache  # noqa: B019 (one object a run; the floors are the same for every candidate)
    def groups(
        self, level: Level, weighting: Weighting, kind: Grouping, name: str, resamples: int
    ) -> dict[str, groups.Group | Figure]:
        """The real groups of one kind with the floor of an index."""
        sides = []
        for people, indices in ((self.held_out.people, self.held_out.indices), (self.train, self.train_indices)):
            chosen = at_level(people, level)
            some = people[chosen]
            found = group_names(kind, some, indices["ratio"][chosen])
            sides.append(
                groups.Values(some["seqn"].to_numpy(), indices[name][chosen], weights_of(some, weighting), found)
            )
        comparisons = len({g for g in sides[0].groups if g is not None}) * len(JUDGED)
        order: tuple[Iterable[str], ...] = (LEVELS, WEIGHTINGS, GROUPINGS, JUDGED)
        key = [list(words).index(word) for words, word in zip(order, (level, weighting, kind, name), strict=True)]
        return groups.reference(sides[0], sides[1], resamples, comparisons, np.random.default_rng(key))

    def reference_surface(self, best: bool) -> conditional.ReferenceSurface:
        """Mean surface of the training participants that are not the floor's."""
        rows = ~self.train["seqn"].isin(self.members.seqn).to_numpy()
        if best:
            rows &= self.train["best"].to_numpy(bool)
        indices = {name: self.train_indices[name][rows] for name in JUDGED}
        return conditional.ReferenceSurface.fit(self.train[rows], indices, JUDGED)


def embed(curves: Measured, convolutions: dict[str, two_sample.Convolutions]) -> dict[str, NDArray]:
    """All embeddings of some curves."""
    tables = {kind: two_sample.table(curves, kind) for kind in two_sample.TABLES}
    return tables | {kind: convolve(curves.counts) for kind, convolve in convolutions.items()}


def at_level(people: pd.DataFrame, level: Level) -> NDArray[np.bool_]:
    return people["best"].to_numpy(bool) if level == "best" else np.ones(len(people), dtype=bool)


def weights_of(people: pd.DataFrame, weighting: Weighting) -> NDArray[np.float64]:
    """Weights (n,) of curves; 0 by the survey where a participant has none."""
    if weighting == "unweighted":
        return np.ones(len(people))
    return np.nan_to_num(people["mec_weight"].to_numpy(float))


def group_names(kind: Grouping, people: pd.DataFrame, ratio: NDArray) -> NDArray[np.object_]:
    """Names (n,), or (n, draws) for obstruction, of the groups of one kind."""
    if kind == "obstruction":
        return groups.obstruction(utility.obstructed(people, ratio))
    return groups.sex_and_age(people) if kind == "sex_age" else groups.ethnicity(people)
