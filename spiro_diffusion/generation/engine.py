"""The interface of the engines, and drawing through it as `conditional_draws` requires; see the package `engines`."""

from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.generation.effort_tables import Drawn, Facts

Floats = NDArray[np.float64]


class Engine(Protocol):
    """A trained generator; see `generator.Generator`."""

    made_from: dict[str, Any]

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
        """Signals (people, draws, 512), L/s."""

    def sample_given(
        self,
        people: pd.DataFrame,
        logs: Floats,
        seed: int,
        *,
        lungs: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        """Signals (n, 512) in L/s of efforts with these facts (n, 9); see `generator.Generator.sample_given`."""

    def effort_facts(self, efforts: pd.DataFrame, seed: int, known_best: Floats | None) -> Facts:
        """Facts of efforts, each of another lung, and the grade of those that have none. `known_best` (n, 5): values in
        the order of `effort_sets.BEST`, NaN where unknown."""

    def session_facts(self, efforts: pd.DataFrame, seed: int, known_best: Floats | None) -> Facts:
        """Facts of efforts, those of one person of one lung; see `sessions.draw_facts`."""


def draw_sessions(engine: Engine, efforts: pd.DataFrame, seed: int, known_best: Floats | None = None) -> Drawn:
    """Facts as `Engine.session_facts` draws them, and a curve for each effort."""
    facts = engine.session_facts(efforts, seed, known_best)
    lungs = facts.table["person"].to_numpy(np.int64)
    return Drawn(facts.table, engine.sample_given(facts.table, facts.logs, seed, lungs=lungs))


class SessionEfforts:
    """The generator in two steps, as a `conditional_draws.Drawer`: the efforts of one person are drawn together."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def draw_facts(self, efforts: pd.DataFrame, seed: int, known_best: Floats | None) -> Facts:
        """As `Engine.session_facts`."""
        return self._engine.session_facts(efforts, seed, known_best)

    def draw_curves(self, efforts: pd.DataFrame, logs: Floats, seed: int) -> NDArray[np.float32]:
        """Signals (n, 512) in L/s of efforts with these facts."""
        return self._engine.sample_given(efforts, logs, seed, lungs=efforts["person"].to_numpy(np.int64))


class SingleEfforts(SessionEfforts):
    """Each row is an effort of another lung, with all of its conditions, as `Engine.sample` draws it.

    Known values condition the network for a person's best effort only, whose values are nearly always the best of the
    session: other efforts with known values are found among draws that are not conditioned on them.
    """

    def draw_facts(self, efforts: pd.DataFrame, seed: int, known_best: Floats | None) -> Facts:
        """As `Engine.effort_facts`."""
        table = efforts.reset_index(drop=True)
        if known_best is not None:
            known_best = np.where([[value is True] for value in table["best"]], known_best, np.nan)
        return self._engine.effort_facts(table, seed, known_best)

    def draw_curves(self, efforts: pd.DataFrame, logs: Floats, seed: int) -> NDArray[np.float32]:
        """As of `SessionEfforts`, each of another lung."""
        return self._engine.sample_given(efforts, logs, seed)
