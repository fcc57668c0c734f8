"""The judge: every question asked of one candidate, always in the same way.

A candidate is the generator, a baseline, held-back training curves (the floor), or held-out curves sent through the
grid and back (the second floor). The result is a tree of figures under stable names,
`question / level / ... / figure`. Everything is a function of arrays and a seed.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from tqdm import tqdm

from spiro_diffusion.core.vocabulary import JUDGED
from spiro_diffusion.evaluation import conditional, copying, groups, physics, shapes, two_sample, utility
from spiro_diffusion.evaluation.bootstrap import Resamples
from spiro_diffusion.evaluation.candidates import Candidate, reference
from spiro_diffusion.evaluation.figures import (
    MIN_PEOPLE,
    Figure,
    Node,
    Series,
    Tree,
    from_resamples,
    missing,
    series,
)
from spiro_diffusion.evaluation.measured import Measured
from spiro_diffusion.evaluation.processes import in_processes
from spiro_diffusion.evaluation.real import Real, at_level, embed, group_names, weights_of
from spiro_diffusion.evaluation.registry import GROUPINGS, LEVELS, QUESTIONS, WEIGHTINGS, Level, Question, node_at

COMPARED = ("fev1", "fvc")  # indices whose CRPS is held against GLI Global's and the baselines'
DRAWS_OF_GROUPS = 20  # distances to single draws are averaged over at most so many
PROCESSES_FROM = 1000  # held-out curves: fewer are judged before processes have begun
OPEN = missing("the candidate gives no curves, only indices")
NO_DRAWS = missing("the candidate gives no draws at each person's own conditions")


def judge(
    candidate: Candidate,
    real: Real,
    *,
    resamples: int = 1000,
    seed: int = 0,
    questions: Iterable[Question] | None = None,
    name: str = "judge",
) -> Tree:
    """All figures of a candidate.

    Args:
        resamples: of the participants, for each interval. questions: some of QUESTIONS; all without it.
        name: of the candidate, for the progress bar.

    Returns:
        question → level → … → figure (see `figures`); docs/evaluation.md lists them.
    """
    return judge_all({name: candidate}, real, resamples=resamples, seed=seed, questions={name: questions})[name]


def judge_all(
    candidates: dict[str, Candidate],
    real: Real,
    *,
    resamples: int = 1000,
    seed: int = 0,
    questions: Mapping[str, Iterable[Question] | None] | None = None,
) -> dict[str, Tree]:
    """`judge` for candidates by name; many curves are judged in several processes, with the same figures."""
    chosen = {name: list((questions or {}).get(name) or QUESTIONS) for name in candidates}
    steps = [(name, q, level) for name in candidates for q in chosen[name] for level in LEVELS]
    steps.sort(key=lambda step: QUESTIONS.index(step[1]))  # those that take long first
    views = {
        name: {level: _View.of(candidate, real, level, resamples, seed) for level in LEVELS}
        for name, candidate in candidates.items()
    }

    def judged_level(i: int) -> Node:
        name, question, level = steps[i]
        view = views[name][level]
        people = len(view.held_out_groups.people)
        return _METHODS[question](view) if people >= MIN_PEOPLE else missing(f"{people} participants")

    if len(real.held_out) < PROCESSES_FROM:
        results: Iterator[Node] = map(judged_level, range(len(steps)))
    else:
        real.prepare()
        results = in_processes(judged_level, len(steps))
    trees: dict[str, dict[str, Tree]] = {name: {q: {} for q in chosen[name]} for name in candidates}
    label = f"judge {', '.join(candidates)}"
    progress = tqdm(steps, desc=label, unit="question", leave=False, mininterval=1, delay=1)
    with threadpool_limits(limits=1, user_api="blas"):  # small matrices; and the same digits on any machine
        for (name, question, level), found in zip(progress, results, strict=True):
            trees[name][question][level] = found
    return {name: dict(tree) for name, tree in trees.items()}


def over_baselines(tree: Tree, baselines: Mapping[str, Tree], resamples: int, seed: int = 0) -> Tree:
    """CRPS of a candidate over that of the best of the baselines, for FEV1 and FVC over all curves.

    Args:
        tree: of the candidate; baselines: their trees by name, of the same held-out participants.
    """
    result: Tree = {}
    for name in COMPARED:
        crps = _crps_of_people(tree, name)
        if isinstance(crps, Figure):
            result[name] = crps
            continue
        found = {k: _crps_of_people(t, name) for k, t in baselines.items()}
        usable = {k: v.value for k, v in found.items() if isinstance(v, Series) and len(v.value) == len(crps.value)}
        if not usable:
            result[name] = missing("no baseline was judged yet: dvc repro baselines/dvc.yaml")
            continue
        best = min(usable, key=lambda k: sum(usable[k]))
        sums = np.column_stack([crps.value, usable[best]])
        total = Resamples(np.arange(len(sums)), resamples, np.random.default_rng([seed, 2])).sums(sums)
        result[name] = dataclasses.replace(from_resamples(total[:, 0] / total[:, 1]), baseline=best)
    return result


def _crps_of_people(tree: Tree, name: str) -> Figure | Series:
    node = node_at(tree, "crps_people.every")
    if isinstance(node, dict):
        node = node.get(name, missing("the candidate has no draws"))
    assert not isinstance(node, dict)
    return node


@dataclasses.dataclass(frozen=True)
class _View:
    """Candidate and held-out curves of one level, with what the questions share."""

    candidate: Candidate
    real: Real
    level: Level
    held_out: Measured
    curves: Measured | None
    held_out_rows: NDArray[np.bool_]
    held_out_groups: Resamples
    groups: Resamples
    resamples: int
    seed: int

    @classmethod
    def of(cls, candidate: Candidate, real: Real, level: Level, resamples: int, seed: int) -> "_View":
        held_out_rows = at_level(real.held_out.people, level)
        held_out = real.held_out.take(held_out_rows)
        rng = np.random.default_rng([seed, list(LEVELS).index(level)])
        held_out_groups = Resamples(held_out.seqn, resamples, rng)
        rows, groups_of_candidate = held_out_rows, held_out_groups
        if not candidate.paired and candidate.curves is not None:
            rows = at_level(candidate.curves.people, level)
            groups_of_candidate = Resamples(candidate.curves.seqn[rows], resamples, rng)
        curves = None if candidate.curves is None else candidate.curves.take(rows)
        return cls(
            candidate,
            real,
            level,
            held_out,
            curves,
            held_out_rows,
            held_out_groups,
            groups_of_candidate,
            resamples,
            seed,
        )

    def rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, list(LEVELS).index(self.level), 1, *key])

    def draws(self, name: str) -> NDArray | None:
        """(n, K) at the held-out rows of this level."""
        return None if self.candidate.draws is None else self.candidate.draws[name][self.held_out_rows]

    def values(self, name: str) -> NDArray:
        """(n, draws) of the candidate's own people: all draws where they are the held-out ones."""
        if self.candidate.paired and self.candidate.draws is not None:
            return self.candidate.draws[name][self.held_out_rows]
        assert self.curves is not None
        return self.curves.indices[name][:, None]

    @property
    def people(self) -> pd.DataFrame:
        """Of the rows of `values`."""
        return self.held_out.people if self.curves is None else self.curves.people


def _spread(view: _View) -> Tree:
    reference_surface = view.real.reference_surface(view.level == "best")
    tree: Tree = {}
    for weighting in WEIGHTINGS:
        branch: Tree = {}
        for name in JUDGED:
            observed, weights = view.held_out.indices[name][:, None], weights_of(view.held_out.people, weighting)
            real = conditional.Side(view.held_out.people, observed, weights, view.held_out_groups)
            candidate_weights = weights_of(view.people, weighting)
            generated = conditional.Side(view.people, view.values(name), candidate_weights, view.groups)
            branch[name] = conditional.spread(reference_surface, name, real, generated)
        tree[weighting] = branch
    return tree


def _calibration(view: _View) -> Node:
    draws = {name: view.draws(name) for name in JUDGED}
    tree: Tree = {}
    for weighting in WEIGHTINGS:
        weights = weights_of(view.held_out.people, weighting)
        tree[weighting] = {
            name: NO_DRAWS
            if drawn is None
            else conditional.calibration(view.held_out.indices[name], drawn, weights, view.held_out_groups)
            for name, drawn in draws.items()
        }
    return tree


def _crps_gli(view: _View) -> Node:
    """Best efforts requested as grade A, against GLI Global's distribution."""
    if view.level != "best":
        return {}
    if view.candidate.best_efforts is None:
        return NO_DRAWS
    tree: Tree = {}
    for name in COMPARED:
        draws = view.candidate.best_efforts[name]
        published = reference(view.real, draws.shape[1], view.seed).best_efforts
        assert published is not None
        weights = np.ones(len(view.held_out))
        tree[name] = conditional.crps_ratio(
            view.held_out.indices[name], draws, published[name], weights, view.held_out_groups
        )
    return tree


def _crps_people(view: _View) -> Tree:
    """Sums of each participant's CRPS over all curves, for baselines to be compared with; see `over_baselines`."""
    tree: Tree = {}
    for name in COMPARED:
        draws, observed = view.draws(name), view.held_out.indices[name]
        if view.level != "every" or draws is None:
            continue
        if not (np.isfinite(observed).all() and np.isfinite(draws).all()):
            tree[name] = missing("an index is not determined on some curve")
            continue
        tree[name] = series(view.held_out_groups.per_person(conditional.crps(observed, draws)[:, None]))
    return tree


def _groups(view: _View) -> Tree:
    ratio = view.values("ratio")[:, :DRAWS_OF_GROUPS]
    tree: Tree = {}
    for weighting in WEIGHTINGS:
        weights, found = weights_of(view.people, weighting), dict[str, Node]()
        for kind in GROUPINGS:
            if kind == "obstruction" and np.isnan(ratio).all():
                found |= {kind: OPEN, **groups.summary(kind, {})}
                continue
            names = group_names(kind, view.people, ratio)
            branch = {}
            for name in JUDGED:
                values = view.values(name)[:, :DRAWS_OF_GROUPS]
                generated = groups.Values(view.people["seqn"].to_numpy(), values, weights, names)
                floors = view.real.groups(view.level, weighting, kind, name, view.resamples)
                branch[name] = groups.distances(generated, floors)
            found |= {kind: dict(branch), **groups.summary(kind, branch)}
        tree[weighting] = found
    return tree


def _two_sample(view: _View) -> Node:
    if view.curves is None:
        return OPEN
    features = embed(view.curves, view.real.convolutions)
    sides = (view.held_out_groups, view.groups)
    tree: Tree = {}
    for number, kind in enumerate((*two_sample.TABLES, *two_sample.WINDOWS)):
        tabular = kind in two_sample.TABLES
        real = view.real.embedded[kind][view.held_out_rows]
        classifier = two_sample.trees if tabular else two_sample.linear
        points = two_sample.standardised(real, features[kind], None if tabular else two_sample.COMPONENTS)
        tree[kind] = {
            "auc": two_sample.classifier_auc(real, features[kind], sides, classifier, view.rng(number)),
            **two_sample.overlap(*points, sides),
        }
    return tree


def _utility(view: _View) -> Node:
    if view.curves is None:
        return OPEN
    others = view.real.others.take(at_level(view.real.others.people, view.level))
    learned = [
        utility.trained_and_tested(train, view.held_out, view.held_out_groups, view.seed)
        for train in (view.curves, others)
    ]
    return utility.compare(*learned)


def _copying(view: _View) -> Node:
    if view.curves is None:
        return OPEN
    rows = at_level(view.real.train, view.level)
    train = copying.Cloud.of(view.real.train_shapes[rows], view.real.train["seqn"].to_numpy()[rows])
    generated = copying.Points(shapes.of_measured(view.curves), view.groups)
    held_out = copying.Points(view.real.held_out_shapes[view.held_out_rows], view.held_out_groups)
    tree: Tree = copying.copies(generated, train, held_out, view.real.pairs)
    member_rows = at_level(view.real.members.people, view.level)
    members = view.real.members.take(member_rows)
    member_groups = Resamples(members.seqn, view.resamples, view.rng())
    if view.candidate.paired:
        member_points = copying.Points(shapes.of_measured(members), member_groups)
        tree["membership_distance_auc"] = copying.distance_membership(generated, member_points, held_out)
    else:
        tree["membership_distance_auc"] = missing("the candidate's curves are those of training participants")
    if view.candidate.losses is None:
        tree["membership_loss_auc"] = missing("the candidate has no loss")
    else:
        of_members, of_held_out = view.candidate.losses[0][member_rows], view.candidate.losses[1][view.held_out_rows]
        tree["membership_loss_auc"] = copying.membership(of_members, member_groups, of_held_out, view.held_out_groups)
    return tree


def _physics(view: _View) -> Node:
    indices = {name: view.values(name) for name in physics.READ}
    if np.isnan(indices["fall"]).all():
        return OPEN
    real = physics.violations({name: view.held_out.indices[name] for name in physics.READ}, view.held_out.people)
    violations = physics.violations(indices, view.people)
    return {
        weighting: physics.rates(
            physics.Side(real, weights_of(view.held_out.people, weighting), view.held_out_groups),
            physics.Side(violations, weights_of(view.people, weighting), view.groups),
        )
        for weighting in WEIGHTINGS
    }


_METHODS: dict[Question, Callable[[_View], Node]] = {
    "two_sample": _two_sample,
    "groups": _groups,
    "copying": _copying,
    "utility": _utility,
    "spread": _spread,
    "calibration": _calibration,
    "crps_gli": _crps_gli,
    "crps_people": _crps_people,
    "physics": _physics,
}
