"""Rejection sampling of curves that meet a request: first of the facts of an effort, then of its curve.

By rejection sampling, the accepted draws are distributed as the draws of the generator given the request. Facts are
cheap to draw, and compared with the request with some slack; curves are compared without slack.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from spiro_diffusion.generation import matching
from spiro_diffusion.generation.known_values import NAMES
from spiro_diffusion.generation.matching import Candidates
from spiro_diffusion.generation.requests import Requirements

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST = 32  # candidates of a person whose facts are drawn at once
MOST_FACTS, MOST_CURVES = 1 << 15, 2048  # candidates of all people at once
AHEAD = 1.2  # candidates drawn for each that is expected to be needed
FACTS, CURVES, COUNTER = 0, 1, 2  # of the seeds


class Facts(Protocol):
    """n efforts and their facts."""

    @property
    def table(self) -> pd.DataFrame:
        """The requested efforts, with the grade of each."""

    @property
    def logs(self) -> Floats:
        """(n, k), in the order of `effort_facts.NAMES`."""


class Drawer(Protocol):
    """The interface of a generator that draws efforts in two steps."""

    def draw_facts(self, efforts: pd.DataFrame, seed: int, known_best: Floats | None) -> Facts:
        """Facts of efforts; those with the same `person` are of one lung. `known_best` (people, 5), as they come: the
        best FEV1, FVC (L), FEV1/FVC, PEF, FEF25-75 (L/s), NaN unknown."""

    def draw_curves(self, efforts: pd.DataFrame, logs: Floats, seed: int) -> NDArray[np.float32]:
        """Signals (n, 512) in L/s of efforts with these facts."""


@dataclass(frozen=True)
class Budget:
    """The search budget: the largest number of candidates for each person."""

    facts: int = 100_000
    curves: int = 4_000  # and `curves_each` for each that is requested
    curves_each: int = 50


class Found(NamedTuple):
    """m efforts with curves that meet the request of their person, by person and draw."""

    efforts: pd.DataFrame  # (m rows) as requested, with what was drawn of them; person: row of the people
    draw: Ints  # (m,) number among that person's, from 0
    signals: NDArray[np.float32]  # (m, 512) L/s
    counts: Ints  # (people,) draws that each has
    facts: Ints  # (people,) candidates that were drawn
    curves: Ints  # (people,) candidates of which curves were drawn


def draw(
    drawer: Drawer,
    efforts: pd.DataFrame,
    required: Requirements,
    n: int,
    seed: int,
    *,
    budget: Budget = Budget(),
    progress: bool = False,
) -> Found:
    """Draw `n` efforts or sessions for each of P people that meet their request; fewer if the budget is spent.

    Args:
        efforts: a row for each effort: `person`, from 0, one of P; age, height, sex (1 or 2), test_type and the
            other conditions of the drawer. A single effort of a person is judged by its values; several are a session,
            judged by the best values of its efforts of grade A, B or C: those before the bronchodilator, if there are
            any, and for a GOLD grade those after it.
        seed: the same seed, people and n give the same draws.
    """
    search = _Search(drawer, efforts, required, n, seed, budget)
    with tqdm(
        total=n * search.people, desc="on request", unit="curve", disable=not progress, delay=1, leave=False
    ) as bar:
        while search.step():
            bar.update(int(search.found.sum()) - bar.n)
    return search.result()


class _Queue(NamedTuple):
    """Candidates with accepted facts whose curves are still to be drawn."""

    candidates: Candidates
    logs: Floats

    def split(self, chosen: Bools) -> tuple["_Queue", "_Queue"]:
        """Those chosen (c,), and the others."""
        parts = []
        for rows in (np.flatnonzero(chosen), np.flatnonzero(~chosen)):
            some, at = self.candidates.take(rows)
            parts.append(_Queue(some, self.logs[at]))
        return parts[0], parts[1]

    def joined(self, other: "_Queue") -> "_Queue":
        """Both, one after the other."""
        if not len(self.candidates.owner):
            return other
        candidates, more = self.candidates, other.candidates
        later = more.efforts.assign(person=more.efforts["person"] + len(candidates.owner))
        both = Candidates(
            pd.concat([candidates.efforts, later], ignore_index=True), np.concatenate([candidates.owner, more.owner])
        )
        return _Queue(both, np.concatenate([self.logs, other.logs]))


class _Search:
    """State of the search: the draws found for P people, and the candidates tried."""

    def __init__(
        self, drawer: Drawer, efforts: pd.DataFrame, required: Requirements, n: int, seed: int, budget: Budget
    ) -> None:
        self.drawer, self.efforts, self.required, self.n, self.seed = drawer, efforts, required, n, seed
        self.people = len(required.requests)
        self.most_facts, self.most_curves = budget.facts, budget.curves + budget.curves_each * n
        person = efforts["person"].to_numpy()
        self.rows_of = [np.flatnonzero(person == number) for number in range(self.people)]
        self.found, self.facts, self.facts_kept, self.curves = (np.zeros(self.people, np.int64) for _ in range(4))
        empty = Candidates.of(efforts, self.rows_of, self.found)
        self.queue = _Queue(empty, np.empty((0, 0)))
        self.kept: list[tuple[pd.DataFrame, Ints, NDArray[np.float32]]] = []
        self.round = 0

    def step(self) -> bool:
        """Draw some facts and some curves; False if nothing is left to do or the budget is spent."""
        needed = self._needed()
        self.round += 1
        drew_facts = self._draw_facts(needed)
        return self._draw_curves(needed) or drew_facts

    def result(self) -> Found:
        """What was found."""
        tables, draws, signals = zip(*self.kept, strict=True) if self.kept else ((), (), ())
        table = pd.concat(tables, ignore_index=True) if tables else self.efforts.iloc[:0]
        draw = np.concatenate([np.empty(0, np.int64), *draws])
        flow = np.concatenate([np.empty((0, 512), np.float32), *signals])
        order = np.lexsort([np.arange(len(draw)), draw, table["person"].to_numpy()])
        table = table.iloc[order].reset_index(drop=True)
        return Found(table, draw[order], flow[order], self.found, self.facts, self.curves)

    def _needed(self) -> Ints:
        """Candidates (P,) whose curves are to be drawn next."""
        left = np.where(self.found < self.n, self.most_curves - self.curves, 0)
        rate = (self.found + 1) / (self.curves + 1)
        share = max(1, MOST_CURVES // max(1, int((left > 0).sum())))
        wished = np.ceil(AHEAD * (self.n - self.found) / rate)
        return np.minimum(np.minimum(wished, share), left).astype(np.int64)

    def _draw_facts(self, needed: Ints) -> bool:
        """Fill the queue with candidates whose facts may meet the request; whether any were drawn."""
        waiting = np.bincount(self.queue.candidates.owner, minlength=self.people)
        short = np.where(self.facts < self.most_facts, np.maximum(needed - waiting, 0), 0)
        if not short.any():
            return False
        rate = (self.facts_kept + 1) / (self.facts + 1)
        share = max(FEWEST, MOST_FACTS // int((short > 0).sum()))
        each = np.clip(np.ceil(AHEAD * short / rate), FEWEST, np.minimum(share, self.most_facts - self.facts))
        each = np.where(short > 0, each, 0).astype(np.int64)
        candidates = Candidates.of(self.efforts, self.rows_of, each)
        exact = np.column_stack([self.required.known[name].exact for name in NAMES])[candidates.owner]
        drawn = self.drawer.draw_facts(candidates.efforts, self._seed(FACTS), None if np.isnan(exact).all() else exact)
        candidates = candidates._replace(efforts=drawn.table.reset_index(drop=True))
        kept, _ = _Queue(candidates, drawn.logs).split(matching.by_facts(candidates, drawn.logs, self.required))
        kept = kept._replace(logs=matching.moved(kept.candidates, kept.logs, self.required))
        self.facts += each
        self.facts_kept += np.bincount(kept.candidates.owner, minlength=self.people)
        self.queue = self.queue.joined(kept)
        return True

    def _draw_curves(self, needed: Ints) -> bool:
        """Draw the curves of the first candidates of the queue and keep those that meet the request; whether any."""
        owner = self.queue.candidates.owner
        rank = pd.Series(owner).groupby(owner).cumcount().to_numpy()
        some, self.queue = self.queue.split(rank < needed[owner])
        candidates = some.candidates
        if not len(candidates.owner):
            return False
        signals = self.drawer.draw_curves(candidates.efforts, some.logs, self._seed(CURVES))
        good = matching.by_curves(candidates, signals, self.required, self._seed(COUNTER))
        number = self.found[candidates.owner] + pd.Series(good).groupby(candidates.owner).cumsum().to_numpy() - 1
        good &= number < self.n
        kept, rows = candidates.take(np.flatnonzero(good))
        person = kept.efforts["person"].to_numpy()
        self.kept.append(
            (kept.efforts.assign(person=kept.owner[person]), number[good][person].astype(np.int64), signals[rows])
        )
        self.curves += np.bincount(candidates.owner, minlength=self.people)
        self.found += np.bincount(kept.owner, minlength=self.people)
        return True

    def _seed(self, what: int) -> int:
        return int(np.random.SeedSequence([self.seed, self.round, what]).generate_state(1)[0])
