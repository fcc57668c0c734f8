"""The trained generator in two steps, facts and then curves, as `conditional_draws` asks for them."""

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from spiro_diffusion.core.batching import batches
from spiro_diffusion.core.vocabulary import GRADES
from spiro_diffusion.generation import sessions
from spiro_diffusion.generation.generator import Generator
from spiro_diffusion.generation.sessions import Facts
from spiro_diffusion.models import conditioning, index_diffusion
from spiro_diffusion.models.seats import BEST
from spiro_diffusion.physiology import mean_surface

Floats = NDArray[np.float64]

ROWS = {"cpu": 1024, "cuda": 65536}  # efforts at a time
STREAM = 4  # of the noise


class SessionEfforts:
    """Efforts of one lung: those of one person are drawn together."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def draw_facts(self, efforts: pd.DataFrame, seed: int, known: Floats | None) -> Facts:
        """As `sessions.draw_facts`."""
        return sessions.draw_facts(self._generator, efforts, seed, known)

    def draw_curves(self, efforts: pd.DataFrame, logs: Floats, seed: int) -> NDArray[np.float32]:
        """Signals (n, 512) in L/s of efforts with these facts."""
        return self._generator.sample_given(efforts, logs, seed)


class SingleEfforts(SessionEfforts):
    """Each row is an effort of another lung, with all of its conditions, as `Generator.sample` draws it.

    What is known is told to the network of a person's best effort, whose values are nearly always the session's best,
    and of no other: those are found among draws that are not told it.
    """

    def draw_facts(self, efforts: pd.DataFrame, seed: int, known: Floats | None) -> Facts:
        """Facts of efforts, and the grade of those that have none."""
        own, table = self._generator, efforts.reset_index(drop=True)
        model, place = own.cldm, own.place
        sampling = model.config.sampling
        told = torch.from_numpy(conditioning.encode(table))
        features = torch.from_numpy(mean_surface.features(table)).float()
        best = np.full((len(table), len(BEST)), np.nan) if known is None else known.copy()
        best[[value is not True for value in table["best"]]] = np.nan
        draw = own.drawer(model.facts.denoiser, model.config.facts_noise, sampling.sampler, sampling.facts_steps, 1.0)
        parts = []
        with place.applied(), torch.inference_mode():
            for part in batches(len(table), ROWS[place.device.type] // sampling.noise_block * sampling.noise_block):
                noise = own.noise(own.fact_shape, part.stop - part.start, seed, part.start, STREAM)
                surface = features[part].to(place.device)
                conditions = self._conditions(told[part].to(place.device), best[part], surface)
                drawn = draw(conditions, noise)[:, 0]
                grades = index_diffusion.grades(drawn)[:, None]
                parts.append(torch.cat([model.facts.restore(drawn, surface), grades], dim=1).cpu())
        found = torch.cat(parts).numpy().astype(np.float64)
        drawn_grades = pd.Series(np.array(GRADES, dtype=object)[found[:, -1].astype(int)], index=table.index)
        grade = table["grade"].astype(object)
        return Facts(table.assign(grade=grade.where(grade.notna(), drawn_grades)), found[:, :-1])

    def _conditions(self, told: Tensor, best: Floats, features: Tensor) -> Tensor:
        """Conditions (n, 1, k) of sets of one effort, with what is known of its best values (n, 5)."""
        conditions = index_diffusion.alone(told)
        values = torch.from_numpy(best).float().to(told.device)
        conditions[:, 0, -1 - len(BEST) : -1] = self._generator.cldm.facts.known_best(values, features)
        return conditions
