"""Full efforts for spoiled ones: what is hidden is drawn given what was measured and who blew.

1. Small conditional densities (`density`) draw how much air was still to come, for how long, and where its volume
   passes a few knots; likewise of gaps and of onsets (`hidden`). They may be told another effort of the
   person (`others`).
2. The trained diffusion draws a whole curve for the facts (FEV1, FVC, PEF, ...) that follow from these and from what
   was measured.
3. That curve takes the hidden place, its volume bent to pass what was drawn (`bridge`); what is trusted stays.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.generator import STEPS, Generator
from spiro_diffusion.models import index_diffusion
from spiro_diffusion.models.checkpoint import load_checkpoint, rebuilt, save_checkpoint
from spiro_diffusion.models.header import configured
from spiro_diffusion.models.mixture_density import Density, DensityConfig
from spiro_diffusion.physiology import mean_surface, spirometry, time_grid
from spiro_diffusion.reconstruction import monotone, sibling_efforts
from spiro_diffusion.reconstruction import segments as hidden
from spiro_diffusion.reconstruction.segments import Answer, Floats, Places
from spiro_diffusion.reconstruction.sibling_efforts import Others

ZERO_EDGE = time_grid.LEAD_SAMPLES  # edge of the grid at time zero
JOIN_S = 0.05  # over which flow beside a join is read: the counter's noise is 0.02 L/s
LEAST_SEEN_S = 0.3  # of trusted effort: the densities saw no less
LATEST_JOIN_S = 1.2  # of a trusted part after a bad onset
KIND = "reconstructor"


class Known(NamedTuple):
    """Of N efforts: `surface.features` (N, 12) of who blew, and their best other efforts."""

    surfaces: Floats
    told: Others


class Segment(NamedTuple):
    """One hidden stretch of N efforts (`rows` (N,) where there is one)."""

    rows: NDArray[np.bool_]
    answer: Answer
    first: Floats  # (N,) L/s, flow at its begin
    last: Floats  # (N,) L/s, at its end
    bins: NDArray[np.bool_]  # (N, 512) that it covers


class Reconstructor:
    """The trained densities and the generator that they work with.

    `made_from`: what they were trained on, as in the generator.
    """

    def __init__(self, densities: dict[str, Density], generator: Generator, made_from: dict[str, Any]) -> None:
        device = generator.place.device
        self.densities = {name: model.to(device).eval() for name, model in densities.items()}
        self.generator, self.made_from = generator, made_from

    @classmethod
    def from_checkpoint(cls, path: Path, generator: Generator) -> "Reconstructor":
        """Load `reconstructor.safetensors`.

        Raises SpiroError where it is missing or damaged.
        """
        if not path.is_file():
            raise SpiroError(
                f"{path}: no such checkpoint; make it with `dvc repro reconstruct`, or `dvc pull reconstruct`"
            )
        tensors, config = load_checkpoint(path, KIND)
        made_from = config.get("made_from")
        if not isinstance(made_from, dict):
            raise SpiroError(
                f"{path}: its configuration does not say what it was made from; it is of other code than this"
            )
        densities = {}
        for name in hidden.QUESTIONS:
            network = configured(DensityConfig, config.get("densities", {}), name, path)
            own = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
            densities[name] = rebuilt(partial(Density, network), own, path)
        return cls(densities, generator, made_from)

    def fill(
        self,
        signals: NDArray,
        trusted: NDArray[np.bool_],
        people: pd.DataFrame,
        draws: int,
        seed: int,
        *,
        told: Others | None = None,
        diffuse: bool = True,
        steps: int = STEPS,
    ) -> NDArray[np.float32]:
        """Full efforts (n, draws, 512) in L/s for spoiled ones.

        Args:
            signals: (n, 512) L/s on the warped grid. trusted: (n, 512), as `check_trusted` allows it; a trusted last
                bin says that the effort had ended by itself.
            people: a row an effort, as `people.conditioned` makes it: the kind of effort that is drawn.
            told: the best other effort of each person; without it none is known.
            diffuse: the diffusion draws the path between the knots; without it the path is plain.
            steps: noise levels of the diffusion.
        """
        rng = torch.Generator(self.generator.place.device).manual_seed(seed)
        many = np.repeat(np.asarray(signals, dtype=np.float64), draws, axis=0)
        hold = np.repeat(trusted, draws, axis=0)
        persons = people.iloc[np.repeat(np.arange(len(people)), draws)].reset_index(drop=True)
        told = (Others.none(len(signals)) if told is None else told).at(np.repeat(np.arange(len(signals)), draws))
        of = Known(mean_surface.features(persons), told)
        increments, hold, segments = self._segments(many * time_grid.WIDTHS_S, hold, of, rng)
        if diffuse and any(s.rows.any() for s in segments):
            logs = facts_of(increments / time_grid.WIDTHS_S)
            known = np.flatnonzero(np.isfinite(logs).all(axis=1))
            drawn = np.zeros_like(many)
            if len(known):
                drawn[known] = self.generator.told(persons.iloc[known], logs[known], seed, steps=steps)
            volumes = time_grid.volume(np.maximum(drawn, 0))
            for segment in segments:
                path = monotone.bend(volumes, *segment.answer, segment.first, segment.last)
                increments = np.where(segment.bins, np.diff(path, axis=1), increments)
        result = (increments / time_grid.WIDTHS_S).astype(np.float32)
        return result.reshape(len(signals), draws, time_grid.N_SAMPLES)

    def _segments(
        self, increments: Floats, hold: NDArray[np.bool_], of: Known, rng: torch.Generator
    ) -> tuple[Floats, NDArray[np.bool_], list[Segment]]:
        """The hidden stretches of N efforts, drawn one after the other: each knows what is filled in before it.

        Args:
            increments: (N, 512) L a bin. hold: (N, 512) trusted.

        Returns:
            Increments with plain paths filled in, what is trusted after onsets have moved it, and the stretches.
        """
        segments = []
        bins = np.arange(time_grid.N_SAMPLES)
        first = hold.argmax(axis=1)
        onset = first > ZERO_EDGE
        if onset.any():
            increments, hold, segment = self._onset(increments, hold, onset, of, rng)
            segments.append(segment)
        begins, ends = _gaps(hold)
        for begin, end in zip(begins.T, ends.T, strict=True):
            rows = end > begin
            v = _volume(increments)
            close = np.maximum(end, begin + 1)
            seen = hidden.gap_features(v, begin, close, of.surfaces)
            numbers = self._numbers("gap", seen, sibling_efforts.gap_features(of.told, v, begin, close), rng)
            answer = hidden.gap_answer(numbers, v, begin, close)
            covers = (bins >= begin[:, None]) & (bins < end[:, None])
            segment = Segment(rows, answer, _flow_before(v, begin), _flow_after(v, end), covers)
            increments = _plain(increments, segment)
            segments.append(segment)
        cut = time_grid.N_SAMPLES - hold[:, ::-1].argmax(axis=1)
        rows = cut < time_grid.N_SAMPLES
        if rows.any():
            v = _volume(increments)
            place = np.minimum(cut, time_grid.N_SAMPLES - 1)
            seen = hidden.tail_features(v, place, of.surfaces)
            numbers = self._numbers("tail", seen, sibling_efforts.tail_features(of.told, v, place), rng)
            answer = hidden.tail_answer(numbers, v, place)
            covers = rows[:, None] & (bins >= cut[:, None])
            segment = Segment(rows, answer, _flow_before(v, place), np.zeros(len(v)), covers)
            increments = _plain(increments, segment)
            segments.append(segment)
        return increments, hold, segments

    def _onset(
        self,
        increments: Floats,
        hold: NDArray[np.bool_],
        rows: NDArray[np.bool_],
        of: Known,
        rng: torch.Generator,
    ) -> tuple[Floats, NDArray[np.bool_], Segment]:
        """A full onset that breathes out the same volume; what follows moves to when it would have come."""
        v = _volume(increments)
        join = np.where(rows, hold.argmax(axis=1), ZERO_EDGE + 10)
        cut = time_grid.N_SAMPLES - hold[:, ::-1].argmax(axis=1)
        seen = hidden.onset_features(v, join, cut, of.surfaces)
        numbers = self._numbers("onset", seen, sibling_efforts.onset_features(of.told, v, join), rng)
        answer = hidden.onset_answer(numbers, v, join)
        new = np.abs(time_grid.EDGES_S - answer.times[:, -1:]).argmin(axis=1)
        new = np.where(rows, new, join)
        times = np.column_stack(
            [answer.times[:, :-1] * (time_grid.EDGES_S[new] / answer.times[:, -1])[:, None], time_grid.EDGES_S[new]]
        )
        times[:, 0] = hidden.BEGIN_S
        shift = time_grid.EDGES_S[new] - time_grid.EDGES_S[join]
        moved = monotone.volume_at(v, time_grid.EDGES_S[None] - shift[:, None])
        place = monotone.volume_at(
            np.cumsum(np.pad(hold, ((0, 0), (1, 0))) * 1.0, axis=1), time_grid.EDGES_S[None] - shift[:, None]
        )
        kept = np.diff(place, axis=1) > 0  # a bin that holds any of it
        kept[:, -1] = hold[:, -1]
        bins = np.arange(time_grid.N_SAMPLES)
        kept &= bins >= new[:, None]
        hold = np.where(rows[:, None], kept, hold)
        increments = np.where(rows[:, None], np.diff(moved, axis=1), increments)
        covers = rows[:, None] & (bins < new[:, None])
        flow = _flow_after(_volume(increments), new)
        segment = Segment(rows, Answer(times, answer.volumes), np.zeros(len(v)), flow, covers)
        return _plain(increments, segment), hold, segment

    def _numbers(self, question: str, seen: Floats, told: Floats, rng: torch.Generator) -> Floats:
        return self.densities[question].draw(np.column_stack([seen, told]), 1, rng)[:, 0]


def save_reconstructor(path: Path, densities: dict[str, Density], made_from: dict[str, Any]) -> None:
    """Write the densities to one file."""
    tensors = {f"{name}.{k}": v for name, model in densities.items() for k, v in model.state_dict().items()}
    config = {"densities": {name: model.config.__dict__ for name, model in densities.items()}, "made_from": made_from}
    save_checkpoint(path, KIND, tensors, config)


def facts_of(signals: NDArray) -> Floats:
    """Logarithms (n, 7) of the facts of curves (n, 512) in L/s; NaN where one has none."""
    return index_diffusion.read(indices_of(signals))


def indices_of(signals: NDArray) -> pd.DataFrame:
    """Indices of curves (n, 512) in L/s, a row a curve."""
    parts = []
    for start in range(0, len(signals), spirometry.CHUNK):
        flow = time_grid.to_10ms(signals[start : start + spirometry.CHUNK])
        there = flow != 0
        points = np.where(there.any(axis=1), time_grid.N_10MS - there[:, ::-1].argmax(axis=1), 0)
        parts.append(spirometry.indices(flow, points).to_pandas())
    return pd.concat(parts, ignore_index=True)


def check_trusted(trusted: NDArray[np.bool_]) -> None:
    """Whether a mask (512,) leaves enough of an effort to reconstruct it from.

    Raises SpiroError that says what is missing.
    """
    if not trusted.any():
        raise SpiroError("mask: nothing is trusted; give the spans that are, in s from time zero, as 0:2.0")
    first = time_grid.EDGES_S[trusted.argmax()]
    first = max(first, 0.0)
    seen = float(time_grid.WIDTHS_S[trusted & (time_grid.EDGES_S[:-1] >= -1e-9)].sum())
    if first > LATEST_JOIN_S:
        raise SpiroError(
            f"mask: nothing before {first:.2f} s is trusted; an onset can be restored up to {LATEST_JOIN_S:g} s, "
            "later too little is known of the blow"
        )
    if seen < LEAST_SEEN_S - 1e-6:
        raise SpiroError(f"mask: {seen:.2f} s of the expiration are trusted; at least {LEAST_SEEN_S:g} s are needed")


def _plain(increments: Floats, segment: Segment) -> Floats:
    """Increments with the plain path of a stretch in its place."""
    path = monotone.plain(*segment.answer, segment.first, segment.last)
    return np.where(segment.bins, np.diff(path, axis=1), increments)


def _volume(increments: Floats) -> Floats:
    """Volume (N, 513) at the edges, never falling: what was breathed out."""
    v = np.zeros((len(increments), time_grid.N_SAMPLES + 1))
    np.cumsum(increments, axis=1, out=v[:, 1:])
    return np.maximum.accumulate(v, axis=1)


def _gaps(hold: NDArray[np.bool_]) -> tuple[Places, Places]:
    """Begins and ends (N, gaps) of untrusted stretches between trusted ones; equal where a row has fewer."""
    begins = hold[:, :-1] & ~hold[:, 1:]
    ends = ~hold[:, :-1] & hold[:, 1:]
    last = time_grid.N_SAMPLES - hold[:, ::-1].argmax(axis=1) - 1
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
    """Flow (N,) in L/s with which the trusted part ends at an edge, carried on from the 100 ms before."""
    return _carried(v, edge, -JOIN_S)


def _flow_after(v: Floats, edge: Places) -> Floats:
    """Flow (N,) in L/s with which the trusted part begins at an edge."""
    return _carried(v, edge, JOIN_S)


def _carried(v: Floats, edge: Places, step: float) -> Floats:
    t = time_grid.EDGES_S[edge][:, None]
    near, middle, far = monotone.volume_at(v, t + np.array([0.0, step, 2 * step])).T
    one, two = (middle - near) / step, (far - middle) / step
    return np.clip(1.5 * one - 0.5 * two, 0.7 * one, 1.3 * one)
