"""How well recorded efforts are completed by models that know nothing of their people.

Usage: python -m benchmarks.completion_by_folds LOOPS [--participants 600] [--folder runs/folds]

LOOPS as of `benchmarks.fit_lung_shapes` (people.csv, loops.csv.gz, shape_auc.py). For each fifth of the people (person
modulo 5) the simulator's facts are fitted without it, as many participants are simulated as the default run has, the
stages repair to train_reconstructor run on them, and that fifth's efforts are completed. Prints, by cut, the median
error of the volume where the record ends, its bias, and how many of the 90 % intervals hold it; then the same after a
correction by other people of the same researchers (20 random halves); then what baselines make of the same efforts
(`benchmarks.loop_baselines`).
"""

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from numpy.typing import NDArray

from benchmarks import fit_lung_shapes, loop_baselines
from spiro_diffusion.compute.runtime import RuntimeParams, configure
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.params import read_params
from spiro_diffusion.pipeline import run
from spiro_diffusion.reconstruction import cohort_calibration, validation
from spiro_diffusion.reconstruction.densities import load_reconstructor
from spiro_diffusion.reconstruction.reconstructor import Reconstructor
from spiro_diffusion.reconstruction.validation import CUTS_S, Completed, Recorded
from spiro_diffusion.simulation import lung_shapes
from spiro_diffusion.simulation.files import write_cycle
from spiro_diffusion.simulation.simulator import simulate

STAGES = ("download", "repair", "align", "filter", "resample", "train_reconstructor")
DRAWS, SPLITS = 200, 20


def main(loops: Path, participants: int, folder: Path, figures: Path | None) -> None:
    """Train what is not trained yet, print the tables, and write them where a file is named."""
    people = pd.read_csv(loops / "people.csv").dropna(subset="fvc_l")
    fold = people["person"].to_numpy() % fit_lung_shapes.FOLDS
    models = [_model(loops, one, participants, folder / str(one)) for one in range(fit_lung_shapes.FOLDS)]
    efforts = validation.read(loops, models[0])
    tables = {
        "simulated people, facts without the judged fifth": [_gathered(models, efforts, fold, at_s) for at_s in CUTS_S],
        "the same, corrected by half of these people, judged on the other half": _corrected(models, efforts, fold),
        **_baselines(efforts, fold, folder),
        "ridge regression of these people, each left out once": [
            loop_baselines.ridge_of_cohort(efforts, at) for at in CUTS_S
        ],
    }
    for words, cases in tables.items():
        print(f"{words}:")
        _print_figures(cases)
    if figures:
        found = {
            words: {"cuts": [_figures(*cut) for cut in zip(CUTS_S, c, strict=True)]} for words, c in tables.items()
        }
        artifacts.write_json(figures, found)


def _corrected(models: list[Reconstructor], efforts: Recorded, fold: NDArray) -> list[Completed]:
    """The models of the folds, corrected by one half of the people and judged on the other, SPLITS times."""
    corrected: list[list[Completed]] = [[] for _ in CUTS_S]
    cases = [validation.cases(model, efforts, DRAWS, 0) for model in models]
    for used, judged in _halves(len(fold)):
        # each fold's model is corrected by the used half; the facts that it knows leave the judged people out
        corrected_models = [
            m.calibrated(cohort_calibration.fit([case.some(np.isin(case.person, used)) for case in of_model]))
            for m, of_model in zip(models, cases, strict=True)
        ]
        for number, at_s in enumerate(CUTS_S):
            corrected[number].append(_gathered(corrected_models, efforts.some(judged), fold[judged], at_s))
    return [_joined(parts) for parts in corrected]


def _baselines(efforts: Recorded, fold: NDArray, folder: Path) -> dict[str, list[Completed]]:
    """What baselines make of all efforts, each by those who learned from the simulated people of its fold."""
    names = range(fit_lung_shapes.FOLDS)
    baseline_data = [loop_baselines.baseline_data(folder / str(one)) for one in names]
    found: dict[str, list[Completed]] = {name: [] for name in loop_baselines.LEARNED}
    for at_s in CUTS_S:
        by_fold = [np.flatnonzero(fold == one) for one in names]
        parts = [loop_baselines.learned(baseline_data[i], efforts.some(by_fold[i]), at_s, DRAWS, seed=i) for i in names]
        for name, cuts in found.items():
            by_fold_cases = [part[name]._replace(rows=by_fold[i][part[name].rows]) for i, part in enumerate(parts)]
            cuts.append(_joined(by_fold_cases))
    return {f"{name.replace('_', ' ')}, of the same simulated people": cuts for name, cuts in found.items()}


def _model(loops: Path, fold: int, participants: int, folder: Path) -> Reconstructor:
    """The reconstructor of one fold, without a diffusion."""
    checkpoint = folder / "models/reconstructor.safetensors"
    if not checkpoint.is_file():
        judge = fit_lung_shapes.judge_of(loops)
        flows, persons = judge.real_expirations()
        people = fit_lung_shapes.people_of(loops, persons)
        others = np.flatnonzero(people["person"].to_numpy() % fit_lung_shapes.FOLDS != fold)
        read = [fit_lung_shapes.read(flows[i]) for i in others]
        facts = fit_lung_shapes.fit(read, people.iloc[others], np.random.default_rng(0))
        shapes = lung_shapes.from_table(facts)
        raw = folder / "simulated"
        raw.mkdir(parents=True, exist_ok=True)
        write_cycle(simulate("G", participants, 1, shapes), "G", raw)
        changes = [f"download.source={raw.resolve()}"]
        artifacts.write_text(folder / "params.yaml", yaml.safe_dump(run.merged(read_params(), changes)))
        for stage in STAGES:
            assert run.run_one(stage, folder) == 0
    compute = configure(RuntimeParams(device="cpu", threads=1))
    generator: Any = SimpleNamespace(runtime=compute)  # plain paths ask for no more
    return load_reconstructor(checkpoint, generator)


def _gathered(models: list[Reconstructor], efforts: Recorded, fold: NDArray, at_s: float) -> Completed:
    """All efforts, each completed by the model of its fold."""
    parts = []
    for one, model in enumerate(models):
        rows = np.flatnonzero(fold == one)
        found = validation.completed(model, efforts.some(rows), at_s, DRAWS, seed=one)
        parts.append(found._replace(rows=rows[found.rows]))
    return _joined(parts)


def _joined(parts: list[Completed]) -> Completed:
    return Completed(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _halves(n: int) -> list[tuple[NDArray, NDArray]]:
    """Random halves of n people, and the other halves."""
    rng = np.random.default_rng(0)
    orders = [rng.permutation(n) for _ in range(SPLITS)]
    return [(np.sort(order[: n // 2]), np.sort(order[n // 2 :])) for order in orders]


def _figures(at_s: float, found: Completed) -> dict[str, float]:
    return {"cut_s": at_s, **{name: round(float(value), 4) for name, value in validation.figures(found).items()}}


def _print_figures(cases: list[Completed]) -> None:
    for at_s, found in zip(CUTS_S, cases, strict=True):
        total = validation.figures(found)
        errors = np.abs(np.median(found.drawn, axis=1) - found.recorded)
        rng = np.random.default_rng(0)
        medians = [np.median(rng.choice(errors, len(errors))) for _ in range(1000)]
        low, high = 1000 * np.quantile(medians, [0.025, 0.975])
        print(
            f"{at_s:g} s: {total['efforts']} efforts; error {total['error_ml']:.0f} mL ({low:.0f} to {high:.0f}), bias "
            f"{total['bias_ml']:+.0f}; 90 % holds {100 * total['holds']:.0f} % ({100 * total['holds_from']:.0f} to "
            f"{100 * total['holds_to']:.0f}); width {total['width_ml']:.0f}, "
            f"interval score {total['interval_score_ml']:.0f} mL",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loops", type=Path)
    parser.add_argument("--participants", type=int, default=600)
    parser.add_argument("--folder", type=Path, default=Path("runs/folds"))
    parser.add_argument("--figures", type=Path, help="file for the tables, see benchmarks.loops_page")
    given = parser.parse_args()
    torch.set_num_threads(1)
    main(given.loops, given.participants, given.folder, given.figures)
