"""The engine of an exported model: implements `engine.Engine` with onnxruntime, without PyTorch."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.engines import manifest
from spiro_diffusion.engines.onnx_sampler import BATCH, Sampler
from spiro_diffusion.generation import effort_tables
from spiro_diffusion.generation.effort_tables import Facts
from spiro_diffusion.generation.engine import Floats
from spiro_diffusion.models import conditioning, effort_facts
from spiro_diffusion.models.effort_sets import BEST, PLACES, EffortSets, completed
from spiro_diffusion.physiology import mean_surface, time_grid
from spiro_diffusion.physiology.time_grid import N_SAMPLES
from spiro_diffusion.reconstruction.reconstructor import Reconstructor

Floats32 = NDArray[np.float32]


class OnnxEngine:
    """See `engine.Engine`; the same seed gives the torch engine's curves on a CPU, within 1e-3 L/s."""

    def __init__(self, folder: Path) -> None:
        """Open a folder that `spiro export` wrote.

        Raises SpiroError where a file is missing or damaged, or its conditions, facts or time grid are those of another
        version.
        """
        manifest.check(folder)
        self.sampler = Sampler(folder)
        self.made_from: dict[str, Any] = self.sampler.info["made_from"]
        self._warnings: list[str] = list(self.sampler.info["warnings"])
        facts = self.sampler.facts
        exported = self.sampler.names, facts["names"], facts["known_best"]
        expected = conditioning.NAMES, effort_facts.NAMES, BEST
        if [*map(tuple, exported)] != [*expected] or not np.array_equal(self.sampler.edges_s, time_grid.EDGES_S):
            raise SpiroError(f"{folder}: was exported by another version of spiro-diffusion; export it again")

    def sample(
        self,
        people: pd.DataFrame,
        draws: int,
        seed: int,
        *,
        guidance: float = 1.0,
        batch: int | None = None,
        progress: bool = True,
    ) -> NDArray[np.float32]:
        """As `Generator.sample`; a batch is always BATCH curves.

        Raises SpiroError where guidance is requested, or the weights draw what is not finite.
        """
        del batch
        if guidance != 1.0:
            raise SpiroError("an exported model draws without guidance; open the folder with its checkpoints for it")
        conditions, features = (np.repeat(rows, draws, axis=0) for rows in self._conditions(people))
        out = np.empty((len(conditions), N_SAMPLES), np.float32)
        with tqdm(
            total=len(conditions), desc="sampling", unit="curve", disable=not progress, delay=1, leave=False
        ) as bar:
            for first in range(0, len(conditions), BATCH):
                part = slice(first, first + BATCH)
                out[part] = self._part(conditions[part], features[part], seed, first)
                bar.update(len(out[part]))
        return _finite(out).reshape(len(people), draws, N_SAMPLES)

    def _part(self, conditions: Floats32, features: Floats32, seed: int, first: int) -> Floats32:
        sampler = self.sampler
        drawn = sampler.efforts_alone(conditions, features, seed, sampler.facts["stream"], first=first)
        return sampler.curves(sampler.graded(conditions, drawn), sampler.logs(drawn, features), seed, first=first)

    def sample_given(
        self,
        people: pd.DataFrame,
        logs: Floats,
        seed: int,
        *,
        lungs: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        """As `Generator.sample_given`."""
        conditions, facts = conditioning.encode(people), logs.astype(np.float32)
        return _finite(self.sampler.curves(conditions, facts, seed, lungs=lungs))

    def effort_facts(self, efforts: pd.DataFrame, seed: int, known_best: Floats | None) -> Facts:
        """As `Engine.effort_facts`."""
        conditions, features = self._conditions(efforts)
        drawn = self.sampler.efforts_alone(conditions, features, seed, self.sampler.facts["stream_alone"], known_best)
        logs = self.sampler.logs(drawn, features).astype(np.float64)
        return Facts(effort_tables.graded(efforts, self.sampler.grades(drawn)), logs)

    def session_facts(self, efforts: pd.DataFrame, seed: int, known_best: Floats | None) -> Facts:
        """As `sessions.draw_facts`."""
        sets = EffortSets.of(efforts, "person")
        if int(sets.present.sum()) < len(efforts):
            raise SpiroError(
                f"a person has more than {PLACES} efforts before or after the bronchodilator; request fewer"
            )
        conditions, features = self._conditions(efforts)
        best = np.full((len(sets.rows), len(BEST)), np.nan) if known_best is None else completed(known_best)
        place = efforts["place"].to_numpy(float)[sets.rows]
        found = self.sampler.session_facts(conditions[sets.rows], place, sets.present, features[sets.rows], best, seed)
        person, slot = np.nonzero(sets.present)
        rows = sets.rows[person, slot]
        logs, grades = np.empty((len(efforts), found[0].shape[2])), np.empty(len(efforts), np.int64)
        logs[rows], grades[rows] = found[0][person, slot], found[1][person, slot]
        return Facts(effort_tables.drawn_table(efforts, logs, grades), logs)

    def reconstructor(self, folder: Path) -> Reconstructor:
        """What completes efforts; see `FullEngine`."""
        from spiro_diffusion.engines.onnx_completion import load_reconstructor  # noqa: PLC0415 (SciPy)

        return load_reconstructor(folder, self)

    def model_warnings(self, folder: Path) -> list[str]:
        """Those that the export keeps."""
        del folder
        return self._warnings

    def _conditions(self, people: pd.DataFrame) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Conditions (n, c) and surface features (n, 12)."""
        return conditioning.encode(people), mean_surface.features(people).astype(np.float32)


def _finite(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(flow).all():
        raise SpiroError("the exported networks draw flow that is not finite; export the model again")
    return flow
