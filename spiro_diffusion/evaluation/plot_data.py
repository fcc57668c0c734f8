"""Arrays of the curves and draws that the evaluation's plots show, selected while the models are loaded.

Names of the arrays of `plot_data.npz` (p people, m efforts, n held-out curves):

- `person_age`, `person_height`, `person_sex` (p,); for `held_out` and `generated` efforts of these people `…_flow`
  (m, 2048) L/s of 10 ms, `…_person` (m,) the row of the person, `…_t0` and `…_fet` (m,) s
- for age and height, each sex code and index, `age_1_fev1_…`: `grid` (g,), the percentiles `generated` and `training`
  (5, g), and the held-out best efforts `x` and `values`
- `trip_flow` (2, k, 2048): some held-out curves, and as the autoencoder reads them back; `trip_age`, `trip_grade` (k,);
  `trip_fev1` … (2, n): an index of all held-out curves before and after
- `distance_generated`, `distance_held_out`, `distance_between_efforts`: see `copying.distances`
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.vocabulary import GRADES, JUDGED, SEXES
from spiro_diffusion.evaluation import copying
from spiro_diffusion.evaluation.candidates import Candidate
from spiro_diffusion.evaluation.measured import Measured, join
from spiro_diffusion.evaluation.real import Real
from spiro_diffusion.evaluation.session_candidates import SessionSampler, of_sampler

Arrays = dict[str, NDArray]

PEOPLE = ((9, 2), (16, 1), (30, 2), (50, 1), (70, 2))  # age and sex (RIAGENDR) of the people whose curves are shown
EFFORTS = 6  # at most so many of each
PERCENTILES = (5, 25, 50, 75, 95)
PERCENTILES_OF = ("fev1", "fvc", "pef")


def plot_arrays(real: Real, candidate: Candidate, sessions: SessionSampler, again: Measured, seed: int) -> Arrays:
    """All arrays.

    Args:
        candidate: the generator's, with curves and draws; sessions: the generator's, for the people shown.
        again: the held-out curves read back by the autoencoder.
    """
    assert candidate.curves is not None
    distances = copying.distances(real, candidate.curves)
    return {
        **_people(real.held_out, sessions, seed),
        **_percentiles(real, candidate),
        **_round_trip(real.held_out, again),
        **{f"distance_{name}": _finite(values) for name, values in distances.items()},
    }


def example_people(held_out: Measured) -> list[Measured]:
    """The efforts before the bronchodilator of the held-out participants nearest to the ages and sexes in PEOPLE."""
    people = held_out.people
    best = people[people["best"]]
    found: list[Measured] = []
    taken: set[int] = set()
    for age, sex in PEOPLE:
        distance = (best["age"] - age).abs() + 1000 * (best["sex"] != sex) + 1e6 * best["seqn"].isin(taken)
        if not len(distance):
            break
        seqn = int(best["seqn"].iloc[int(distance.to_numpy().argmin())])
        if seqn in taken:
            break
        taken.add(seqn)
        rows = np.flatnonzero((people["seqn"] == seqn) & (people["test_type"] == "Pre"))[:EFFORTS]
        found.append(held_out.take(rows))
    return found


def _people(held_out: Measured, sessions: SessionSampler, seed: int) -> Arrays:
    """Efforts of some held-out people, and a session of one lung with as many efforts for each of them."""
    chosen = example_people(held_out)
    efforts = join([held_out.take(np.empty(0, np.int64)), *chosen])
    drawn = of_sampler(sessions, efforts.people, seed) if chosen else efforts
    result: Arrays = {
        f"person_{name}": np.array([p.people[name].iloc[0] for p in chosen], dtype=np.float64)
        for name in ("age", "height", "sex")
    }
    person = np.repeat(np.arange(len(chosen)), [len(p) for p in chosen])
    for side, measured in (("held_out", efforts), ("generated", drawn)):
        result[f"{side}_person"] = person
        result[f"{side}_flow"] = measured.flow()
        for name in ("t0", "fet"):
            result[f"{side}_{name}"] = measured.indices[name]
    return result


def _percentiles(real: Real, candidate: Candidate) -> Arrays:
    """Of best efforts, by sex, against age and height."""
    assert candidate.draws is not None
    best, trained = real.held_out.people["best"].to_numpy(bool), real.train["best"].to_numpy(bool)
    people, train = real.held_out.people[best], real.train[trained]
    result: Arrays = {}
    for against in ("age", "height"):
        for sex in SEXES:
            of_sex, others = (table["sex"].to_numpy() == sex for table in (people, train))
            x, at_train = people[against].to_numpy(float)[of_sex], train[against].to_numpy(float)[others]
            if not of_sex.any():
                continue
            spaced = np.geomspace if against == "age" else np.linspace  # childhood needs more places than old age
            grid = spaced(max(x.min(), at_train.min()), min(x.max(), at_train.max()), 60)
            for name in PERCENTILES_OF:
                draws = candidate.draws[name][best][of_sex]
                arrays = {
                    "grid": grid,
                    "generated": _smooth(grid, np.repeat(x, draws.shape[1]), draws.ravel(), against),
                    "training": _smooth(grid, at_train, real.train_indices[name][trained][others], against),
                    "x": x,
                    "values": real.held_out.indices[name][best][of_sex],
                }
                result |= {f"{against}_{sex}_{name}_{key}": array for key, array in arrays.items()}
    return result


def _smooth(grid: NDArray, x: NDArray, values: NDArray, against: str) -> NDArray:
    """Percentiles (5, len(grid)) of values near each place, weighted by a Gaussian window; NaN without any value."""
    from scipy.ndimage import gaussian_filter1d  # noqa: PLC0415 (0.2 s, before any work)

    good = np.isfinite(values)
    if not good.any():
        return np.full((len(PERCENTILES), len(grid)), np.nan)
    order = np.argsort(values[good])
    x, values = x[good][order], values[good][order]
    # SD of the window: years, narrow where children grow; cm
    width = 0.5 + 0.09 * np.maximum(grid - 8, 0) if against == "age" else np.full_like(grid, 3.0)
    weight = np.exp(-0.5 * ((grid[:, None] - x) / width[:, None]) ** 2)
    cumulative = np.cumsum(weight, axis=1)
    share = (cumulative - 0.5 * weight) / cumulative[:, -1:]
    lines = np.array([[np.interp(p / 100, s, values) for s in share] for p in PERCENTILES])
    return gaussian_filter1d(lines, 2.0, axis=1, mode="nearest")  # few people make steps


def _round_trip(held_out: Measured, again: Measured) -> Arrays:
    rows = _of_each_grade(held_out.people)
    both = (held_out, again)
    return {
        "trip_flow": np.stack([curves.take(rows).flow() for curves in both]),
        "trip_age": held_out.people["age"].to_numpy(float)[rows],
        "trip_grade": held_out.people["grade"].to_numpy("U1")[rows],
        **{f"trip_{name}": np.stack([curves.indices[name] for curves in both]).astype(np.float32) for name in JUDGED},
    }


def _of_each_grade(people: pd.DataFrame) -> NDArray[np.int64]:
    """A row of each grade that is there, of a person near 40."""
    rows = []
    for grade in GRADES:
        rows_of_grade = np.flatnonzero(people["grade"] == grade)
        if len(rows_of_grade):
            rows.append(int(rows_of_grade[np.abs(people["age"].to_numpy(float)[rows_of_grade] - 40).argmin()]))
    return np.array(rows, dtype=np.int64)


def _finite(values: NDArray) -> NDArray[np.float32]:
    return np.sort(values[np.isfinite(values)]).astype(np.float32)
