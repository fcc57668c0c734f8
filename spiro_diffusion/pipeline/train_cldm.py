"""Stage train_cldm: teach two networks to draw the facts of an effort for a person, and its latents for both."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from spiro_diffusion.compute import distributed, runtime
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.dataset.raw_curves import read_table
from spiro_diffusion.dataset.signals import load_rows, pieces, rows_of
from spiro_diffusion.models import conditioning, index_diffusion
from spiro_diffusion.models.edm import Noise
from spiro_diffusion.models.latent_diffusion import CLDM, CLDMConfig, principal_axes, save_cldm
from spiro_diffusion.models.unet import UNetConfig
from spiro_diffusion.models.vqvae import CHANNELS, TOKENS, load_vqvae
from spiro_diffusion.physiology import mean_surface
from spiro_diffusion.training import denoising, loop
from spiro_diffusion.training.denoising import Change, DenoisingTask
from spiro_diffusion.training.log import Log

FACTS_REPEATS = 8  # noise levels at which each validation effort's facts are denoised: seven numbers average little


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
    age_jitter: float
    height_jitter: float
    facts_jitter: float
    facts_epochs: int
    facts_batch: int
    facts_lr: float
    facts_width: int
    facts_blocks: int
    facts_dropout: float
    facts_noise_mean: float
    facts_noise_sd: float

    def model(self, channels: int) -> CLDMConfig:
        """The part that decides shapes and noise levels."""
        multipliers = tuple(self.multipliers)
        return CLDMConfig(
            UNetConfig(
                channels,
                self.width,
                multipliers,
                self.blocks,
                self.head,
                self.context,
                self.dropout,
                len(index_diffusion.NAMES),
            ),
            Noise(self.noise_mean, self.noise_sd, self.noise_minimum, self.noise_maximum),
            index_diffusion.FactsConfig(self.facts_width, self.facts_blocks, self.facts_dropout),
            Noise(
                self.facts_noise_mean, self.facts_noise_sd, index_diffusion.NOISE_MINIMUM, index_diffusion.NOISE_MAXIMUM
            ),
        )

    @property
    def facts_recipe(self) -> loop.Recipe:
        """What differs for the facts: epochs, batch and rate."""
        return loop.Recipe(
            self.facts_epochs,
            self.facts_batch,
            self.facts_lr,
            self.warmup,
            self.weight_decay,
            self.clip,
            self.ema,
            self.validate_every,
            self.seed,
        )


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
    """Train both diffusions on the train participants; keep the averaged weights that denoise validation best."""
    place = runtime.start()
    run = loop.fingerprint(params, [latents, moments, curves])
    load_vqvae(vqvae)  # a checkpoint that cannot be read ends the stage now, not after the training
    table = read_table(
        curves, ["seqn", "split", *index_diffusion.NAMES, *conditioning.NUMBERS, *conditioning.CATEGORIES]
    )
    held = load_rows(latents, len(table), (TOKENS, CHANNELS))
    logs = index_diffusion.read(table)
    # test participants are not looked at, and an effort without facts teaches nothing
    learned = np.flatnonzero(table["split"].isin(["train", "validation"]) & np.isfinite(logs).all(axis=1))
    table, logs = table.iloc[learned], logs[learned]
    train, validation = (rows_of(table, split, place.device) for split in ("train", "validation"))
    trained = train.cpu().numpy()

    torch.manual_seed(params.seed)
    with threadpool_limits(limits=1, user_api="blas"):  # the same digits on any number of cores
        axes = principal_axes(*_moments(moments))
        model = CLDM(params.model(len(axes.axes)))
        model.facts.fit_scales(logs[trained], table.iloc[trained])
    for name, value in axes._asdict().items():
        getattr(model, name).copy_(value)
    tensors = torch.from_numpy(logs).float(), torch.from_numpy(mean_surface.features(table)).float()
    clean_facts, fact_conditions = model.facts.standardise(*tensors), model.facts.as_conditions(tensors[0])
    clean = torch.empty((len(table), TOKENS, len(axes.axes)), device=place.device)
    for part, tokens in pieces(held, learned):
        clean[part] = model.standardise(torch.from_numpy(tokens)).to(place.device)
    model.to(place.device)

    known = torch.from_numpy(conditioning.encode(table)).to(place.device)
    weights = denoising.equal_people(table["seqn"].to_numpy()[validation.cpu().numpy()]).to(place.device)
    jitter = conditioning.jitter_scale(params.age_jitter, params.height_jitter)
    hidden = conditioning.optional(params.optional_dropout)
    change = Change(jitter.to(place.device), hidden.to(place.device), params.condition_dropout)

    task = DenoisingTask(
        model.facts.denoiser,
        clean_facts.to(place.device),
        known,
        model.config.facts_noise,
        change,
        validation,
        weights,
        params.seed,
        FACTS_REPEATS,
    )
    log = Log(metrics / "facts")
    exact = place.exact()  # a few small layers: nothing to gain from short numbers
    fitted = loop.fit(task, params.facts_recipe, train, exact, "train_cldm_facts", run, log)
    model.facts.denoiser.load_state_dict(fitted.weights)
    log.close()

    both = torch.cat([known, fact_conditions.to(place.device)], dim=1)
    task = DenoisingTask(
        model.denoiser,
        clean,
        both,
        model.config.noise,
        change.extended(params.facts_jitter, len(index_diffusion.NAMES)),
        validation,
        weights,
        params.seed,
    )
    log = Log(metrics)
    fitted = loop.fit(task, params, train, place, "train_cldm", run, log)
    model.denoiser.load_state_dict(fitted.weights)
    made_from = {
        "data": artifacts.read_json(manifest)["source"],
        "participants": int(table.loc[table["split"] == "train", "seqn"].nunique()),
        "curves": len(train),
        "age": [float(table["age"].min()), float(table["age"].max())],
        "height": [float(table["height"].min()), float(table["height"].max())],
        "vqvae": artifacts.sha256(vqvae),
    }
    if distributed.rank() == 0:
        save_cldm(cldm, model.config, model.state_dict(), made_from)
    log.close()
    loop.done(run, "train_cldm_facts", "train_cldm")


def _moments(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean (128,) and covariance (128, 128) of the latents' channels.

    Raises SpiroError where they are of another number of channels.
    """
    held = artifacts.read_json(path)
    if len(held["mean"]) != CHANNELS:
        raise SpiroError(f"{path}: {len(held['mean'])} channels, expected {CHANNELS}; run `dvc repro encode`")
    return np.array(held["mean"]), np.array(held["covariance"])
