"""The trained generator as one object: people in, curves out."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from spiro_diffusion.compute import distributed
from spiro_diffusion.compute.graphs import Graph, Step
from spiro_diffusion.compute.runtime import Runtime
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.batching import batches
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.models import conditioning, index_diffusion
from spiro_diffusion.models.edm import Denoiser, Noise, denoising_loss
from spiro_diffusion.models.latent_diffusion import CLDM, load_cldm
from spiro_diffusion.models.samplers import SAMPLERS, karras_sigmas
from spiro_diffusion.models.vqvae import TOKENS, VQVAE, load_vqvae
from spiro_diffusion.physiology import mean_surface

NOISE_BLOCK = 64  # draws that share one seeded noise generator: what decides the curves, whatever the batch
BATCH = {"cpu": 256, "cuda": 8192}  # draws at a time: what fits the caches; what fills the GPU
STEPS = 12  # noise levels of the latents' sampler: as good as 180 (docs/experiments.md, 42)
FACT_STEPS = 64  # noise levels of the facts' sampler: seven numbers cost nothing, and 18 levels widen them by 3 %
LEVELS = tuple(np.linspace(-1.0, 2.5, 8))  # log sigma at which latents are denoised to see whether they are known
FACT_LEVELS = tuple(np.linspace(-2.0, 1.0, 8))  # likewise of the facts


class Request(NamedTuple):
    """What processes that sample together are asked for."""

    people: int
    draws: int  # for each
    seed: int
    sampler: str
    steps: int
    guidance: float
    batch: int  # draws at a time, about

    @property
    def total(self) -> int:
        """Draws in all."""
        return self.people * self.draws

    @property
    def batch_rows(self) -> int:
        """Draws at a time: whole blocks of noise."""
        return max(1, self.batch // NOISE_BLOCK) * NOISE_BLOCK

    @property
    def parts(self) -> list[slice]:
        """The batches."""
        return list(batches(self.total, self.batch_rows))


class Generator:
    """Draws signals (512 bins of flow, L/s) for people, and reads curves through the VQ-VAE."""

    def __init__(self, vqvae: VQVAE, cldm: CLDM, made_from: dict[str, Any], place: Runtime) -> None:
        self.vqvae = vqvae.to(place.device).eval()
        self.cldm = cldm.to(place.device).eval()
        self.made_from, self.place = made_from, place
        self._finishers: dict[tuple[str, int, float], tuple[Step, Step]] = {}  # plain and captured, by their options

    @classmethod
    def from_checkpoints(cls, vqvae: Path, cldm: Path, place: Runtime) -> "Generator":
        """Load both models.

        Raises SpiroError where one is missing or damaged, or the diffusion was trained on the latents of
        another VQ-VAE.
        """
        model, made_from = load_cldm(cldm)
        autoencoder = load_vqvae(vqvae)  # says what is wrong with the file, before its hash is asked for
        if made_from["vqvae"] != artifacts.sha256(vqvae):
            raise SpiroError(f"{cldm}: was trained on the latents of another VQ-VAE than {vqvae}; fetch both again")
        return cls(autoencoder, model, made_from, place)

    def sample(
        self,
        people: pd.DataFrame,
        draws: int,
        seed: int,
        *,
        sampler: str = "dpmpp_2m",
        steps: int = STEPS,
        guidance: float = 1.0,
        batch: int | None = None,
        progress: bool = True,
    ) -> np.ndarray:
        """Signals float32 (people, draws, 512), L/s: what passes the mouth, before any counter.

        A row's draws depend on the seed and its place in the table, not on the batch size. `guidance` 1
        samples the conditional distribution; more overstates what the conditions say.
        """
        request = Request(len(people), draws, seed, sampler, steps, guidance, batch or BATCH[self.place.device.type])
        known, features = _tensors(people)
        if distributed.world() > 1:
            distributed.from_first_text(json.dumps(request))
            distributed.from_first(known)
            distributed.from_first(features)
        out = np.empty((request.total, 512), np.float32)
        with tqdm(
            total=request.total, desc="generate", unit="curve", disable=not progress, delay=1, leave=False
        ) as bar:
            for part, flow in zip(request.parts, self._flows(request, known, features), strict=True):
                out[part] = flow.numpy()
                bar.update(part.stop - part.start)
        return out.reshape(len(people), draws, 512)

    def help(self) -> None:
        """Draw a share of what the first process samples, until it says that this was all (`distributed.dismiss`)."""
        while text := distributed.from_first_text():
            request = Request(*json.loads(text))
            known = distributed.from_first(torch.empty((request.people, len(conditioning.NAMES))))
            features = distributed.from_first(torch.empty((request.people, len(self.cldm.facts.coefficients))))
            for _ in self._flows(request, known, features):
                pass  # each is sent to the first process

    def _flows(self, request: "Request", known: Tensor, features: Tensor) -> Iterator[Tensor]:
        """Signals (n, 512) of each part of a request, in order, on the CPU; nothing in processes that help."""
        device = self.place.device
        known, features = known.to(device), features.to(device)
        options = request.sampler, request.steps, request.guidance
        if options not in self._finishers:
            function = self._finisher(*options)
            self._finishers[options] = function, Graph(function, warm_up=1) if self.place.graphs else function
        plain, captured = self._finishers[options]

        @torch.inference_mode()
        def draw(part: slice) -> Tensor:
            rows, n = torch.arange(part.start, part.stop, device=device) // request.draws, part.stop - part.start
            noise = (
                self._noise(shape, n, request.seed, part.start, stream)
                for shape, stream in (
                    ((1, len(index_diffusion.NAMES)), 1),
                    ((TOKENS, self.cldm.config.network.channels), 0),
                )
            )
            function = captured if n == request.batch_rows else plain  # the rest of a batch does not come again
            return function(known[rows], features[rows], *noise)["flow"].cpu()

        return distributed.in_order(request.parts, draw, (512,))

    @torch.inference_mode()
    def told(self, people: pd.DataFrame, logs: np.ndarray, seed: int, *, steps: int = STEPS) -> np.ndarray:
        """Signals float32 (n, 512), L/s, of efforts whose facts are given: one curve for each row of `people` and of
        `logs` (n, 7), natural logarithms in the order of `facts.NAMES`."""
        device, model = self.place.device, self.cldm
        known, wanted = torch.from_numpy(conditioning.encode(people)), torch.from_numpy(logs.astype(np.float32))
        finish = self._token_finisher("dpmpp_2m", steps, 1.0)
        out = np.empty((len(people), 512), np.float32)
        for part in batches(len(people), BATCH[device.type]):
            told = torch.cat([known[part].to(device), model.facts.as_conditions(wanted[part].to(device))], dim=1)
            shape = (TOKENS, model.config.network.channels)
            out[part] = finish(told, self._noise(shape, len(told), seed, part.start, stream=0)).cpu().numpy()
        return out

    @torch.inference_mode()
    def _finisher(self, sampler: str, steps: int, guidance: float) -> Step:
        """A function from conditions (B, 6), features of the surface (B, 12) and standard normal noise of facts
        (B, 1, 7) and tokens (B, 64, r) to finished curves: `flow` (B, 512), L/s."""
        model = self.cldm
        draw = self._drawer(model.facts.denoiser, model.config.facts_noise, sampler, FACT_STEPS, guidance)
        finish_tokens = self._token_finisher(sampler, steps, guidance)

        def finish(known: Tensor, features: Tensor, fact_noise: Tensor, token_noise: Tensor) -> dict[str, Tensor]:
            logs = model.facts.restore(draw(known, fact_noise), features)
            return {"flow": finish_tokens(torch.cat([known, model.facts.as_conditions(logs)], dim=1), token_noise)}

        return finish

    @torch.inference_mode()
    def _token_finisher(self, sampler: str, steps: int, guidance: float) -> Callable[[Tensor, Tensor], Tensor]:
        """A function from conditions with facts (B, 13) and noise (B, 64, r) to curves (B, 512), L/s."""
        model = self.cldm
        draw = self._drawer(model.denoiser, model.config.noise, sampler, steps, guidance)
        narrower = self.vqvae.narrower()

        def finish(known: Tensor, noise: Tensor) -> Tensor:
            with self.place.autocast():
                drawn = draw(known, noise)
            return self.vqvae.decode(self.vqvae.snap(model.restore(drawn.float()), narrower)).flow

        return finish

    def _drawer(
        self, denoiser: Denoiser, noise: Noise, sampler: str, steps: int, guidance: float
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """A function from conditions (B, k) and standard normal noise to samples of a denoiser."""
        sigmas = karras_sigmas(steps, noise.minimum, noise.maximum).to(self.place.device)

        def draw(known: Tensor, start: Tensor) -> Tensor:
            told = denoiser.read(known)
            blank = denoiser.read(torch.full_like(known, torch.nan)) if guidance != 1.0 else None

            def denoise(x: Tensor, sigma: Tensor) -> Tensor:
                level = sigma.expand(len(x))
                clean = denoiser.told(x, level, told)
                if blank is not None:
                    free = denoiser.told(x, level, blank)
                    clean = free + guidance * (clean - free)
                return clean

            return SAMPLERS[sampler](denoise, start * sigmas[0], sigmas)

        return draw

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
        logs = torch.from_numpy(index_diffusion.read(people)).float().to(device)
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
    return torch.from_numpy(conditioning.encode(people)), torch.from_numpy(mean_surface.features(people)).float()
