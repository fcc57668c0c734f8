"""The trained generator as one object: people in, curves out."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from spiro_diffusion import artifacts, conditions
from spiro_diffusion.cldm import CLDM, load_cldm
from spiro_diffusion.diffusion import denoising_loss
from spiro_diffusion.errors import SpiroError
from spiro_diffusion.runtime import Runtime
from spiro_diffusion.samplers import SAMPLERS, karras_sigmas
from spiro_diffusion.training import batches
from spiro_diffusion.vqvae import TOKENS, VQVAE, load_vqvae

NOISE_BLOCK = 64  # draws that share one seeded noise generator: what decides the curves, whatever the batch


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
        batch: int = 512,
        progress: bool = True,
    ) -> np.ndarray:
        """Signals float32 (people, draws, 512), L/s, with the tremor of a real effort.

        A row's draws depend on the seed and its place in the table, not on the batch size. `guidance` 1
        samples the conditional distribution; more narrows it towards the typical.
        """
        known = torch.from_numpy(conditions.encode(people))
        total = len(people) * draws
        out = np.empty((total, 512), np.float32)
        step = max(1, batch // NOISE_BLOCK) * NOISE_BLOCK
        parts = list(batches(total, step))
        with torch.inference_mode():
            for part in tqdm(parts, desc="generate", unit="batch", disable=not progress, mininterval=1):
                rows = torch.arange(part.start, part.stop) // draws
                latents = self.latents(known[rows], seed, part.start, sampler, steps, guidance)
                out[part] = self.decode(latents, seed, part.start).cpu().numpy()
        return out.reshape(len(people), draws, 512)

    def latents(self, known: Tensor, seed: int, first: int, sampler: str, steps: int, guidance: float = 1.0) -> Tensor:
        """Tokens (B, 64, 128) before they are snapped to codes; `first` is the number of the first draw."""
        device, noise = self.place.device, self.cldm.config.noise
        noise_channels = self.cldm.config.network.channels
        known = known.to(device)
        blank = torch.full_like(known, torch.nan)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            level = sigma.expand(len(x))
            with self.place.autocast():
                clean = self.cldm.denoiser(x, level, known)
                if guidance != 1.0:
                    free = self.cldm.denoiser(x, level, blank)
                    clean = free + guidance * (clean - free)
            return clean

        sigmas = karras_sigmas(steps, noise.minimum, noise.maximum).to(device)
        start = self._noise((TOKENS, noise_channels), len(known), seed, first, stream=0) * sigmas[0]
        return self.cldm.restore(SAMPLERS[sampler](denoise, start, sigmas))

    def decode(self, latents: Tensor, seed: int, first: int) -> Tensor:
        """Latents (B, 64, 128) → signals (B, 512): nearest codes, mean flow, tremor of the learned size."""
        decoded = self.vqvae.decode(self.vqvae.snap(latents))
        return self.vqvae.draw(decoded, self._noise((512,), len(latents), seed, first, stream=1))

    def reconstruct(self, signals: np.ndarray, batch: int = 1024) -> np.ndarray:
        """Mean flow (n, 512) of curves sent through the VQ-VAE."""
        with torch.inference_mode():
            read = [
                self.vqvae.decode(self.vqvae.encode(self._flow(signals[part]))) for part in batches(len(signals), batch)
            ]
            return torch.cat([r.until_end(r.flow).cpu() for r in read]).numpy()

    def codes(self, signals: np.ndarray, batch: int = 1024) -> np.ndarray:
        """Codes (n, 64, groups) of curves."""
        with torch.inference_mode():
            parts = [self.vqvae.codes(self._flow(signals[part])).cpu() for part in batches(len(signals), batch)]
        return torch.cat(parts).numpy()

    def denoising_loss(self, signals: np.ndarray, people: pd.DataFrame, seed: int, batch: int = 512) -> np.ndarray:
        """Mean denoising loss (n,) of curves over eight fixed noise levels, for membership inference."""
        known = torch.from_numpy(conditions.encode(people)).to(self.place.device)
        levels = torch.exp(torch.linspace(-1.0, 2.5, 8)).tolist()
        out = []
        with torch.inference_mode():
            for part in batches(len(signals), batch // NOISE_BLOCK * NOISE_BLOCK):
                clean = self.cldm.standardise(self.vqvae.encode(self._flow(signals[part])))
                losses = torch.zeros(len(clean), device=self.place.device)
                for i, level in enumerate(levels):
                    noise = self._noise((TOKENS, clean.shape[-1]), len(clean), seed + i, part.start, stream=2)
                    sigma = torch.full((len(clean),), level, device=self.place.device)
                    with self.place.autocast():
                        losses += denoising_loss(self.cldm.denoiser, clean, known[part], sigma, noise)
                out.append((losses / len(levels)).cpu())
        return torch.cat(out).numpy()

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
