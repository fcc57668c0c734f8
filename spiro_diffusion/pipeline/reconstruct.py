"""Stage reconstruct: teach small densities what a spoiled effort hides, and judge reconstructions of held-out ones."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from spiro_diffusion.compute import runtime
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.dataset.raw_curves import read_table
from spiro_diffusion.dataset.signals import load_rows
from spiro_diffusion.evaluation import completion
from spiro_diffusion.evaluation.completion_baselines import Trained
from spiro_diffusion.evaluation.figures import MIN_PEOPLE, to_json
from spiro_diffusion.generation.generator import Generator
from spiro_diffusion.models.mixture_density import Density, DensityConfig
from spiro_diffusion.reconstruction import examples as hiding
from spiro_diffusion.reconstruction import sibling_efforts
from spiro_diffusion.reconstruction.reconstructor import Reconstructor, save_reconstructor
from spiro_diffusion.reporting import completion_plots, completion_report
from spiro_diffusion.training import loop
from spiro_diffusion.training.denoising import equal_people
from spiro_diffusion.training.likelihood import DensityTask
from spiro_diffusion.training.log import Log

VALIDATION_EXAMPLES = 4  # of each validation effort


@dataclass(frozen=True)
class Params(loop.Recipe):
    """The section `reconstruct`: the recipe of the densities, their shape, and how they are judged."""

    examples: int  # how often each training effort is hidden anew
    width: int
    components: int
    dropout: float
    split: Literal["validation", "test"]  # whose participants judge: test once, validation for trials
    draws: int  # reconstructions of each spoiled effort
    steps: int  # noise levels of the diffusion
    resamples: int  # of the participants, for the 95 % intervals

    def __post_init__(self) -> None:
        for name, least in (("examples", 1), ("draws", 10), ("steps", 1), ("resamples", 100)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {least} or more")


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
    plots: Path,
    report_file: Path,
) -> None:
    """Train the densities on full training efforts, hidden at random; spoil held-out ones and draw them anew."""
    place = runtime.start()
    generator = Generator.from_checkpoints(vqvae, cldm, place)
    table = read_table(curves)
    flow = load_rows(signals, len(table), (512,))
    full = hiding.full(table, flow)
    run = loop.fingerprint(params, [signals, curves])
    densities = {}
    train, check = (np.flatnonzero(full & (table["split"] == s).to_numpy()) for s in ("train", "validation"))
    if not len(train) or not len(check):
        raise SpiroError(f"{curves}: holds no full effort to learn from; use more participants")
    learned = hiding.examples(flow, table, train, params.examples, params.seed)
    checked = hiding.examples(flow, table, check, VALIDATION_EXAMPLES, params.seed + 1)
    for name, rows in learned.items():
        log = Log(metrics / name)
        densities[name] = _trained(params, rows, checked[name], table, place, (f"reconstruct_{name}", run, log))
        log.close()
    made_from = {**generator.made_from, "reconstructor_curves": len(train)}
    save_reconstructor(reconstructor, densities, made_from)
    loop.done(run, *(f"reconstruct_{name}" for name in densities))
    model = Reconstructor(densities, generator, made_from)

    held = np.flatnonzero(full & (table["split"] == params.split).to_numpy() & table["best"].to_numpy(bool))
    if len(held) < MIN_PEOPLE:
        raise SpiroError(
            f"{curves}: {len(held)} full efforts in the {params.split} split; at least {MIN_PEOPLE} are needed: use "
            "more participants"
        )
    judges = completion.Held(np.asarray(flow[held]), table.iloc[held].reset_index(drop=True))
    told = sibling_efforts.Others.of(flow, *sibling_efforts.best(table, sibling_efforts.siblings(table, held)))
    trained = Trained(np.asarray(flow[train]), table.iloc[train].reset_index(drop=True))
    own = np.flatnonzero(table["split"] == params.split)
    options: dict[str, Any] = {"draws": params.draws, "seed": params.seed}
    drawn = options | {"steps": params.steps, "resamples": params.resamples}
    source = artifacts.read_json(manifest)["source"]
    content = {
        "data": {"source": source, "efforts": len(held), "training_efforts": len(train), **asdict(params)},
        "cases": completion.judge(model, judges, trained, **drawn),
        "others": completion.given_others(model, judges, told, **options, resamples=params.resamples),
        "sharpness": completion.sharpness(model, judges, **options),
        "natural": completion.natural(model, flow[own], table.iloc[own].reset_index(drop=True), **drawn),
    }
    result = to_json(content)
    artifacts.write_json(metrics / "judge.json", result)
    artifacts.write_json(metrics / "summary.json", completion.summary(result))
    pictures = completion_plots.draw(plots, model, judges, result, params.seed)
    artifacts.write_text(report_file, completion_report.render(result, pictures))


def _trained(
    params: Params,
    learned: hiding.Examples,
    checked: hiding.Examples,
    table: pd.DataFrame,
    place: runtime.Runtime,
    run: tuple[str, str, Log],
) -> Density:
    """One density, its weights those that validation efforts are likeliest under."""
    given, asked = (
        torch.from_numpy(np.concatenate([getattr(e, part) for e in (learned, checked)]))
        for part in ("features", "numbers")
    )
    first = len(learned.rows)
    torch.manual_seed(params.seed)
    shape = DensityConfig(
        given.shape[1],
        asked.shape[1],
        asked.shape[1] + sibling_efforts.TOLD,
        params.width,
        params.components,
        params.dropout,
    )
    model = Density(shape)
    with threadpool_limits(limits=1, user_api="blas"):  # the same digits on any number of cores
        model.fit_scales(given[:first], asked[:first])
    model.to(place.device)
    rows = torch.arange(len(given), device=place.device)
    weights = equal_people(table["seqn"].to_numpy()[checked.rows]).to(place.device)
    task = DensityTask(model, given.to(place.device), asked.to(place.device), rows[first:], weights)
    name, fingerprint, log = run
    fitted = loop.fit(task, params, rows[:first], place.exact(), name, fingerprint, log)
    model.load_state_dict(fitted.weights)
    return model
