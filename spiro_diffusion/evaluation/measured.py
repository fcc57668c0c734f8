"""Curves after the spirometer's counter: all comparisons are made on curves as a spirometer records them.

The counter's whole millilitres are what a classifier sees first, so a generated curve is brought to
10 ms, counted with the person's own BTPS factor, and only then looked at. Real curves are cut to the same
window: 20.48 s from half a second before time zero, with the volume before it in the first sample.
"""

import dataclasses
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from spiro_diffusion.core.batching import in_parallel
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.vocabulary import JUDGED
from spiro_diffusion.physiology import counter, spirometry, time_grid
from spiro_diffusion.physiology.flutter import add_flutter

CHUNK = 512  # curves at a time: 512 x 2048 float64 is 8 MB
KEPT = (*JUDGED, "ratio", "bev", "fet", "last_second", "cough", "fall", "second_peak")  # of every draw
SECOND_PEAK_WIDTH = 10  # samples, 100 ms: shorter rises are tremor

Sampler = Callable[[pd.DataFrame, int, int], NDArray]  # (people, draws, seed) -> signals (n, draws, 512), L/s


@dataclasses.dataclass(frozen=True)
class Measured:
    """n curves after the counter.

    `people`: one row a curve, with seqn, age, height, sex and what else is known of the effort.
    `counts`: (n, 2048) int16, mL per 10 ms at ATPS, from 0.5 s before time zero.
    `indices`: arrays (n,): all of `spirometry.Indices` and `ratio` (FEV1/FVC), `fall` (L, largest fall of
    the volume below its earlier maximum), `second_peak` (L/s, largest rise of the 100 ms mean flow above
    its earlier low after the peak).
    """

    people: pd.DataFrame
    counts: NDArray[np.int16]
    indices: dict[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.people)

    @property
    def seqn(self) -> NDArray:
        return self.people["seqn"].to_numpy()

    def take(self, rows: NDArray) -> "Measured":
        """The curves of these rows (a mask or positions)."""
        people = self.people.iloc[np.flatnonzero(rows) if rows.dtype == bool else rows].reset_index(drop=True)
        return Measured(people, self.counts[rows], {k: v[rows] for k, v in self.indices.items()})

    def flow(self) -> NDArray[np.float32]:
        """(n, 2048) L/s at BTPS."""
        return counter.flow(self.counts, self.people["btps"].to_numpy())

    def signals(self) -> NDArray[np.float32]:
        """(n, 512) L/s, as the stage resample makes them."""
        return time_grid.to_grid(self.flow(), np.full(len(self), time_grid.LEAD_S))

    def volumes(self, times: NDArray) -> NDArray[np.float64]:
        """Volume (n, times) in L expired `times` seconds after time zero, or the first sample where there is none."""
        v = spirometry.volume(self.flow())
        at = (self.indices["t0"][:, None] + np.asarray(times)) / spirometry.SAMPLE_PERIOD_S
        return np.stack([spirometry.volume_at(v, column) for column in np.nan_to_num(at).T], axis=1)


def real(people: pd.DataFrame, raw: NDArray[np.int16]) -> Measured:
    """Real curves from their raw counts, cut to the window of generated ones.

    Args:
        people: one row a curve, with `t0` in s from its first sample and `btps`.
        raw: (n, T), mL per 10 ms at ATPS, 0 after the last point.
    """
    start = time_grid.zero_sample(people["t0"].to_numpy())[:, None] - time_grid.LEAD_SAMPLES
    total = np.zeros((len(raw), raw.shape[1] + 1), dtype=np.int64)
    np.cumsum(raw, axis=1, out=total[:, 1:])
    edges = np.clip(start + np.arange(time_grid.N_10MS + 1), 0, raw.shape[1])
    edges[:, 0], edges[:, -1] = 0, raw.shape[1]  # what came before the window is in its first sample, after in its last
    counts = np.diff(np.take_along_axis(total, edges, axis=1), axis=1)
    return _measured(people, counts.astype(np.int16))


def generated(signals: NDArray, people: pd.DataFrame, seed: int, flutter_from: int | None = None) -> Measured:
    """What the spirometer would have kept of signals (n, 512) in L/s of these people.

    From the sample `flutter_from` on they get the flutter that they have lost (`physiology.flutter`): 0 where the
    signals are a decoder's means, `time_grid.FINE_BINS` where only wider bins have lost it, None where nothing has.

    Raises SpiroError where a signal is not finite.
    """
    broken = int((~np.isfinite(signals)).any(axis=1).sum())
    if broken:
        raise SpiroError(
            f"{broken} of {len(signals)} generated curves are not finite: the training diverged; lower its lr"
        )
    seeds = np.random.SeedSequence(seed).spawn(-(-len(people) // CHUNK))
    btps = people["btps"].to_numpy()

    def count(i: int) -> NDArray[np.int16]:
        rows = slice(i * CHUNK, (i + 1) * CHUNK)
        flow, rng = time_grid.to_10ms(signals[rows]), np.random.default_rng(seeds[i])
        if flutter_from is not None:
            flow = add_flutter(flow, btps[rows], rng, first=flutter_from)
        return counter.count(flow, btps[rows], rng)

    parts = list(in_parallel(count, len(seeds)))
    empty = np.zeros((0, time_grid.N_10MS), dtype=np.int16)
    return _measured(people, np.concatenate(parts) if parts else empty)


def aligned(curves: Measured) -> Measured:
    """Curves shifted by whole samples so that their time zero lies where that of real curves does."""
    defined = np.isfinite(curves.indices["t0"])
    if (time_grid.zero_sample(curves.indices["t0"][defined]) == time_grid.LEAD_SAMPLES).all():
        return curves
    t0 = np.where(defined, curves.indices["t0"], time_grid.LEAD_S)
    return real(curves.people.assign(t0=t0), curves.counts)


def draw(
    sampler: Sampler,
    people: pd.DataFrame,
    draws: int,
    seed: int,
    name: str,
    flutter_from: int | None = None,
    batch: int = 16_384,
) -> tuple[Measured, dict[str, NDArray[np.float32]]]:
    """Draw curves for each row of `people`; keep the first draw whole and of the others what is read off them.

    Draws are made and measured in batches of about `batch` curves, so that memory does not grow with their
    number; one is measured while the next is drawn. Batches hold whole rows: a row's draws come from one call.
    `flutter_from`: as in `generated`.

    Returns:
        The first draw of each row, and arrays (n, draws) of the indices named in KEPT.
    """
    rows = max(1, batch // draws)

    def measure(part: pd.DataFrame, signals: NDArray, seed: int) -> tuple[Measured, dict[str, NDArray[np.float32]]]:
        flat = np.ascontiguousarray(signals, dtype=np.float32).reshape(-1, time_grid.N_SAMPLES)
        found = generated(flat, part.loc[part.index.repeat(draws)], seed, flutter_from)
        table = {k: found.indices[k].reshape(-1, draws).astype(np.float32) for k in KEPT}
        return aligned(found.take(np.arange(0, len(found), draws))), table

    first, tables = [], []
    starts = range(0, len(people), rows)
    with ThreadPoolExecutor(1) as aside:
        waiting: list[Future] = []
        for number, start in enumerate(tqdm(starts, desc=f"draw {name}", unit="batch", leave=False, delay=1)):
            part = people.iloc[start : start + rows]
            signals = sampler(part, draws, seed + number)
            if waiting:
                waiting[-1].result()  # no more than one batch waits
            waiting.append(aside.submit(measure, part, signals, seed + number))
        for done in waiting:
            curves, table = done.result()
            first.append(curves)
            tables.append(table)
    return join(first), {k: np.concatenate([t[k] for t in tables]) for k in KEPT}


def join(parts: list[Measured]) -> Measured:
    """Curves of several parts, one after the other."""
    return Measured(
        pd.concat([p.people for p in parts], ignore_index=True),
        np.concatenate([p.counts for p in parts]),
        {k: np.concatenate([p.indices[k] for p in parts]) for k in parts[0].indices},
    )


def _measured(people: pd.DataFrame, counts: NDArray[np.int16]) -> Measured:
    btps = people["btps"].to_numpy()

    def read(i: int) -> dict[str, NDArray[np.float64]]:
        rows = slice(i * CHUNK, (i + 1) * CHUNK)
        return _read(counter.flow(counts[rows], btps[rows]))

    parts = list(in_parallel(read, max(1, -(-len(people) // CHUNK))))
    indices = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    return Measured(people.reset_index(drop=True), counts, indices)


def _read(flow: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """All indices of flow (n, 2048)."""
    found = spirometry.indices(flow)
    indices = {f.name: getattr(found, f.name) for f in dataclasses.fields(found)}
    with np.errstate(invalid="ignore", divide="ignore"):
        indices["ratio"] = indices["fev1"] / indices["fvc"]
    v = spirometry.volume(flow).astype(np.float32)
    indices["fall"] = (np.maximum.accumulate(v, axis=1) - v).max(axis=1)
    indices["second_peak"] = _second_peak(v, indices["t0"] + indices["t_pef"])
    return indices


def _second_peak(v: NDArray, t_peak: NDArray) -> NDArray[np.float64]:
    """Largest rise (L/s) of the 100 ms mean flow above its earlier low, after the peak (s from the start)."""
    w = SECOND_PEAK_WIDTH
    mean = v[:, w:] - v[:, :-w]
    before = np.arange(mean.shape[1]) < np.nan_to_num(t_peak)[:, None] / spirometry.SAMPLE_PERIOD_S
    mean[before] = v.max(initial=1.0) + 1  # above all that follows
    rise = (mean - np.minimum.accumulate(mean, axis=1)).max(axis=1)
    return rise.astype(np.float64) / (w * spirometry.SAMPLE_PERIOD_S)
