"""Single efforts drawn in two steps, the facts and then the curve, for requests on one effort."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from spiro_diffusion.core.batching import batches
from spiro_diffusion.generation.generator import Generator
from spiro_diffusion.models import conditioning
from spiro_diffusion.physiology import mean_surface

Floats = NDArray[np.float64]

ROWS = {"cpu": 1024, "cuda": 65536}  # efforts at a time
STREAM = 4  # of the noise


class Facts(NamedTuple):
    """n efforts and their facts."""

    table: pd.DataFrame
    logs: Floats  # (n, k), `index_diffusion.NAMES`


class SingleEfforts:
    """A generator as `conditional_draws.Drawer`: each row is an effort of another lung."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def draw_facts(self, efforts: pd.DataFrame, seed: int, known: Floats | None) -> Facts:
        """Facts of efforts, of all their conditions; what is known of best values is left to the rejection."""
        del known
        own = self._generator
        model, place = own.cldm, own.place
        sampling = model.config.sampling
        told = torch.from_numpy(conditioning.encode(efforts))
        features = torch.from_numpy(mean_surface.features(efforts)).float()
        draw = own.drawer(model.facts.denoiser, model.config.facts_noise, sampling.sampler, sampling.facts_steps, 1.0)
        logs = []
        with place.applied(), torch.inference_mode():
            for part in batches(len(efforts), ROWS[place.device.type] // sampling.noise_block * sampling.noise_block):
                noise = own.noise(own.fact_shape, part.stop - part.start, seed, part.start, STREAM)
                drawn = draw(told[part].to(place.device), noise)
                logs.append(model.facts.restore(drawn, features[part].to(place.device)).cpu())
        return Facts(efforts, torch.cat(logs).numpy().astype(np.float64))

    def draw_curves(self, efforts: pd.DataFrame, logs: Floats, seed: int) -> NDArray[np.float32]:
        """Signals (n, 512) in L/s of efforts with these facts."""
        return self._generator.sample_given(efforts, logs, seed)
