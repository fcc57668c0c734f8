"""Fit the simulator's facts of real forced expirations, and say whether its best efforts can be told from them.

Usage: python -m benchmarks.fit_lung_shapes FOLDER [--write]

FOLDER holds people.csv, loops.csv.gz and shape_auc.py: loops of the PExOL_Spirometry repository (reference data
"MBDS", 49 adults of 18 to 39 years). Only means, slopes and covariances leave this script. A loop becomes

1. its knots: FEV0.5, FEV1, FEV3, FEV6, FVC, PEF, BEV and expiratory time, counted from the steepest tangent;
2. its shape (see `expiration.Shape`): how far volume lies below the steepest tangent before 0.5 s, log E beside the
   smoothest line between knots, and the log odds of the drive up to peak flow;
3. flutter: the logarithm of recorded flow over the flow of 1 and 2.

Shapes are regressed (ridge 1, standardised) on the knots; the residuals keep their covariance in 3, 5 and 5
principal components. FEV6, expiratory time and BEV are regressed on the other knots.

First the facts are fitted without each fifth of the people (person modulo 5), best efforts are drawn for that
fifth with its own FVC, FEV1 and PEF, and shape_auc.py's two classifiers try to tell them from the loops. With
--write the facts of all people go to spiro_diffusion/simulation/lung_shapes.json.
"""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from scipy.signal import savgol_coeffs

from benchmarks.given_values import best_efforts
from spiro_diffusion.core import artifacts
from spiro_diffusion.physiology.peak_flow import peak_flow, window
from spiro_diffusion.simulation import expiration, lung_shapes
from spiro_diffusion.simulation.expiration import Knots

Floats = NDArray[np.float64]

FOLDS, DRAWS = 5, 20
COMPONENTS = (3, 5, 5)  # of early, between, onset
RIDGE = 1.0
PERIOD = 0.01  # s
SOURCE = "49 loops of 49 adults of 18 to 39 years: PExOL_Spirometry repository, reference data MBDS"
DIGITS = 4


class Loop(NamedTuple):
    """What a loop says."""

    knots: Floats  # as `lung_shapes.coordinates`
    predictors: Floats
    early: Floats  # log volume below the steepest tangent
    between: Floats
    onset: Floats
    flutter: Floats  # log of recorded over smooth flow, from the peak to 1 s after time zero
    tail_unrest: Floats  # recorded less smooth flow over FVC, 1/s, from 2 to 4 s


def main(folder: Path, write: bool) -> None:
    """Print the table of quantiles and the out-of-fold AUCs; perhaps write the facts."""
    if not (folder / "loops.csv.gz").exists():
        print(f"{folder}: no loops.csv.gz there; nothing is fitted")
        return
    judge = judge_of(folder)
    flows, persons = judge.real_expirations()
    loops = [read(flow) for flow in flows]
    people = people_of(folder, persons)
    for seed in (0, 1, 2):
        drawn = out_of_fold(loops, people, np.random.default_rng(seed))
        real, generated = judge.features(flows), judge.features(drawn)
        if seed == 0:
            quantiles = [0.1, 0.5, 0.9]
            print(pd.concat({"loops": real.quantile(quantiles).T, "drawn": generated.quantile(quantiles).T}, axis=1))
        for name, (mean, sd) in judge.auc(real.to_numpy(), generated.to_numpy(), DRAWS).items():
            print(f"seed {seed}: AUC out of fold, {name}: {mean:.3f}, SD over {DRAWS} draws {sd:.3f}")
    if write:
        table = fit(loops, people, np.random.default_rng(0))
        text = json.dumps(table, indent=1) + "\n"
        artifacts.write_text(lung_shapes.PATH, text)


def judge_of(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("shape_auc", folder / "shape_auc.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def people_of(folder: Path, persons: list[int]) -> pd.DataFrame:
    people = pd.read_csv(folder / "people.csv").set_index("person").loc[persons].reset_index()
    people = people.rename(columns={"fvc_l": "fvc", "fev1_l": "fev1", "pef_l_s": "pef"})
    return people.assign(sex=np.where(people["sex"] == "male", 1, 2), ethnicity=3)  # unknown: the commonest


def out_of_fold(loops: list[Loop], people: pd.DataFrame, rng: np.random.Generator) -> Floats:
    """Flows (people x DRAWS, T) of best efforts from the facts of the other folds."""
    fold = people["person"].to_numpy() % FOLDS
    drawn: dict[int, Floats] = {}
    for one in range(FOLDS):
        others = np.flatnonzero(fold != one)
        facts = lung_shapes.from_table(fit([loops[i] for i in others], people.iloc[others], rng))
        rows = np.repeat(np.flatnonzero(fold == one), DRAWS)
        flow, _ = best_efforts(people.iloc[rows].reset_index(drop=True), facts, rng)
        for start in range(0, len(rows), DRAWS):
            drawn[rows[start]] = flow[start : start + DRAWS]
    result = np.zeros((len(people) * DRAWS, max(flow.shape[1] for flow in drawn.values())))
    for row, flow in drawn.items():
        result[row * DRAWS : (row + 1) * DRAWS, : flow.shape[1]] = flow
    return result


# From a loop to numbers


def read(flow: Floats) -> Loop:
    """The numbers of one expiration, L/s each 10 ms."""
    flow = flow[: np.flatnonzero(flow)[-1] + 1]
    edges = PERIOD * np.arange(len(flow) + 1)
    volume = np.concatenate([[0], np.cumsum(flow) * PERIOD])
    found = peak_flow(flow[None], PERIOD)
    fvc, pef, peak = volume[-1], found.flow[0], int(found.sample[0])
    at_peak = PERIOD * (peak + 0.5)
    zero = at_peak - np.interp(at_peak, edges, volume) / pef
    bev = np.interp(zero, edges, volume)

    def share(s: Floats) -> Floats:
        """Volume over FVC at driven times: on the tangent before the peak."""
        return np.where(s < at_peak - zero, pef * s, np.interp(zero + s, edges, volume)) / fvc

    times = expiration.knot_times(np.array([edges[-1] - zero]))
    shares = share(times[0])
    shares[-1] = 1
    values = [pef / fvc, *shares[:4], times[0, -1], bev / fvc]
    knots = Knots(*(np.array([value]) for value in values))
    early = share(expiration.EARLY_S)
    more = expiration.between_times(times)
    line = expiration.smoothest(early[None], times, shares[None])
    between = expiration.log_emptied(share(more[0])) - expiration.log_emptied(expiration.volume(line, more)[0])
    smooth = correlate1d(flow, savgol_coeffs(window(PERIOD), 2), mode="constant")
    drive = np.clip(smooth / pef, 0.01, 0.99)
    drive[peak:] = 0.99
    axis = (edges[:-1] + PERIOD / 2 - zero) * pef / bev
    onset = np.interp(expiration.ONSET, axis, np.log(drive / (1 - drive)), left=np.log(0.01 / 0.99))
    below = np.log(early * fvc / (pef * expiration.EARLY_S))
    shape = expiration.Shape((below / expiration.bend(knots.pef, knots.fev05))[None], between[None], onset[None])

    model = expiration.lungs(knots, shape)
    ends = edges[edges - zero > at_peak - zero + 0.02]
    made = np.diff(expiration.volume(model, (ends - zero)[None])[0]) / PERIOD
    recorded, t = flow[len(flow) - len(made) :] / fvc, ends[:-1] + PERIOD / 2 - zero
    flutter = np.log(np.maximum(recorded, 1e-3) / np.maximum(made, 1e-3))[t < 1]
    tail = (recorded - made)[(t > 2) & (t < 4)]
    return Loop(
        lung_shapes.coordinates(knots)[0], lung_shapes.predictors(knots)[0], below, between, onset, flutter, tail
    )


# From numbers to facts


def fit(loops: list[Loop], people: pd.DataFrame, rng: np.random.Generator) -> dict:
    """The content of lung_shapes.json from these loops; rng draws the efforts that measure what flutter adds."""
    knots, predictors = np.stack([i.knots for i in loops]), np.stack([i.predictors for i in loops])
    parts = [np.stack(part) for part in zip(*((i.early, i.between, i.onset) for i in loops), strict=True)]
    flutter = _flutter(loops)
    table = {
        "source": SOURCE,
        "people": len(loops),
        "shape": _regression(predictors, parts, COMPONENTS),
        "efforts": _regression(knots[:, :4], [knots[:, 4:]], (3,)),
        "flutter": flutter,
    }
    flutter["peak"] = _peak(lung_shapes.from_table(table), people, rng)
    return table


def _regression(x: Floats, parts: list[Floats], components: tuple[int, ...]) -> dict:
    """Linear facts of the parts side by side, each reduced to some of its principal components."""
    n = len(x)
    centre, scale = x.mean(axis=0), x.std(axis=0)
    x = (x - centre) / scale
    mean = np.concatenate([part.mean(axis=0) for part in parts])
    axes = np.zeros((sum(components), len(mean)))
    row = column = 0
    for part, count in zip(parts, components, strict=True):
        _, sizes, rotation = np.linalg.svd(part - part.mean(axis=0), full_matrices=False)
        axes[row : row + count, column : column + part.shape[1]] = rotation[:count] * sizes[:count, None] / np.sqrt(n)
        row, column = row + count, column + part.shape[1]
    scores = (np.concatenate(parts, axis=1) - mean) @ np.linalg.pinv(axes)  # variance 1
    hat = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T)
    slopes = hat @ scores
    residual = scores - x @ slopes
    root = np.linalg.cholesky(residual.T @ residual / (n - 1 - np.trace(x @ hat)))
    table = {"centre": centre, "scale": scale, "precision": np.linalg.inv(x.T @ x / (n - 1)), "mean": mean}
    table |= {"slopes": slopes @ axes, "components": root.T @ axes}
    return {name: np.round(value, DIGITS).tolist() for name, value in table.items()}


def _flutter(loops: list[Loop]) -> dict:
    """An autoregression of order 2 from the mean autocorrelation; its size from the first second and the tail."""
    centred = [i.flutter - i.flutter.mean() for i in loops]
    powers = np.array([np.mean(e**2) for e in centred])
    one, two = (
        np.mean([np.mean(e[k:] * e[:-k]) / power for e, power in zip(centred, powers, strict=True)]) for k in (1, 2)
    )
    first, second = one * (1 - two) / (1 - one**2), (two - one**2) / (1 - one**2)
    # In the tail the line is free to drift from the record: only the changes from sample to sample count.
    changes = [np.diff(i.tail_unrest).std() / np.sqrt(2 * (1 - one)) for i in loops if len(i.tail_unrest) > 50]
    table = {
        "coefficients": np.round([first, second], DIGITS).tolist(),
        "share": float(np.exp(np.log(powers).mean() / 2)),
        "least": float(np.median(changes)),
        "spread": float(np.log(powers).std() / 2),
        "peak": 0.0,
    }
    return {name: round(value, DIGITS) if isinstance(value, float) else value for name, value in table.items()}


def _peak(facts: lung_shapes.LungShapes, people: pd.DataFrame, rng: np.random.Generator) -> float:
    """By how much flutter raises the peak flow of best efforts, on average, log."""
    rows = people.iloc[np.repeat(np.arange(len(people)), DRAWS)].reset_index(drop=True)
    still = replace(facts, flutter=replace(facts.flutter, share=0, least=0))
    flow = best_efforts(rows, still, rng)[0] / rows["fvc"].to_numpy()[:, None]
    rough = flow + facts.flutter.drawn(flow, rng)
    return round(float(np.log(peak_flow(rough, PERIOD).flow / peak_flow(flow, PERIOD).flow).mean()), DIGITS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--write" in sys.argv[2:])
