"""Stage baselines: judge simple rivals with the same questions, on the same participants, beside the generator."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from spiro_diffusion.compute import runtime
from spiro_diffusion.compute.runtime import Runtime
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.batching import batches
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.dataset.raw_curves import read_table
from spiro_diffusion.dataset.signals import load_signals, rows_of
from spiro_diffusion.evaluation import baselines as rivals
from spiro_diffusion.evaluation import candidates, data, targets
from spiro_diffusion.evaluation import origin as recipe
from spiro_diffusion.evaluation.candidates import Candidate
from spiro_diffusion.evaluation.judge import judge
from spiro_diffusion.evaluation.judge import rivals as against_rivals
from spiro_diffusion.evaluation.real import Real
from spiro_diffusion.reporting import report
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
    """What a rival is made from."""

    real: Real
    params: Params
    seed: int
    signals: Path
    curves: Path


def pca(task: Task) -> Candidate:
    """24 principal components, Gaussian given the conditions."""
    model = rivals.PCA.fit(task.real.train_signals, task.real.train)
    return candidates.of_sampler(model.sample, task.real, task.params.draws, task.seed, "PCA")


def neighbours(task: Task) -> Candidate:
    """A training curve of someone alike."""
    model = rivals.Neighbours(task.real.train_signals, task.real.train)
    return candidates.of_sampler(model.sample, task.real, task.params.draws, task.seed, "neighbours")


def reference(task: Task) -> Candidate:
    """GLI Global and Hankinson."""
    return candidates.reference(task.real, task.params.draws, task.seed)


def origin(task: Task) -> Candidate:
    """The recipe that the project began with, trained on the same curves."""
    with runtime.start().applied() as place:
        return _origin(task, place)


def _origin(task: Task, place: Runtime) -> Candidate:
    params = task.params
    run = loop.fingerprint(params, [task.signals, task.curves], Path(__file__))
    table = read_table(task.curves)
    flow = load_signals(task.signals, len(table)).to(place.device)
    train, validation = rows_of(table, "train", place.device), rows_of(table, "choosing", place.device)
    torch.manual_seed(task.seed)
    vqvae, unet = recipe.PlainVQVAE().to(place.device), recipe.PlainUNet().to(place.device)
    first = recipe.VQVAETask(vqvae, flow, validation)
    fitted = loop.fit(first, params.recipe(params.origin_vqvae_epochs), train, place.exact(), "origin_vqvae", run)
    vqvae.load_state_dict(fitted.weights)
    with torch.inference_mode():
        tokens = torch.cat([vqvae.snap(vqvae.encode(flow[part])) for part in batches(len(flow), 1024)])
    schedule = recipe.Schedule.linear(params.origin_steps, place.device)
    second = recipe.NoiseTask(unet, tokens.clone(), recipe.told(table).to(place.device), validation, schedule)
    fitted = loop.fit(second, params.recipe(params.origin_epochs), train, place, "origin", run)
    unet.load_state_dict(fitted.weights)
    model = recipe.Origin(vqvae, unet, schedule, place)
    drawn = candidates.of_sampler(model.sample, task.real, params.origin_draws, task.seed, "origin")
    loop.done(run, "origin_vqvae", "origin")
    return drawn


BASELINES: dict[str, Callable[[Task], Candidate]] = {
    "PCA": pca,
    "neighbours": neighbours,
    "GLI and Hankinson": reference,
    "origin's recipe": origin,
}


def baselines(
    params: Params,
    *,
    signals: Path,
    curves: Path,
    repaired: Path,
    judged: Path,
    evaluate_plots: Path,
    resample_plots: Path,
    align_metrics: Path,
    filter_metrics: Path,
    resample_metrics: Path,
    metrics: Path,
    report_file: Path,
) -> None:
    """Fit each rival to the training curves, judge it as the generator was, and show all in one table."""
    result = artifacts.read_json(judged)
    about = result["data"]
    seed, resamples = about["seed"], about["resamples"]
    real = data.load_real(signals, curves, repaired, about["split"], seed)
    if data.about(real, about["source"], {}).items() - about.items():
        raise SpiroError(f"{judged}: was judged on other participants than these; run `dvc repro evaluate`")
    task = Task(real, params, seed, signals, curves)
    trees = {}
    chosen = {name: make for name, make in BASELINES.items() if make is not origin or params.origin_epochs}
    for name, make in chosen.items():
        trees[name] = judge(make(task), real, resamples=resamples, seed=seed, name=name)

    generator, floor = result["generator"], result["floor"]
    generator["crps_rivals"] = against_rivals(generator, trees, resamples, seed)
    verdicts = targets.verdicts(generator, floor)
    result |= {"baselines": trees, "targets": verdicts}
    result["data"]["baselines"] = asdict(params)
    artifacts.write_json(metrics / "judge.json", result)
    headlines = {name: targets.summary(tree, []) for name, tree in trees.items()}
    artifacts.write_json(metrics / "summary.json", {"generator": targets.summary(generator, verdicts), **headlines})

    from spiro_diffusion.plotting import style  # noqa: PLC0415
    from spiro_diffusion.reporting import judge_plots  # noqa: PLC0415 (Matplotlib: half a second)

    shown = {"generator": generator, "floor": floor, "grid round trip": result["grid_round_trip"], **trees}
    compared = metrics / "plots" / "two_sample.png"
    style.save(compared, lambda: judge_plots.two_sample(shown))
    pictures = {p.stem: p for folder in (evaluate_plots, resample_plots) for p in sorted(folder.glob("*.png"))}
    stages = {"align": align_metrics, "filter": filter_metrics, "resample": resample_metrics}
    earlier = {name: artifacts.read_json(path) for name, path in stages.items()}
    artifacts.write_text(report_file, report.render(result, pictures | {"two_sample": compared}, earlier))
