"""The judge: every question put to one candidate, always in the same way.

A candidate is the generator, a baseline, real training curves (the floor), or real curves sent through the
grid and back (the second floor). The result is a tree of figures under stable names,
`question / level / ... / figure`. Everything is a function of arrays and a seed.
"""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from spiro_diffusion.evaluation import conditional, copying, groups, physics, two_sample, utility
from spiro_diffusion.evaluation.bootstrap import Resamples
from spiro_diffusion.evaluation.figures import missing
from spiro_diffusion.evaluation.measured import INDICES, Measured

LEVELS = ("every", "best")  # every effort; each participant's best acceptable one before the bronchodilator
WEIGHTINGS = ("unweighted", "weighted")  # weighted: by WTMEC2YR, for the population
QUESTIONS = ("spread", "calibration", "crps_gli", "groups", "two_sample", "utility", "copying", "physics")
DRAWS_OF_GROUPS = 20  # distances to single draws are averaged over at most so many
OPEN = "the candidate gives no curves, only indices"
NO_DRAWS = "the candidate gives no draws at each person's own conditions"

Tree = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Real:
    """The real curves that a candidate is held against.

    `held`: the held-out participants'. `members`: those of as many training participants, the floor.
    `others`: those of as many again, what a model is trained on to compare with training on generated ones.
    `train`, `train_indices`, `train_signals`: all training curves: table, indices of the 10 ms curve with
    `ratio`, and signals (n, 512).
    """

    held: Measured
    members: Measured
    others: Measured
    train: pd.DataFrame
    train_indices: dict[str, NDArray]
    train_signals: NDArray

    @functools.cached_property
    def train_shapes(self) -> NDArray[np.float32]:
        return copying.shapes(self.train_signals)

    @functools.cached_property
    def held_shapes(self) -> NDArray[np.float32]:
        return copying.of_measured(self.held)

    @functools.cached_property
    def pairs(self) -> NDArray[np.float64]:
        return copying.between_efforts(self.held_shapes, self.held.seqn)

    @functools.cached_property
    def convolutions(self) -> two_sample.Convolutions:
        return two_sample.Convolutions(self.held.counts, np.random.default_rng(0))

    @functools.cached_property
    def embedded(self) -> dict[str, NDArray]:
        return embed(self.held, self.convolutions)

    def ruler(self, best: bool) -> conditional.Ruler:
        """Mean surface of the training participants that are not the floor's."""
        rows = ~self.train["seqn"].isin(self.members.seqn).to_numpy()
        if best:
            rows &= self.train["best"].to_numpy(bool)
        indices = {name: self.train_indices[name][rows] for name in INDICES}
        return conditional.Ruler.fit(self.train[rows], indices, INDICES)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What is judged.

    `curves`: one a row of `Real.held` where `paired` (with its conditions and in its order), else of other
    people. `draws`: indices (n, K) of K draws at the conditions of each row of `Real.held`. `asked`: the
    same for its best efforts only, asked for as grade A. What is None leaves figures open, with the reason.
    """

    curves: Measured | None
    draws: dict[str, NDArray] | None = None
    asked: dict[str, NDArray] | None = None
    paired: bool = True


def embed(curves: Measured, convolutions: two_sample.Convolutions) -> dict[str, NDArray]:
    """Both embeddings of some curves."""
    return {"clinical": two_sample.clinical(curves), "fine": convolutions(curves.counts)}


def judge(
    candidate: Candidate,
    real: Real,
    *,
    gli: dict[str, NDArray] | None = None,
    losses: tuple[NDArray, NDArray] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    questions: Iterable[str] = QUESTIONS,
    name: str = "judge",
) -> Tree:
    """All figures of a candidate.

    Args:
        gli: draws (best efforts, K) of GLI Global for the best held-out efforts, the rival of `crps_gli`.
        losses: denoising loss of the curves of `real.members` and of `real.held`, for membership.
        resamples: of the participants, for each interval.

    Returns:
        question → level → … → figure (see `figures`); docs/evaluation.md lists them.
    """
    questions = list(questions)
    tree: Tree = {q: {} for q in questions}
    steps = [(q, level) for level in LEVELS for q in questions]
    views = {level: _View.of(candidate, real, level, losses, gli, resamples, seed) for level in LEVELS}
    progress = tqdm(steps, desc=name, unit="question", leave=False)
    for question, level in progress:
        progress.set_postfix_str(f"{question}, {level}")
        tree[question][level] = _ASK[question](views[level])
    return tree


@dataclasses.dataclass(frozen=True)
class _View:
    """Candidate and real curves of one level, with what the questions share."""

    candidate: Candidate
    real: Real
    level: str
    held: Measured
    curves: Measured | None
    held_rows: NDArray[np.bool_]
    rows: NDArray[np.bool_]  # of the candidate's curves
    held_groups: Resamples
    groups: Resamples
    losses: tuple[NDArray, NDArray] | None
    gli: dict[str, NDArray] | None
    resamples: int
    seed: int

    @classmethod
    def of(
        cls,
        candidate: Candidate,
        real: Real,
        level: str,
        losses: tuple[NDArray, NDArray] | None,
        gli: dict[str, NDArray] | None,
        resamples: int,
        seed: int,
    ) -> "_View":
        held_rows = _rows(real.held.people, level)
        held = real.held.take(held_rows)
        rng = np.random.default_rng([seed, LEVELS.index(level)])
        held_groups = Resamples(held.seqn, resamples, rng)
        if candidate.paired or candidate.curves is None:
            rows, own = held_rows, held_groups
        else:
            rows = _rows(candidate.curves.people, level)
            own = Resamples(candidate.curves.seqn[rows], resamples, rng)
        curves = None if candidate.curves is None else candidate.curves.take(rows)
        return cls(
            candidate, real, level, held, curves, held_rows, rows, held_groups, own, losses, gli, resamples, seed
        )

    def rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, LEVELS.index(self.level), 1, *key])

    def draws(self, name: str) -> NDArray | None:
        """(n, K) at the held-out rows of this level."""
        return None if self.candidate.draws is None else self.candidate.draws[name][self.held_rows]

    def values(self, name: str) -> NDArray | None:
        """(n, draws) of the candidate's own people: all draws where they are the held-out ones."""
        if self.candidate.paired and self.candidate.draws is not None:
            return self.candidate.draws[name][self.held_rows]
        return None if self.curves is None else self.curves.indices[name][:, None]

    @property
    def people(self) -> pd.DataFrame:
        """Of the rows of `values`."""
        return self.held.people if self.curves is None else self.curves.people


def _rows(people: pd.DataFrame, level: str) -> NDArray[np.bool_]:
    return people["best"].to_numpy(bool) if level == "best" else np.ones(len(people), dtype=bool)


def _weights(people: pd.DataFrame, weighting: str) -> NDArray[np.float64]:
    if weighting == "unweighted":
        return np.ones(len(people))
    return np.nan_to_num(people["mec_weight"].to_numpy(float))


def _spread(view: _View) -> Tree:
    ruler = view.real.ruler(view.level == "best")
    tree: Tree = {}
    for weighting in WEIGHTINGS:
        tree[weighting] = {}
        for name in INDICES:
            values = view.values(name)
            if values is None:
                tree[weighting][name] = {k: missing(OPEN) for k in conditional.SPREAD_FIGURES}
                continue
            observed, weights = view.held.indices[name][:, None], _weights(view.held.people, weighting)
            real = conditional.Side(view.held.people, observed, weights, view.held_groups)
            own = conditional.Side(view.people, values, _weights(view.people, weighting), view.groups)
            tree[weighting][name] = conditional.spread(ruler, name, real, own)
    return tree


def _calibration(view: _View) -> Tree:
    tree: Tree = {}
    for weighting in WEIGHTINGS:
        weights = _weights(view.held.people, weighting)
        tree[weighting] = {}
        for name in INDICES:
            draws = view.draws(name)
            if draws is None:
                tree[weighting][name] = {k: missing(NO_DRAWS) for k in conditional.CALIBRATION_FIGURES}
            else:
                observed = view.held.indices[name]
                tree[weighting][name] = conditional.calibration(observed, draws, weights, view.held_groups)
    return tree


def _crps_gli(view: _View) -> Tree:
    """Best efforts asked for as grade A, against GLI Global's distribution; the same tree on both levels."""
    tree: Tree = {}
    if view.level != "best":
        return tree
    for name in ("fev1", "fvc"):
        if view.candidate.asked is None or view.gli is None:
            tree[name] = {k: missing(NO_DRAWS) for k in ("crps", "rival", "ratio")}
            continue
        own, rival = view.candidate.asked[name], view.gli[name]
        weights = np.ones(len(view.held))
        tree[name] = conditional.crps_ratio(view.held.indices[name], own, rival, weights, view.held_groups)
    return tree


def _groups(view: _View) -> Tree:
    train_rows = _rows(view.real.train, view.level)
    train = view.real.train[train_rows]
    train_obstruction = groups.obstruction(
        utility.obstructed(train, view.real.train_indices["ratio"][train_rows])
    )
    held_obstruction = groups.obstruction(utility.obstructed(view.held.people, view.held.indices["ratio"]))
    ratio = view.values("ratio")
    kinds = {
        "sex_age": (groups.sex_and_age(view.held.people), groups.sex_and_age(train)),
        "ethnicity": (groups.ethnicity(view.held.people), groups.ethnicity(train)),
        "obstruction": (held_obstruction, train_obstruction),
    }
    tree: Tree = {}
    for weighting, (kind, (held_names, train_names)) in ((w, k) for w in WEIGHTINGS for k in kinds.items()):
        if kind == "obstruction" and ratio is not None:
            own_names = groups.obstruction(utility.obstructed(view.people, ratio[:, :DRAWS_OF_GROUPS]))
        else:
            own_names = groups.sex_and_age(view.people) if kind == "sex_age" else groups.ethnicity(view.people)
        branch: Tree = {}
        comparisons = len({n for n in held_names if n is not None}) * len(INDICES)
        for number, name in enumerate(INDICES):
            values = view.values(name)
            if values is None:
                branch[name] = missing(OPEN)
                continue
            weight = [_weights(p, weighting) for p in (view.held.people, view.people, train)]
            branch[name] = groups.distances(
                groups.Values(view.held.seqn, view.held.indices[name], weight[0], held_names),
                groups.Values(view.people["seqn"].to_numpy(), values[:, :DRAWS_OF_GROUPS], weight[1], own_names),
                groups.Values(
                    train["seqn"].to_numpy(), view.real.train_indices[name][train_rows], weight[2], train_names
                ),
                view.resamples,
                comparisons,
                view.rng(number),
            )
        tree.setdefault(weighting, {})[kind] = branch
    return tree


def _two_sample(view: _View) -> Tree:
    if view.curves is None:
        names = ("auc", *two_sample.OVERLAP_FIGURES)
        return {kind: {k: missing(OPEN) for k in names} for kind in ("clinical", "fine")}
    own = embed(view.curves, view.real.convolutions)
    sides = (view.held_groups, view.groups)
    tree: Tree = {}
    for number, (kind, classifier, components) in enumerate(
        (("clinical", "trees", None), ("fine", "linear", two_sample.COMPONENTS))
    ):
        real = view.real.embedded[kind][view.held_rows]
        tree[kind] = {"auc": two_sample.classifier_auc(real, own[kind], sides, classifier, view.rng(number))}
        tree[kind] |= two_sample.overlap(*two_sample.standardised(real, own[kind], components), sides)
    return tree


def _utility(view: _View) -> Tree:
    others = view.real.others.take(_rows(view.real.others.people, view.level))
    if view.curves is None:
        return {"ratio": missing(OPEN)}
    truth = utility.obstructed(view.held.people, view.held.indices["ratio"])
    learned = []
    for train in (view.curves, others):
        label = utility.obstructed(train.people, train.indices["ratio"])
        learned.append(
            utility.trained_and_tested(train, label, view.held, truth, view.held_groups, seed=view.seed)
        )
    return utility.compare(*learned)


def _copying(view: _View) -> Tree:
    if view.curves is None:
        return {k: missing(OPEN) for k in (*copying.FIGURES, "membership_distance_auc", "membership_loss_auc")}
    rows = _rows(view.real.train, view.level)
    train = copying.Cloud.of(view.real.train_shapes[rows], view.real.train["seqn"].to_numpy()[rows])
    own, held = copying.of_measured(view.curves), view.real.held_shapes[view.held_rows]
    tree: Tree = copying.copies(own, view.groups, train, held, view.held_groups, view.real.pairs)
    member_rows = _rows(view.real.members.people, view.level)
    members = view.real.members.take(member_rows)
    member_groups = Resamples(members.seqn, view.resamples, view.rng())
    if view.candidate.paired:
        tree["membership_distance_auc"] = copying.distance_membership(
            own, view.curves.seqn, copying.of_measured(members), member_groups, held, view.held_groups
        )
    else:
        tree["membership_distance_auc"] = missing("the candidate's curves are those of training participants")
    if view.losses is None:
        tree["membership_loss_auc"] = missing("the candidate has no loss")
    else:
        of_members, of_held = view.losses[0][member_rows], view.losses[1][view.held_rows]
        tree["membership_loss_auc"] = copying.membership(of_members, member_groups, of_held, view.held_groups)
    return tree


def _physics(view: _View) -> Tree:
    names = ("fvc", "fev1", "pef", "bev", "fet", "last_second", "fall", "second_peak")
    indices = {name: view.values(name) for name in names}
    if any(v is None for v in indices.values()) or np.isnan(indices["fall"]).all():  # type: ignore[arg-type]
        return {name: missing(OPEN) for name in physics.RATES}
    real = physics.violations({name: view.held.indices[name] for name in names}, view.held.people)
    own = physics.violations(indices, view.people)  # type: ignore[arg-type]
    tree: Tree = {}
    for weighting in WEIGHTINGS:
        tree[weighting] = physics.rates(
            real,
            _weights(view.held.people, weighting),
            view.held_groups,
            own,
            _weights(view.people, weighting),
            view.groups,
        )
    return tree


_ASK = {
    "spread": _spread,
    "calibration": _calibration,
    "crps_gli": _crps_gli,
    "groups": _groups,
    "two_sample": _two_sample,
    "utility": _utility,
    "copying": _copying,
    "physics": _physics,
}
