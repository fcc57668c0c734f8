"""Reconstruction by the trained diffusion alone, without the densities of the stage reconstruct, beside them.

    python -m benchmarks.training_free --folder runs/full --people 60

Importance sampling (Doucet et al. 2001) in two steps: facts are drawn for the person and weighed by the FEV1 and PEF
that were measured; curves are drawn for the facts that stay and weighed by the measured volume up to the cut.
Prints median absolute error and CRPS of FVC, and coverage of the 90 % interval, of validation participants.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from spiro_diffusion.compute import runtime
from spiro_diffusion.evaluation import completion
from spiro_diffusion.evaluation.conditional import crps
from spiro_diffusion.evaluation.interruptions import Case, cut
from spiro_diffusion.generation.generator import FACT_STEPS, Generator
from spiro_diffusion.models import conditioning, index_diffusion
from spiro_diffusion.physiology import mean_surface, time_grid
from spiro_diffusion.reconstruction import examples
from spiro_diffusion.reconstruction.monotone import volume_at
from spiro_diffusion.reconstruction.reconstructor import Reconstructor

CUTS_S = (1.0, 2.0)
FACTS, CURVES, DRAWS = 4000, 64, 100  # drawn for each person and cut
MEASURED = {"fev1": 0.02, "pef": 0.03}  # SD of the logarithm: how near facts must be to what was measured
LEAST_EFFECTIVE = 5.0  # effective number of curves: the likelihood of the volumes is softened until it is reached


def facts_given(generator: Generator, person: pd.DataFrame, measured: dict[str, float], seed: int) -> np.ndarray:
    """Logarithms (CURVES, 7) of facts for a person, weighed by what was measured."""
    many = person.loc[person.index.repeat(FACTS)]
    known, features = torch.from_numpy(conditioning.encode(many)), torch.from_numpy(mean_surface.features(many)).float()
    model, shape = generator.cldm, (1, len(index_diffusion.NAMES))
    with torch.inference_mode():
        draw = generator._drawer(model.facts.denoiser, model.config.facts_noise, "dpmpp_2m", FACT_STEPS, 1.0)
        drawn = draw(known, generator._noise(shape, FACTS, seed, 0, stream=1))
        logs = model.facts.restore(drawn, features).numpy()
    away = [(logs[:, index_diffusion.NAMES.index(n)] - np.log(measured[n])) / sd for n, sd in MEASURED.items()]
    weight = softened(-0.5 * np.square(away).sum(axis=0), CURVES / 2)
    return logs[np.random.default_rng(seed).choice(FACTS, CURVES, p=weight)]


def softened(log_weight: np.ndarray, least: float) -> np.ndarray:
    """Weights whose effective number is at least `least`."""
    for power in 0.8 ** np.arange(80):
        weight = np.exp(power * (log_weight - log_weight.max()))
        weight /= weight.sum()
        if 1 / np.square(weight).sum() >= least:
            return weight
    return weight


def draws_of(generator: Generator, case: Case, seed: int) -> np.ndarray:
    """FVC (n, DRAWS) in L of curves weighed by the measured part."""
    at = float(case.name.removeprefix("cut_"))
    times = np.arange(0.1, at + 1e-9, 0.1)
    measured = volume_at(time_grid.volume(case.signals), np.broadcast_to(times, (len(case.rows), len(times))))
    logs = [
        facts_given(generator, case.people.iloc[[i]], dict(case.people.iloc[i][list(MEASURED)]), seed + i)
        for i in range(len(case.rows))
    ]
    signals = generator.told(case.people.loc[case.people.index.repeat(CURVES)], np.concatenate(logs), seed)
    v = np.maximum.accumulate(time_grid.volume(signals), axis=1)
    drawn = volume_at(v, np.broadcast_to(times, (len(v), len(times)))).reshape(len(case.rows), CURVES, -1)
    rest = v[:, -1].reshape(len(case.rows), CURVES) - drawn[:, :, -1]
    result = np.empty((len(case.rows), DRAWS))
    rng = np.random.default_rng(seed)
    for i in range(len(case.rows)):
        misfit = np.square((drawn[i] - measured[i]) / 0.02).sum(axis=1)
        weight = softened(-0.5 * misfit, LEAST_EFFECTIVE)
        result[i] = measured[i, -1] + rng.choice(rest[i], DRAWS, p=weight)
    return result


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="of a run: data/ and models/")
    parser.add_argument("--reconstructor", type=Path, help="beside the folder's own models")
    parser.add_argument("--people", type=int, default=60)
    asked = parser.parse_args()
    models = asked.folder / "models"
    place = runtime.configure(runtime.RuntimeParams(device="cpu"))
    generator = Generator.from_checkpoints(models / "vqvae.safetensors", models / "cldm.safetensors", place)
    model = Reconstructor.from_checkpoint(asked.reconstructor or models / "reconstructor.safetensors", generator)
    table = pd.read_parquet(asked.folder / "data" / "curves.parquet")
    signals = np.load(asked.folder / "data" / "signals_L512.npy", mmap_mode="r", allow_pickle=False)
    held = np.flatnonzero(
        examples.full(table, signals) & (table["split"] == "validation") & table["best"].to_numpy(bool)
    )
    held = np.sort(np.random.default_rng(0).permutation(held)[: asked.people])
    for at in CUTS_S:
        case = cut(np.asarray(signals[held]), table.iloc[held].reset_index(drop=True), at)
        truth = time_grid.volume(case.truth)[:, -1]
        own = completion.draw(model, case, DRAWS, 1, diffuse=False)["fvc"]
        whole = completion.draw(model, case, 10, 1)["fvc"]
        free = draws_of(generator, case, 1)
        for name, fvc in (("diffusion alone", free), ("densities", own), ("densities and diffusion", whole)):
            error = np.abs(np.median(fvc, axis=1) - truth)
            low, high = np.quantile(fvc, [0.05, 0.95], axis=1)
            inside = ((truth >= low) & (truth <= high)).mean()
            figures = [1000 * x for x in (np.median(error), crps(truth, fvc).mean(), np.median(high - low))]
            print(
                f"{case.name} {name}: {len(truth)} people, error {figures[0]:.1f} mL, CRPS {figures[1]:.1f} mL, "
                f"{100 * inside:.0f} % in the 90 % interval, width {figures[2]:.0f} mL"
            )


if __name__ == "__main__":
    main()
