"""Best efforts of people whose FVC, FEV1 and PEF are known: what the others may be, given these."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from spiro_diffusion.physiology import reference
from spiro_diffusion.physiology.peak_flow import peak_flow
from spiro_diffusion.physiology.spirometry import SAMPLE_PERIOD_S
from spiro_diffusion.simulation import expiration
from spiro_diffusion.simulation.expiration import Knots, Shape
from spiro_diffusion.simulation.lung_shapes import LungShapes, knots_at
from spiro_diffusion.simulation.population import POPULATION, Marginal

Floats = NDArray[np.float64]
Rng = np.random.Generator

PEAK_STEPS, PEAK_SAMPLES = 3, 80


def best_efforts(people: pd.DataFrame, shapes: LungShapes, rng: Rng) -> tuple[Floats, NDArray[np.int64]]:
    """Draw a best effort for each row.

    FEV0.5 and FEV3 belong to the lung: they come from the conditional distribution of the published values
    (SPX_G, any age) given FVC, FEV1/FVC and PEF. FEV6, expiratory time and extrapolated volume belong to the
    device and to how it is used: they come from the real loops' conditional distribution given the lung's.

    Args:
        people: age (years), height (cm), sex (1 or 2), ethnicity (RIDRETH3), fvc (L), fev1 (L), pef (L/s).
        shapes: see `lung_shapes.load`.
        rng: draws.

    Returns:
        Flow (n, T), L/s in each 10 ms, 0 after the end, and the number of samples of each (n,).
    """
    ratio = expiration.log_emptied((people["fev1"] / people["fvc"]).to_numpy())
    log_pef = np.log((people["pef"] / people["fvc"]).to_numpy()) - shapes.flutter.peak
    early, late = _lung_volumes(people, rng)
    predictors = np.stack([ratio, log_pef, early, late], axis=1)
    knots = knots_at(np.concatenate([predictors, shapes.efforts.drawn(predictors, rng)], axis=1))
    shape = shapes.drawn(knots, rng)
    seed = int(rng.integers(2**63))
    pef = knots.pef
    for _ in range(PEAK_STEPS):  # flutter moves the peak
        flow, points = _drawn(knots._replace(pef=pef), shape, shapes, np.random.default_rng(seed))
        pef = pef * (people["pef"] / people["fvc"]).to_numpy() / peak_flow(flow[:, :PEAK_SAMPLES], SAMPLE_PERIOD_S).flow
    return flow * people["fvc"].to_numpy()[:, None], points


def _drawn(knots: Knots, shape: Shape, shapes: LungShapes, rng: Rng) -> tuple[Floats, NDArray[np.int64]]:
    """Flow (n, T) over FVC and samples of best efforts."""
    lung = expiration.lungs(knots, shape)
    effort = expiration.best_effort(knots.pef, knots.bev, shape.onset)
    points = np.rint((expiration.time_zero(effort) + knots.fet) / SAMPLE_PERIOD_S).astype(np.int64)
    flow = expiration.flow(lung, effort, int(points.max()))
    flow += shapes.flutter.drawn(flow, rng)
    return np.where(np.arange(flow.shape[1]) < points[:, None], flow, 0), points


def _lung_volumes(people: pd.DataFrame, rng: Rng) -> tuple[Floats, Floats]:
    """`early` and `late` (see `lung_shapes.coordinates`), drawn given FVC, FEV1/FVC and PEF."""
    person = (people["age"], people["height"], people["sex"])
    share = expiration.log_emptied((people["fev1"] / people["fvc"]).to_numpy())
    values = {
        "fvc": np.log(people["fvc"] / reference.gli_global("fvc", *person).m),
        "ratio": share - expiration.log_emptied(np.asarray(reference.gli_global("ratio", *person).m)),
        "pef": np.log(people["pef"] / reference.hankinson("pef", *person, 0, extend=True).m),
    }
    scores = {name: _score(POPULATION.values[name], people, np.asarray(v)) for name, v in values.items()}
    names = list(POPULATION.values)
    given, required = [names.index(name) for name in values], [names.index(name) for name in ("early", "late")]
    bow = scores["ratio"] ** 2 - 1
    given_scores = np.stack(list(scores.values()), axis=1) - np.outer(bow, POPULATION.bends[given])
    joint = POPULATION.covariances
    weights = np.linalg.solve(joint[np.ix_(given, given)], joint[np.ix_(given, required)])
    root = np.linalg.cholesky(joint[np.ix_(required, required)] - joint[np.ix_(required, given)] @ weights)
    residuals = (
        np.clip(rng.standard_normal((len(people), 2)), -2, 2) @ root.T
    )  # farther out scores are not normal jointly
    drawn = given_scores @ weights + residuals + np.outer(bow, POPULATION.bends[required])
    early, late = drawn.T
    models = POPULATION.values
    return POPULATION.drawn(models["early"], people, early), POPULATION.drawn(models["late"], people, late)


def _score(model: Marginal, people: pd.DataFrame, value: Floats) -> Floats:
    """The normal score of a value: the inverse of `Population.drawn`."""
    middle = POPULATION.drawn(model, people, np.zeros(len(people)), spread=0)
    e = (value - middle) / np.interp(people["age"], POPULATION.spread_ages, model.spread)
    return np.interp(e, model.quantiles, ndtri(POPULATION.probabilities))
