"""All pictures of an evaluation, in one folder: chooses who is shown and calls `plots`."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from spiro_diffusion.evaluation import copying, measured
from spiro_diffusion.evaluation.candidates import Candidate
from spiro_diffusion.evaluation.measured import INDICES, Measured, Sampler
from spiro_diffusion.evaluation.real import Real
from spiro_diffusion.evaluation.targets import Tree
from spiro_diffusion.plotting import style
from spiro_diffusion.reporting import judge_plots

SHOWN = ((9, 2), (16, 1), (30, 2), (50, 1), (70, 2))  # age and sex (RIAGENDR) of the people whose curves are shown
EFFORTS = 6  # at most so many of each
READ_BACK = ("A", "B", "C", "D")  # a curve of each grade is shown through the autoencoder

Logs = dict[str, dict[str, tuple[NDArray, NDArray]]]  # model → series → (epochs, values)


def draw(
    folder: Path,
    real: Real,
    candidate: Candidate,
    sampler: Sampler,
    again: Measured,
    trees: dict[str, Tree],
    logs: Logs,
    seed: int,
) -> dict[str, Path]:
    """Draw every picture into `folder`.

    Args:
        candidate: the generator's, with curves and draws; sampler: the generator, for the people shown.
        again: the held-out curves read back by the autoencoder.
        trees: figures by candidate, `generator` and `floor` among them.

    Returns:
        Files by name.
    """
    assert candidate.curves is not None
    assert candidate.draws is not None
    own, floor = trees["generator"], trees["floor"]
    shown = people_shown(real.held)
    made = [measured.generated(sampler(p.people, 1, seed + i)[:, 0], p.people, seed) for i, p in enumerate(shown)]
    best = real.held.people["best"].to_numpy(bool)
    people = real.held.people[best]
    of_real = {name: real.held.indices[name][best] for name in INDICES}
    draws = {name: candidate.draws[name][best] for name in INDICES}
    trained = real.train["best"].to_numpy(bool)
    train, train_indices = real.train[trained], {name: real.train_indices[name][trained] for name in INDICES}
    distances = copying.distances(real, candidate.curves)
    pictures = {
        "flow_volume": lambda: judge_plots.flow_volume(shown, made),
        "volume_time": lambda: judge_plots.volume_time(shown, made),
        "percentiles_age": lambda: judge_plots.percentiles("age", people, of_real, draws, train, train_indices),
        "percentiles_height": lambda: judge_plots.percentiles("height", people, of_real, draws, train, train_indices),
        "reconstruction": lambda: judge_plots.reconstruction(real.held, again, _of_each_grade(real.held.people)),
        "spread": lambda: judge_plots.spread(own, floor),
        "calibration": lambda: judge_plots.calibration(own, floor),
        "wasserstein": lambda: judge_plots.wasserstein(own),
        "two_sample": lambda: judge_plots.two_sample({k.replace("_", " "): tree for k, tree in trees.items()}),
        "copying": lambda: judge_plots.copying(distances),
        "violations": lambda: judge_plots.violations(own),
    }
    if logs:
        pictures["training"] = lambda: judge_plots.training(logs)
    for name, function in tqdm(pictures.items(), desc="draw plots", unit="plot", leave=False, delay=1):
        style.save(folder / f"{name}.png", function)
    return {name: folder / f"{name}.png" for name in pictures}


def people_shown(held: Measured) -> list[Measured]:
    """The efforts before the bronchodilator of the held-out participants nearest to the ages and sexes in SHOWN."""
    people = held.people
    best = people[people["best"]]
    found: list[Measured] = []
    taken: set[int] = set()
    for age, sex in SHOWN:
        distance = (best["age"] - age).abs() + 1000 * (best["sex"] != sex) + 1e6 * best["seqn"].isin(taken)
        if not len(distance):
            break
        seqn = int(best["seqn"].iloc[int(distance.to_numpy().argmin())])
        if seqn in taken:
            break
        taken.add(seqn)
        rows = np.flatnonzero((people["seqn"] == seqn) & (people["test_type"] == "Pre"))[:EFFORTS]
        found.append(held.take(rows))
    return found


def training_logs(folders: dict[str, Path]) -> Logs:
    """Loss series of the folders of `*.tsv` that `log.Log` writes, by model; empty where there are none."""
    logs: Logs = {}
    for model, folder in folders.items():
        series = {}
        for path in sorted(folder.glob("*.tsv")):
            if path.stem in ("loss", "score"):
                table = pd.read_csv(path, sep="\t")
                series[path.stem] = (
                    table.iloc[:, 0].to_numpy(float),
                    table.iloc[:, -1].to_numpy(float),
                )
        if series:
            logs[model] = series
    return logs


def _of_each_grade(people: pd.DataFrame) -> list[int]:
    """A row of each grade that is there, of a person near 40."""
    rows = []
    for grade in READ_BACK:
        own = np.flatnonzero(people["grade"] == grade)
        if len(own):
            rows.append(int(own[np.abs(people["age"].to_numpy(float)[own] - 40).argmin()]))
    return rows
