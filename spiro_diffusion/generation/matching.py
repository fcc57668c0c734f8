"""Match drawn efforts against a request: best values, patterns and kinds of effort."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.generation.known_values import NAMES
from spiro_diffusion.generation.requests import Requirements
from spiro_diffusion.models import effort_facts
from spiro_diffusion.physiology import ats_ers, counter, effort_kinds, patterns, spirometry, time_grid

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAXIMA = ("fev1", "fvc", "pef", "fef2575")  # L, L/s: those of a session are the largest of its efforts
PLACES = [effort_facts.NAMES.index(name) for name in MAXIMA]  # among the facts
# shares by which a curve's indices may differ from its facts: facts so far outside are kept, since the curve may still
# meet the request; the default model keeps facts to 2 % (median, FEV1 and FVC)
SLACK = {"fev1": 0.06, "fvc": 0.06, "ratio": 0.06, "pef": 0.10, "fef2575": 0.15}
EXACT_SLACK = 0.5  # of it, around an exact value, to which the facts are then moved
BEV_SLACK = 0.5  # of the limit of a slow start
COUNTED = ("A", "B", "C")  # grades of efforts that give a session's best values, as those that NHANES publishes
BTPS = (1.06, 1.09, 1.12)  # of the counters that curves are read after: near a limit they do not agree


class Candidates(NamedTuple):
    """c candidates and their m efforts."""

    efforts: pd.DataFrame  # (m rows) person: the number of the candidate, from 0
    owner: Ints  # (c,) the person that each is for

    @classmethod
    def of(cls, efforts: pd.DataFrame, rows_of: list[Ints], each: Ints) -> "Candidates":
        """A number of candidates for each of P people, whose efforts are at `rows_of` in the table."""
        owner = np.repeat(np.arange(len(each)), each)
        rows = [rows_of[person] for person in owner]
        number = np.repeat(np.arange(len(owner)), [len(some) for some in rows])
        at = np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)
        return cls(efforts.iloc[at].reset_index(drop=True).assign(person=number), owner)

    def take(self, chosen: Ints) -> tuple["Candidates", Ints]:
        """Some of the candidates, and the rows of their efforts."""
        place = np.full(len(self.owner), -1)
        place[chosen] = np.arange(len(chosen))
        new_person = place[self.efforts["person"].to_numpy()]
        rows = np.flatnonzero(new_person >= 0)
        some = self.efforts.iloc[rows].assign(person=new_person[rows]).reset_index(drop=True)
        return Candidates(some, self.owner[chosen]), rows

    def best(self, values: Floats, *, after: Bools) -> Floats:
        """NAMES (c, 5) of values (m, 4) of MAXIMA, NaN where no effort counts: of a candidate's only effort its own; of
        a session the largest of those that count before the bronchodilator, if any is before it, or `after` (c,)."""
        person = self.efforts["person"].to_numpy()
        size = np.bincount(person, minlength=len(self.owner))
        drug = (self.efforts["test_type"] == "Bron").to_numpy()
        before = np.bincount(person[~drug], minlength=len(self.owner)) > 0
        phase = drug == (after | ~before)[person]
        counts = (size[person] == 1) | (phase & self.efforts["grade"].isin(COUNTED).to_numpy())
        best = np.full((len(self.owner), len(MAXIMA)), -np.inf)
        np.maximum.at(best, person[counts], values[counts])
        best[~np.isfinite(best)] = np.nan
        fev1, fvc, pef, fef2575 = best.T
        return np.column_stack([fev1, fvc, fev1 / fvc, pef, fef2575])


def by_facts(candidates: Candidates, logs: Floats, required: Requirements) -> Bools:
    """Whether candidates (c,) with these facts (m, k) may give curves that meet the request."""
    values = np.exp(logs[:, PLACES])
    kept = np.ones(len(candidates.owner), dtype=bool)
    for boxes, best in (
        (required.known, candidates.best(values, after=np.zeros(len(kept), dtype=bool))),
        (required.bounds, candidates.best(values, after=_after(candidates, required))),
    ):
        for i, name in enumerate(NAMES):
            if boxes[name].given.any():
                box = boxes[name].take(candidates.owner)
                kept &= box.holds(best[:, i], name, SLACK[name] * np.where(np.isnan(box.exact), 1.0, EXACT_SLACK))
    late = np.array([request.effort == "slow-start" for request in required.requests])[candidates.owner]
    if late.any():
        fvc, bev = (np.exp(logs[:, effort_facts.NAMES.index(name)]) for name in ("fvc", "bev"))
        slow = candidates.efforts["person"].to_numpy()[bev > BEV_SLACK * ats_ers.bev_limit(fvc)]
        kept &= ~late | (np.bincount(slow, minlength=len(kept)) > 0)
    return kept


def moved(candidates: Candidates, logs: Floats, required: Requirements) -> Floats:
    """The facts (m, k), moved within the slack so that best values equal the exactly known ones."""
    best = candidates.best(np.exp(logs[:, PLACES]), after=np.zeros(len(candidates.owner), dtype=bool))
    exact = {name: required.known[name].exact[candidates.owner] for name in NAMES}
    fev1, fvc, ratio = (exact[name] for name in ("fev1", "fvc", "ratio"))
    fvc = np.where(np.isnan(fvc), fev1 / ratio, fvc)
    fev1 = np.where(np.isnan(fev1), np.where(np.isnan(fvc), best[:, 1], fvc) * ratio, fev1)
    out, person = logs.copy(), candidates.efforts["person"].to_numpy()
    for name, value in {"fev1": fev1, "fvc": fvc, "pef": exact["pef"], "fef2575": exact["fef2575"]}.items():
        shift = np.nan_to_num(np.log(np.where(value > 0, value, np.nan) / best[:, NAMES.index(name)]))
        out[:, effort_facts.NAMES.index(name)] += shift[person]
    return out


def by_curves(candidates: Candidates, signals: NDArray[np.float32], required: Requirements, seed: int) -> Bools:
    """Whether candidates (c,) with these curves (m, 512), in L/s, meet the request, both unrounded and after the
    spirometer's counter, whose first millilitre is drawn from the seed."""
    rng, flow = np.random.default_rng(seed), time_grid.to_10ms(signals)
    kept = _meet(candidates, flow, required)
    for btps in BTPS:
        kept &= _meet(candidates, counter.flow(counter.count(flow, btps, rng), btps), required)
    return kept


def _meet(candidates: Candidates, flow: NDArray[np.float32], required: Requirements) -> Bools:
    found = spirometry.indices(flow, spirometry.end_of_flow(flow))
    values = np.stack([getattr(found, name) for name in MAXIMA], axis=1)
    best = candidates.best(values, after=np.zeros(len(candidates.owner), dtype=bool))
    kept = np.isfinite(best[:, 0])
    for i, name in enumerate(NAMES):
        if required.known[name].given.any():
            kept &= required.known[name].take(candidates.owner).holds(best[:, i], name)
    of_pattern = candidates.best(values, after=_after(candidates, required))
    first = candidates.efforts.drop_duplicates("person")  # in the order of the candidates
    age, height, sex = (first[name].to_numpy(float) for name in ("age", "height", "sex"))
    requested = [required.requests[person] for person in candidates.owner]
    for label in {request.pattern for request in requested if request.pattern is not None}:
        rows = np.array([request.pattern == label for request in requested])
        kept &= ~rows | patterns.carries(label, of_pattern[:, 0], of_pattern[:, 1], age, height, sex)
    person = candidates.efforts["person"].to_numpy()
    for kind in {request.effort for request in requested if request.effort is not None}:
        carries_kind = effort_kinds.carries(kind, found, candidates.efforts["age"].to_numpy(float))
        there = np.bincount(person[carries_kind], minlength=len(kept)) > 0
        kept &= there | np.array([request.effort != kind for request in requested])
    return kept


def _after(candidates: Candidates, required: Requirements) -> Bools:
    return np.array([required.requests[person].after for person in candidates.owner], dtype=bool)
