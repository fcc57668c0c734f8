"""The judge: every question put to one candidate, always in the same way.

A candidate is the generator, a baseline, real training curves (the floor), or real curves sent through the
grid and back (the second floor). The result is a tree of figures under stable names,
`question / level / ... / figure`. Everything is a function of arrays and a seed.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from tqdm import tqdm

from spiro_diffusion.evaluation import conditional, copying, groups, physics, shapes, two_sample, utility
from spiro_diffusion.evaluation.bootstrap import Resamples
from spiro_diffusion.evaluation.candidates import Candidate, reference
from spiro_diffusion.evaluation.figures import MIN_PEOPLE, curve, from_resamples, missing
from spiro_diffusion.evaluation.measured import INDICES, Measured
from spiro_diffusion.evaluation.processes import in_processes
from spiro_diffusion.evaluation.real import (
    GROUPINGS,
    LEVELS,
    WEIGHTINGS,
    Real,
    at_level,
    embed,
    group_names,
    weights_of,
)

RIVAL_INDICES = ("fev1", "fvc")
DRAWS_OF_GROUPS = 20  # distances to single draws are averaged over at most so many
PROCESSES_FROM = 1000  # held-out curves: fewer are judged before processes have begun
OPEN = "the candidate gives no curves, only indices"
NO_DRAWS = "the candidate gives no draws at each person's own conditions"

Tree = dict[str, Any]


def judge(
    candidate: Candidate,
    real: Real,
    *,
    resamples: int = 1000,
    seed: int = 0,
    questions: Iterable[str] | None = None,
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
    questions: dict[str, Iterable[str] | None] | None = None,
) -> dict[str, Tree]:
    """`judge` for candidates by name; many curves are judged in several processes, with the same figures."""
    asked = {name: list((questions or {}).get(name) or QUESTIONS) for name in candidates}
    steps = [(name, q, level) for name in candidates for q in asked[name] for level in LEVELS]
    steps.sort(key=lambda step: list(QUESTIONS).index(step[1]))  # those that take long first
    views = {
        name: {level: _View.of(candidate, real, level, resamples, seed) for level in LEVELS}
        for name, candidate in candidates.items()
    }

    def answer(i: int) -> Tree:
        name, question, level = steps[i]
        view = views[name][level]
        people = len(view.held_groups.people)
        return QUESTIONS[question](view) if people >= MIN_PEOPLE else missing(f"{people} participants")

    if len(real.held) < PROCESSES_FROM:
        answers: Iterator[Tree] = map(answer, range(len(steps)))
    else:
        real.prepare()
        answers = in_processes(answer, len(steps))
    trees: dict[str, Tree] = {name: {q: {} for q in asked[name]} for name in candidates}
    said = f"judge {', '.join(candidates)}"
    progress = tqdm(steps, desc=said, unit="question", leave=False, mininterval=1, delay=1)
    with threadpool_limits(limits=1, user_api="blas"):  # small matrices; and the same digits on any machine
        for (name, question, level), found in zip(progress, answers, strict=True):
            trees[name][question][level] = found
    return trees


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
    resamples: int
    seed: int

    @classmethod
    def of(
        cls,
        candidate: Candidate,
        real: Real,
        level: str,
        resamples: int,
        seed: int,
    ) -> "_View":
        held_rows = at_level(real.held.people, level)
        held = real.held.take(held_rows)
        rng = np.random.default_rng([seed, LEVELS.index(level)])
        held_groups = Resamples(held.seqn, resamples, rng)
        if candidate.paired or candidate.curves is None:
            rows, own = held_rows, held_groups
        else:
            rows = at_level(candidate.curves.people, level)
            own = Resamples(candidate.curves.seqn[rows], resamples, rng)
        curves = None if candidate.curves is None else candidate.curves.take(rows)
        return cls(candidate, real, level, held, curves, held_rows, rows, held_groups, own, resamples, seed)

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
            observed, weights = view.held.indices[name][:, None], weights_of(view.held.people, weighting)
            real = conditional.Side(view.held.people, observed, weights, view.held_groups)
            own = conditional.Side(view.people, values, weights_of(view.people, weighting), view.groups)
            tree[weighting][name] = conditional.spread(ruler, name, real, own)
    return tree


def _calibration(view: _View) -> Tree:
    tree: Tree = {}
    for weighting in WEIGHTINGS:
        weights = weights_of(view.held.people, weighting)
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
    """Best efforts asked for as grade A, against GLI Global's distribution."""
    tree: Tree = {}
    if view.level != "best":
        return tree
    for name in RIVAL_INDICES:
        if view.candidate.asked is None:
            tree[name] = {k: missing(NO_DRAWS) for k in ("crps", "rival", "ratio")}
            continue
        own = view.candidate.asked[name]
        rival = reference(view.real, own.shape[1], view.seed).asked
        assert rival is not None
        weights = np.ones(len(view.held))
        tree[name] = conditional.crps_ratio(view.held.indices[name], own, rival[name], weights, view.held_groups)
    return tree


def _crps_people(view: _View) -> Tree:
    """Sums of each participant's CRPS over all curves, for rivals to be compared with; see `rivals`."""
    draws = {name: view.draws(name) for name in RIVAL_INDICES}
    if view.level != "every" or any(d is None for d in draws.values()):
        return {}
    tree: Tree = {}
    for name, own in draws.items():
        assert own is not None
        observed = view.held.indices[name]
        if not (np.isfinite(observed).all() and np.isfinite(own).all()):
            tree[name] = missing("an index is not determined on some curve")
            continue
        tree[name] = curve(view.held_groups.per_person(conditional.crps(observed, own)[:, None]))
    return tree


def rivals(tree: Tree, others: dict[str, Tree], resamples: int, seed: int = 0) -> Tree:
    """CRPS of a candidate over that of the best of its rivals, for FEV1 and FVC over all curves.

    Args:
        tree: of the candidate; others: the rivals' trees by name, of the same held-out participants.
    """
    result: Tree = {}
    for name in RIVAL_INDICES:
        own = tree.get("crps_people", {}).get("every", {}).get(name, missing("the candidate has no draws"))
        found = {k: t.get("crps_people", {}).get("every", {}).get(name, {"value": None}) for k, t in others.items()}
        usable = {k: v["value"] for k, v in found.items() if v["value"] and len(v["value"]) == len(own["value"] or [])}
        if own["value"] is None or not usable:
            result[name] = missing(own.get("reason", "no baseline was judged yet: dvc repro baselines/dvc.yaml"))
            continue
        best = min(usable, key=lambda k: sum(usable[k]))
        sums = np.column_stack([own["value"], usable[best]])
        total = Resamples(np.arange(len(sums)), resamples, np.random.default_rng([seed, 2])).sums(sums)
        result[name] = from_resamples(total[:, 0] / total[:, 1]) | {"rival": best}
    return result


def _groups(view: _View) -> Tree:
    ratio = view.values("ratio")
    tree: Tree = {}
    for weighting in WEIGHTINGS:
        tree[weighting] = {}
        for kind in GROUPINGS:
            branch: Tree = {}
            for name in INDICES:
                values = view.values(name)
                reference = view.real.groups(view.level, weighting, kind, name, view.resamples)
                if values is None or (kind == "obstruction" and (ratio is None or np.isnan(ratio).all())):
                    branch[name] = {g: {k: missing(OPEN) for k in groups.FIGURES} for g in reference}
                    continue
                own = groups.Values(
                    view.people["seqn"].to_numpy(),
                    values[:, :DRAWS_OF_GROUPS],
                    weights_of(view.people, weighting),
                    group_names(kind, view.people, None if ratio is None else ratio[:, :DRAWS_OF_GROUPS]),
                )
                branch[name] = groups.distances(own, reference)
            tree[weighting][kind] = branch
            tree[weighting] |= groups.summary(kind, branch)
    return tree


def _two_sample(view: _View) -> Tree:
    kinds = (*two_sample.TABLES, *two_sample.WINDOWS)
    if view.curves is None:
        return {kind: {k: missing(OPEN) for k in ("auc", *two_sample.OVERLAP_FIGURES)} for kind in kinds}
    own = embed(view.curves, view.real.convolutions)
    sides = (view.held_groups, view.groups)
    tree: Tree = {}
    for number, kind in enumerate(kinds):
        tabular = kind in two_sample.TABLES
        real = view.real.embedded[kind][view.held_rows]
        classifier = "trees" if tabular else "linear"
        tree[kind] = {"auc": two_sample.classifier_auc(real, own[kind], sides, classifier, view.rng(number))}
        points = two_sample.standardised(real, own[kind], None if tabular else two_sample.COMPONENTS)
        tree[kind] |= two_sample.overlap(*points, sides)
    return tree


def _utility(view: _View) -> Tree:
    others = view.real.others.take(at_level(view.real.others.people, view.level))
    if view.curves is None:
        return {"ratio": missing(OPEN)}
    truth = utility.obstructed(view.held.people, view.held.indices["ratio"])
    learned = []
    for train in (view.curves, others):
        label = utility.obstructed(train.people, train.indices["ratio"])
        learned.append(utility.trained_and_tested(train, label, view.held, truth, view.held_groups, seed=view.seed))
    return utility.compare(*learned)


def _copying(view: _View) -> Tree:
    if view.curves is None:
        return {k: missing(OPEN) for k in (*copying.FIGURES, "membership_distance_auc", "membership_loss_auc")}
    rows = at_level(view.real.train, view.level)
    train = copying.Cloud.of(view.real.train_shapes[rows], view.real.train["seqn"].to_numpy()[rows])
    own, held = shapes.of_measured(view.curves), view.real.held_shapes[view.held_rows]
    tree: Tree = copying.copies(own, view.groups, train, held, view.held_groups, view.real.pairs)
    member_rows = at_level(view.real.members.people, view.level)
    members = view.real.members.take(member_rows)
    member_groups = Resamples(members.seqn, view.resamples, view.rng())
    if view.candidate.paired:
        tree["membership_distance_auc"] = copying.distance_membership(
            own, view.curves.seqn, shapes.of_measured(members), member_groups, held, view.held_groups
        )
    else:
        tree["membership_distance_auc"] = missing("the candidate's curves are those of training participants")
    if view.candidate.losses is None:
        tree["membership_loss_auc"] = missing("the candidate has no loss")
    else:
        of_members, of_held = view.candidate.losses[0][member_rows], view.candidate.losses[1][view.held_rows]
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
            weights_of(view.held.people, weighting),
            view.held_groups,
            own,
            weights_of(view.people, weighting),
            view.groups,
        )
    return tree


QUESTIONS = {  # in the order of the time that they take, longest first
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
