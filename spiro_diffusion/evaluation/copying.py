"""Memorisation of curves: distance of generated curves to training curves, against that of held-out participants.

Distance is the root mean square difference of flow over the first six seconds, after the counter. Curves
of one participant are never compared with each other: a generated curve has the conditions of a held-out
person, whose own curves are left out. The yardstick is the distance between two efforts of one person.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from spiro_diffusion.core.batching import in_parallel
from spiro_diffusion.evaluation.bootstrap import Resamples, auc
from spiro_diffusion.evaluation.figures import MIN_PEOPLE, Figure, Tree, figure, from_resamples, missing
from spiro_diffusion.evaluation.measured import Measured
from spiro_diffusion.evaluation.real import Real
from spiro_diffusion.evaluation.shapes import of_measured
from spiro_diffusion.evaluation.two_sample import squared_distances

NEAR_SHARE = 0.05  # a near copy is nearer than this share of the pairs of efforts of one person are
KEPT_NEIGHBOURS = 24  # of each curve among the held-out participants: enough for every resample to hold one
CHUNK = 64  # curves at a time against all training curves: 64 x 29,000 float32 is 7 MB


class Points(NamedTuple):
    """Curves as points (n, d), see `shapes`, and the resamples of their participants."""

    points: NDArray[np.float32]
    groups: Resamples

    @property
    def seqn(self) -> NDArray:
        return self.groups.people[self.groups.person]


@dataclasses.dataclass(frozen=True)
class Cloud:
    """Curves as points, sorted by participant."""

    points: NDArray[np.float32]  # (n, d)
    people: NDArray  # (people,) their seqn
    starts: NDArray[np.int64]  # (people,) first row of each

    @classmethod
    def of(cls, points: NDArray, seqn: NDArray) -> "Cloud":
        order = np.argsort(seqn, kind="stable")
        people, starts = np.unique(seqn[order], return_index=True)
        return cls(points[order], people, starts)

    def nearest(self, points: NDArray, seqn: NDArray) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Distance (n, people) in L/s to each participant's nearest curve, infinite to the own person's, and
        the row (n,) of the nearest curve of all.
        """

        def chunk(i: int) -> tuple[NDArray, NDArray]:
            rows = slice(i * CHUNK, (i + 1) * CHUNK)
            d = np.sqrt(squared_distances(points[rows], self.points)).astype(np.float32)
            by_person = np.minimum.reduceat(d, self.starts, axis=1)
            person = np.searchsorted(self.people, seqn[rows])
            in_training = (person < len(self.people)) & (
                self.people[np.minimum(person, len(self.people) - 1)] == seqn[rows]
            )
            at = np.flatnonzero(in_training)
            by_person[at, person[at]] = np.inf
            ends = np.append(self.starts[1:], len(self.points))
            for row in at:
                d[row, self.starts[person[row]] : ends[person[row]]] = np.inf
            return by_person, d.argmin(axis=1)

        parts = list(in_parallel(chunk, -(-len(points) // CHUNK)))
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def distances(real: Real, curves: Measured) -> dict[str, NDArray[np.float64]]:
    """Distances in L/s for a plot: of generated and of held-out curves to the nearest training curve of another
    participant, and between two efforts of one person.
    """
    train = Cloud.of(real.train_shapes, real.train["seqn"].to_numpy())
    return {
        "generated": train.nearest(of_measured(curves), curves.seqn)[0].min(axis=1),
        "held_out": train.nearest(real.held_out_shapes, real.held_out.seqn)[0].min(axis=1),
        "between_efforts": real.pairs,
    }


def copies(candidate: Points, train: Cloud, held_out: Points, pairs: NDArray) -> Tree:
    """How the candidate's curves lie between the training curves and the held-out curves.

    Args:
        pairs: distances between two efforts of one person, see `between_efforts`.

    Returns:
        nearest_share: share of curves whose nearest neighbour is a training curve rather than a held-out
            one, with as many training participants as held-out ones (their choice averaged); 0.5 if nothing
            was copied.
        nearer_than_held: probability that a curve is nearer to its nearest training curve than a
            held-out curve is to its own.
        authenticity: share of curves farther from their nearest training curve than that one is from the
            nearest of another participant (Alaa et al. 2022).
        near_copies: share of curves nearer to a training curve than 95 % of the pairs of efforts of one
            person are.
        distance_to_train, distance_between_efforts: medians, L/s.
    """
    resamples = candidate.groups
    if min(len(resamples.people), len(held_out.groups.people), len(train.people)) < 2 * MIN_PEOPLE:
        return dict.fromkeys(FIGURES, missing(f"fewer than {2 * MIN_PEOPLE} participants"))
    to_train, nearest = train.nearest(candidate.points, candidate.seqn)
    to_held_out, _ = Cloud.of(held_out.points, held_out.seqn).nearest(candidate.points, candidate.seqn)
    held_out_to_train = train.nearest(held_out.points, held_out.seqn)[0].min(axis=1)
    closest = to_train.min(axis=1)
    none = missing("no participant has two efforts here")
    near = closest < np.quantile(pairs, NEAR_SHARE) if len(pairs) else closest < 0
    return {
        "nearest_share": from_resamples(_nearest_share(to_train, to_held_out, resamples, held_out.groups)),
        "nearer_than_held": from_resamples(auc(-closest, resamples, -held_out_to_train, held_out.groups)),
        "authenticity": from_resamples(resamples.means(_authentic(closest, nearest, train).astype(float))),
        "distance_to_train": figure(float(np.median(closest))),
        "near_copies": from_resamples(resamples.means(near.astype(float))) if len(pairs) else none,
        "distance_between_efforts": figure(float(np.median(pairs))) if len(pairs) else none,
    }


FIGURES = (
    "nearest_share",
    "nearer_than_held",
    "authenticity",
    "near_copies",
    "distance_to_train",
    "distance_between_efforts",
)


def _authentic(closest: NDArray, nearest: NDArray, train: Cloud) -> NDArray[np.bool_]:
    rows, back = np.unique(nearest, return_inverse=True)
    person = np.searchsorted(train.starts, rows, side="right") - 1
    between = train.nearest(train.points[rows], train.people[person])[0].min(axis=1)
    return closest > between[back]


def _nearest_share(
    to_train: NDArray, to_held_out: NDArray, candidate: Resamples, held_out: Resamples
) -> NDArray[np.float64]:
    """Share (1 + B,) whose nearest participant is a training one, over all choices of equally many of them.

    A choice of s among P training participants misses the m that are nearer than the nearest held-out one
    with the probability C(P - m, s) / C(P, s). In a resample the held-out participants that were not drawn
    are away, and s shrinks with them.
    """
    kept = min(KEPT_NEIGHBOURS, to_held_out.shape[1])
    order = np.argpartition(to_held_out, kept - 1, axis=1)[:, :kept]
    distance = np.take_along_axis(to_held_out, order, axis=1)
    rank = np.argsort(distance, axis=1)
    order, distance = np.take_along_axis(order, rank, axis=1), np.take_along_axis(distance, rank, axis=1)
    nearer = np.stack([np.searchsorted(np.sort(t), d) for t, d in zip(to_train, distance, strict=True)])
    in_held_out = np.isin(candidate.people, held_out.people)[candidate.person]  # the own person is among the held-out
    available = np.isfinite(to_train).sum(axis=1)
    rows = np.arange(len(order))
    share = np.empty(len(candidate.weights))
    for b, (weights, drawn) in enumerate(zip(candidate.weights, held_out.weights > 0, strict=True)):
        there = drawn[order]
        first = there.argmax(axis=1)
        person_drawn = drawn[np.searchsorted(held_out.people, candidate.people).clip(max=len(held_out.people) - 1)]
        size = drawn.sum() - (in_held_out & person_drawn[candidate.person])
        m = nearer[rows, first]
        missed = _log_choose(available - m, size) - _log_choose(available, size)
        near = 1 - np.where(m > available - size, 0.0, np.exp(missed))
        w = weights[candidate.person] * there.any(axis=1)
        share[b] = (w * near).sum() / w.sum()
    share[1:] += share[0] - share[1:].mean()  # resamples hold fewer different people: keep their spread alone
    return share


def _log_choose(n: NDArray, k: NDArray) -> NDArray[np.float64]:
    rest = np.maximum(n - k, 0)
    return gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(rest + 1.0)


def membership(member: NDArray, member_groups: Resamples, other: NDArray, other_groups: Resamples) -> Figure:
    """AUC of telling members of the training set from other people by a score (n,) that is lower for members.

    The score of a participant is the mean over their curves.
    """
    if min(len(member_groups.people), len(other_groups.people)) < MIN_PEOPLE:
        return missing(f"fewer than {MIN_PEOPLE} participants")
    sides = []
    for score, groups in ((member, member_groups), (other, other_groups)):
        rows = np.isfinite(score)
        sums = groups.restricted(rows).per_person(np.column_stack([np.ones(rows.sum()), score[rows]]))
        with np.errstate(invalid="ignore"):
            sides.append(sums[:, 1] / sums[:, 0])
    by_person = [groups.of_people() for groups in (member_groups, other_groups)]
    return from_resamples(auc(-sides[0], by_person[0], -sides[1], by_person[1]))


def distance_membership(candidate: Points, members: Points, held_out: Points) -> Figure:
    """Membership AUC by how near a person's own curves lie to the generated ones.

    A held-out person's own conditions draw curves near to them, so those are left out; each member leaves
    out those of one held-out person too, to be as far from as many.
    """
    if min(len(members.groups.people), len(held_out.groups.people)) < MIN_PEOPLE:
        return missing(f"fewer than {MIN_PEOPLE} participants")
    cloud = Cloud.of(candidate.points, candidate.seqn)
    stand_in = held_out.groups.people[members.groups.person % len(held_out.groups.people)]
    to_members = cloud.nearest(members.points, stand_in)[0].min(axis=1)
    to_held_out = cloud.nearest(held_out.points, held_out.seqn)[0].min(axis=1)
    return membership(np.log(to_members + 1e-6), members.groups, np.log(to_held_out + 1e-6), held_out.groups)
