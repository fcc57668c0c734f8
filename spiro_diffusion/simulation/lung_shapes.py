"""Shape statistics of real forced expirations, from lung_shapes.json: curves' form, and effort.

Means, slopes and covariances only; no curve of anyone. benchmarks/fit_lung_shapes.py writes the file, and its
docstring has the source and the model:

    shape = mean + slopes x (predictors of the knots, standardised, held within `REACH`) + components x normal scores
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import expit

from spiro_diffusion.simulation import expiration
from spiro_diffusion.simulation.expiration import Knots, Shape

Floats = NDArray[np.float64]
Rng = np.random.Generator

PATH = Path(__file__).with_name("lung_shapes.json")
# Mahalanobis distance that 19 of 20 people of a normal population are within, of four predictors: whoever is further
# from the real people's mean (the old, the obstructed) counts as one in the same direction at its edge.
REACH = 3.08
STEEPEST_BEND = -0.02  # smaller bends are lost in the shares of them
_EARLY, _BETWEEN = len(expiration.EARLY_S), len(expiration.BETWEEN)


@dataclass(frozen=True)
class Linear:
    """Values (k) by predictors (p), with Gaussian residuals."""

    centre: Floats  # (p,) of the predictors
    scale: Floats  # (p,)
    precision: Floats  # (p, p) of the standardised predictors
    mean: Floats  # (k,)
    slopes: Floats  # (p, k)
    components: Floats  # (m, k), of the residuals: m independent normal scores make them

    def standardised(self, predictors: Floats) -> Floats:
        """Standardised predictors (n, p), within REACH."""
        x = (predictors - self.centre) / self.scale
        distance = np.sqrt(((x @ self.precision) * x).sum(axis=1))
        return x * np.minimum(1, REACH / np.maximum(distance, 1e-9))[:, None]

    def drawn(self, predictors: Floats, rng: Rng) -> Floats:
        """Values (n, k) at predictors (n, p)."""
        x = self.standardised(predictors)
        return self.mean + x @ self.slopes + rng.standard_normal((len(x), len(self.components))) @ self.components


@dataclass(frozen=True)
class Flutter:
    """Rapid changes of flow: an autoregression whose size goes with flow."""

    coefficients: Floats  # of the two samples before
    share: float  # SD, of flow
    least: float  # SD, of FVC per s: what is left where flow is small
    spread: float  # SD between efforts, of the logarithm of the size
    peak: float  # how much it raises the highest sample, log

    def drawn(self, flow: Floats, rng: Rng) -> Floats:
        """Changes (n, T) of flows (n, T) over FVC."""
        first, second = self.coefficients
        variance = (1 - second) / ((1 + second) * ((1 - second) ** 2 - first**2))
        size = np.exp(self.spread * rng.standard_normal((len(flow), 1))) / np.sqrt(variance)
        unrest = lfilter([1], [1, -first, -second], rng.standard_normal(flow.shape, dtype=np.float32), axis=1)
        unrest *= np.sqrt((self.share * flow) ** 2 + (self.least * np.minimum(flow, 0.1) / 0.1) ** 2)
        unrest *= size
        return unrest


@dataclass(frozen=True)
class LungShapes:
    """All facts."""

    source: str
    people: int
    shape: Linear  # Shape by the predictors of `predictors`
    efforts: Linear  # late, last, log FET and log BEV of the real people by ratio, log PEF and early
    flutter: Flutter

    def drawn(self, knots: Knots, rng: Rng) -> Shape:
        """Shapes of best efforts with these knots."""
        given = predictors(knots)
        values = self.shape.drawn(given, rng)
        early, between, onset = np.split(values, [_EARLY, _EARLY + _BETWEEN], axis=1)
        below = self.shape.centre[0] + self.shape.scale[0] * self.shape.standardised(given)[:, 0]
        return Shape(early / np.minimum(below, STEEPEST_BEND)[:, None], between, onset)


def predictors(knots: Knots) -> Floats:
    """What a shape depends on, (n, 4): what is the lung's. How long an effort lasts and how it begins is the device's
    and the technician's."""
    share, log_pef, _, late, *_ = coordinates(knots).T
    return np.stack([expiration.bend(knots.pef, knots.fev05), share, log_pef, late], axis=1)


def coordinates(knots: Knots) -> Floats:
    """Knots as numbers without bounds, (n, 7): ratio, log PEF, early, late, last, log FET, log BEV."""
    late = (knots.fev3 - knots.fev1) / (1 - knots.fev1)
    last = np.clip((knots.fev6 - knots.fev3) / (1 - knots.fev3), 0.02, 0.995)
    shares = [np.log(share / (1 - share)) for share in (knots.fev05 / knots.fev1, late, last)]
    ratio = expiration.log_emptied(knots.fev1)
    return np.stack([ratio, np.log(knots.pef), *shares, np.log(knots.fet), np.log(knots.bev)], axis=1)


def knots_at(coordinates: Floats) -> Knots:
    """The inverse of `coordinates`."""
    ratio, log_pef, early, late, last, log_fet, log_bev = coordinates.T
    fev1 = np.minimum(-(1 + expiration.LEFT) * np.expm1(-np.exp(ratio)), 0.985)  # held below what can be drawn through
    fev3 = fev1 + (1 - fev1) * expit(late)
    fev6 = fev3 + (1 - fev3) * expit(last)
    return Knots(np.exp(log_pef), fev1 * expit(early), fev1, fev3, fev6, np.exp(log_fet), np.exp(log_bev))


def load(path: Path = PATH) -> LungShapes:
    """The facts of a file."""
    return from_table(json.loads(path.read_text(encoding="utf-8")))


def from_table(table: dict) -> LungShapes:
    """The facts of a file's content."""
    models = {
        name: Linear(**{field.name: np.array(table[name][field.name]) for field in fields(Linear)})
        for name in ("shape", "efforts")
    }
    flutter = Flutter(**(table["flutter"] | {"coefficients": np.array(table["flutter"]["coefficients"])}))
    return LungShapes(table["source"], table["people"], flutter=flutter, **models)
