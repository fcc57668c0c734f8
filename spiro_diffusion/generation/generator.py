"""The trained generator: draws flow signals for subjects."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from spiro_diffusion.compute import cores, distributed
from spiro_diffusion.compute.graphs import Graph, Step
from spiro_diffusion.compute.runtime import Runtime
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.batching import batches
from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.models import conditioning, effort_facts, index_diffusion, volumes
from spiro_diffusion.models.edm import Denoiser, denoising_loss
from spiro_diffusion.models.latent_diffusion import CLDM, load_cldm
from spiro_diffusion.models.samplers import SAMPLERS, SamplerName, karras_sigmas
from spiro_diffusion.models.vqvae import TOKENS, VQVAE, load_vqvae
from spiro_diffusion.physiology import mean_surface
from spiro_diffusion.physiology.time_grid import N_SAMPLES

BATCH = {"cpu": 256, "cuda": 8192}  # draws at a time: what fits the caches; what fills the GPU
READ = 1024  # curves at a time through the VQ-VAE
LEVELS = tuple(np.linspace(-1.0, 2.5, 8))  # log sigma at which latents are denoised to see whether they are known
FACT_LEVELS = tuple(np.linspace(-2.0, 1.0, 8))  # likewise of the facts
LATENT_STREAM, FACT_STREAM, LOSS_STREAM, LUNG_STREAM = 0, 1, 2, 5  # of the noise
_GRADE = conditioning.NAMES.index("grade")


class Request(NamedTuple):
    """The request that processes which sample together draw."""

    people: int
    draws: int  # for each
    seed: int
    sampler: SamplerName
    steps: int
    guidance: float
    batch: int  # draws at a time: whole blocks of noise

    @property
    def total(self) -> int:
        """Draws in all."""
        return self.people * self.draws

    @property
    def parts(self) -> list[slice]:
        """The batches."""
        return list(batches(self.total, self.batch))


class Generator:
    """Draws signals (bins of flow, L/s) for people, and reads curves through the VQ-VAE."""

    def __init__(self, vqvae: VQVAE, cldm: CLDM, made_from: dict[str, Any], runtime: Runtime) -> None:
        self.vqvae = vqvae.to(runtime.device).eval()
        self.cldm = cldm.to(runtime.device).eval()
        self.made_from, self.runtime = made_from, runtime
        self._finishers: dict[tuple[SamplerName, int, float], tuple[Step, Step]] = {}  # plain and captured, by options

    @classmethod
    def from_checkpoints(cls, vqvae: Path, cldm: Path, runtime: Runtime) -> Self:
        """Load both models.

        Raises SpiroError if one is missing or damaged, or the diffusion was trained on the latents of another VQ-VAE.
        """
        model, made_from = load_cldm(cldm)
        autoencoder = load_vqvae(vqvae)  # reports a damaged file before its hash is computed
        if made_from["vqvae"] != artifacts.sha256(vqvae):
            raise SpiroError(f"{cldm}: was trained on the latents of another VQ-VAE than {vqvae}; fetch both again")
        return cls(autoencoder, model, made_from, runtime)

    @property
    def fact_shape(self) -> tuple[int, int]:
        """Of what the facts' denoiser draws for an effort alone."""
        return 1, effort_facts.CHANNELS

    @property
    def latent_shape(self) -> tuple[int, int]:
        """Of what the latents' denoiser draws."""
        return TOKENS, self.cldm.config.network.channels

    def sample(
        self,
        people: pd.DataFrame,
        draws: int,
        seed: int,
        *,
        sampler: SamplerName | None = None,
        steps: int | None = None,
        guidance: float = 1.0,
        batch: int | None = None,
        progress: bool = True,
    ) -> np.ndarray:
        """Draw signals float32 (people, draws, bins), L/s: flow at the mouth, before any counter.

        The draws of a row depend on the seed and its place in the table, not on the batch size. By default, the sampler
        and its steps are those of the checkpoint. `guidance` 1 samples the conditional distribution; larger values
        exaggerate the effect of the conditions.

        Raises SpiroError for an unknown sampler, or if the weights draw values that are not finite.
        """
        defaults = self.cldm.config.sampling
        if sampler not in (None, *SAMPLERS):
            raise SpiroError(f"sampler is {printable(sampler)}; expected one of {', '.join(SAMPLERS)}")
        size = max(1, (batch or BATCH[self.runtime.device.type]) // defaults.noise_block) * defaults.noise_block
        request = Request(
            len(people), draws, seed, sampler or defaults.sampler, steps or defaults.steps, guidance, size
        )
        conditions, features = _tensors(people)
        if distributed.world() > 1:
            distributed.from_first_text(json.dumps(request))
            distributed.from_first(conditions)
            distributed.from_first(features)
        out = np.empty((request.total, N_SAMPLES), np.float32)
        bar = tqdm(total=request.total, desc="generate", unit="curve", disable=not progress, delay=1, leave=False)
        with self.runtime.applied(), bar:
            for part, flow in zip(request.parts, self._flows(request, conditions, features), strict=True):
                out[part] = _finite(flow)
                bar.update(part.stop - part.start)
        return out.reshape(len(people), draws, N_SAMPLES)

    def help(self) -> None:
        """Draw a share of what the first process samples, until it announces the end (`distributed.dismiss`)."""
        with self.runtime.applied():
            while text := distributed.from_first_text():
                request = Request(*json.loads(text))
                conditions = distributed.from_first(torch.empty((request.people, len(conditioning.NAMES))))
                features = distributed.from_first(torch.empty((request.people, len(self.cldm.facts.coefficients))))
                for _ in self._flows(request, conditions, features):
                    pass  # each is sent to the first process

    def sample_given(
        self,
        people: pd.DataFrame,
        logs: np.ndarray,
        seed: int,
        *,
        lungs: np.ndarray | None = None,
    ) -> np.ndarray:
        """Draw signals float32 (n, bins), L/s, of efforts with given facts: one curve for each row of `people` and of
        `logs` (n, 9), in the order of `effort_facts.NAMES`. Rows with the same number in `lungs` (n,) are efforts of
        one lung and share most of their noise, so that their curves have the same shape (`Sampling.lung_share`); the
        distribution of each single curve is unchanged.

        Raises SpiroError if the weights draw values that are not finite.
        """
        device, defaults = self.runtime.device, self.cldm.config.sampling
        conditions, facts_of_rows = (
            torch.from_numpy(conditioning.encode(people)),
            torch.from_numpy(logs.astype(np.float32)),
        )
        shared = None if lungs is None else np.unique(lungs, return_inverse=True)[1]
        parts = list(batches(len(people), BATCH[device.type] // defaults.noise_block * defaults.noise_block))
        out = np.empty((len(people), N_SAMPLES), np.float32)
        with self.runtime.applied():
            finish = self._token_finisher(defaults.sampler, defaults.steps, 1.0)

            @torch.inference_mode()
            def draw(part: slice) -> Tensor:
                facts = facts_of_rows[part].to(device)
                noise = self.noise(self.latent_shape, len(facts), seed, part.start, LATENT_STREAM)
                if shared is not None:
                    noise = self._of_lungs(noise, shared[part], seed)
                return finish(conditions[part].to(device), facts, noise).cpu()

            for part, flow in zip(parts, cores.in_order(parts, draw, device), strict=True):
                out[part] = _finite(flow)
        return out

    def _of_lungs(self, noise: Tensor, lungs: np.ndarray, seed: int) -> Tensor:
        """The noise (B, ...) of efforts, of which those of one lung, `lungs` (B,) from 0, share a part."""
        sampling = self.cldm.config.sampling
        first = int(lungs.min()) // sampling.noise_block * sampling.noise_block
        common = self.noise(self.latent_shape, int(lungs.max()) + 1 - first, seed, first, LUNG_STREAM)
        common = common[torch.from_numpy(lungs - first).to(noise.device)]
        return math.sqrt(1 - sampling.lung_share) * noise + math.sqrt(sampling.lung_share) * common

    def _flows(self, request: Request, conditions: Tensor, features: Tensor) -> Iterator[Tensor]:
        """Signals (n, bins) of each part of a request, in order, on the CPU; nothing in processes that help."""
        device = self.runtime.device
        conditions, features = conditions.to(device), features.to(device)
        options = request.sampler, request.steps, request.guidance
        if options not in self._finishers:
            function = self._finisher(*options)
            self._finishers[options] = function, Graph(function, warm_up=1) if self.runtime.graphs else function
        plain, captured = self._finishers[options]

        @torch.inference_mode()
        def draw(part: slice) -> Tensor:
            rows, n = torch.arange(part.start, part.stop, device=device) // request.draws, part.stop - part.start
            streams = (self.fact_shape, FACT_STREAM), (self.latent_shape, LATENT_STREAM)
            noise = (self.noise(shape, n, request.seed, part.start, stream) for shape, stream in streams)
            function = captured if n == request.batch else plain  # the rest of a batch is not drawn again
            return function(conditions[rows], features[rows], *noise)["flow"]

        if distributed.world() == 1 and device.type == "cpu":
            return cores.in_order(request.parts, draw, device)
        return distributed.in_order(request.parts, draw, (N_SAMPLES,))

    @torch.inference_mode()
    def _finisher(self, sampler: SamplerName, steps: int, guidance: float) -> Step:
        """A function from conditions (B, k), features of the surface (B, 12) and standard normal noise of facts
        (B, 1, CHANNELS) and tokens (B, TOKENS, r) to finished curves: `flow` (B, bins), L/s."""
        model, draw = self.cldm, self.facts_drawer(guidance)
        finish_tokens = self._token_finisher(sampler, steps, guidance)

        def finish(conditions: Tensor, features: Tensor, fact_noise: Tensor, token_noise: Tensor) -> dict[str, Tensor]:
            drawn = draw(index_diffusion.alone(conditions), fact_noise)[:, 0]
            logs, conditions = model.facts.restore(drawn, features), index_diffusion.with_grades(conditions, drawn)
            return {"flow": _void(finish_tokens(conditions, logs, token_noise), logs)}

        return finish

    @torch.inference_mode()
    def _token_finisher(
        self, sampler: SamplerName, steps: int, guidance: float
    ) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """A function from conditions (B, c), facts (B, 9) and noise (B, TOKENS, r) to curves (B, bins), L/s, with the
        volumes of the facts."""
        model = self.cldm
        levels = karras_sigmas(steps, model.config.noise.minimum, model.config.noise.maximum)
        draw = self._drawer(model.denoiser, sampler, levels, guidance)
        narrower = self.vqvae.narrower()

        def finish(given: Tensor, logs: Tensor, noise: Tensor) -> Tensor:
            conditions = torch.cat([given, model.facts.as_conditions(logs)], dim=1)
            with self.runtime.autocast():
                drawn = draw(conditions, noise)
            tokens = model.restore(drawn.float())
            flow = self.vqvae.decode(self.vqvae.snap(tokens, narrower)).flow
            return _void(volumes.with_volumes(flow.float(), index_diffusion.target_volumes(logs)), tokens.sum(2))

        return finish

    def facts_drawer(self, guidance: float = 1.0) -> Callable[[Tensor, Tensor], Tensor]:
        """A function from conditions (B, slots, k) and standard normal noise to facts as their denoiser draws them."""
        noise, defaults = self.cldm.config.facts_noise, self.cldm.config.sampling
        levels = karras_sigmas(defaults.facts_steps, noise.minimum, noise.maximum, defaults.facts_rho)
        return self._drawer(self.cldm.facts.denoiser, defaults.facts_sampler, levels, guidance)

    def _drawer(
        self, denoiser: Denoiser, sampler: SamplerName, levels: Tensor, guidance: float
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """A function from conditions (B, k) and standard normal noise to samples of a denoiser, through these noise
        levels (steps + 1,)."""
        sigmas = levels.to(self.runtime.device)

        def draw(conditions: Tensor, start: Tensor) -> Tensor:
            prepared = denoiser.network.prepare(conditions)
            blank = denoiser.network.prepare(_blank(conditions)) if guidance != 1.0 else None

            def denoise(x: Tensor, sigma: Tensor) -> Tensor:
                level = sigma.expand(len(x))
                clean = denoiser.with_prepared(x, level, prepared)
                if blank is not None:
                    free = denoiser.with_prepared(x, level, blank)
                    clean = free + guidance * (clean - free)
                return clean

            return SAMPLERS[sampler](denoise, start * sigmas[0], sigmas)

        return draw

    def reconstruct(self, signals: np.ndarray) -> np.ndarray:
        """Mean flow (n, bins) of curves sent through the VQ-VAE."""
        return self._read(signals, lambda flow: self.vqvae.decode(self.vqvae.encode(flow)).flow)

    def codes(self, signals: np.ndarray) -> np.ndarray:
        """Codes (n, TOKENS, groups) of curves."""
        return self._read(signals, self.vqvae.codes)

    def _read(self, signals: np.ndarray, function: Callable[[Tensor], Tensor]) -> np.ndarray:
        with self.runtime.applied(), torch.inference_mode():
            parts = [function(self._flow(signals[part])).cpu() for part in batches(len(signals), READ)]
            return torch.cat(parts).numpy()

    def denoising_loss(self, signals: np.ndarray, people: pd.DataFrame, seed: int, batch: int = 512) -> np.ndarray:
        """Denoising loss (n,) of curves and of their facts over eight fixed noise levels each, for membership
        inference. `people` has the columns of the facts too; an effort without facts has no loss (NaN)."""
        device, model, block = self.runtime.device, self.cldm, self.cldm.config.sampling.noise_block
        encoded, features = (t.to(device) for t in _tensors(people))
        logs = torch.from_numpy(effort_facts.read(people)).float().to(device)
        out = []
        with self.runtime.applied(), torch.inference_mode():
            for part in batches(len(signals), max(1, batch // block) * block):
                logs_of_part, at = logs[part], (seed, part.start)
                grades = index_diffusion.bits(encoded[part, _GRADE].nan_to_num(0)).to(device)
                facts = torch.cat([model.facts.standardise(logs_of_part, features[part]), grades], dim=1)[:, None]
                conditions = index_diffusion.alone(encoded[part])
                losses = self._loss(model.facts.denoiser, facts, conditions, *at, FACT_LEVELS)
                clean = model.standardise(self.vqvae.encode(self._flow(signals[part])))
                both = torch.cat([encoded[part], model.facts.as_conditions(logs_of_part)], dim=1)
                with self.runtime.autocast():
                    losses += self._loss(model.denoiser, clean, both, *at, LEVELS)
                out.append(torch.where(logs_of_part.isfinite().all(1), losses, torch.nan).cpu())
        return torch.cat(out).numpy()

    def _loss(
        self, denoiser: Denoiser, clean: Tensor, conditions: Tensor, seed: int, first: int, levels: tuple[float, ...]
    ) -> Tensor:
        """Mean loss (B,) over noise levels (log sigma) of rows first ... of all."""
        losses = torch.zeros(len(clean), device=clean.device)
        for i, level in enumerate(levels):
            noise = self.noise(tuple(clean.shape[1:]), len(clean), seed + i, first, LOSS_STREAM)
            sigma = torch.full((len(clean),), math.exp(level), device=clean.device)
            losses += denoising_loss(denoiser, clean, conditions, sigma, noise)
        return losses / len(levels)

    def _flow(self, signals: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(signals, dtype=np.float32)).to(self.runtime.device)

    def noise(self, shape: tuple[int, ...], rows: int, seed: int, first: int, stream: int) -> Tensor:
        """Standard normal numbers of draws first ... first + rows; `first` is the begin of a block of noise."""
        device, block = self.runtime.device, self.cldm.config.sampling.noise_block
        blocks = []
        for number in range(first // block, -(-(first + rows) // block)):
            name = np.random.SeedSequence([seed, number, stream]).generate_state(1, np.uint64)[0]
            generator = torch.Generator(device).manual_seed(int(name >> np.uint64(1)))
            blocks.append(torch.randn((block, *shape), generator=generator, device=device))
        return torch.cat(blocks)[:rows]


def _tensors(people: pd.DataFrame) -> tuple[Tensor, Tensor]:
    """Conditions (n, k) and features of the mean surface (n, 12)."""
    return torch.from_numpy(conditioning.encode(people)), torch.from_numpy(mean_surface.features(people)).float()


def _blank(conditions: Tensor) -> Tensor:
    """Unknown conditions in all places; the roles in a set (B, E, k) are kept."""
    blank = torch.full_like(conditions, torch.nan)
    if conditions.ndim == 3:
        blank[..., -1] = conditions[..., -1]
    return blank


def _void(flow: Tensor, drawn: Tensor) -> Tensor:
    """Flow (B, bins), NaN where what it was made from (B, m) is not finite: an unknown condition and the nearest
    code are always finite, and would hide it."""
    return torch.where(drawn.isfinite().all(dim=1, keepdim=True), flow, torch.nan)


def _finite(flow: Tensor) -> np.ndarray:
    """Flow as an array.

    Raises SpiroError if it is not finite.
    """
    if not flow.isfinite().all():
        raise SpiroError("the weights of the models draw flow that is not finite; fetch them again, or train again")
    return flow.numpy()
