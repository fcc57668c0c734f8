"""Stage baselines: judge simple models with the same questions and participants as the generator."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from spiro_diffusion.compute import runtime
from spiro_diffusion.compute.runtime import Runtime
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.batching import batches
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.dataset.raw_curves import read_table
from spiro_diffusion.dataset.signals import load_signals, rows_of
from spiro_diffusion.evaluation import baselines as models
from spiro_diffusion.evaluation import candidates, data, targets
from spiro_diffusion.evaluation import origin as recipe
from spiro_diffusion.evaluation.candidates import Candidate
from spiro_diffusion.evaluation.judge import judge, over_baselines
from spiro_diffusion.evaluation.real import Real
from spiro_diffusion.evaluation.record import Record
from spiro_diffusion.training import loop


@dataclass(frozen=True)
class Params:
    """The section `baselines`; whose participants judge, how, and by which seed is as evaluate did it."""

    draws: int  # curves for each held-out curve
    origin_vqvae_epochs: int
    origin_epochs: int  # 0 leaves the origin's recipe out, which takes a GPU at full size
    origin_batch: int
    origin_lr: float
    origin_steps: int  # of the DDPM
    origin_draws: int  # curves for each held-out curve: a thousand steps take long

    def __post_init__(self) -> None:
        for name in ("draws", "origin_draws"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 2 or more")

    def recipe(self, epochs: int) -> loop.Recipe:
        """A constant batch, no average of the weights."""
        return loop.Recipe(epochs, self.origin_batch, self.origin_lr, 0.0, 0.0, 1e9, 0.0, max(1, epochs // 5), 1)


@dataclass(frozen=True)
class Task:
    """What a baseline is made from."""

    real: Real
    params: Params
    seed: int
    signals: Path
    curves: Path


def pca(task: Task) -> Candidate:
    """24 principal components, Gaussian given the conditions."""
    model = models.PCA.fit(task.real.train_signals, task.real.train)
    return candidates.of_sampler(model.sample, task.real, task.params.draws, task.seed, "PCA", smooth=True)


def neighbours(task: Task) -> Candidate:
    """A training curve of someone alike."""
    model = models.Neighbours(task.real.train_signals, task.real.train)
    return candidates.of_sampler(model.sample, task.real, task.params.draws, task.seed, "neighbours")


def reference(task: Task) -> Candidate:
    """GLI Global and Hankinson."""
    return candidates.reference(task.real, task.params.draws, task.seed)


def origin(task: Task) -> Candidate:
    """The recipe that the project began with, trained on the same curves."""
    with runtime.start().applied() as compute:
        return _origin(task, compute)


def _origin(task: Task, compute: Runtime) -> Candidate:
    params = task.params
    run = loop.fingerprint(params, [task.signals, task.curves], Path(__file__))
    table = read_table(task.curves)
    flow = load_signals(task.signals, len(table)).to(compute.device)
    train, validation = rows_of(table, "train", compute.device), rows_of(table, "choosing", compute.device)
    torch.manual_seed(task.seed)
    vqvae, unet = recipe.PlainVQVAE().to(compute.device), recipe.PlainUNet().to(compute.device)
    first = recipe.VQVAETask(vqvae, flow, validation)
    fitted = loop.fit(first, params.recipe(params.origin_vqvae_epochs), train, compute.exact(), "origin_vqvae", run)
    vqvae.load_state_dict(fitted.weights)
    with torch.inference_mode():
        tokens = torch.cat([vqvae.snap(vqvae.encode(flow[part])) for part in batches(len(flow), 1024)])
    schedule = recipe.Schedule.linear(params.origin_steps, compute.device)
    second = recipe.NoiseTask(
        unet, tokens.clone(), recipe.encoded_conditions(table).to(compute.device), validation, schedule
    )
    fitted = loop.fit(second, params.recipe(params.origin_epochs), train, compute, "origin", run)
    unet.load_state_dict(fitted.weights)
    model = recipe.Origin(vqvae, unet, schedule, compute)
    drawn = candidates.of_sampler(model.sample, task.real, params.origin_draws, task.seed, "origin", smooth=True)
    loop.done(run, "origin_vqvae", "origin")
    return drawn


BASELINES: dict[str, Callable[[Task], Candidate]] = {
    "PCA": pca,
    "neighbours": neighbours,
    "GLI and Hankinson": reference,
    "origin's recipe": origin,
}


def baselines(params: Params, *, signals: Path, curves: Path, repaired: Path, judged: Path, metrics: Path) -> None:
    """Fit each baseline to the training curves and judge it as `judged`, the generator's judge.json, says."""
    record = Record.read(judged.parent)
    about = record.data
    seed, resamples = about["seed"], about["resamples"]
    real = data.load_real(signals, curves, repaired, about["part"], seed)
    if data.about(real, about["source"], about["part"], {}).items() - about.items():
        raise SpiroError(f"{judged}: was judged on other participants than these; run `dvc repro evaluate`")
    task = Task(real, params, seed, signals, curves)
    chosen = {name: make for name, make in BASELINES.items() if make is not origin or params.origin_epochs}
    trees = {name: judge(make(task), real, resamples=resamples, seed=seed, name=name) for name, make in chosen.items()}
    generator = record.generator | {"crps_over_baselines": over_baselines(record.generator, trees, resamples, seed)}
    verdicts = targets.verdicts(generator, record.floor)
    record = replace(record, generator=generator, baselines=trees, targets=verdicts)
    record.data["baselines"] = asdict(params)
    record.write(metrics)
    headlines = {name: targets.summary(tree, []) for name, tree in trees.items()}
    artifacts.write_json(metrics / "summary.json", {"generator": targets.summary(generator, verdicts), **headlines})
