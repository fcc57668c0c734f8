"""Candidates of the judge in one form: the generator, the baselines, and the two floors."""

import dataclasses

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.evaluation import baselines, measured
from spiro_diffusion.evaluation.measured import Measured, Sampler
from spiro_diffusion.evaluation.real import Real
from spiro_diffusion.evaluation.registry import Question
from spiro_diffusion.physiology import dequantise, time_grid

REQUESTED_GRADE = "A"  # of best efforts that are compared with GLI Global: a user asks for an acceptable effort
ROUND_TRIP_QUESTIONS: tuple[Question, ...] = (
    "spread",
    "groups",
    "two_sample",
    "physics",
)  # the others would compare curves with themselves


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Curves and draws to be judged.

    `curves`: one a row of `Real.held_out` where `paired` (with its conditions and in its order), else of other
    people. `draws`: indices (n, K) of K draws at the conditions of each row of `Real.held_out`. `best_efforts`: the
    same for its best efforts only, requested as grade A. `losses`: denoising loss of the curves of
    `Real.members` and of `Real.held_out`. What is None leaves figures open, with the reason.
    """

    curves: Measured | None
    draws: dict[str, NDArray] | None = None
    best_efforts: dict[str, NDArray] | None = None
    losses: tuple[NDArray, NDArray] | None = None
    paired: bool = True


def best_effort_requests(real: Real) -> pd.DataFrame:
    """The best held-out efforts, requested as grade A."""
    best = real.held_out.people["best"].to_numpy(bool)
    return real.held_out.people[best].assign(grade=REQUESTED_GRADE)


def of_sampler(
    sampler: Sampler,
    real: Real,
    draws: int,
    seed: int,
    name: str,
    losses: tuple[NDArray, NDArray] | None = None,
    *,
    smooth: bool = False,
) -> Candidate:
    """A generator's draws at the conditions of every held-out curve; `smooth` ones get the flutter they have lost."""
    first = 0 if smooth else None
    curves, held_out_draws = measured.draw(sampler, real.held_out.people, draws, seed, name, first)
    _, best_efforts = measured.draw(
        sampler, best_effort_requests(real), draws, seed + 1, f"{name}, best efforts", first
    )
    return Candidate(curves, held_out_draws, best_efforts, losses)


def reference(real: Real, draws: int, seed: int) -> Candidate:
    """The published distributions: indices alone."""
    rng = np.random.default_rng([seed, 3])
    held_out_draws = baselines.reference_draws(real.held_out.people, draws, rng)
    return Candidate(None, held_out_draws, baselines.reference_draws(best_effort_requests(real), draws, rng))


def floor(real: Real, draws: int, seed: int) -> Candidate:
    """Real curves of as many training participants; its draws are real residuals around the real mean."""
    rng = np.random.default_rng([seed, 4])
    drawn = [
        baselines.residual_draws(people, real.train, real.train_indices, draws, rng)
        for people in (real.held_out.people, best_effort_requests(real))
    ]
    return Candidate(real.members, drawn[0], drawn[1], paired=False)


def round_trip(real: Real, seed: int) -> Candidate:
    """The real held-out curves sent through the grid and back: what no model of 512 samples can better.

    The counter's rounding is taken off before they are counted again, and the flutter within wide bins drawn anew.
    """
    people = real.held_out.people
    signals = dequantise.before(real.held_out.signals(), people["btps"].to_numpy())
    return Candidate(measured.aligned(measured.generated(signals, people, seed, time_grid.FINE_BINS)))
