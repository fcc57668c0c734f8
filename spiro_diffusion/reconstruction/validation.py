"""Validate and calibrate completions on recorded efforts of real people.

A recorded effort is cut, its remainder is drawn given only the part before the cut and age, height and sex, and the
volume drawn for the time at which the record ends is compared with the recorded one. Whether the effort had ended by
itself does not matter for that: many records stop while volume still rises, and their true FVC is larger.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.subjects import accepted
from spiro_diffusion.physiology import ats_ers, spirometry, time_grid
from spiro_diffusion.physiology.spirometry import SAMPLE_PERIOD_S
from spiro_diffusion.reconstruction import cohort_calibration, segments
from spiro_diffusion.reconstruction.calibration import LEVELS, Calibration, interval_score
from spiro_diffusion.reconstruction.cohort_calibration import CohortCalibration, RecordedCase
from spiro_diffusion.reconstruction.monotone import volume_at
from spiro_diffusion.reconstruction.reconstructor import Reconstructor
from spiro_diffusion.reconstruction.segments import LEAST_L, Floats
from spiro_diffusion.user_curves import people as people_files

CUTS_S = (1.0, 2.0, 3.0)  # s after time zero
LEAST_PEOPLE = 20  # that correct the intervals for their device
BATCH = 4096  # curves at a time


class Recorded(NamedTuple):
    """One effort each of n people."""

    people: pd.DataFrame  # n rows as `subjects.conditioned` makes them
    signals: NDArray[np.float32]  # (n, bins) L/s
    end_s: Floats  # (n,) s after time zero, at which the record ends
    notes: list[str]  # remarks on the reading, and on people left out

    def some(self, rows: NDArray) -> "Recorded":
        """Those of some people."""
        return Recorded(self.people.iloc[rows].reset_index(drop=True), self.signals[rows], self.end_s[rows], self.notes)


class Completed(NamedTuple):
    """The efforts `rows` (m,) that last beyond a cut: volumes (L) where the record ends, drawn (m, draws) and recorded
    (m,), and at the cut (m,)."""

    rows: NDArray[np.int64]
    drawn: Floats
    recorded: Floats
    seen: Floats


def read(folder: Path, model: Reconstructor, *, btps: float | None = None) -> Recorded:
    """Read the best effort (largest sum of FEV1 and FVC) of each person of a folder, see
    `user_curves.people.read_folder`.

    People beyond the trained ages and heights are left out, with a note.

    Raises SpiroError as that does, and if no person is left.
    """
    found = people_files.read_folder(folder, btps=btps)
    people = found.people.assign(place=range(len(found.people)))
    kept = accepted(people, model.made_from, skip_invalid=True)
    signals, ends = [], []
    for curves in (found.curves[place] for place in kept.table["place"]):
        index = spirometry.indices(curves.flow, curves.points)
        row = int(ats_ers.best_efforts(index.fev1, index.fvc, [0] * len(index.fvc), [True] * len(index.fvc)).argmax())
        signals.append(time_grid.to_grid(curves.flow[row : row + 1], index.t0[row : row + 1])[0])
        ends.append(curves.points[row] * SAMPLE_PERIOD_S - float(index.t0[row]))
    return Recorded(kept.table, np.stack(signals), np.array(ends), [*found.notes, *kept.warnings])


def completed(model: Reconstructor, efforts: Recorded, at_s: float, draws: int, seed: int) -> Completed:
    """The efforts that last longer, cut at `at_s` and drawn on plain paths: the diffusion adds texture alone."""
    edge, rows = segments.edge_at(at_s), segments.cut_at(efforts.signals, at_s)
    truth = np.asarray(efforts.signals[rows], dtype=np.float64)
    trusted = np.broadcast_to(np.arange(time_grid.N_SAMPLES) < edge, truth.shape)
    ends = efforts.end_s[rows, None]
    volume = np.maximum.accumulate(time_grid.volume(truth), axis=1)
    drawn, step = [], max(1, BATCH // draws)
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        people = efforts.people.iloc[rows[part]]
        paths = model.plain(truth[part] * trusted[part], trusted[part], people, draws, seed + start)
        flat = time_grid.volume(paths.flow().astype(np.float64))
        drawn.append(volume_at(flat, np.repeat(ends[part], draws, axis=0)).reshape(-1, draws))
    volumes = np.concatenate(drawn) if drawn else np.zeros((0, draws))
    return Completed(rows, volumes, volume_at(volume, ends)[:, 0], volume[:, edge])


def table(model: Reconstructor, efforts: Recorded, *, draws: int, seed: int) -> pd.DataFrame:
    """A table by cut, of the cuts that some effort outlasts; see `figures`."""
    found = {at_s: completed(model, efforts, at_s, draws, seed) for at_s in CUTS_S}
    return pd.DataFrame([{"cut_s": at_s, **figures(cut)} for at_s, cut in found.items() if len(cut.rows)])


def figures(found: Completed) -> dict[str, float]:
    """Figures of one cut: the number of efforts; the median absolute error (mL) of the volume where the record ends,
    for the volume at the cut and as completed; the median signed error; the share of 90 % intervals that contain the
    recorded volume, with the exact binomial 95 % interval; their median width and their mean score (mL)."""
    low, middle, high = np.quantile(found.drawn, LEVELS, axis=1)
    holds = (low <= found.recorded) & (found.recorded <= high)
    exact = binomtest(int(holds.sum()), len(holds)).proportion_ci(0.95)
    return {
        "efforts": len(holds),
        "as_recorded_ml": 1000 * np.median(found.recorded - found.seen),
        "error_ml": 1000 * np.median(np.abs(middle - found.recorded)),
        "bias_ml": 1000 * np.median(middle - found.recorded),
        "holds": holds.mean(),
        "holds_from": exact.low,
        "holds_to": exact.high,
        "width_ml": 1000 * np.median(high - low),
        "interval_score_ml": 1000 * interval_score(found.recorded, low, high).mean(),
    }


def calibrated(model: Reconstructor, efforts: Recorded, *, draws: int = 400, seed: int = 0) -> CohortCalibration:
    """The correction of tails with which the volume where records end is right for people like these, and its intervals
    hold.

    Raises SpiroError if every cut has fewer than LEAST_PEOPLE people.
    """
    found = cases(model, efforts, draws, seed)
    most = max(len(case.person) for case in found)
    if most < LEAST_PEOPLE:
        raise SpiroError(f"{most} people with an effort of over 0.65 s were found; at least {LEAST_PEOPLE} are needed")
    return cohort_calibration.fit([case for case in found if len(case.person) >= LEAST_PEOPLE])


def cases(model: Reconstructor, efforts: Recorded, draws: int, seed: int) -> list[RecordedCase]:
    """Cases for `cohort_calibration.fit` from efforts and a model, whose own correction is left out."""
    plain, found = model.calibrated(Calibration.none()), []
    for at_s in (0.5, *CUTS_S):
        done = completed(plain, efforts, at_s, draws, seed)
        seen = np.maximum(done.seen, LEAST_L)
        rest = np.log((np.maximum(done.recorded - seen, 0) + LEAST_L) / seen)
        drawn = np.log((np.maximum(done.drawn - seen[:, None], 0) + LEAST_L) / seen[:, None])
        quantiles = np.quantile(drawn, LEVELS, axis=1).T if len(done.rows) else np.zeros((0, len(LEVELS)))
        quantiles += np.array([-1e-6, 0, 1e-6])  # an interval of no width needs no finite factor
        before = np.arange(time_grid.N_SAMPLES) < segments.edge_at(at_s)
        trusted = np.broadcast_to(before, (len(done.rows), len(before)))
        expected = plain.expected(efforts.signals[done.rows], trusted, efforts.people.iloc[done.rows])
        after_s = efforts.end_s[done.rows] - at_s
        found.append(RecordedCase(at_s, rest, quantiles, expected, after_s, done.rows))
    return found
