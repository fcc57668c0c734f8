"""A generator without training: lungs around GLI Global that empty with one time constant, some efforts spoiled."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.models import effort_facts
from spiro_diffusion.physiology import reference, time_grid

SPREAD, WITHIN = 1.3, 0.02  # SD of z-scores of people; of logarithms within a session
SPOILED = {"cough": 0.06, "early-stop": 0.06, "slow-start": 0.06}  # shares of efforts


class Facts(NamedTuple):
    table: pd.DataFrame
    logs: NDArray[np.float64]


class Lungs:
    """Draws as `conditional_draws.Drawer` says. What is known it ignores, unless `conditioned`: then the first of the
    known values of FEV1 and FVC are those of all efforts, nearly."""

    def __init__(self, conditioned: bool = False, faithful: float = 0.004) -> None:
        self.conditioned, self.faithful = conditioned, faithful  # SD of log of a curve's size around its facts
        self.facts_drawn = self.curves_drawn = 0

    def draw_facts(self, efforts: pd.DataFrame, seed: int, known_best: NDArray | None) -> Facts:
        rng = np.random.default_rng(seed)
        person = efforts["person"].to_numpy()
        age, height, sex = (efforts[name].to_numpy(float) for name in ("age", "height", "sex"))
        z = rng.normal(0, SPREAD, (person.max() + 1, 2))[person]
        fvc = reference.gli_global("fvc", age, height, sex).value(np.clip(z[:, 0], -4, 4))
        ratio = np.clip(reference.gli_global("ratio", age, height, sex).value(np.clip(z[:, 1], -4, 2)), 0.2, 0.97)
        after = (efforts["test_type"] == "Bron").to_numpy()
        fvc = fvc * np.exp(rng.normal(0, WITHIN, len(fvc))) * np.where(after, 1.01, 1)
        ratio = np.where(after, np.minimum(ratio * 1.04, 0.97), ratio)
        fev1 = ratio * fvc
        if self.conditioned and known_best is not None:
            fev1 = np.where(
                np.isnan(known_best[person, 0]), fev1, known_best[person, 0] * np.exp(rng.normal(0, 0.01, len(fvc)))
            )
            fvc = np.where(
                np.isnan(known_best[person, 1]), fvc, known_best[person, 1] * np.exp(rng.normal(0, 0.01, len(fvc)))
            )
            fvc = np.maximum(fvc, fev1 / 0.97)
        drawn = pd.Series(rng.choice(list("ABCD"), len(fvc)))
        table = efforts.assign(grade=efforts["grade"].fillna(drawn) if "grade" in efforts else drawn)
        if efforts["place"].notna().any():  # a session says which effort is its best
            counts = np.where(table["grade"].isin(list("ABC")) & ~after, fev1 + fvc, -np.inf)
            table["best"] = counts == pd.Series(counts).groupby(person).transform("max")
        self.facts_drawn += len(fvc)
        return Facts(table, self._logs(fev1, fvc))

    def draw_curves(self, efforts: pd.DataFrame, logs: NDArray, seed: int) -> NDArray[np.float32]:
        rng = np.random.default_rng(seed)
        n = len(logs)
        fev1, fvc = np.exp(logs[:, :2]).T * np.exp(rng.normal(0, self.faithful, n))
        tau = self._tau(fev1, fvc)[:, None]
        edges = np.maximum(time_grid.EDGES_S, 0)[None]
        kind = rng.choice(["", *SPOILED], n, p=[1 - sum(SPOILED.values()), *SPOILED.values()])
        stop = np.where(kind == "early-stop", 1.5, 14.0)[:, None]
        volume = fvc[:, None] * (1 - np.exp(-np.minimum(edges, stop) / tau))
        flow = np.diff(volume, axis=1) / time_grid.WIDTHS_S
        middle = (time_grid.EDGES_S[1:] + time_grid.EDGES_S[:-1]) / 2
        flow[np.ix_(kind == "cough", (middle > 0.4) & (middle < 0.55))] = 0
        before = (middle > -0.4) & (middle < 0)
        flow[np.ix_(kind == "slow-start", before)] = 0.25 * fvc[kind == "slow-start", None]
        self.curves_drawn += n
        scale = fev1 / time_grid.indices_of_signals(flow.astype(np.float32)).fev1  # a spoiled effort has its facts too
        return (flow * scale[:, None]).astype(np.float32)

    @staticmethod
    def _tau(fev1: NDArray, fvc: NDArray) -> NDArray:
        return -1 / np.log1p(-np.minimum(fev1 / fvc, 0.98))

    def _logs(self, fev1: NDArray, fvc: NDArray) -> NDArray[np.float64]:
        tau = self._tau(fev1, fvc)
        values = {"fev1": fev1, "fvc": fvc, "pef": fvc / tau, "fef2575": fvc / 2 / (tau * np.log(3))}
        rest = np.full(len(fvc), 0.2)  # some of a slow start
        return np.log(np.column_stack([values.get(name, rest) for name in effort_facts.NAMES]))
