"""Utility: performance on held-out curves of models trained on generated curves.

From the first second of the flow with age, height and sex, two fixed models predict log FVC (R²) and
whether FEV1/FVC is below its lower limit (AUC); trained on generated curves and on as many training curves, both
are tested on the held-out curves.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.evaluation.bootstrap import Resamples, auc
from spiro_diffusion.evaluation.conditional import usable
from spiro_diffusion.evaluation.figures import MIN_PEOPLE, Figure, Tree, from_resamples, missing
from spiro_diffusion.evaluation.learners import boosting, ridge
from spiro_diffusion.evaluation.measured import Measured
from spiro_diffusion.physiology.reference import gli_global

FIRST_SECOND_S = np.arange(0.05, 1.001, 0.05)  # after time zero: volumes there are the flow of the first second
RIDGE = 1.0  # on standardised features
MODELS = ("ridge", "boosting")
FIGURES = tuple(f"{score}_{model}" for score in ("r2", "auc") for model in MODELS)


def obstructed(people: pd.DataFrame, ratio: NDArray) -> NDArray[np.float64]:
    """FEV1/FVC (n,) or (n, draws) below its GLI Global lower limit: 1.0, 0.0, or NaN where unknown."""
    limit = gli_global("ratio", people["age"], people["height"], people["sex"]).lln
    limit = limit.reshape(-1, *(1,) * (ratio.ndim - 1))
    with np.errstate(invalid="ignore"):
        return np.where(np.isnan(ratio) | np.isnan(limit), np.nan, ratio < limit)


def predictors(curves: Measured) -> NDArray[np.float64]:
    """(n, 50): volumes in the first second as shares of the whole second's, flows there, log FEV1, age, height, sex."""
    v = np.maximum(curves.volumes(FIRST_SECOND_S), 0.001)
    share = v[:, :-1] / v[:, -1:]
    flow = np.diff(v, axis=1) / v[:, -1:]
    age = curves.people["age"].to_numpy(float) / 20
    height = np.log(curves.people["height"].to_numpy(float) / 165)
    sex = curves.people["sex"].to_numpy(float) - 1.5
    size = np.log(v[:, -1])
    return np.column_stack(
        [share, flow, size, size - 2 * height, age, age**2, age**3, height, age * height, sex, sex * age, sex * height]
    )


class Scores(NamedTuple):
    """Scores (1 + B,) by name of FIGURES, and the reasons of those that are missing."""

    found: dict[str, NDArray]
    reasons: dict[str, Figure]


def trained_and_tested(train: Measured, test: Measured, resamples: Resamples, seed: int) -> Scores:
    """Scores on `test` of both models trained on `train`; `resamples` are of the participants of `test`."""
    x, new = predictors(train), predictors(test)
    scores = Scores({}, {})
    rows, tested = usable(train.indices["fvc"]), usable(test.indices["fvc"])
    y, target = np.log(np.where(rows, train.indices["fvc"], 1.0)), np.log(np.where(tested, test.indices["fvc"], 1.0))
    measured = len(np.unique(train.seqn[rows]))
    training_labels, truth = (obstructed(curves.people, curves.indices["ratio"]) for curves in (train, test))
    cases = min(
        len(np.unique(seqn[label == value]))
        for seqn, label in ((train.seqn, training_labels), (test.seqn, truth))
        for value in (0, 1)
    )
    sides = [truth == value for value in (1, 0)]
    for model in MODELS:
        if measured < MIN_PEOPLE:
            scores.reasons[f"r2_{model}"] = missing(f"an FVC in {measured} participants, fewer than {MIN_PEOPLE}")
        else:
            predicted = _predict(model, x[rows], y[rows], new, seed, classify=False)
            scores.found[f"r2_{model}"] = _r2(target, predicted, tested.astype(float), resamples)
        if cases < MIN_PEOPLE:
            reason = f"{cases} participants with or without obstruction, fewer than {MIN_PEOPLE}"
            scores.reasons[f"auc_{model}"] = missing(reason)
        else:
            labelled = ~np.isnan(training_labels)
            score = _predict(model, x[labelled], training_labels[labelled], new, seed, classify=True)
            scores.found[f"auc_{model}"] = _auc(score, sides, resamples)
    return scores


def compare(generated: Scores, real: Scores) -> Tree:
    """Scores of training on the candidate's curves, on training curves, and their ratio; the lowest ratio counts."""
    result: Tree = {}
    ratios = []
    for name in FIGURES:
        reason = generated.reasons.get(name) or real.reasons.get(name)
        if reason:
            result |= dict.fromkeys((name, f"{name}_real", f"{name}_ratio"), reason)
            continue
        result[name] = from_resamples(generated.found[name])
        result[f"{name}_real"] = from_resamples(real.found[name])
        ratios.append(generated.found[name] / real.found[name])
        result[f"{name}_ratio"] = from_resamples(ratios[-1])
    lowest = min(ratios, key=lambda r: r[0]) if ratios else None
    result["ratio"] = missing("no score could be computed") if lowest is None else from_resamples(lowest)
    return result


def _predict(model: str, x: NDArray, y: NDArray, new: NDArray, seed: int, *, classify: bool) -> NDArray[np.float64]:
    if model == "ridge":
        return ridge(x, y, new, RIDGE)
    return boosting(x, y, new, seed, iterations=150, classify=classify)


def _r2(target: NDArray, predicted: NDArray, weight: NDArray, resamples: Resamples) -> NDArray[np.float64]:
    w = weight
    rows = np.column_stack([w, w * target, w * target**2, w * (target - predicted) ** 2])
    total, first, second, error = resamples.sums(rows).T
    return 1 - error / (second - first**2 / total)


def _auc(score: NDArray, sides: list[NDArray], resamples: Resamples) -> NDArray[np.float64]:
    """AUC whose positives and negatives belong to the same resampled participants."""
    halves = [resamples.restricted(rows) for rows in sides]
    return auc(score[sides[0]], halves[0], score[sides[1]], halves[1])
