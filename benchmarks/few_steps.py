"""Curves in 1 to 4 evaluations of the U-Net: students distilled from the trained diffusion, judged beside it.

    python -m benchmarks.few_steps --folder runs/full --preset presets/full.yaml --epochs 20 --out few_steps.json

How a student learns is said in `training.few_steps`. The run's own diffusion must be no student: train it with
`train_cldm.student_epochs=0` and 12 steps.

Judged on validation participants with few draws, the same noise for all; times are those of this machine.
"""

import argparse
import copy
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from spiro_diffusion.compute import runtime
from spiro_diffusion.compute.runtime import Runtime
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.batching import batches
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.params import filled, read_params
from spiro_diffusion.dataset.raw_curves import read_table
from spiro_diffusion.dataset.signals import load_rows
from spiro_diffusion.dataset.splits import rows_of_part
from spiro_diffusion.evaluation import candidates, data, measured
from spiro_diffusion.evaluation.candidates import Candidate
from spiro_diffusion.evaluation.figures import to_json
from spiro_diffusion.evaluation.judge import judge
from spiro_diffusion.evaluation.real import Real
from spiro_diffusion.evaluation.registry import Question, at
from spiro_diffusion.generation.generator import BATCH, Generator
from spiro_diffusion.models import conditioning, effort_facts
from spiro_diffusion.models.condition_tokens import Augmentation
from spiro_diffusion.models.latent_diffusion import CLDM
from spiro_diffusion.models.samplers import SamplerName
from spiro_diffusion.models.vqvae import CHANNELS, TOKENS
from spiro_diffusion.pipeline import run as bare
from spiro_diffusion.pipeline.train_cldm import Params
from spiro_diffusion.training import few_steps, loop
from spiro_diffusion.training.denoising import Examples

STANDARDISED = 2048  # curves at a time
QUESTIONS: tuple[Question, ...] = ("spread", "calibration", "two_sample")
FIGURES = {  # column: path in the judge's tree
    "CRPS FEV1": "calibration.every.unweighted.fev1.crps",
    "CRPS FVC": "calibration.every.unweighted.fvc.crps",
    "residual SD FEV1": "spread.every.unweighted.fev1.residual_sd_ratio",
    "residual SD FVC": "spread.every.unweighted.fvc.residual_sd_ratio",
    "residual SD PEF": "spread.every.unweighted.pef.residual_sd_ratio",
    "80 % FEV1": "calibration.every.unweighted.fev1.coverage_80",
    "80 % FVC": "calibration.every.unweighted.fvc.coverage_80",
    "80 % PEF": "calibration.every.unweighted.pef.coverage_80",
    "AUC clinical": "two_sample.every.clinical.auc",
    "AUC detailed": "two_sample.every.detailed.auc",
    "AUC fine": "two_sample.every.fine.auc",
    "AUC whole": "two_sample.every.whole.auc",
}


class Way(NamedTuple):
    """A model and how it is sampled."""

    name: str
    generator: Generator
    sampler: SamplerName
    steps: int


class Lessons(NamedTuple):
    """What a student learns from."""

    examples: Examples
    change: Augmentation
    train: Tensor


def lessons(folder: Path, cldm: CLDM, params: Params, compute: Runtime) -> Lessons:
    """Curves of a run as its diffusion was trained on them (`pipeline.train_cldm`)."""
    table = read_table(folder / "data" / "curves.parquet")
    latents = torch.from_numpy(load_rows(folder / "data" / "latents.npy", len(table), (TOKENS, CHANNELS), half=True))
    logs = effort_facts.read(table)
    determined = np.isfinite(logs).all(axis=1)
    taught = (rows_of_part(table, "train"), rows_of_part(table, "choosing"))
    train, choosing = (torch.from_numpy(rows[determined[rows]]) for rows in taught)
    clean = [cldm.standardise(latents[part].float().to(compute.device)) for part in batches(len(table), STANDARDISED)]
    fact_conditions = cldm.facts.as_conditions(torch.from_numpy(logs).float().to(compute.device))
    conditions = torch.cat([torch.from_numpy(conditioning.encode(table)).to(compute.device), fact_conditions], dim=1)
    change = params.augmentation(len(effort_facts.NAMES)).to(compute.device)
    weights = loop.equal_people(table["seqn"].to_numpy()[choosing.numpy()]).to(compute.device)
    examples = Examples(torch.cat(clean), conditions, choosing.to(compute.device), weights)
    return Lessons(examples, change, train.to(compute.device))


def distilled(cldm: CLDM, jumps: int, learned: Lessons, recipe: loop.Recipe, run: str, compute: Runtime) -> CLDM:
    """The model with a denoiser for `jumps` evaluations, and the noise levels that `karras_sigmas` needs for them."""
    student = copy.deepcopy(cldm)
    noise = cldm.config.noise
    task = few_steps.JumpTask(cldm.denoiser, jumps, noise, learned.examples, learned.change, recipe.seed)
    print(f"{jumps} jumps: score before {_score(task):.4f}", end="", file=sys.stderr, flush=True)
    name = f"few_steps_{jumps}"
    fitted = loop.fit(task, recipe, learned.train, compute, name, run)
    loop.done(run, name)
    student.denoiser.load_state_dict(fitted.weights)
    print(f", after {_score(task):.4f}", file=sys.stderr, flush=True)
    student.config = replace(cldm.config, noise=task.sampled)
    return student


@torch.no_grad()
def _score(task: few_steps.JumpTask) -> float:
    task.model.eval()
    return task.validate()["score"]


def judged(way: Way, real: Real, draws: int, resamples: int, seed: int) -> dict[str, Any]:
    """The judge's figures of one way to sample, and its finished curves a second."""

    def sampler(people: pd.DataFrame, n: int, at_seed: int) -> np.ndarray:
        return way.generator.sample(people, n, at_seed, sampler=way.sampler, steps=way.steps, progress=False)

    candidate = Candidate(*measured.draw(sampler, real.held_out.people, draws, seed, way.name, 0))
    return _figures(candidate, real, resamples, seed, way.name) | {"curves/s": _speed(way, real.held_out.people)}


def _figures(candidate: Candidate, real: Real, resamples: int, seed: int, name: str) -> dict[str, Any]:
    tree = judge(candidate, real, resamples=resamples, seed=seed, name=name, questions=QUESTIONS)
    return {"way": name} | {column: to_json(at(tree, path)) for column, path in FIGURES.items()}


def _speed(way: Way, people: pd.DataFrame) -> float:
    """Finished curves a second, median of five full batches behind those that warm up and capture."""
    batch = BATCH[way.generator.runtime.device.type]
    many, times = people.iloc[np.arange(batch) % len(people)], []
    for _ in range(7):
        began = time.perf_counter()
        way.generator.sample(many, 1, 0, sampler=way.sampler, steps=way.steps, progress=False)  # ends on the CPU
        times.append(time.perf_counter() - began)
    return round(batch / statistics.median(times[2:]), 1)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    columns = ["way", *FIGURES, "curves/s"]
    lines = ["| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]
    for row in rows:
        cells = [f"{row[c]['value']:.4f}" if row[c]["value"] is not None else "" for c in FIGURES]
        lines.append(f"| {row['way']} | " + " | ".join(cells) + f" | {row.get('curves/s', '')} |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.few_steps", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="of a run: data/ and models/")
    parser.add_argument("--preset", type=Path, help="of the run, for the recipe")
    parser.add_argument("--epochs", type=int, default=20, help="of each student")
    parser.add_argument("--batch", type=int, help="curves a step; else the recipe's")
    parser.add_argument("--rate", type=float, default=0.5, help="peak learning rate, as a share of the recipe's")
    parser.add_argument("--evaluations", type=int, nargs="*", default=[4, 2, 1], help="of each student")
    parser.add_argument("--teacher", type=int, nargs="*", default=[12, 4, 3, 2], help="levels of the trained model")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        compared(options)
    except SpiroError as error:
        sys.exit(f"few_steps: {error}")


def compared(options: argparse.Namespace) -> None:
    """Distil, judge, print the table and write the JSON.

    Raises SpiroError where a file of the run is missing or the teacher's steps cannot be shared out.
    """
    for jumps in options.evaluations:
        if jumps < 1 or few_steps.SUBSTEPS % jumps:
            raise SpiroError(f"--evaluations {jumps}: expected a divisor of {few_steps.SUBSTEPS}")
    compute = runtime.configure(runtime.RuntimeParams(device=options.device))
    folder, seed = options.folder, options.seed
    changes = bare.settings(options.preset) if options.preset else []
    section = bare.merged(read_params(), changes)["train_cldm"]
    params = filled(Params, section, "train_cldm.")
    recipe = loop.Recipe(
        epochs=options.epochs,
        batch=options.batch or params.batch,
        lr=options.rate * params.lr,
        warmup=params.warmup,
        weight_decay=params.weight_decay,
        clip=params.clip,
        ema=params.ema,
        validate_every=max(1, options.epochs // 4),
        seed=seed,
    )
    files = {name: folder / "models" / f"{name}.safetensors" for name in ("vqvae", "cldm")}
    teacher = Generator.from_checkpoints(files["vqvae"], files["cldm"], compute)
    if teacher.cldm.config.sampling.sampler == "euler":
        raise SpiroError(f"{files['cldm']}: is a student; train with student_epochs=0 and 12 steps")
    learned = lessons(folder, teacher.cldm, params, compute)
    run = loop.fingerprint(recipe, [files["cldm"]], Path(__file__))
    ways = [Way(f"trained, {steps} levels", teacher, "dpmpp_2m", steps) for steps in options.teacher]
    seconds = {}
    for jumps in options.evaluations:
        began = time.monotonic()
        student = distilled(teacher.cldm, jumps, learned, recipe, run, compute)
        seconds[jumps] = round(time.monotonic() - began, 1)
        ways.append(
            Way(f"student, {jumps}", Generator(teacher.vqvae, student, teacher.made_from, compute), "euler", jumps)
        )
        if jumps > 1:  # what its levels alone are worth
            plain = copy.deepcopy(teacher.cldm)
            plain.config = student.config
            name = f"trained, the student's {jumps} levels"
            ways.append(Way(name, Generator(teacher.vqvae, plain, teacher.made_from, compute), "dpmpp_2m", jumps))
    del learned

    inputs = folder / "data"
    real = data.load_real(
        inputs / "signals_L512.npy", inputs / "curves.parquet", inputs / "repaired", "reporting", seed
    )
    rows = [_figures(candidates.floor(real, options.draws, seed), real, options.resamples, seed, "floor")]
    for way in ways:
        rows.append(judged(way, real, options.draws, options.resamples, seed))
        print(table(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    judges = {"participants": int(real.held_out.people["seqn"].nunique()), "curves": len(real.held_out.people)}
    device = torch.cuda.get_device_name() if compute.device.type == "cuda" else "cpu"
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items() if k not in ("out", "folder")}
    artifacts.write_json(
        options.out,
        {"device": device, "split": "validation", **judges, **settings, "training_s": seconds, "rows": rows},
    )
    print(table(rows))


if __name__ == "__main__":
    main()
