"""Draw sessions: the facts of all efforts of a person together, then a curve for each."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from spiro_diffusion.core.batching import batches
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.effort_tables import Drawn, Facts, drawn_table
from spiro_diffusion.generation.generator import Generator
from spiro_diffusion.models import conditioning, index_diffusion
from spiro_diffusion.models.effort_facts import CHANNELS, NAMES, REACHED
from spiro_diffusion.models.effort_sets import BEST, EFFORTS, PLACES, EffortSets, Floats, completed
from spiro_diffusion.models.index_diffusion import TOKENS
from spiro_diffusion.physiology import mean_surface

PEOPLE = {"cpu": 256, "cuda": 8192}  # at a time
STREAM = 3  # of the noise
GRADE = conditioning.NAMES.index("grade")
KNOWN = [len(conditioning.NAMES) + 1 + BEST.index(name) for name in NAMES[:REACHED]]  # of a set's conditions


def draw_facts(generator: Generator, efforts: pd.DataFrame, seed: int, known_best: Floats | None = None) -> Facts:
    """Draw facts and grades of efforts; those of one person are of one lung.

    Args:
        efforts: a row for each effort: person, place (from 1, its order in the session), test_type, age, height,
            sex, and other known values of `conditioning.CONDITIONS`; a given grade is kept.
        seed: a person's draws depend on it and on the person's place among all, not on the batch size.
        known_best: (people, 5) `effort_sets.BEST` of the session, in the people's order of appearance; NaN where
            unknown. Known FEV1, FVC and PEF are those of the session; the draws are conditioned on the others.

    Raises SpiroError if a person has more efforts than a session can have.
    """
    sets = EffortSets.of(efforts, "person")
    if int(sets.present.sum()) < len(efforts):
        raise SpiroError(f"a person has more than {PLACES} efforts before or after the bronchodilator; request fewer")
    runtime, facts = generator.runtime, generator.cldm.facts
    features = torch.from_numpy(mean_surface.features(efforts)).float().to(runtime.device)
    present = torch.from_numpy(sets.present).to(runtime.device)
    conditions = _conditions(generator, efforts, sets, known_best, features)
    draw, sampling = generator.facts_drawer(), generator.cldm.config.sampling
    found = torch.empty((len(sets.rows), EFFORTS, CHANNELS))
    most = PEOPLE[runtime.device.type] // sampling.noise_block * sampling.noise_block
    with runtime.applied(), torch.inference_mode():
        for part in batches(len(found), most):
            start = generator.noise((TOKENS, CHANNELS), part.stop - part.start, seed, part.start, STREAM)
            drawn = draw(conditions[part], start * (conditions[part, :, -1:] > 0))
            grade = conditions[part, 2:, GRADE, None]
            given = index_diffusion.bits(grade[..., 0].nan_to_num(0))
            drawn[:, 2:, -2:] = torch.where(grade.isnan(), drawn[:, 2:, -2:], given)
            best = conditions[part, 0, KNOWN]
            drawn[:, 0, : len(KNOWN)] = torch.where(best.isnan(), drawn[:, 0, : len(KNOWN)], best)
            found[part] = facts.of_set(drawn, present[part]).cpu()
    person, slot = np.nonzero(sets.present)
    drawn = torch.empty((len(efforts), CHANNELS))
    drawn[torch.from_numpy(sets.rows[person, slot])] = found[torch.from_numpy(person), torch.from_numpy(slot)]
    logs = facts.restore(drawn.to(runtime.device), features).cpu().numpy().astype(np.float64)
    return Facts(drawn_table(efforts, logs, index_diffusion.grades(drawn).numpy().astype(int)), logs)


def draw_sessions(generator: Generator, efforts: pd.DataFrame, seed: int, known_best: Floats | None = None) -> Drawn:
    """Facts as `draw_facts` draws them, and a curve for each effort."""
    facts = draw_facts(generator, efforts, seed, known_best)
    lungs = facts.table["person"].to_numpy()
    return Drawn(facts.table, generator.sample_given(facts.table, facts.logs, seed, lungs=lungs))


def _conditions(
    generator: Generator, efforts: pd.DataFrame, sets: EffortSets, known_best: Floats | None, features: Tensor
) -> Tensor:
    """Conditions (P, TOKENS, k) of the facts' network."""
    device, rows = generator.runtime.device, torch.from_numpy(sets.rows)
    encoded = torch.from_numpy(conditioning.encode(efforts.drop(columns="best", errors="ignore")))[rows]
    place = index_diffusion.place_condition(efforts["place"].to_numpy(float))[rows]
    first = features[rows[:, 0].to(device)]
    values = np.full((len(rows), len(BEST)), np.nan) if known_best is None else completed(known_best)
    best = generator.cldm.facts.known_best(torch.from_numpy(values).float().to(device), first)
    role = index_diffusion.roles(torch.from_numpy(sets.present)).to(device)
    return index_diffusion.together(encoded.to(device), place.to(device), best, role)
