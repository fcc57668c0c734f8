"""Baselines of generation: simple models of the training curves.

- `PCA`: 24 principal components, a Gaussian around their mean given the conditions.
- `Neighbours`: a training curve of someone alike.
- `reference_draws`: the published distributions, GLI Global (FEV1, FVC) and Hankinson (PEF): indices alone.
- `residual_draws`: real training residuals around the real mean; no baseline but the floor of calibration.
"""

import dataclasses

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from spiro_diffusion.core.vocabulary import GRADES, JUDGED
from spiro_diffusion.evaluation.conditional import ReferenceSurface, usable
from spiro_diffusion.evaluation.measured import KEPT
from spiro_diffusion.physiology import reference, time_grid
from spiro_diffusion.physiology.mean_surface import features

COMPONENTS = 24
NEIGHBOURS_POWER = 0.4  # of the number of training curves: 23 of 2,600, 61 of 29,000; the best CRPS of those tried
RESIDUALS = 4  # times as many neighbours give residuals: the mean they lie around is known
# One step of the distance between people: 5 years, 4 cm; another grade or test type lies as far as 20 steps.
AGE_STEP, HEIGHT_STEP, KIND_STEPS = 5.0, 4.0, 20.0


@dataclasses.dataclass(frozen=True)
class PCA:
    """Principal components of the signals, Gaussian given age, height, sex, grade, test type and best or not.

    The components are those of flow weighted by the square root of the bins' widths, so that they keep
    volume; the residual covariance is one for each grade.
    """

    mean: NDArray  # (512,)
    axes: NDArray  # (COMPONENTS, 512)
    coefficients: NDArray  # (features, COMPONENTS)
    factors: dict[str, NDArray]  # grade → (COMPONENTS, COMPONENTS), Cholesky factor of the residual covariance

    @classmethod
    def fit(cls, signals: NDArray, people: pd.DataFrame) -> "PCA":
        """Fit to training curves (n, 512)."""
        root = np.sqrt(time_grid.WIDTHS_S)
        x = (np.asarray(signals, dtype=np.float64) * root).astype(np.float32)
        mean = x.mean(axis=0)
        centred = x - mean
        axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))[1][:, : -COMPONENTS - 1 : -1].T
        scores = centred @ axes.T
        design = _design(people)
        coefficients = np.linalg.lstsq(design, scores, rcond=None)[0]
        residual = scores - design @ coefficients
        jitter = 1e-9 * np.eye(COMPONENTS) * residual.var()
        grades = people["grade"].to_numpy()
        factors: dict[str, NDArray] = {}
        for grade in GRADES:
            rows = grades == grade
            selected = residual[rows] if rows.sum() > 4 * COMPONENTS else residual
            factors[grade] = np.linalg.cholesky(np.cov(selected.T) + jitter)
        return cls(mean / root, axes / root, coefficients, factors)

    def sample(self, people: pd.DataFrame, draws: int, seed: int) -> NDArray[np.float32]:
        """Signals (n, draws, 512) in L/s."""
        rng = np.random.default_rng(seed)
        centre = _design(people) @ self.coefficients
        noise = rng.standard_normal((len(people), draws, COMPONENTS))
        for grade in GRADES:
            rows = people["grade"].to_numpy() == grade
            noise[rows] = noise[rows] @ self.factors[grade].T
        return ((centre[:, None] + noise) @ self.axes + self.mean).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """Resampling of training curves: one of the nearest in age and height, of the sex and kind of effort."""

    signals: NDArray
    people: pd.DataFrame
    times: int = 1

    def sample(self, people: pd.DataFrame, draws: int, seed: int) -> NDArray[np.float32]:
        """Signals (n, draws, 512) in L/s; each is a training curve."""
        rng = np.random.default_rng(seed)
        return np.asarray(self.signals)[self.rows(people, draws, rng)]

    def rows(self, people: pd.DataFrame, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Rows (n, draws) of the training curves drawn."""
        tree = cKDTree(_place(self.people))
        k = min(self.times * round(len(self.people) ** NEIGHBOURS_POWER), len(self.people))
        nearest = tree.query(_place(people), k=k)[1].reshape(len(people), k)
        return np.take_along_axis(nearest, rng.integers(k, size=(len(people), draws)), axis=1)


def reference_draws(people: pd.DataFrame, draws: int, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Draws (n, draws) of the published distributions: FEV1, FVC of GLI Global, PEF of Hankinson; others NaN.

    One standard normal number serves all three of a draw: only their single distributions are published.
    """
    z = rng.standard_normal((len(people), draws))
    found = {name: np.full(z.shape, np.nan, dtype=np.float32) for name in KEPT}
    person = (people["age"], people["height"], people["sex"])
    for name in ("fev1", "fvc"):
        lms = reference.gli_global(name, *person)
        columns = reference.LMS(lms.l[:, None], lms.m[:, None], lms.s[:, None])
        found[name] = columns.value(z).astype(np.float32)
    if "ethnicity" in people:
        group = reference.HANKINSON_GROUP_OF_RIDRETH1[people["ethnicity"].to_numpy(int) - 1]
        lms = reference.hankinson("pef", *person, group)
        found["pef"] = (lms.m[:, None] * (1 + z * lms.s[:, None])).astype(np.float32)
    return found


def residual_draws(
    people: pd.DataFrame,
    train: pd.DataFrame,
    train_indices: dict[str, NDArray],
    draws: int,
    rng: np.random.Generator,
) -> dict[str, NDArray[np.float32]]:
    """Draws (n, draws) of the four indices: the real mean surface and real residuals of training people alike.

    What no generator is expected to beat by much: the floor of coverage, PIT and CRPS.
    """
    pool = np.flatnonzero(np.all([usable(train_indices[name]) for name in JUDGED], axis=0))
    selected = train.iloc[pool]
    indices = {name: train_indices[name][pool] for name in JUDGED}
    reference_surface = ReferenceSurface.fit(selected, indices, JUDGED)
    rows = Neighbours(np.zeros((len(selected), 0)), selected, RESIDUALS).rows(people, draws, rng)
    found = {name: np.full(rows.shape, np.nan, dtype=np.float32) for name in KEPT}
    for name in JUDGED:
        residual = np.log(indices[name]) - reference_surface.mean(selected, name)
        found[name] = np.exp(reference_surface.mean(people, name)[:, None] + residual[rows]).astype(np.float32)
    return found


def _design(people: pd.DataFrame) -> NDArray[np.float64]:
    kinds = [(people["grade"] == grade).to_numpy(float) for grade in GRADES[1:]]
    kinds += [(people["test_type"] == "Bron").to_numpy(float), people["best"].to_numpy(float)]
    return np.column_stack([features(people), *kinds])


def _place(people: pd.DataFrame) -> NDArray[np.float64]:
    """Coordinates (n, 6) in which like people and efforts are near; sexes never meet."""
    return np.column_stack(
        [
            people["age"].to_numpy(float) / AGE_STEP,
            people["height"].to_numpy(float) / HEIGHT_STEP,
            people["sex"].to_numpy(float) * 1e3,
            people["grade"].map(GRADES.index).to_numpy(float) * KIND_STEPS,
            (people["test_type"] == "Bron").to_numpy(float) * KIND_STEPS,
            people["best"].to_numpy(float) * KIND_STEPS,
        ]
    )
