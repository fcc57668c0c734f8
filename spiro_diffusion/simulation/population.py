"""Population figures of the simulator: summaries of the CDC's NHANES 2011-2012 files, from population.json.

benchmarks/calibrate_population.py writes that file; its docstring has the model.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

PATH = Path(__file__).with_name("population.json")


@dataclass(frozen=True)
class Marginal:
    """The model of one value by age, sex, ethnicity and height."""

    ages: NDArray[np.int64]  # (k,) knots of the correction, years
    correction: Floats  # (2, k) men, women
    ethnicity: Floats  # (6,) shifts, by Population.ethnicities
    height: float  # slope over log(height / 165 cm)
    spread: Floats  # by Population.spread_ages
    quantiles: Floats  # of the standardised residual, by Population.probabilities


@dataclass(frozen=True)
class Population:
    """Who lives there, how tall and heavy they are, and how they blow."""

    age_bands: NDArray[np.int64]  # years: edges
    age_band_shares: Floats
    blown_shares: Floats  # of each band, those with curves
    ethnicities: NDArray[np.int64]  # RIDRETH3; the first is the one the others are compared with
    ethnicity_shares: Floats
    spread_ages: NDArray[np.int64]  # years: knots
    probabilities: Floats
    height: Marginal  # log cm
    mass_index: Marginal  # log kg/m2
    values: dict[str, Marginal]  # lung function, in the order of `bends` and `covariances`
    bends: Floats
    covariances: Floats

    def drawn(self, model: Marginal, people: pd.DataFrame, score: Floats, spread: float = 1) -> Floats:
        """A value (n,) of a model at normal scores (n,), with the share `spread` of its spread."""
        from scipy.special import ndtri  # noqa: PLC0415 (who draws curves needs the heights alone)

        age = people["age"].to_numpy()
        by_sex = [np.interp(age, model.ages, row) for row in model.correction]
        value = np.where(people["sex"] == 1, *by_sex)
        place = (people["ethnicity"].to_numpy()[:, None] == self.ethnicities).argmax(axis=1)
        value += model.ethnicity[place]
        if model.height:
            value += model.height * np.log(people["height"].to_numpy() / 165)
        e = np.interp(score, ndtri(self.probabilities), model.quantiles)
        return value + spread * np.interp(age, self.spread_ages, model.spread) * e

    def usual_heights(self, age: ArrayLike, sex: ArrayLike) -> tuple[Floats, Floats]:
        """Heights (cm) that all but a thousandth of people of this age (years) and sex (1, 2) are between.

        Over all groups of ethnicity; age and sex are (n,), or one number each.
        """
        age, model = np.asarray(age, dtype=np.float64), self.height
        men, women = (np.interp(age, model.ages, row) for row in model.correction)
        middle = np.where(np.asarray(sex) == 1, men, women)
        spread = np.interp(age, self.spread_ages, model.spread)
        low = middle + spread * model.quantiles[0] + model.ethnicity.min()
        return np.exp(low), np.exp(middle + spread * model.quantiles[-1] + model.ethnicity.max())


def load(path: Path = PATH) -> Population:
    """The figures of a file."""
    table = json.loads(path.read_text(encoding="utf-8"))
    fields: dict[str, Any] = {name: np.array(value) for name, value in table.items() if isinstance(value, list)}
    fields |= {name: _marginal(table[name]) for name in ("height", "mass_index")}
    return Population(**fields, values={name: _marginal(value) for name, value in table["values"].items()})


def _marginal(table: dict[str, Any]) -> Marginal:
    fields: dict[str, Any] = {name: np.array(value) for name, value in table.items() if isinstance(value, list)}
    return Marginal(**fields, height=table["height"])


POPULATION = load()
