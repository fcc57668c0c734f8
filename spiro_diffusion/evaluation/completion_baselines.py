"""Baselines of completion: simple rules, fits and regressions of the same measured part.

Each gives FVC and FEF25-75. A rule or a fit gives one curve; its draws are that curve's values, moved by the errors
that the same rule makes on training efforts interrupted alike, so that it has an honest spread.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from spiro_diffusion.core.batching import batches
from spiro_diffusion.evaluation.interruptions import Case, Kind, interrupted
from spiro_diffusion.evaluation.learners import ridge
from spiro_diffusion.physiology import mean_surface, time_grid
from spiro_diffusion.reconstruction import segments

Floats = NDArray[np.float64]
Drawn = dict[str, Floats]  # index → (n, draws)

NEIGHBOURS = 20
RATES = np.geomspace(0.1, 8.0, 90)  # 1/s, among which the fits choose
FIT_FROM_S = 0.3  # s after time zero: before it the muscles make the flow
EXPONENTIAL_S = 1.0  # of the seen part, that the single exponential goes on from
ERRORS_FROM = 1500  # training efforts that a rule's errors are read off
RIDGE = 1e-3
LEAST_L = 0.005
FITTED = 256  # efforts at a time


class Efforts(NamedTuple):
    """Full efforts, (n, bins) L/s, and their rows of the table; of those that judge one a participant."""

    signals: NDArray[np.float32]
    people: pd.DataFrame

    def interrupted_as(self, case: Case, seed: int) -> Case:
        """The same efforts, interrupted as a case."""
        return interrupted(case.how, self.signals, self.people, seed)


class BaselineData(NamedTuple):
    """Full efforts that baselines learn from, and those of the participants by whom they are tuned."""

    trained: Efforts
    choosing: Efforts


Baseline = Callable[[Case, BaselineData, int, int], Drawn]


# Rules and fits, which give a curve


def last_value(case: Case) -> NDArray:
    """Nothing more is breathed out; in a gap the flow stays what it was."""
    place = np.where(case.trusted, np.arange(time_grid.N_SAMPLES), 0)
    last = np.take_along_axis(case.signals, np.maximum.accumulate(place, axis=1), axis=1)
    return _filled(case, np.where(_after(case), 0, last))


def exponential(case: Case) -> NDArray:
    """The flow of the last second goes on falling at its rate; in a gap, that of what lies around it."""
    t = _middles()
    near = case.trusted & (case.signals > 0) & (t > FIT_FROM_S) & (t > _last_seen(case) - EXPONENTIAL_S)
    near = np.where(_after(case).any(axis=1, keepdims=True), near, case.trusted & (t > 0.15) & (t < 1.5))
    y = np.log(np.maximum(case.signals, 0.005))
    weight = near * time_grid.WIDTHS_S * np.maximum(case.signals, 0.005) ** 2
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)
    mt, my = ((weight * x).sum(axis=1, keepdims=True) / total for x in (np.broadcast_to(t, y.shape), y))
    slope = (weight * (t - mt) * (y - my)).sum(axis=1, keepdims=True)
    slope /= np.maximum((weight * (t - mt) ** 2).sum(axis=1, keepdims=True), 1e-12)
    slope = np.clip(slope, -RATES[-1], -RATES[0])
    return _filled(case, np.exp(my + slope * (t - mt)))


def two_exponentials(case: Case) -> NDArray:
    """Two exponentials, fitted to the flow from 0.3 s on (least squares, both falling, neither below 0)."""
    result = np.empty(case.signals.shape)
    masks, of = np.unique(case.trusted, axis=0, return_inverse=True)
    for number, trusted in enumerate(masks):
        for some in batches(int((of == number).sum()), FITTED):
            rows = np.flatnonzero(of == number)[some]
            result[rows] = _exponentials(case.signals[rows].astype(np.float64), trusted)
    return _filled(case, result)


def _exponentials(flow: Floats, trusted: NDArray[np.bool_]) -> Floats:
    """Sums of two exponentials (n, bins) fitted to flow (n, bins), where `trusted` (bins,)."""
    t = _middles()
    basis = np.exp(-np.outer(RATES, np.maximum(t, 0)))  # (rates, bins)
    first, second = np.triu_indices(len(RATES), k=1)
    weighted = basis * time_grid.WIDTHS_S * (trusted & (t > FIT_FROM_S))
    gram, projected = weighted @ basis.T, flow @ weighted.T
    of_case = gram.diagonal()
    a11, a12, a22, b1, b2 = (
        of_case[first],
        gram[first, second],
        of_case[second],
        projected[:, first],
        projected[:, second],
    )
    determinant = np.maximum(a11 * a22 - a12**2, 1e-12)
    x1, x2 = (b1 * a22 - b2 * a12) / determinant, (b2 * a11 - b1 * a12) / determinant
    alone = projected / np.maximum(of_case, 1e-12)  # where one of the two would be negative, the other alone
    both = (x1 >= 0) & (x2 >= 0)
    best = np.column_stack([np.where(both, x1 * b1 + x2 * b2, -np.inf), alone * projected]).argmax(axis=1)
    pair, row = np.minimum(best, len(first) - 1), np.arange(len(flow))
    one = np.maximum(best - len(first), 0)
    two = x1[row, pair, None] * basis[first[pair]] + x2[row, pair, None] * basis[second[pair]]
    return np.where((best < len(first))[:, None], two, alone[row, one, None] * basis[one])


def _by_rule(rule: Callable[[Case], NDArray], case: Case, data: BaselineData, draws: int, seed: int) -> Drawn:
    """Draws of a rule: its curve's indices, moved by its errors on training efforts."""
    trained = data.trained
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(trained.signals))[:ERRORS_FROM]
    tried_on = Efforts(trained.signals[chosen], trained.people.iloc[chosen]).interrupted_as(case, seed)
    of_case, filled, truth = rule(case), rule(tried_on), tried_on.truth
    found, tried, real = (_read(x) for x in (of_case, filled, truth))
    rest, tried_rest, real_rest = (
        _hidden_volume(x, trusted)
        for x, trusted in ((of_case, case.trusted), (filled, tried_on.trusted), (truth, tried_on.trusted))
    )
    picked = rng.integers(len(real_rest), size=(len(rest), draws))
    factor = ((real_rest + LEAST_L) / (tried_rest + LEAST_L))[picked]
    fvc = found["fvc"][:, None] + (rest[:, None] + LEAST_L) * (factor - 1)
    ratio = np.log(real["fef2575"] / tried["fef2575"])
    return {"fvc": fvc, "fef2575": found["fef2575"][:, None] * np.exp(ratio[picked])}


# What is learned from training efforts


def neighbours(case: Case, data: BaselineData, draws: int, seed: int) -> Drawn:
    """The hidden part of the training efforts whose seen part and person are most alike, in the size of the effort."""
    trained = data.trained.interrupted_as(case, seed)
    features, of_case = features_of(trained), features_of(case)
    scale = features.std(axis=0) + 1e-9
    k = min(NEIGHBOURS, len(features))
    nearest = cKDTree(features / scale).query(of_case / scale, k=k)[1].reshape(len(of_case), k)
    size = seen_volume(case)[:, None] / seen_volume(trained)[nearest]
    fvc, fef = [], []
    for j in range(k):
        flow = trained.truth[nearest[:, j]] * size[:, j, None]
        found = _read(_filled(case, flow))
        fvc.append(found["fvc"])
        fef.append(found["fef2575"])
    return {"fvc": np.stack(fvc, axis=1), "fef2575": np.stack(fef, axis=1)}


def regression(case: Case, data: BaselineData, draws: int, seed: int) -> Drawn:
    """FVC and FEF25-75 by ridge regression on age, height, sex and what is seen; draws are moved by the errors on a
    fifth of the training participants that a first fit did not see."""
    trained = data.trained.interrupted_as(case, seed)
    x, new = features_of(trained), features_of(case)
    people = trained.people["seqn"].to_numpy()
    rng = np.random.default_rng(seed)
    aside = np.isin(people, rng.permutation(np.unique(people))[: max(1, len(np.unique(people)) // 5)])

    def drawn(y: Floats) -> Floats:
        good = np.isfinite(y)
        unseen = aside & good
        error = y[unseen] - _ridge(x[~aside & good], y[~aside & good], x[unseen])
        return _ridge(x[good], y[good], new)[:, None] + rng.choice(error, size=(len(new), draws))

    return as_volumes(case, {name: drawn(y) for name, y in regression_targets(trained).items()})


def _ridge(x: Floats, y: Floats, new: Floats) -> Floats:
    return np.clip(ridge(x, y, new, RIDGE * len(x), clip=4), y.min(), y.max())


RULES: dict[str, Baseline] = {
    "last_value": functools.partial(_by_rule, last_value),
    "exponential": functools.partial(_by_rule, exponential),
    "two_exponentials": functools.partial(_by_rule, two_exponentials),
    "neighbours": neighbours,
    "ridge": regression,
}


def regression_targets(case: Case) -> Drawn:
    """What regressions predict of n full efforts, (n,): logarithms of the hidden volume over the seen, of FEF25-75."""
    rest = np.maximum(_hidden_volume(case.truth, case.trusted), 0) + LEAST_L
    return {"fvc": np.log(rest / seen_volume(case)), "fef2575": np.log(_read(case.truth)["fef2575"])}


def as_volumes(case: Case, drawn: Drawn) -> Drawn:
    """Indices (n, draws) for draws (n, draws) of what `regression_targets` gives."""
    seen = seen_volume(case)[:, None]
    volume = np.maximum(np.exp(drawn["fvc"]) * seen - LEAST_L, 0)
    return {"fvc": seen + volume, "fef2575": np.exp(drawn["fef2575"])}


def _middles() -> Floats:
    return time_grid.EDGES_S[:-1] + time_grid.WIDTHS_S / 2


def _after(case: Case) -> NDArray[np.bool_]:
    """Bins (n, bins) after the last trusted one."""
    return ~np.maximum.accumulate(case.trusted[:, ::-1], axis=1)[:, ::-1]


def _last_seen(case: Case) -> Floats:
    """Time (n, 1) s at which what is trusted ends."""
    return time_grid.EDGES_S[segments.last_edge(case.trusted)][:, None]


def _filled(case: Case, flow: NDArray) -> NDArray:
    return np.where(case.trusted, case.signals, flow)


def _hidden_volume(signals: NDArray, trusted: NDArray[np.bool_]) -> Floats:
    return (signals * ~trusted * time_grid.WIDTHS_S).sum(axis=1)


def seen_volume(case: Case) -> Floats:
    return (case.signals * case.trusted * time_grid.WIDTHS_S).sum(axis=1)


def features_of(case: Case) -> Floats:
    """Features (n, f) of the measured part and the person of each effort, those of the reconstructor's densities."""
    people = mean_surface.features(case.people)
    v = np.maximum.accumulate(time_grid.volume(np.where(case.trusted, case.signals, 0)), axis=1)
    if case.how.kind == Kind.CUT:
        return segments.tail_features(v, case.trusted.sum(axis=1), people)
    begin = (~case.trusted).argmax(axis=1)
    end = begin + (~case.trusted).sum(axis=1)
    late = segments.tail_features(v, np.full(len(v), time_grid.N_SAMPLES), people)
    return np.column_stack([segments.gap_features(v, begin, end, people), late[:, : -people.shape[1]]])


def _read(signals: NDArray) -> Drawn:
    found = time_grid.indices_of_signals(signals)
    return {"fvc": found.fvc.astype(np.float64), "fef2575": found.fef2575.astype(np.float64)}
