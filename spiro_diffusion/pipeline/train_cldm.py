"""Stage train_cldm: train two networks, one for the facts of an effort, one for its latents given the facts."""

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

from spiro_diffusion.compute import distributed, runtime
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.errors import SpiroError, within
from spiro_diffusion.dataset.label_counts import COLUMNS, label_counts
from spiro_diffusion.dataset.raw_curves import read_table
from spiro_diffusion.dataset.signals import load_rows, pieces
from spiro_diffusion.dataset.splits import rows_of_part
from spiro_diffusion.models import conditioning, effort_facts, effort_sets, index_diffusion
from spiro_diffusion.models.condition_tokens import Augmentation
from spiro_diffusion.models.edm import Noise
from spiro_diffusion.models.header import MadeFrom
from spiro_diffusion.models.latent_diffusion import CLDM, CLDMConfig, principal_axes, save_cldm
from spiro_diffusion.models.samplers import Sampling
from spiro_diffusion.models.unet import UNetConfig
from spiro_diffusion.models.vqvae import CHANNELS, TOKENS, load_vqvae
from spiro_diffusion.physiology import mean_surface
from spiro_diffusion.training import facts as facts_training
from spiro_diffusion.training import few_steps, loop
from spiro_diffusion.training.denoising import DenoisingTask, Examples
from spiro_diffusion.training.log import Log


@dataclass(frozen=True)
class Params(loop.Recipe):
    """The section `train_cldm`: the recipe, the network, the noise levels, what the conditions go through."""

    width: int
    multipliers: list[int]
    blocks: int
    head: int
    context: int
    dropout: float
    noise_mean: float
    noise_sd: float
    noise_minimum: float
    noise_maximum: float
    condition_dropout: float
    optional_dropout: float
    facts_jitter: float
    facts_epochs: int
    facts_batch: int
    facts_lr: float
    facts_width: int
    facts_blocks: int
    facts_dropout: float
    facts_noise_mean: float
    facts_noise_sd: float
    steps: int
    student_epochs: int
    student_lr: float

    def __post_init__(self) -> None:
        within(self, steps=(1, 1000), student_epochs=(0, math.inf), student_lr=(0, 1))
        if self.student_epochs and few_steps.SUBSTEPS % self.steps:
            raise ValueError(f"steps of a student is {self.steps}; expected a divisor of {few_steps.SUBSTEPS}")

    def model(self, channels: int) -> CLDMConfig:
        """The part that decides shapes and noise levels."""
        shape = self.width, tuple(self.multipliers), self.blocks, self.head, self.context, self.dropout
        least, largest = index_diffusion.NOISE_MINIMUM, index_diffusion.NOISE_MAXIMUM
        return CLDMConfig(
            UNetConfig(channels, *shape, facts=len(effort_facts.NAMES)),
            Noise(self.noise_mean, self.noise_sd, self.noise_minimum, self.noise_maximum),
            index_diffusion.FactsConfig(self.facts_width, self.facts_blocks, self.facts_dropout),
            Noise(self.facts_noise_mean, self.facts_noise_sd, least, largest),
            Sampling("euler" if self.student_epochs else "dpmpp_2m", self.steps),
        )

    def augmentation(self, facts: int) -> Augmentation:
        """What the conditions and so many facts behind them go through in training."""
        return Augmentation.of(self.optional_dropout, self.condition_dropout, facts, self.facts_jitter)

    @property
    def facts_recipe(self) -> loop.Recipe:
        """What differs for the facts: epochs, batch and rate."""
        return self._recipe(epochs=self.facts_epochs, batch=self.facts_batch, lr=self.facts_lr)

    @property
    def student_recipe(self) -> loop.Recipe:
        """What differs for the student: epochs and rate."""
        return self._recipe(epochs=self.student_epochs, lr=self.student_lr)

    def _recipe(self, **other: Any) -> loop.Recipe:
        return loop.Recipe(**{field.name: getattr(self, field.name) for field in fields(loop.Recipe)} | other)


class Efforts(NamedTuple):
    """Efforts of the participants to learn from and to choose by, whose facts are all determined."""

    table: pd.DataFrame
    logs: NDArray[np.float64]  # (n, 9) facts
    rows: NDArray[np.int64]  # in the table of all curves
    train: NDArray[np.int64]  # positions among these
    choosing: NDArray[np.int64]

    @classmethod
    def read(cls, curves: Path) -> tuple["Efforts", int]:
        """From the table of all curves; and how many these are."""
        columns = (*effort_facts.COLUMNS, *conditioning.NAMES)
        whole = read_table(curves, ["seqn", "curve_number", *dict.fromkeys(columns)])
        logs = effort_facts.read(whole)
        parts = np.sort(np.concatenate([rows_of_part(whole, "train"), rows_of_part(whole, "choosing")]))
        rows = parts[np.isfinite(logs[parts]).all(axis=1)]  # an effort without facts is not used
        table = whole.iloc[rows].assign(place=effort_sets.places(whole.iloc[rows], "curve_number"))
        train, choosing = rows_of_part(table, "train"), rows_of_part(table, "choosing")
        return cls(table, logs[rows], rows, train, choosing), len(whole)


def train_cldm(
    params: Params,
    *,
    latents: Path,
    moments: Path,
    curves: Path,
    vqvae: Path,
    manifest: Path,
    cldm: Path,
    metrics: Path,
) -> None:
    """Train both diffusions on the train participants; keep the averaged weights that denoise the efforts of those to
    choose by best. Where `student_epochs` are given, a student that draws in `steps` evaluations takes the place of the
    latents' denoiser."""
    run = loop.fingerprint(params, [latents, moments, curves], Path(__file__))
    with runtime.start().applied() as compute:
        load_vqvae(vqvae)  # a checkpoint that cannot be read ends the stage now, not after the training
        efforts, curves_in_all = Efforts.read(curves)
        all_latents = load_rows(latents, curves_in_all, (TOKENS, CHANNELS), half=True)
        model = _untrained(params, efforts, moments)
        logs = torch.from_numpy(efforts.logs).float()
        features = torch.from_numpy(mean_surface.features(efforts.table)).float()
        facts_examples = facts_training.Examples.of(
            model.facts, efforts.table, efforts.logs, features, efforts.train
        ).to(compute.device)
        fact_conditions = model.facts.as_conditions(logs).to(compute.device)
        clean = torch.empty((len(efforts.rows), TOKENS, model.config.network.channels), device=compute.device)
        for part, tokens in pieces(all_latents, efforts.rows):
            clean[part] = model.standardise(torch.from_numpy(tokens)).to(compute.device)
        model.to(compute.device)

        conditions = torch.from_numpy(conditioning.encode(efforts.table)).to(compute.device)
        choosing = torch.from_numpy(efforts.choosing).to(compute.device)
        weights = loop.equal_people(efforts.table["seqn"].to_numpy()[efforts.choosing]).to(compute.device)
        train = torch.from_numpy(efforts.train).to(compute.device)

        log, change = Log(metrics / "facts"), params.augmentation(facts=0).to(compute.device)
        of_facts = facts_training.FactsTask(
            model.facts, facts_examples, choosing, model.config.facts_noise, change, params.seed
        )
        exact = compute.exact()  # a few small layers: nothing to gain from short numbers
        fitted = loop.fit(of_facts, params.facts_recipe, train, exact, "train_cldm_facts", run, log)
        model.facts.denoiser.load_state_dict(fitted.weights)
        log.close()

        examples = Examples(clean, torch.cat([conditions, fact_conditions], dim=1), choosing, weights)
        _fit_latents(model, params, examples, train, compute, run, metrics)
        source = artifacts.read_json(manifest)["source"]
        trained = efforts.table.iloc[efforts.train]
        labelled = read_table(curves, list(COLUMNS)).iloc[efforts.rows[efforts.train]]
        made_from = MadeFrom.of(source, trained, artifacts.sha256(vqvae), label_counts(labelled))
        if distributed.rank() == 0:
            save_cldm(cldm, model.config, model.state_dict(), made_from)
        loop.done(run, "train_cldm_facts", "train_cldm", "train_cldm_student")


def _fit_latents(
    model: CLDM, params: Params, examples: Examples, train: Tensor, compute: runtime.Runtime, run: str, metrics: Path
) -> None:
    """Train the latents' denoiser, and the student that takes its place where the params request one."""
    log, change = Log(metrics), params.augmentation(len(effort_facts.NAMES)).to(compute.device)
    task = DenoisingTask(model.denoiser, examples, model.config.noise, change, params.seed)
    fitted = loop.fit(task, params, train, compute, "train_cldm", run, log)
    model.denoiser.load_state_dict(fitted.weights)
    log.close()
    if not params.student_epochs:
        return
    student = few_steps.JumpTask(model.denoiser, params.steps, model.config.noise, examples, change, params.seed)
    fitted = loop.fit(student, params.student_recipe, train, compute, "train_cldm_student", run)
    model.denoiser.load_state_dict(fitted.weights)
    model.config = replace(model.config, noise=student.sampled)


def _untrained(params: Params, efforts: Efforts, moments: Path) -> CLDM:
    """The model with the axes of the latents, and the scales of the facts, of the training efforts."""
    torch.manual_seed(params.seed)
    with threadpool_limits(limits=1, user_api="blas"):  # the same digits on any number of cores
        axes = principal_axes(*_moments(moments))
        model = CLDM(params.model(len(axes.axes)))
        model.facts.fit_scales(efforts.logs[efforts.train], efforts.table.iloc[efforts.train])
    for name, value in axes._asdict().items():
        getattr(model, name).copy_(value)
    return model


def _moments(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean (128,) and covariance (128, 128) of the latents' channels.

    Raises SpiroError where they are of another number of channels.
    """
    moments = artifacts.read_json(path)
    if len(moments["mean"]) != CHANNELS:
        raise SpiroError(f"{path}: {len(moments['mean'])} channels, expected {CHANNELS}; run `dvc repro encode`")
    return np.array(moments["mean"]), np.array(moments["covariance"])
