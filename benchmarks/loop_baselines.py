"""Baselines of completion on recorded efforts, whose volume where the record ends is the truth.

What learns from simulated people is told how long each record goes on, as the completion is: training efforts are ended
at random times. The ridge regression learns from the recorded people themselves, each left out once.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.dataset.raw_curves import read_table
from spiro_diffusion.dataset.signals import load_rows
from spiro_diffusion.dataset.splits import rows_of_part
from spiro_diffusion.evaluation import completion_learners, interruptions
from spiro_diffusion.evaluation.completion_baselines import BaselineData, Efforts, features_of, seen_volume
from spiro_diffusion.evaluation.conditional import crps
from spiro_diffusion.evaluation.interruptions import Case
from spiro_diffusion.evaluation.learners import ridge
from spiro_diffusion.physiology import time_grid
from spiro_diffusion.reconstruction import examples
from spiro_diffusion.reconstruction.monotone import volume_at
from spiro_diffusion.reconstruction.validation import Completed, Recorded

Floats = NDArray[np.float64]
Rows = tuple[Floats, Floats]  # what is seen (n, f), and what is to be predicted (n,)

LEAST_L = 0.005
REST_S = (0.2, 10.0)  # from the cut to the end of a training record
PENALTIES = (1.0, 10.0, 100.0, 1000.0)  # of the ridge regression, on features of SD 1
LEARNED = ("boosted_quantiles", "nearest_lungs")


def baseline_data(folder: Path) -> BaselineData:
    """The full efforts of a run in `folder` that its reconstructor learned from and was chosen by."""
    table = read_table(folder / "data/curves.parquet")
    flow = load_rows(folder / "data/signals_L512.npy", len(table), (time_grid.N_SAMPLES,))
    full = examples.full(table, flow)
    parts = (rows[full[rows]] for rows in (rows_of_part(table, part) for part in ("train", "choosing")))
    return BaselineData(*(Efforts(np.asarray(flow[rows]), table.iloc[rows].reset_index(drop=True)) for rows in parts))


def learned(data: BaselineData, efforts: Recorded, at_s: float, draws: int, seed: int) -> dict[str, Completed]:
    """What each of LEARNED makes of the efforts that last longer than `at_s`."""
    rng = np.random.default_rng(seed)
    cut = interruptions.cut(efforts.signals, efforts.people, at_s)
    others = [interruptions.cut(some.signals, some.people, at_s) for some in data]
    shares = [rng.random(len(case.rows)) for case in others]
    rests = [REST_S[0] * (REST_S[1] / REST_S[0]) ** share for share in shares]
    y, to_check = (_wanted(case, at_s + rest) for case, rest in zip(others, rests, strict=True))
    rests.append(efforts.end_s[cut.rows] - at_s)
    cases = [*others, cut]
    seen = (features_of(case) for case in cases)
    x, check, new = (np.column_stack([one, np.log(rest)]) for one, rest in zip(seen, rests, strict=True))
    quantiles = [completion_learners._quantile(q, (x, y), (check, to_check), new) for q in completion_learners.LEVELS]
    boosted = completion_learners._between(np.sort(quantiles, axis=0).T, rng.random((len(new), draws)))
    places = completion_learners._coordinates(*cases)
    scale = np.log(rests[0]).std()
    x, check, new = (np.column_stack([one, np.log(rest) / scale]) for one, rest in zip(places, rests, strict=True))
    tried = [completion_learners._local(x, y, check, k, draws, rng) for k in completion_learners.NEIGHBOURS]
    best = completion_learners.NEIGHBOURS[int(np.argmin([crps(to_check, one).mean() for one in tried]))]
    nearest = completion_learners._local(x, y, new, best, draws, rng)
    found = zip(LEARNED, (boosted, nearest), strict=True)
    return {name: _completed(cut, efforts, drawn) for name, drawn in found}


def ridge_of_cohort(efforts: Recorded, at_s: float) -> Completed:
    """A ridge regression fitted to the same people, each left out once, moved by its errors on the others; of some
    penalties the one with the least error."""
    case = interruptions.cut(efforts.signals, efforts.people, at_s)
    x = np.column_stack([features_of(case), np.log(efforts.end_s[case.rows] - at_s)])
    y = _wanted(case, efforts.end_s[case.rows])
    rows = np.arange(len(y))
    predicted = [
        np.array([ridge(x[rows != i], y[rows != i], x[i : i + 1], penalty)[0] for i in rows]) for penalty in PENALTIES
    ]
    best = min(predicted, key=lambda one: float(np.median(np.abs(np.exp(one) - np.exp(y)))))
    errors = np.stack([(y - best)[rows != i] for i in rows])
    return _completed(case, efforts, best[:, None] + errors)


def _wanted(case: Case, end_s: Floats) -> Floats:
    """Logarithm (n,) of the volume between the cut and `end_s` (n,) s, over that before."""
    v = np.maximum.accumulate(time_grid.volume(case.truth.astype(np.float64)), axis=1)
    seen = seen_volume(case)
    return np.asarray(np.log((np.maximum(volume_at(v, end_s[:, None])[:, 0] - seen, 0) + LEAST_L) / seen))


def _completed(case: Case, efforts: Recorded, drawn: Floats) -> Completed:
    seen, ends = seen_volume(case), efforts.end_s[case.rows]
    recorded = np.exp(_wanted(case, ends)) * seen - LEAST_L + seen
    volumes = seen[:, None] + np.maximum(np.exp(drawn) * seen[:, None] - LEAST_L, 0)
    return Completed(case.rows, volumes, recorded, seen)
