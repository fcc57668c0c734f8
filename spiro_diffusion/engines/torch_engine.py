"""The engine of trained checkpoints: implements `engine.Engine` with PyTorch."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from spiro_diffusion.compute import runtime
from spiro_diffusion.core.batching import batches
from spiro_diffusion.generation import effort_tables, model_figures, sessions
from spiro_diffusion.generation.effort_tables import Facts
from spiro_diffusion.generation.engine import Floats
from spiro_diffusion.generation.generator import Generator
from spiro_diffusion.models import conditioning, index_diffusion
from spiro_diffusion.models.effort_sets import BEST
from spiro_diffusion.physiology import mean_surface
from spiro_diffusion.reconstruction.reconstructor import Reconstructor

ROWS = {"cpu": 1024, "cuda": 65536}  # efforts at a time
STREAM = 4  # of the noise of efforts alone
RECONSTRUCTOR = "reconstructor.safetensors"


class TorchEngine(Generator):
    """The generator, and facts of efforts for requests."""

    def session_facts(self, efforts: pd.DataFrame, seed: int, known_best: Floats | None) -> Facts:
        """As `sessions.draw_facts`."""
        return sessions.draw_facts(self, efforts, seed, known_best)

    def effort_facts(self, efforts: pd.DataFrame, seed: int, known_best: Floats | None) -> Facts:
        """As `Engine.effort_facts`."""
        model, sampling = self.cldm, self.cldm.config.sampling
        encoded = torch.from_numpy(conditioning.encode(efforts))
        features = torch.from_numpy(mean_surface.features(efforts)).float()
        best = np.full((len(efforts), len(BEST)), np.nan) if known_best is None else known_best
        draw = self.facts_drawer()
        logs, grades = [], []
        with self.runtime.applied(), torch.inference_mode():
            rows = ROWS[self.runtime.device.type] // sampling.noise_block * sampling.noise_block
            for part in batches(len(efforts), rows):
                noise = self.noise(self.fact_shape, part.stop - part.start, seed, part.start, STREAM)
                surface = features[part].to(self.runtime.device)
                drawn = draw(self._alone(encoded[part].to(self.runtime.device), best[part], surface), noise)[:, 0]
                logs.append(model.facts.restore(drawn, surface).cpu().numpy().astype(np.float64))
                grades.append(index_diffusion.grades(drawn).cpu().numpy().astype(int))
        return Facts(effort_tables.graded(efforts, np.concatenate(grades)), np.concatenate(logs))

    def _alone(self, encoded: Tensor, best: Floats, features: Tensor) -> Tensor:
        """Conditions (n, 1, k) of sets of one effort, with what is known of its best values (n, 5)."""
        conditions = index_diffusion.alone(encoded)
        values = torch.from_numpy(best).float().to(encoded.device)
        conditions[:, 0, -1 - len(BEST) : -1] = self.cldm.facts.known_best(values, features)
        return conditions

    def reconstructor(self, folder: Path) -> Reconstructor:
        """As `densities.load_reconstructor`."""
        from spiro_diffusion.reconstruction.densities import load_reconstructor  # noqa: PLC0415 (SciPy)

        return load_reconstructor(folder / RECONSTRUCTOR, self)

    def model_warnings(self, folder: Path) -> list[str]:
        """As `model_figures.warning`."""
        return model_figures.warning(folder)


def open_torch(folder: Path, device: str) -> TorchEngine:
    """The generator of a folder's checkpoints, on one thread of the CPU or on a GPU.

    Raises SpiroError as `Generator.from_checkpoints` does.
    """
    compute = runtime.configure(runtime.RuntimeParams(device=device, threads=1))
    return TorchEngine.from_checkpoints(folder / "vqvae.safetensors", folder / "cldm.safetensors", compute)
