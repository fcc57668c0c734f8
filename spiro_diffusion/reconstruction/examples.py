"""Training examples of the reconstructor: full efforts with randomly hidden segments."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.physiology import ats_ers, faults, mean_surface, spirometry, time_grid
from spiro_diffusion.reconstruction import segments, sibling_efforts
from spiro_diffusion.reconstruction.monotone import volume_at
from spiro_diffusion.reconstruction.segments import Floats, Places, Segment
from spiro_diffusion.reconstruction.sibling_efforts import Others

EARLIEST_S, LATEST_S = 0.3, 10.0  # of cuts, s after time zero
GAP_S, GAP_BEGIN_S = (0.06, 0.8), (0.1, 2.0)  # width of a gap and where it begins
JOIN_S = (0.0, 0.4)  # from the peak to where an onset is joined
SEEN_S = 0.3  # after an onset, before the next cut, at least
LEAST_SEEN_L = 0.1  # before a cut
CHUNK = 2048  # efforts at a time


class Examples(NamedTuple):
    """n examples of one segment; `rows` (n,) are the rows of the table that they were made from."""

    features: NDArray[np.float32]
    numbers: NDArray[np.float32]
    rows: Places


def full(curves: pd.DataFrame, signals: NDArray) -> NDArray[np.bool_]:
    """Which efforts are full: grade A, a good start, an end at a plateau, without a cough, a sudden end or a second
    breath.

    Args:
        signals: (n, bins) L/s, rows as in the table.
    """
    judged = ats_ers.judge_2019(curves, curves["age"])
    plateau = (curves["last_second"] <= spirometry.PLATEAU_L).to_numpy()
    good = (curves["grade"] == "A").to_numpy() & judged.fev1 & judged.fvc & plateau
    rows = np.flatnonzero(good)
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        good[some] = _late_rise(time_grid.volume(signals[some])) <= faults.BREATH_L_S
    return good


def _late_rise(v: Floats) -> Floats:
    """The rise (n,) of flow in L/s after the first second, by which `faults` detects a second breath."""
    times = np.broadcast_to(np.arange(1.0, LATEST_S, 0.1), (len(v), round((LATEST_S - 1.0) / 0.1)))
    flow = (volume_at(v, times + faults.BREATH_S) - volume_at(v, times)) / faults.BREATH_S
    return np.asarray((flow - np.minimum.accumulate(flow, axis=1)).max(axis=1), dtype=np.float64)


def examples(signals: NDArray, curves: pd.DataFrame, rows: Places, each: int, seed: int) -> dict[Segment, Examples]:
    """Make `each` examples of every segment of the full efforts `rows` of the table.

    Args:
        signals: (all, bins) L/s.
        seed: decides the hidden parts, and the other efforts that are given as a condition.
    """
    rng, other_rng = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    family = sibling_efforts.siblings(curves, rows)
    parts: dict[Segment, list[Examples]] = {name: [] for name in Segment}
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        flow = np.asarray(signals[some], dtype=np.float64)
        v = np.maximum.accumulate(time_grid.volume(flow), axis=1)
        end, people = segments.end_edge(flow), mean_surface.features(curves.iloc[some])
        t_pef = curves["t_pef"].to_numpy(float)[some]
        for _ in range(each):
            others = Others.of(
                signals, *sibling_efforts.best(curves, sibling_efforts.some(family[start : start + CHUNK], other_rng))
            )
            for name, make in ((Segment.TAIL, _tail), (Segment.GAP, _gap), (Segment.ONSET, _onset)):
                features, numbers, good = make(v, end, people, others, t_pef, rng)
                good &= np.isfinite(features).all(axis=1) & np.isfinite(numbers).all(axis=1)
                made = (features[good].astype(np.float32), numbers[good].astype(np.float32), some[good])
                parts[name].append(Examples(*made))
    return {name: Examples(*(np.concatenate(x) for x in zip(*found, strict=True))) for name, found in parts.items()}


Made = tuple[Floats, Floats, NDArray[np.bool_]]  # features, numbers, and where they make sense


def _tail(v: Floats, end: Places, people: Floats, others: Others, t_pef: Floats, rng: np.random.Generator) -> Made:
    latest = np.clip(time_grid.EDGES_S[end] - 0.1, EARLIEST_S, LATEST_S)
    cut = _edge(EARLIEST_S * (latest / EARLIEST_S) ** rng.random(len(v)))
    good = (cut < end) & (v[np.arange(len(v)), cut] > LEAST_SEEN_L)
    features = np.column_stack([segments.tail_features(v, cut, people), sibling_efforts.tail_features(others, v, cut)])
    return features, segments.tail_numbers(v, cut, np.maximum(end, cut)), good


def _gap(v: Floats, end: Places, people: Floats, others: Others, t_pef: Floats, rng: np.random.Generator) -> Made:
    begin = _edge(_log_uniform(GAP_BEGIN_S, len(v), rng))
    close = np.maximum(_edge(time_grid.EDGES_S[begin] + _log_uniform(GAP_S, len(v), rng)), begin + 1)
    good = time_grid.EDGES_S[close] + 0.2 < time_grid.EDGES_S[end]
    features = np.column_stack(
        [segments.gap_features(v, begin, close, people), sibling_efforts.gap_features(others, v, begin, close)]
    )
    return features, segments.gap_numbers(v, begin, close), good


def _onset(v: Floats, end: Places, people: Floats, others: Others, t_pef: Floats, rng: np.random.Generator) -> Made:
    join = _edge(np.nan_to_num(t_pef) + rng.uniform(*JOIN_S, len(v)))
    rest = np.maximum(time_grid.EDGES_S[end] - time_grid.EDGES_S[join], SEEN_S)
    cut = np.where(
        rng.random(len(v)) < 0.5, end, _edge(time_grid.EDGES_S[join] + SEEN_S * (rest / SEEN_S) ** rng.random(len(v)))
    )
    good = np.isfinite(t_pef) & (join < cut) & (time_grid.EDGES_S[join] > 0.02)
    features = np.column_stack(
        [segments.onset_features(v, join, cut, people), sibling_efforts.onset_features(others, v, join)]
    )
    return features, segments.onset_numbers(v, join), good


def _edge(times: Floats) -> Places:
    return np.minimum(np.searchsorted(time_grid.EDGES_S, times - 1e-9), time_grid.N_SAMPLES)


def _log_uniform(span: tuple[float, float], n: int, rng: np.random.Generator) -> Floats:
    low, high = np.log(span)
    return np.exp(rng.uniform(low, high, n))
