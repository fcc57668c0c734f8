"""The trained generator as one object: people in, curves out."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from spiro_diffusion import artifacts, conditions, facts, surface
from spiro_diffusion.cldm import CLDM, load_cldm
from spiro_diffusion.diffusion import Denoiser, Noise, denoising_loss
from spiro_diffusion.errors import SpiroError
from spiro_diffusion.runtime import Runtime
from spiro_diffusion.samplers import SAMPLERS, karras_sigmas
from spiro_diffusion.training import batches
from spiro_diffusion.vqvae import TOKENS, VQVAE, load_vqvae

NOISE_BLOCK = 64  # draws that share one seeded noise generator: what decides the curves, whatever the batch
BATCH = {"cpu": 256, "cuda": 8192}  # draws at a time: what fits the caches; what fills the GPU
FACT_STEPS = 64  # noise levels of the facts' sampler: seven numbers cost nothing, and 18 levels widen them by 3 %
LEVELS = tuple(np.linspace(-1.0, 2.5, 8))  # log sigma at which latents are denoised to see whether they are known
FACT_LEVELS = tuple(np.linspace(-2.0, 1.0, 8))  # likewise of the facts


class Drawing(NamedTuple):
    """How a batch is drawn; `first` is the number of its first draw."""

    seed: int
    first: int
    sampler: str
    guidance: float


class Generator:
    """Draws signals (512 bins of flow, L/s) for people, and reads curves through the VQ-VAE."""

    def __init__(self, vqvae: VQVAE, cldm: CLDM, made_from: dict[str, Any], place: Runtime) -> None:
        self.vqvae = vqvae.to(place.device).eval()
        self.cldm = cldm.to(place.device).eval()
        self.made_from, self.place = made_from, place

    @classmethod
    def from_checkpoints(cls, vqvae: Path, cldm: Path, place: Runtime) -> "Generator":
        """Load both models.

        Raises SpiroError where one is missing or damaged, or the diffusion was trained on the latents of
        another VQ-VAE.
        """
        model, made_from = load_cldm(cldm)
        if made_from["vqvae"] != artifacts.sha256(vqvae):
            raise SpiroError(f"{cldm}: was trained on the latents of another VQ-VAE than {vqvae}; fetch both again")
        return cls(load_vqvae(vqvae), model, made_from, place)

    def sample(
        self,
        people: pd.DataFrame,
        draws: int,
        seed: int,
        *,
        sampler: str = "dpmpp_2m",
        steps: int = 18,
        guidance: float = 1.0,
        batch: int | None = None,
        progress: bool = True,
    ) -> np.ndarray:
        """Signals float32 (people, draws, 512), L/s: what passes the mouth, before any counter.

        A row's draws depend on the seed and its place in the table, not on the batch size. `guidance` 1
        samples the conditional distribution; more overstates what the conditions say.
        """
        known, features = _tensors(people)
        total = len(people) * draws
        out = np.empty((total, 512), np.float32)
        batch = batch or BATCH[self.place.device.type]
        step = max(1, batch // NOISE_BLOCK) * NOISE_BLOCK
        parts = list(batches(total, step))
        with torch.inference_mode():
            for part in tqdm(
                parts, "generate", unit="batch", disable=not progress, mininterval=1, delay=1, leave=False
            ):
                rows = torch.arange(part.start, part.stop) // draws
                latents = self.latents(known[rows], features[rows], seed, part.start, sampler, steps, guidance)
                out[part] = self.vqvae.decode(self.vqvae.snap(latents)).flow.cpu().numpy()
        return out.reshape(len(people), draws, 512)

    def latents(
        self,
        known: Tensor,
        features: Tensor,
        seed: int,
        first: int,
        sampler: str,
        steps: int,
        guidance: float = 1.0,
    ) -> Tensor:
        """Tokens (B, 64, 128) before they are snapped to codes; `first` is the number of the first draw."""
        model, device = self.cldm, self.place.device
        known, features = known.to(device), features.to(device)
        drawing = Drawing(seed, first, sampler, guidance)
        shape = (1, len(facts.NAMES))
        drawn = self._draw(model.facts.denoiser, known, model.config.facts_noise, FACT_STEPS, shape, 1, drawing)
        return self._told(known, model.facts.restore(drawn, features), steps, drawing)

    def told(self, people: pd.DataFrame, logs: np.ndarray, seed: int, *, steps: int = 18) -> np.ndarray:
        """Signals float32 (n, 512), L/s, of efforts whose facts are given: one curve for each row of `people` and of
        `logs` (n, 7), natural logarithms in the order of `facts.NAMES`."""
        known, wanted = torch.from_numpy(conditions.encode(people)), torch.from_numpy(logs.astype(np.float32))
        out = np.empty((len(people), 512), np.float32)
        device = self.place.device
        with torch.inference_mode():
            for part in batches(len(people), BATCH[device.type]):
                drawing = Drawing(seed, part.start, "dpmpp_2m", 1.0)
                latents = self._told(known[part].to(device), wanted[part].to(device), steps, drawing)
                out[part] = self.vqvae.decode(self.vqvae.snap(latents)).flow.cpu().numpy()
        return out

    def _told(self, known: Tensor, logs: Tensor, steps: int, drawing: Drawing) -> Tensor:
        """Tokens (B, 64, 128) of efforts with facts `logs` (B, 7)."""
        model = self.cldm
        known = torch.cat([known, model.facts.as_conditions(logs)], dim=1)
        with self.place.autocast():
            shape = (TOKENS, model.config.network.channels)
            drawn = self._draw(model.denoiser, known, model.config.noise, steps, shape, 0, drawing)
        return model.restore(drawn.float())

    def _draw(
        self,
        denoiser: Denoiser,
        known: Tensor,
        noise: Noise,
        steps: int,
        shape: tuple[int, ...],
        stream: int,
        drawing: Drawing,
    ) -> Tensor:
        """A sample (B, *shape) of a denoiser for conditions (B, k)."""
        blank = torch.full_like(known, torch.nan)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            level = sigma.expand(len(x))
            clean = denoiser(x, level, known)
            if drawing.guidance != 1.0:
                free = denoiser(x, level, blank)
                clean = free + drawing.guidance * (clean - free)
            return clean

        sigmas = karras_sigmas(steps, noise.minimum, noise.maximum).to(self.place.device)
        start = self._noise(shape, len(known), drawing.seed, drawing.first, stream) * sigmas[0]
        return SAMPLERS[drawing.sampler](denoise, start, sigmas)

    def reconstruct(self, signals: np.ndarray, batch: int = 1024) -> np.ndarray:
        """Mean flow (n, 512) of curves sent through the VQ-VAE."""
        with torch.inference_mode():
            read = [
                self.vqvae.decode(self.vqvae.encode(self._flow(signals[part]))) for part in batches(len(signals), batch)
            ]
            return torch.cat([r.flow.cpu() for r in read]).numpy()

    def codes(self, signals: np.ndarray, batch: int = 1024) -> np.ndarray:
        """Codes (n, 64, groups) of curves."""
        with torch.inference_mode():
            parts = [self.vqvae.codes(self._flow(signals[part])).cpu() for part in batches(len(signals), batch)]
        return torch.cat(parts).numpy()

    def denoising_loss(self, signals: np.ndarray, people: pd.DataFrame, seed: int, batch: int = 512) -> np.ndarray:
        """Denoising loss (n,) of curves and of their facts over eight fixed noise levels each, for membership
        inference. `people` has the columns of the facts too; an effort without facts has no loss (NaN)."""
        device, model = self.place.device, self.cldm
        known, features = (t.to(device) for t in _tensors(people))
        logs = torch.from_numpy(facts.read(people)).float().to(device)
        out = []
        with torch.inference_mode():
            for part in batches(len(signals), batch // NOISE_BLOCK * NOISE_BLOCK):
                losses = self._loss(
                    model.facts.denoiser,
                    model.facts.standardise(logs[part], features[part]),
                    known[part],
                    (seed, part.start, FACT_LEVELS),
                )
                clean = model.standardise(self.vqvae.encode(self._flow(signals[part])))
                both = torch.cat([known[part], model.facts.as_conditions(logs[part])], dim=1)
                with self.place.autocast():
                    losses += self._loss(model.denoiser, clean, both, (seed, part.start, LEVELS))
                out.append(torch.where(logs[part].isfinite().all(1), losses, torch.nan).cpu())
        return torch.cat(out).numpy()

    def _loss(
        self, denoiser: Denoiser, clean: Tensor, known: Tensor, levels: tuple[int, int, tuple[float, ...]]
    ) -> Tensor:
        """Mean loss (B,) over noise levels; `levels` are seed, number of the first row, log sigmas."""
        seed, first, logs = levels
        losses = torch.zeros(len(clean), device=clean.device)
        for i, level in enumerate(logs):
            noise = self._noise(tuple(clean.shape[1:]), len(clean), seed + i, first, stream=2)
            sigma = torch.full((len(clean),), math.exp(level), device=clean.device)
            losses += denoising_loss(denoiser, clean, known, sigma, noise)
        return losses / len(logs)

    def _flow(self, signals: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(signals, dtype=np.float32)).to(self.place.device)

    def _noise(self, shape: tuple[int, ...], rows: int, seed: int, first: int, stream: int) -> Tensor:
        """Standard normal numbers of draws first ... first + rows; `first` is a multiple of NOISE_BLOCK."""
        device = self.place.device
        blocks = []
        for start in range(first, first + rows, NOISE_BLOCK):
            name = np.random.SeedSequence([seed, start // NOISE_BLOCK, stream]).generate_state(1, np.uint64)[0]
            generator = torch.Generator(device).manual_seed(int(name >> np.uint64(1)))
            blocks.append(torch.randn((NOISE_BLOCK, *shape), generator=generator, device=device))
        return torch.cat(blocks)[:rows]


def _tensors(people: pd.DataFrame) -> tuple[Tensor, Tensor]:
    """Conditions (n, 6) and features of the mean surface (n, 12)."""
    return torch.from_numpy(conditions.encode(people)), torch.from_numpy(surface.features(people)).float()
