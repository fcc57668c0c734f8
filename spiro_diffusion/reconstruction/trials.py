"""Cut full efforts of people not trained on, and measure the errors of the drawn tails."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.models.mixtures import Mixtures
from spiro_diffusion.physiology import mean_surface, time_grid
from spiro_diffusion.reconstruction import calibration, dissimilarity, segments, sibling_efforts
from spiro_diffusion.reconstruction.calibration import LEVELS, Case
from spiro_diffusion.reconstruction.corrections import Corrections
from spiro_diffusion.reconstruction.examples import Examples
from spiro_diffusion.reconstruction.segments import Floats, Places
from spiro_diffusion.reconstruction.sibling_efforts import Others

CUTS_S = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0)  # s after time zero


class _Cut(NamedTuple):
    """n efforts cut at one time."""

    at: float  # s after time zero
    seen: Floats  # (n, f), features of the measured part
    others: Floats  # (n, g), features of the best other effort of the person
    has_others: NDArray[np.bool_]
    true: Floats  # (n,), the first number of the tail that came
    person: NDArray


def corrections(tail: Mixtures, learned: Examples, signals: NDArray, curves: pd.DataFrame, rows: Places) -> Corrections:
    """Fit the corrections of a density of tails to the full efforts `rows` of the table, of people outside its training
    data.

    Args:
        signals: (all, bins) L/s, rows as in the table `curves`.
    """
    cuts = [_cut(at, signals, curves, rows) for at in CUTS_S]
    alone = [_case(tail, one, given=False) for one in cuts]
    beside = [_case(tail, one, given=True) for one in cuts]
    fitted = calibration.fit(alone)
    features = learned.features[:, : -tail.optional].astype(np.float64)
    exact = dissimilarity.axes(tail.standardised(features))
    axes = exact.astype(np.float32).astype(np.float64)  # as the checkpoint keeps them
    scores = [dissimilarity.scores(tail.standardised(one.seen), axes) for one in cuts]
    return Corrections(fitted, calibration.fit(beside), dissimilarity.limits(alone, scores, fitted), axes)


def _cut(at: float, signals: NDArray, curves: pd.DataFrame, rows: Places) -> _Cut:
    rows = rows[segments.cut_at(signals[rows], at)]
    flow = np.asarray(signals[rows], dtype=np.float64)
    v, end = np.maximum.accumulate(time_grid.volume(flow), axis=1), segments.end_edge(flow)
    place = np.full(len(rows), segments.edge_at(at))
    others = Others.of(signals, *sibling_efforts.best(curves, sibling_efforts.siblings(curves, rows)))
    return _Cut(
        at,
        segments.tail_features(v, place, mean_surface.features(curves.iloc[rows])),
        sibling_efforts.tail_features(others, v, place),
        others.among > 0,
        segments.tail_numbers(v, place, end)[:, 0],
        curves["seqn"].to_numpy()[rows],
    )


def _case(tail: Mixtures, cut: _Cut, *, given: bool) -> Case:
    """A case for `calibration.fit`, of the efforts without or with other efforts of the person."""
    rows = cut.has_others if given else np.full(len(cut.true), True)
    features = np.column_stack([cut.seen, cut.others if given else 0 * cut.others])[rows]
    return cut.at, cut.true[rows], tail.quantiles(features, LEVELS), cut.person[rows]
