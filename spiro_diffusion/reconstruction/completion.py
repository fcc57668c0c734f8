"""Complete a user's interrupted effort: its faults, and the full effort with prediction intervals.

The command line, the Python API and the app complete efforts through this module.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.vocabulary import INDICES
from spiro_diffusion.generation import drawn_curves
from spiro_diffusion.generation.columns import indices_table
from spiro_diffusion.physiology import faults, spirometry, time_grid
from spiro_diffusion.physiology.faults import Fault
from spiro_diffusion.physiology.spirometry import SAMPLE_PERIOD_S
from spiro_diffusion.reconstruction.reconstructor import ZERO_EDGE, Reconstructor, check_trusted
from spiro_diffusion.reconstruction.sibling_efforts import Others
from spiro_diffusion.user_curves import UserCurves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PERCENTILES = (5, 25, 50, 75, 95)
SUMMARISED = ("fev1", "fvc", "ratio", "fef2575", "pef", "fet")
SAME = 5e-3  # relative width below which an index counts as measured
LARGEST_PEAK_RATIO = 4.0  # times the peak flow of another effort: no two forced efforts of one lung differ so
LIMIT = "Not for diagnosis: a reconstruction shows what is likely, not what was measured."


@dataclasses.dataclass(frozen=True, eq=False)
class Recovered:
    """M reconstructions of one effort on the 10 ms axis `time` (2048,), s from time zero, from -0.50.

    `person`: a table of one row. `faults`: the detected faults, empty if the user gave the trusted parts. `measured`
    (2048,): flow of the record, L/s. `trusted` (2048,): which of its samples are kept. `moved`: the onset was drawn, so
    that each draw has its own time zero and the trusted part comes earlier. `flow` (M, 2048), L/s. `notes`: remarks on
    the reading of the file. `others`: number of other efforts of the person used as a condition. `made_from`: the
    training data of the model. `measured_on`: the people of the user's calibration, if there is one. `wider`: the
    factor by which the intervals were widened because the effort is dissimilar to the training efforts; None if it is
    not.
    """

    person: pd.DataFrame
    faults: list[Fault]
    time: NDArray[np.float64]
    measured: NDArray[np.float64]
    trusted: NDArray[np.bool_]
    moved: bool
    flow: NDArray[np.float64]
    notes: list[str]
    others: int = 0
    made_from: dict[str, Any] = dataclasses.field(default_factory=dict)
    measured_on: str | None = None
    wider: float | None = None

    @functools.cached_property
    def volume(self) -> NDArray[np.float64]:
        """(M, 2048) L, expired until each time."""
        return np.asarray(spirometry.volume(self.flow)[:, :-1], dtype=np.float64)

    @functools.cached_property
    def indices(self) -> pd.DataFrame:
        """Indices and GLI Global z-scores, a row a draw."""
        return self._table(self.flow)

    @functools.cached_property
    def recorded(self) -> pd.Series:
        """Indices of the effort as recorded, including its faults."""
        return self._table(self.measured[None]).iloc[0]

    def summary(self) -> pd.DataFrame:
        """A table by index: `recorded`, and of the draws `median`, `mean`, and the ends of the 50 and 90 % intervals
        `low_50`, `high_50`, `low_90`, `high_90`."""
        rows = {}
        for name in SUMMARISED:
            values = self.indices[name].to_numpy(float)
            low_90, low_50, median, high_50, high_90 = np.nanpercentile(values, PERCENTILES)
            middle = {"recorded": float(self.recorded[name]), "median": median, "mean": float(np.nanmean(values))}
            rows[name] = middle | {"low_50": low_50, "high_50": high_50, "low_90": low_90, "high_90": high_90}
        return pd.DataFrame(rows).T

    def bands(self) -> pd.DataFrame:
        """A table by time: time_s, mean and percentiles of volume (L) and flow (L/s), the measured values and whether
        they are trusted."""
        table: dict[str, Any] = {"time_s": self.time}
        for name, values in (("volume_l", self.volume), ("flow_l_s", self.flow)):
            table[f"{name}_mean"] = values.mean(axis=0)
            for percent, row in zip(PERCENTILES, np.percentile(values, PERCENTILES, axis=0), strict=True):
                table[f"{name}_p{percent}"] = row
        return pd.DataFrame({**table, "measured_flow_l_s": self.measured, "trusted": self.trusted})

    @property
    def sentence(self) -> str:
        """Faults, prediction intervals and limits of the reconstruction, in words."""
        if self.trusted.all():
            return f"No fault was found: the effort is kept as recorded. {LIMIT}"
        what = (
            "; ".join(f"{f.kind} ({f.reason})" for f in self.faults)
            or "part of the effort is not trusted, as requested"
        )
        table, remarks = self.summary(), []
        for name in ("fvc", "fev1", "fef2575"):
            row, (label, unit, *_) = table.loc[name], INDICES[name]
            if row["high_90"] - row["low_90"] <= SAME * row["median"]:
                remarks.append(f"{label} was measured, {row['median']:.2f} {unit}")
            else:
                remarks.append(
                    f"{label} would most likely be {row['median']:.2f} {unit} (between {row['low_90']:.2f} and "
                    f"{row['high_90']:.2f} {unit} with 90 % probability; {row['recorded']:.2f} as recorded)"
                )
        efforts = "another effort" if self.others == 1 else f"{self.others} other efforts"
        given = f", given {efforts} of the same person," if self.others else ""
        full = f"{what[0].upper()}{what[1:]}. In a full effort{given} {'; '.join(remarks)}."
        return " ".join([full, *self.caveats, LIMIT])

    @property
    def caveats(self) -> list[str]:
        """The population to which the probabilities apply, and reasons to doubt them: a sentence each."""
        remarks = []
        if self.measured_on is not None:
            remarks.append(f"The probability was measured on the efforts of {self.measured_on}.")
        elif self.made_from:
            kind = "simulated" if self.made_from["data"] == "simulated" else "real"
            remarks.append(
                f"The probability is of lungs, efforts and a spirometer like those of the "
                f"{self.made_from['participants']} {kind} people of the training; others differ."
            )
        if self.wider is not None:
            widened = f" were widened by a factor of {self.wider:.2g} and" if self.wider > 1 else ""
            remarks.append(
                f"This effort is dissimilar to those that the model was trained on (99 of 100 are more similar): its "
                f"intervals{widened} may not hold."
            )
        return remarks

    def to_dict(self) -> dict[str, Any]:
        """Faults, indices with intervals, and the sentence, for JSON (None: undetermined)."""
        table = self.summary()
        return {
            "sentence": self.sentence,
            "caveats": self.caveats,
            "notes": self.notes,
            "faults": [
                {"kind": f.kind, "reason": f.reason, "begin_s": _number(f.begin), "end_s": _number(f.end)}
                for f in self.faults
            ],
            "trusted_s": [[_number(a), _number(b)] for a, b in _spans(self.trusted, self.time)],
            "draws": len(self.flow),
            "others": self.others,
            "indices": {str(name): {k: _number(v) for k, v in row.items()} for name, row in table.iterrows()},
        }

    def plot(self, path: str | Path | None = None) -> "Figure":
        """Plot flow against volume and volume against time: the measured curve, and bands of the draws."""
        from spiro_diffusion.plotting import curves, style  # noqa: PLC0415 (half a second of imports)

        title = (
            f"{drawn_curves.summary(self.person)}: measured (black, dotted where not trusted), {len(self.flow)} draws "
            "(blue)"
        )
        return style.figure(lambda: curves.completed(self.time, self.measured, self.trusted, self.flow, title), path)

    def _table(self, flow: NDArray) -> pd.DataFrame:
        person = self.person.iloc[0]
        found = spirometry.indices(flow, spirometry.end_of_flow(flow))
        return indices_table(found, person["age"], person["height"], person["sex"])


def recover(
    model: Reconstructor,
    flow: NDArray,
    person: pd.DataFrame,
    *,
    spans: list[tuple[float, float]] | None = None,
    others: Sequence[NDArray] | UserCurves = (),
    draws: int = 100,
    seed: int = 0,
    notes: list[str] | None = None,
) -> Recovered:
    """Reconstruct one effort.

    Args:
        flow: (T,) L/s at BTPS every 10 ms, the record without padding.
        person: one row in the form of `subjects.conditioned`.
        spans: the trusted parts, s from time zero, see `parse_mask`; by default all but the faults of
            `faults.detect`.
        others: other efforts of the person, flow as above, of the same part of the test (before or after the
            bronchodilator). The best of those without faults other than an early end is used.

    Raises SpiroError if there is no expiration, too little of it is trusted, or another effort is no expiration, is the
    same curve, or if all of them have faults.
    """
    flow = np.asarray(flow, dtype=np.float64)
    t0 = spirometry.indices(flow[None], np.array([len(flow)])).t0
    if not np.isfinite(t0[0]):
        raise SpiroError("the curve holds no expiration: no flow from which time zero could be determined")
    found = faults.detect(flow, len(flow)) if spans is None else []
    end = len(flow) * SAMPLE_PERIOD_S - float(t0[0])
    mask = faults.trusted(found) if spans is None else _mask(spans, end)
    check_trusted(mask)
    signals = time_grid.to_grid(flow[None], t0)
    best, left_out = _best_other(flow, others.curves() if isinstance(others, UserCurves) else list(others))
    filled = model.fill(signals, mask[None], person, draws, seed, others=best)[0].astype(np.float64)
    time = np.round(np.arange(time_grid.N_10MS) * SAMPLE_PERIOD_S - time_grid.LEAD_S, 2)
    measured = _window(flow, t0)
    kept = _on_10ms(mask, time)
    moved = int(mask.argmax()) > ZERO_EDGE
    curves = time_grid.to_10ms(filled).astype(np.float64)
    if not moved:
        curves = np.where(kept, measured, curves)
    among = 0 if mask.all() else int(best.among[0])
    far = bool(model.unlike(signals, mask[None], person)[0])
    return Recovered(
        person,
        found,
        time,
        measured,
        kept,
        moved,
        curves,
        [*(notes or []), *left_out],
        among,
        model.made_from,
        model.measured_on,
        model.corrections.limits.wider if far else None,
    )


def _best_other(flow: NDArray, curves: Sequence[NDArray]) -> tuple[Others, list[str]]:
    """The best of the other efforts (largest sum of FEV1 and FVC), and notes on those that are not used.

    An effort with an early end can be used: the densities are given how nearly it had ended.
    """
    sizes, signals, notes = [], [], []
    peak = np.max(flow)
    given: list[NDArray] = [flow]
    for number, values in enumerate(curves, start=1):
        other = np.asarray(values, dtype=np.float64)
        place = f"other effort {number}"
        if other.ndim != 1 or not np.isfinite(other).all():
            raise SpiroError(f"{place}: expected flow in L/s of each 10 ms, a list of finite numbers")
        index = spirometry.indices(other[None], np.array([len(other)]))
        if not np.isfinite(index.t0[0]):
            raise SpiroError(f"{place}: holds no expiration: no flow from which time zero could be determined")
        if any(_same(other, one) for one in given):
            raise SpiroError(f"{place}: is the same curve again; give another effort")
        if not 1 / LARGEST_PEAK_RATIO < other.max() / peak < LARGEST_PEAK_RATIO:
            raise SpiroError(
                f"{place}: peaks at {other.max():.4g} L/s, the interrupted effort at {peak:.4g} L/s: "
                "other units than L/s, or another person"
            )
        given.append(other)
        wrong = sorted({fault.kind for fault in faults.detect(other, len(other))} - {"early end"})
        if wrong:
            notes.append(f"{place} is left out: {', '.join(wrong)}")
            continue
        sizes.append(float(index.fev1[0] + index.fvc[0]))
        signals.append(time_grid.to_grid(other[None], index.t0)[0])
    if curves and not signals:
        raise SpiroError(f"{'; '.join(notes)}; give another effort without such a fault, or none")
    if not signals:
        return Others.none(1), []
    best = np.array([int(np.nan_to_num(sizes, nan=-np.inf).argmax())])
    return Others.of(np.stack(signals), best, np.array([len(signals)])), notes


def _same(one: NDArray, other: NDArray) -> bool:
    """Whether one curve equals the other, or its beginning."""
    n = min(len(one), len(other))
    return bool(np.allclose(one[:n], other[:n], atol=1e-5))


def parse_mask(text: str) -> list[tuple[float, float]]:
    """Parse spans of time (s from time zero) from a text such as `0:2.0`, `0:0.6,1.1:2.0` or `0.3:`.

    A span that begins at 0 or before includes all before time zero; an open end states that the effort had ended by
    itself.

    Raises SpiroError if the text is not of this form.
    """
    spans = []
    for part in text.split(","):
        begin, colon, end = part.partition(":")
        try:
            span = (float(begin or "-inf"), float(end or "inf"))
        except ValueError:
            span = (np.nan, np.nan)
        if not colon or not span[0] < span[1]:
            raise SpiroError(
                f"mask: {part!r} is no span; give begin:end in s from time zero, as 0:2.0 or 0:0.6,1.1:2.0"
            )
        spans.append(span)
    return spans


def _mask(spans: list[tuple[float, float]], end: float) -> NDArray[np.bool_]:
    """Trusted bins (bins,), none of which reaches beyond the record's `end` (s) unless its span is open."""
    mask = np.zeros(time_grid.N_SAMPLES, dtype=bool)
    for begin, finish in spans:
        first = -np.inf if begin <= 0 else begin
        last = finish if np.isinf(finish) else min(finish, end)
        mask |= (time_grid.EDGES_S[:-1] >= first - 1e-9) & (time_grid.EDGES_S[1:] <= last + 1e-9)
    return mask


def _window(flow: NDArray, t0: NDArray) -> NDArray[np.float64]:
    """The record (T,) on the axis of 2048 samples; volume before the axis is in its first sample, as on the grid."""
    first = int(time_grid.zero_sample(t0)[0]) - time_grid.LEAD_SAMPLES
    window = np.zeros(time_grid.N_10MS)
    place = np.arange(len(flow)) - first
    inside = (place >= 0) & (place < time_grid.N_10MS)
    window[place[inside]] = flow[inside]
    window[0] += flow[place < 0].sum()
    return window


def _on_10ms(mask: NDArray[np.bool_], time: NDArray) -> NDArray[np.bool_]:
    """Which samples of 10 ms lie entirely within trusted bins."""
    middle = time + SAMPLE_PERIOD_S / 2
    ends = [np.searchsorted(time_grid.EDGES_S, middle + d * SAMPLE_PERIOD_S, side="right") - 1 for d in (-0.499, 0.499)]
    first, last = (np.clip(e, 0, time_grid.N_SAMPLES - 1) for e in ends)
    return mask[first] & mask[last]


def _spans(trusted: NDArray[np.bool_], time: NDArray) -> list[tuple[float, float]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], trusted, [0]])))
    at = np.append(time, np.inf)
    return [(float(at[a]), float(at[b])) for a, b in edges.reshape(-1, 2)]


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
