"""Is it useful: what is learned from generated curves must hold on real ones.

From the first second of the flow with age, height and sex, two fixed models predict log FVC (R²) and
whether FEV1/FVC is below its lower limit (AUC); trained on generated curves and on as many real ones, both
are tested on the real held-out curves.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from spiro_diffusion.evaluation.bootstrap import Resamples, auc
from spiro_diffusion.evaluation.conditional import usable
from spiro_diffusion.evaluation.figures import MIN_PEOPLE, Figure, from_resamples, missing
from spiro_diffusion.evaluation.measured import Measured
from spiro_diffusion.physiology.reference import gli_global

FIRST_SECOND_S = np.arange(0.05, 1.001, 0.05)  # after time zero: volumes there are the flow of the first second
RIDGE = 1.0  # on standardised features
MODELS = ("ridge", "boosting")
FIGURES = ("r2_ridge", "r2_boosting", "auc_ridge", "auc_boosting")


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


def trained_and_tested(
    train: Measured, obstructed: NDArray, test: Measured, truth: NDArray, resamples: Resamples, seed: int
) -> tuple[dict[str, NDArray], dict[str, str]]:
    """Scores (1 + B,) on `test` of both models trained on `train`, and the reasons of those that are missing.

    Args:
        obstructed, truth: (n,), FEV1/FVC below its lower limit (1.0), not (0.0), or unknown (NaN), of the
            training and the test curves.
    """
    x, new = predictors(train), predictors(test)
    scores, reasons = {}, {}
    rows, held = usable(train.indices["fvc"]), usable(test.indices["fvc"])
    y, target = np.log(np.where(rows, train.indices["fvc"], 1.0)), np.log(np.where(held, test.indices["fvc"], 1.0))
    measured = len(np.unique(train.seqn[rows]))
    for model in MODELS:
        if measured < MIN_PEOPLE:
            reasons[f"r2_{model}"] = f"an FVC in {measured} participants, fewer than {MIN_PEOPLE}"
            continue
        predicted = _predict(model, x[rows], y[rows], new, seed, classify=False)
        scores[f"r2_{model}"] = _r2(target, predicted, held.astype(float), resamples)
    known, tested = ~np.isnan(obstructed), ~np.isnan(truth)
    cases = min(
        len(np.unique(seqn[label == value]))
        for seqn, label in ((train.seqn, obstructed), (test.seqn, truth))
        for value in (0, 1)
    )
    for model in MODELS:
        if cases < MIN_PEOPLE:
            reasons[f"auc_{model}"] = f"{cases} participants with or without obstruction, fewer than {MIN_PEOPLE}"
            continue
        score = _predict(model, x[known], obstructed[known], new, seed, classify=True)
        sides = [tested & (truth == value) for value in (1, 0)]
        scores[f"auc_{model}"] = _auc(score, sides, resamples)
    return scores, reasons


def compare(
    own: tuple[dict[str, NDArray], dict[str, str]], real: tuple[dict[str, NDArray], dict[str, str]]
) -> dict[str, Figure]:
    """Scores of training on the candidate's curves, on real ones, and their ratio; the lowest ratio counts."""
    result: dict[str, Figure] = {}
    ratios = []
    for name in FIGURES:
        reason = own[1].get(name) or real[1].get(name)
        if reason:
            result |= {k: missing(reason) for k in (name, f"{name}_real", f"{name}_ratio")}
            continue
        result[name] = from_resamples(own[0][name])
        result[f"{name}_real"] = from_resamples(real[0][name])
        ratios.append(own[0][name] / real[0][name])
        result[f"{name}_ratio"] = from_resamples(ratios[-1])
    lowest = min(ratios, key=lambda r: r[0]) if ratios else None
    result["ratio"] = missing("no score could be computed") if lowest is None else from_resamples(lowest)
    return result


def _predict(model: str, x: NDArray, y: NDArray, new: NDArray, seed: int, *, classify: bool) -> NDArray[np.float64]:
    if model == "ridge":
        mean, sd = x.mean(axis=0), x.std(axis=0) + 1e-9
        a = (x - mean) / sd
        weights = np.linalg.solve(a.T @ a + RIDGE * np.eye(a.shape[1]), a.T @ (y - y.mean()))
        return (new - mean) / sd @ weights + y.mean()
    from sklearn.ensemble import (  # noqa: PLC0415 (a second, before any work)
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
    )

    options = {"max_iter": 150, "max_leaf_nodes": 8, "min_samples_leaf": 10, "early_stopping": False}
    with threadpool_limits(limits=1, user_api="openmp"):  # a few thousand rows: threads wait for each other
        if classify:
            return HistGradientBoostingClassifier(**options, random_state=seed).fit(x, y).decision_function(new)
        return HistGradientBoostingRegressor(**options, random_state=seed).fit(x, y).predict(new)


def _r2(target: NDArray, predicted: NDArray, weight: NDArray, resamples: Resamples) -> NDArray[np.float64]:
    w = weight
    rows = np.column_stack([w, w * target, w * target**2, w * (target - predicted) ** 2])
    total, first, second, error = resamples.sums(rows).T
    return 1 - error / (second - first**2 / total)


def _auc(score: NDArray, sides: list[NDArray], resamples: Resamples) -> NDArray[np.float64]:
    """AUC whose positives and negatives belong to the same resampled participants."""
    halves = [resamples.restricted(rows) for rows in sides]
    return auc(score[sides[0]], halves[0], score[sides[1]], halves[1])
