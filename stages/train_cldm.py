"""Stage train_cldm: teach the U-Net to draw latents for a person and an effort."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from spiro_diffusion import artifacts, conditions, runtime, training
from spiro_diffusion.cldm import CLDM, CLDMConfig, principal_axes, save_cldm
from spiro_diffusion.diffusion import Noise, denoising_loss, draw_sigma
from spiro_diffusion.errors import SpiroError
from spiro_diffusion.log import Log
from spiro_diffusion.signals import load_rows, rows_of
from spiro_diffusion.stage import run_stage
from spiro_diffusion.unet import UNetConfig
from spiro_diffusion.vqvae import CHANNELS, TOKENS, load_vqvae


@dataclass(frozen=True)
class Params(training.Recipe):
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

    def model(self, channels: int) -> CLDMConfig:
        """The part that decides shapes and noise levels."""
        return CLDMConfig(
            UNetConfig(
                channels, self.width, tuple(self.multipliers), self.blocks, self.head, self.context, self.dropout
            ),
            Noise(self.noise_mean, self.noise_sd, self.noise_minimum, self.noise_maximum),
        )


class CLDMTask:
    """Denoising of latents; see `training.Task`."""

    BATCH = 512  # curves a validation step

    def __init__(
        self, model: CLDM, latents: Tensor, known: Tensor, validation: Tensor, weights: Tensor, params: Params
    ) -> None:
        """`latents` (n, 64, 128) on any device, `known` conditions (n, 6) and `validation` rows on the model's;
        `weights` of the validation rows make every participant count the same."""
        self.model, self.latents, self.known, self.params = model, latents, known, params
        self.validation, self.weights = validation, weights
        self.channels = model.config.network.channels
        self.jitter = conditions.jitter_scale(params.age_jitter, params.height_jitter).to(known.device)
        self.hide = conditions.optional(params.optional_dropout).to(known.device)
        generator = torch.Generator().manual_seed(params.seed)  # the same noise at every validation
        n = len(validation)
        self.fixed_sigma = draw_sigma(n, model.config.noise, generator, torch.device("cpu")).to(known.device)
        self.fixed_noise = torch.randn((n, TOKENS, self.channels), generator=generator).to(known.device)

    def start_epoch(self, epoch: int, generator: torch.Generator) -> bool:
        return False

    def draw(self, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        device = self.known.device
        sigma = draw_sigma(rows, self.model.config.noise, generator, device)
        noise = torch.randn((rows, TOKENS, self.channels), generator=generator, device=device)
        blank = torch.zeros((rows, self.known.shape[1]), device=device)
        change = conditions.jitter(blank, self.jitter, generator)
        return sigma, noise, conditions.drop(change, self.params.condition_dropout, self.hide, generator)

    def loss(self, rows: Tensor, draws: tuple[Tensor, ...]) -> dict[str, Tensor]:
        sigma, noise, change = draws
        clean = self.model.standardise(self._latents(rows))
        each = denoising_loss(self.model.denoiser, clean, self.known[rows] + change, sigma, noise)
        return {"loss": each.mean()}

    def validate(self) -> dict[str, float]:
        parts = []
        for part in training.batches(len(self.validation), self.BATCH):
            rows = self.validation[part]
            clean = self.model.standardise(self._latents(rows))
            sigma, noise = self.fixed_sigma[part], self.fixed_noise[part]
            parts.append(denoising_loss(self.model.denoiser, clean, self.known[rows], sigma, noise))
        return {"score": (torch.cat(parts).double() * self.weights).sum().item()}

    def _latents(self, rows: Tensor) -> Tensor:
        return self.latents[rows.to(self.latents.device)].to(self.known.device)


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
    """Train the diffusion on the train participants; keep the averaged weights that denoise validation curves best."""
    place = runtime.start()
    run = training.fingerprint(params, [latents, moments, curves])
    load_vqvae(vqvae)  # a checkpoint that cannot be read ends the stage now, not after the training
    table = pd.read_parquet(curves)
    held = torch.from_numpy(load_rows(latents, len(table), (TOKENS, CHANNELS)))
    if place.device.type == "cuda":
        held = held.to(place.device)
    known = torch.from_numpy(conditions.encode(table)).to(place.device)
    held_moments = artifacts.read_json(moments)
    if len(held_moments["mean"]) != CHANNELS:
        raise SpiroError(
            f"{moments}: {len(held_moments['mean'])} channels, expected {CHANNELS}; run `dvc repro encode`"
        )
    axes = principal_axes(np.array(held_moments["mean"]), np.array(held_moments["covariance"]))
    torch.manual_seed(params.seed)
    model = CLDM(params.model(len(axes.axes))).to(place.device)
    model.mean.copy_(axes.mean)
    model.axes.copy_(axes.axes)
    model.scale.copy_(axes.scale)
    train, validation = (rows_of(table, split, place.device) for split in ("train", "validation"))
    people = table["seqn"].to_numpy()[validation.cpu().numpy()]
    _, person, efforts = np.unique(people, return_inverse=True, return_counts=True)
    weights = torch.from_numpy(1 / efforts[person] / len(efforts)).to(place.device)
    task = CLDMTask(model, held, known, validation, weights, params)
    log = Log(metrics)
    fitted = training.fit(task, params, train, place, "train_cldm", run, log)
    made_from = {
        "data": artifacts.read_json(manifest)["source"],
        "participants": int(table.loc[table["split"] == "train", "seqn"].nunique()),
        "curves": len(train),
        "age": [float(table["age"].min()), float(table["age"].max())],
        "height": [float(table["height"].min()), float(table["height"].max())],
        "vqvae": artifacts.sha256(vqvae),
    }
    save_cldm(cldm, model.config, fitted.weights, made_from)
    log.close()


if __name__ == "__main__":
    run_stage(train_cldm, Params)
