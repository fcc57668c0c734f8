"""Stage reconstruct: judge completions of held-out full efforts that were interrupted artificially."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spiro_diffusion.compute import runtime
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.errors import SpiroError, within
from spiro_diffusion.dataset.raw_curves import read_table
from spiro_diffusion.dataset.signals import load_rows
from spiro_diffusion.dataset.splits import JudgedSplit, judged_part, rows_of_part
from spiro_diffusion.evaluation import completion, figures
from spiro_diffusion.evaluation.completion_baselines import BaselineData, Efforts
from spiro_diffusion.generation.generator import Generator
from spiro_diffusion.physiology.time_grid import N_SAMPLES
from spiro_diffusion.reconstruction import examples, sibling_efforts
from spiro_diffusion.reconstruction.densities import load_reconstructor


@dataclass(frozen=True)
class Params:
    """The section `reconstruct`: how completions are judged."""

    draws: int  # completions of each interrupted effort
    resamples: int  # of the participants, for the 95 % intervals
    trees: int  # of the boosted quantiles that it is compared with, at most
    seed: int
    split: JudgedSplit = "auto"  # whose participants judge, see `splits.judged_part`

    def __post_init__(self) -> None:
        within(self, draws=(10, math.inf), resamples=(100, math.inf), trees=(1, math.inf))


def reconstruct(
    params: Params,
    *,
    signals: Path,
    curves: Path,
    manifest: Path,
    vqvae: Path,
    cldm: Path,
    reconstructor: Path,
    metrics: Path,
) -> None:
    """Judge completions: interrupt held-out efforts and draw them anew; store figures and the draws that are shown."""
    model = load_reconstructor(reconstructor, Generator.from_checkpoints(vqvae, cldm, runtime.start()))
    source = artifacts.read_json(manifest)["source"]
    part = judged_part(params.split, source)
    table = read_table(curves)
    flow = load_rows(signals, len(table), (N_SAMPLES,))
    full = examples.full(table, flow)
    judged_rows, train, choosing = (rows_of_part(table, name) for name in (part, "train", "choosing"))
    train, choosing = train[full[train]], choosing[full[choosing]]
    rows = judged_rows[full[judged_rows] & table["best"].to_numpy(bool)[judged_rows]]
    if len(rows) < figures.MIN_PEOPLE:
        raise SpiroError(
            f"{curves}: {len(rows)} full efforts of the {part} participants; at least {figures.MIN_PEOPLE} are needed: "
            "use more participants"
        )
    judged = Efforts(np.asarray(flow[rows]), table.iloc[rows].reset_index(drop=True))
    others = sibling_efforts.Others.of(flow, *sibling_efforts.best(table, sibling_efforts.siblings(table, rows)))
    baseline_data = BaselineData(
        *(Efforts(np.asarray(flow[r]), table.iloc[r].reset_index(drop=True)) for r in (train, choosing))
    )
    options: dict[str, Any] = {"draws": params.draws, "seed": params.seed}
    drawn = options | {"resamples": params.resamples}
    about = {"source": source, "efforts": len(rows), "training_efforts": len(train), **asdict(params), "part": part}
    content = {
        "data": about,
        "cases": completion.judge(model, judged, baseline_data, trees=params.trees, **drawn),
        "others": completion.given_others(model, judged, others, **options, resamples=params.resamples),
        "sharpness": completion.sharpness(model, judged, **options),
        "natural": completion.natural(
            model, flow[judged_rows], table.iloc[judged_rows].reset_index(drop=True), **drawn
        ),
    }
    result = figures.to_json(content)
    artifacts.write_json(metrics / "judge.json", result)
    artifacts.write_json(metrics / "summary.json", completion.summary(artifacts.read_json(metrics / "judge.json")))
    artifacts.write_npz(metrics / "plot_data.npz", completion.example_arrays(model, judged, params.seed))
