"""Candidate sessions of the judge: the generator's, other participants' (the floor), and those of simple baselines."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.vocabulary import JUDGED
from spiro_diffusion.evaluation import measured
from spiro_diffusion.evaluation.baselines import AGE_STEP, HEIGHT_STEP
from spiro_diffusion.evaluation.conditional import usable
from spiro_diffusion.evaluation.measured import Measured
from spiro_diffusion.evaluation.session_values import GOOD
from spiro_diffusion.physiology import dequantise, time_grid

SESSION = ["seqn", "test_type"]
EFFORT_STEPS = 10.0  # another number of efforts lies as far as so many steps of age or height


class Session(NamedTuple):
    """What a sampler draws for n efforts."""

    grades: NDArray  # (n,) A to D
    signals: NDArray  # (n, 512) L/s before the counter


# (efforts with seqn, test_type, place, age, height, sex, btps, a session's rows together; seed)
SessionSampler = Callable[[pd.DataFrame, int], Session]


def efforts_of(people: pd.DataFrame) -> pd.DataFrame:
    """The table of efforts with `place`, 1 for the first of its session; rows in the order they were blown."""
    return people.assign(place=people.groupby(SESSION).cumcount() + 1)


def of_sampler(sampler: SessionSampler, people: pd.DataFrame, seed: int) -> Measured:
    """Sessions of the same people with as many efforts, after the counter."""
    drawn = sampler(efforts_of(people), seed)
    return counted(drawn, people, seed)


def counted(drawn: Session, people: pd.DataFrame, seed: int, flutter_from: int = 0) -> Measured:
    """Drawn efforts after the counter; see `measured.generated`."""
    table = people.assign(grade=drawn.grades)
    return measured.aligned(measured.generated(drawn.signals, table, seed, flutter_from))


def one_effort_with_noise(curves: Measured, train: pd.DataFrame, seed: int) -> Measured:
    """The first good effort of each session, repeated as often as it was blown, each time with noise.

    Grades stay those of the session. The noise is normal and independent: volume with the SD of log FVC of a training
    session's good efforts, the speed at which it is expired with that of log PEF over FVC.
    """
    rng = np.random.default_rng(seed)
    people = curves.people.reset_index(drop=True)
    ranked = people.assign(row=np.arange(len(people)), worse=~people["grade"].isin(GOOD))
    chosen = ranked.sort_values(["worse", "row"]).groupby(SESSION)["row"].transform("first").sort_index().to_numpy()
    size, speed = (sd * rng.standard_normal(len(people)) for sd in noise_of(train))
    signals = dequantise.before(curves.signals(), people["btps"].to_numpy())[chosen]
    volume = time_grid.volume(signals)
    sped = time_grid.EDGES_S[None] * np.exp(speed)[:, None]
    noisy = np.stack([np.interp(t, time_grid.EDGES_S, v) for t, v in zip(sped, volume, strict=True)])
    noisy *= np.exp(size)[:, None]
    noisy[:, 0] = 0
    drawn = np.diff(noisy, axis=1) / time_grid.WIDTHS_S
    return counted(Session(people["grade"].to_numpy(), drawn), people, seed, time_grid.FINE_BINS)


def noise_of(train: pd.DataFrame) -> tuple[float, float]:
    """SD within training sessions, over good efforts, of log FVC and of log PEF over FVC."""
    good = train[train["grade"].isin(GOOD) & np.all([usable(train[i].to_numpy()) for i in JUDGED], axis=0)]
    sds = []
    for values in (np.log(good["fvc"]), np.log(good["pef"] / good["fvc"])):
        by_session = values.groupby([good[name] for name in SESSION])
        freedom = (by_session.count() - 1).clip(lower=0)
        sds.append(float(np.sqrt((by_session.var() * freedom).sum() / freedom.sum())))
    return sds[0], sds[1]


def nearest_session(people: pd.DataFrame, train: pd.DataFrame, signals: NDArray, seed: int) -> Measured:
    """For each session that of the training participant nearest in age, height and number of efforts, of the sex.

    Args:
        people: the held-out efforts; train, signals: all training curves, (n, 512) L/s after the counter.
    """
    train = train.reset_index(drop=True)
    session = train.groupby(SESSION, sort=False).ngroup().to_numpy()
    starts, counts = train.iloc[np.unique(session, return_index=True)[1]], np.bincount(session)
    rows_of = np.split(np.argsort(session, kind="stable"), np.cumsum(counts)[:-1])
    places, kinds = _place(starts, counts), starts["test_type"].to_numpy()
    chosen = np.zeros(len(people), dtype=np.int64)
    for rows in people.reset_index(drop=True).groupby(SESSION).indices.values():
        one = people.iloc[rows[:1]]
        place = _place(one, np.array([len(rows)]))
        distance = ((places - place) ** 2).sum(axis=1) + 1e9 * (kinds != one["test_type"].iloc[0])
        nearest = rows_of[int(distance.argmin())]
        chosen[rows] = nearest[np.arange(len(rows)) % len(nearest)]
    found = dequantise.before(np.asarray(signals)[chosen], train["btps"].to_numpy()[chosen])
    drawn = Session(train["grade"].to_numpy()[chosen], found)
    return counted(drawn, people, seed, time_grid.FINE_BINS)


def _place(starts: pd.DataFrame, counts: NDArray) -> NDArray[np.float64]:
    """Coordinates (n, 4) in which like people with like sessions are near; sexes never meet."""
    return np.column_stack(
        [
            starts["age"].to_numpy(float) / AGE_STEP,
            starts["height"].to_numpy(float) / HEIGHT_STEP,
            starts["sex"].to_numpy(float) * 1e3,
            EFFORT_STEPS * counts,
        ]
    )
