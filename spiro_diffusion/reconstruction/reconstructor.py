"""Complete interrupted efforts: draw the missing segments given the measured part and the person.

1. Small conditional densities (`mixture_density`) draw the remaining volume, its duration, and the times at which it
   passes a few knots; likewise for gaps and for onsets (`segments`). Another effort of the person can be given as a
   condition (`sibling_efforts`).
2. The trained diffusion draws a whole curve given the facts (FEV1, FVC, PEF, ...) that follow from these and from the
   measured part.
3. That curve fills the hidden segment, its volume bent to pass through the drawn points (`monotone`); the trusted part
   is kept.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.models import effort_facts
from spiro_diffusion.physiology import mean_surface, time_grid
from spiro_diffusion.reconstruction import dissimilarity, monotone, segments, sibling_efforts
from spiro_diffusion.reconstruction.calibration import LEVELS, Calibration
from spiro_diffusion.reconstruction.corrections import Corrections
from spiro_diffusion.reconstruction.segments import Floats, Places, Segment, Stretch, last_edge
from spiro_diffusion.reconstruction.sibling_efforts import Others

if TYPE_CHECKING:
    from spiro_diffusion.models.mixtures import Mixtures  # loads SciPy, which drawing curves does not need

ZERO_EDGE = time_grid.LEAD_SAMPLES  # edge of the grid at time zero
JOIN_S = 0.05  # over which flow beside a join is read: the counter's noise is 0.02 L/s
LEAST_SEEN_S = 0.3  # of trusted effort: the densities saw no less
LATEST_JOIN_S = 1.2  # of a trusted part after a bad onset
Bools = NDArray[np.bool_]


class Context(NamedTuple):
    """Conditions of N efforts: `mean_surface.features` (N, 12) of the person, and their best other efforts."""

    surfaces: Floats
    others: Others


class Filled(NamedTuple):
    """One hidden stretch of N efforts (`rows` (N,) that have one), and its drawn points."""

    rows: Bools
    stretch: Stretch
    first: Floats  # (N,) L/s, flow at its begin
    last: Floats  # (N,) L/s, at its end
    bins: Bools  # (N, bins) that it covers

    def plain(self, increments: Floats) -> Floats:
        """Increments (N, bins) with a plain path in the stretch."""
        return self._with(increments, monotone.plain(*self.stretch, self.first, self.last))

    def bent(self, increments: Floats, volumes: Floats) -> Floats:
        """Increments with drawn curves, volumes (N, edges), bent into the stretch."""
        return self._with(increments, monotone.bend(volumes, *self.stretch, self.first, self.last))

    def some(self, rows: Places) -> "Filled":
        """Of some of the efforts."""
        return Filled(
            self.rows[rows],
            Stretch(*(part[rows] for part in self.stretch)),
            self.first[rows],
            self.last[rows],
            self.bins[rows],
        )

    def _with(self, increments: Floats, path: Floats) -> Floats:
        return np.where(self.bins, np.diff(path, axis=1), increments)


class Paths(NamedTuple):
    """N efforts whose hidden stretches are drawn and filled in with plain paths: `increments` (N, bins) L a bin, the
    stretches, and a row of `people` for each."""

    increments: Floats
    hidden: list[Filled]
    people: pd.DataFrame

    def flow(self) -> NDArray[np.float32]:
        """The efforts (N, bins) in L/s.

        Raises SpiroError if the weights drew values that are not finite.
        """
        result = (self.increments / time_grid.WIDTHS_S).astype(np.float32)
        if not np.isfinite(result).all():
            raise SpiroError("the weights of the reconstructor draw flow that is not finite; fetch it again")
        return result

    def hidden_bins(self) -> Bools:
        """The bins (N, bins) that were hidden."""
        found = np.zeros(self.increments.shape, dtype=bool)
        for one in self.hidden:
            found |= one.bins
        return found

    def some(self, rows: Places) -> "Paths":
        """Some of the efforts."""
        hidden = [one.some(rows) for one in self.hidden]
        return Paths(self.increments[rows], hidden, self.people.iloc[rows].reset_index(drop=True))


class CurveDrawer(Protocol):
    """The trained diffusion."""

    def sample_given(self, people: pd.DataFrame, logs: Floats, seed: int) -> NDArray:
        """Signals (n, bins) in L/s of efforts with these facts (n, 9); see `Generator.sample_given`."""


class Reconstructor:
    """The trained densities and the generator that they work with.

    `made_from`: their training data, as of the generator. `corrections`: of the intervals of tails, from people outside
    the training data. `measured_on`: the people of the user's calibration, if there is one.
    """

    def __init__(
        self,
        densities: "Mapping[Segment, Mixtures]",
        generator: CurveDrawer,
        made_from: dict[str, Any],
        corrections: Corrections | None = None,
        measured_on: str | None = None,
    ) -> None:
        self.densities, self.generator, self.made_from = densities, generator, made_from
        self.corrections, self.measured_on = corrections or Corrections.none(), measured_on

    def calibrated(self, calibration: Calibration, measured_on: str | None = None) -> "Reconstructor":
        """The same with another correction of tails: that of the people in `measured_on`, or none."""
        corrections = self.corrections._replace(alone=calibration, given=calibration)
        return Reconstructor(self.densities, self.generator, self.made_from, corrections, measured_on)

    def expected(self, signals: NDArray, trusted: Bools, people: pd.DataFrame) -> Floats:
        """Quantiles (n, 3) at `calibration.LEVELS` of the remaining volume of n efforts, arguments as for `plain`, as a
        logarithm over the volume before the cut, before any correction."""
        cut = last_edge(trusted)
        v = _volume(np.where(trusted, signals, 0) * time_grid.WIDTHS_S)
        seen = segments.tail_features(v, cut, mean_surface.features(people))
        given = sibling_efforts.tail_features(Others.none(len(v)), v, cut)
        return self._quantiles(np.column_stack([seen, given]))

    def unlike(self, signals: NDArray, trusted: Bools, people: pd.DataFrame) -> Bools:
        """Which of n efforts, arguments as for `fill`, are dissimilar to the training efforts of the densities of
        tails."""
        cut = last_edge(trusted)
        rows = np.flatnonzero(cut < time_grid.N_SAMPLES)
        trusted_volumes = np.where(trusted[rows], signals[rows], 0) * time_grid.WIDTHS_S
        seen = segments.tail_features(_volume(trusted_volumes), cut[rows], mean_surface.features(people.iloc[rows]))
        found = np.zeros(len(signals), dtype=bool)
        found[rows] = self._unlike(seen, cut[rows])
        return found

    def fill(
        self,
        signals: NDArray,
        trusted: Bools,
        people: pd.DataFrame,
        draws: int,
        seed: int,
        *,
        others: Others | None = None,
    ) -> NDArray[np.float32]:
        """Complete interrupted efforts: (n, draws, bins) in L/s, arguments as for `plain` and `diffused`."""
        found = self.diffused(self.plain(signals, trusted, people, draws, seed, others=others), seed)
        return found.flow().reshape(len(signals), draws, time_grid.N_SAMPLES)

    def plain(
        self,
        signals: NDArray,
        trusted: Bools,
        people: pd.DataFrame,
        draws: int,
        seed: int,
        *,
        others: Others | None = None,
    ) -> Paths:
        """`draws` of each of n interrupted efforts, one after the other, by the densities alone.

        Args:
            signals: (n, bins) L/s on the warped grid. trusted: (n, bins), as `check_trusted` allows it; a trusted last
                bin says that the effort had ended by itself.
            people: a row an effort, as `subjects.conditioned` makes it: the kind of effort that is drawn.
            others: the best other effort of each person; without it none is known.
        """
        rng = np.random.default_rng(seed)
        rows = np.repeat(np.arange(len(signals)), draws)
        people = people.iloc[rows].reset_index(drop=True)
        others = (Others.none(len(signals)) if others is None else others).at(rows)
        context = Context(mean_surface.features(people), others)
        increments = np.asarray(signals, dtype=np.float64)[rows] * time_grid.WIDTHS_S
        return Paths(*self._hidden(increments, trusted[rows], context, rng), people)

    def diffused(self, paths: Paths, seed: int) -> Paths:
        """The same, with a path between the knots that the diffusion draws.

        Args:

        Raises SpiroError where the weights draw what is not finite.
        """
        if not any(one.rows.any() for one in paths.hidden):
            return paths
        increments = paths.increments
        volumes = self._drawn(increments, paths.people, seed)
        for one in paths.hidden:
            increments = one.bent(increments, volumes)
        return paths._replace(increments=increments)

    def _drawn(self, increments: Floats, people: pd.DataFrame, seed: int) -> Floats:
        """Volumes (N, edges) of curves that the diffusion draws for the facts of efforts on plain paths."""
        logs = effort_facts.read(time_grid.indices_of_signals(increments / time_grid.WIDTHS_S).to_pandas())
        with_facts = np.flatnonzero(np.isfinite(logs).all(axis=1))
        drawn = np.zeros_like(increments)
        if len(with_facts):
            drawn[with_facts] = self.generator.sample_given(people.iloc[with_facts], logs[with_facts], seed)
        return time_grid.volume(np.maximum(drawn, 0))

    def _hidden(
        self, increments: Floats, hold: Bools, context: Context, rng: np.random.Generator
    ) -> tuple[Floats, list[Filled]]:
        """The hidden stretches of N efforts, drawn one after the other, each conditioned on those before it.

        Args:
            increments: (N, bins) L a bin. hold: (N, bins) trusted.

        Returns:
            Increments with plain paths filled in, and the stretches.
        """
        found = []
        if (hold.argmax(axis=1) > ZERO_EDGE).any():
            increments, hold, filled = self._onset(increments, hold, context, rng)
            found.append(filled)
            increments = filled.plain(increments)
        for begin, end in zip(*(edges.T for edges in _gaps(hold)), strict=True):
            found.append(self._gap(_volume(increments), begin, end, context, rng))
            increments = found[-1].plain(increments)
        if not hold[:, -1].all():
            found.append(self._tail(_volume(increments), last_edge(hold), context, rng))
            increments = found[-1].plain(increments)
        return increments, found

    def _gap(self, v: Floats, begin: Places, end: Places, context: Context, rng: np.random.Generator) -> Filled:
        close = np.maximum(end, begin + 1)
        seen = segments.gap_features(v, begin, close, context.surfaces)
        given = sibling_efforts.gap_features(context.others, v, begin, close)
        numbers = self._numbers(Segment.GAP, np.column_stack([seen, given]), rng)
        bins = np.arange(time_grid.N_SAMPLES)
        covers = (bins >= begin[:, None]) & (bins < end[:, None])
        stretch = segments.gap_stretch(numbers, v, begin, close)
        return Filled(end > begin, stretch, _flow_before(v, begin), _flow_after(v, end), covers)

    def _tail(self, v: Floats, cut: Places, context: Context, rng: np.random.Generator) -> Filled:
        rows, place = cut < time_grid.N_SAMPLES, np.minimum(cut, time_grid.N_SAMPLES - 1)
        seen = segments.tail_features(v, place, context.surfaces)
        features = np.column_stack([seen, sibling_efforts.tail_features(context.others, v, place)])
        numbers, quantiles = self._numbers(Segment.TAIL, features, rng), self._quantiles(features)
        numbers[:, 0] = self._corrected(numbers[:, 0], quantiles, features, place, context.others)
        covers = rows[:, None] & (np.arange(time_grid.N_SAMPLES) >= cut[:, None])
        stretch = self._in_time(segments.tail_stretch(numbers, v, place), quantiles, place, context.others)
        return Filled(rows, stretch, _flow_before(v, place), np.zeros(len(v)), covers)

    def _onset(
        self, increments: Floats, hold: Bools, context: Context, rng: np.random.Generator
    ) -> tuple[Floats, Bools, Filled]:
        """Draw a full onset of the same volume; the part after it moves to the time at which it would have come.

        Returns increments and the trusted bins after the move, and the onset.
        """
        v, rows = _volume(increments), hold.argmax(axis=1) > ZERO_EDGE
        join = np.where(rows, hold.argmax(axis=1), ZERO_EDGE + 10)
        seen = segments.onset_features(v, join, last_edge(hold), context.surfaces)
        given = sibling_efforts.onset_features(context.others, v, join)
        numbers = self._numbers(Segment.ONSET, np.column_stack([seen, given]), rng)
        stretch = segments.onset_stretch(numbers, v, join)
        new = np.abs(time_grid.EDGES_S - stretch.times[:, -1:]).argmin(axis=1)
        new = np.where(rows, new, join)
        begins = time_grid.EDGES_S[new][:, None]
        times = np.column_stack([stretch.times[:, :-1] * begins / stretch.times[:, -1:], begins])
        times[:, 0] = segments.BEGIN_S

        earlier = time_grid.EDGES_S[None] - (begins - time_grid.EDGES_S[join][:, None])
        moved = np.diff(monotone.volume_at(v, earlier), axis=1)
        trusted_count = np.cumsum(np.pad(hold, ((0, 0), (1, 0))) * 1.0, axis=1)
        kept = np.diff(monotone.volume_at(trusted_count, earlier), axis=1) > 0  # bins with any trusted part
        kept[:, -1] = hold[:, -1]
        bins = np.arange(time_grid.N_SAMPLES)
        kept &= bins >= new[:, None]
        increments = np.where(rows[:, None], moved, increments)
        flow = _flow_after(_volume(increments), new)
        covers = rows[:, None] & (bins < new[:, None])
        filled = Filled(rows, Stretch(times, stretch.volumes), np.zeros(len(v)), flow, covers)
        return increments, np.where(rows[:, None], kept, hold), filled

    def _numbers(self, segment: Segment, features: Floats, rng: np.random.Generator) -> Floats:
        return self.densities[segment].draw(features, 1, rng)[:, 0]

    def _quantiles(self, features: Floats) -> Floats:
        """Quantiles (n, 3) at LEVELS of the first number of tails, the remaining volume, before any correction."""
        first = np.append(True, (features[1:] != features[:-1]).any(axis=1))  # of the draws of one effort
        return self.densities[Segment.TAIL].quantiles(features[first], LEVELS)[np.cumsum(first) - 1]

    def _corrected(self, drawn: Floats, quantiles: Floats, features: Floats, cut: Places, others: Others) -> Floats:
        """Drawn remaining volumes (n,), the first number of tails, after the correction."""
        far = self._unlike(features[:, : -self.densities[Segment.TAIL].optional], cut)
        wider = np.where(far, self.corrections.limits.wider, 1.0)
        alone, given = (
            one.corrected(drawn, quantiles, time_grid.EDGES_S[cut], wider)
            for one in (self.corrections.alone, self.corrections.given)
        )
        return np.where(others.among > 0, given, alone)

    def _in_time(self, stretch: Stretch, quantiles: Floats, cut: Places, others: Others) -> Stretch:
        """A tail after the correction of the times at which its volume comes."""
        times = time_grid.EDGES_S[cut]
        alone, given = (
            one.in_time(stretch.times - times[:, None], quantiles, times)
            for one in (self.corrections.alone, self.corrections.given)
        )
        seen = stretch.volumes[:, :1]
        moved = (stretch.volumes - seen) * np.where(others.among[:, None] > 0, given, alone)
        return Stretch(stretch.times, seen + np.maximum.accumulate(moved, axis=1))

    def _unlike(self, seen: Floats, cut: Places) -> Bools:
        """Whether features (n, f) of the measured part are dissimilar to those of the training efforts."""
        found = dissimilarity.scores(self.densities[Segment.TAIL].standardised(seen), self.corrections.axes)
        return self.corrections.limits.passed(found, time_grid.EDGES_S[cut])


def check_trusted(trusted: Bools) -> None:
    """Check that a mask (bins,) leaves enough of an effort to reconstruct it.

    Raises SpiroError that names what is missing.
    """
    if not trusted.any():
        raise SpiroError("mask: nothing is trusted; give the spans that are, in s from time zero, as 0:2.0")
    first = time_grid.EDGES_S[trusted.argmax()]
    first = max(first, 0.0)
    seen = float(time_grid.WIDTHS_S[trusted & (time_grid.EDGES_S[:-1] >= -1e-9)].sum())
    if first > LATEST_JOIN_S:
        raise SpiroError(
            f"mask: nothing before {first:.2f} s is trusted; an onset can be restored up to {LATEST_JOIN_S:g} s, "
            "later too little of the effort is known"
        )
    if seen < LEAST_SEEN_S - 1e-6:
        raise SpiroError(f"mask: {seen:.2f} s of the expiration are trusted; at least {LEAST_SEEN_S:g} s are needed")


def _volume(increments: Floats) -> Floats:
    """Expired volume (N, edges) at the edges, never falling."""
    v = np.zeros((len(increments), time_grid.N_SAMPLES + 1))
    np.cumsum(increments, axis=1, out=v[:, 1:])
    return np.maximum.accumulate(v, axis=1)


def _gaps(hold: Bools) -> tuple[Places, Places]:
    """Begins and ends (N, gaps) of untrusted stretches between trusted ones; equal where a row has fewer."""
    begins = hold[:, :-1] & ~hold[:, 1:]
    ends = ~hold[:, :-1] & hold[:, 1:]
    last = last_edge(hold) - 1
    bins = np.arange(time_grid.N_SAMPLES - 1)
    begins &= bins < last[:, None]
    ends &= bins >= hold.argmax(axis=1)[:, None]
    most = int(begins.sum(axis=1).max(initial=0))
    found = []
    for marks in (begins, ends):
        order = np.argsort(~marks, axis=1, kind="stable")[:, :most] + 1
        found.append(np.where(np.arange(most) < marks.sum(axis=1, keepdims=True), order, ZERO_EDGE))
    return found[0], found[1]


def _flow_before(v: Floats, edge: Places) -> Floats:
    """Flow (N,) in L/s at the edge where a trusted part ends, extrapolated from the last 100 ms."""
    return _carried(v, edge, -JOIN_S)


def _flow_after(v: Floats, edge: Places) -> Floats:
    """Flow (N,) in L/s with which the trusted part begins at an edge."""
    return _carried(v, edge, JOIN_S)


def _carried(v: Floats, edge: Places, step: float) -> Floats:
    t = time_grid.EDGES_S[edge][:, None]
    near, middle, far = monotone.volume_at(v, t + np.array([0.0, step, 2 * step])).T
    one, two = (middle - near) / step, (far - middle) / step
    return np.clip(1.5 * one - 0.5 * two, 0.7 * one, 1.3 * one)
