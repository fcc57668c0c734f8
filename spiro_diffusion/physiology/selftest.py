"""Self-test of the index computation: known waveforms, folders of standard waveforms, calibration syringes.

Limits: ATS/ERS 2005 (doi 10.1183/09031936.05.00034805, table 6) and 2019 (doi 10.1164/rccm.201908-1590ST) for FEV1 and
FVC, 2005 for PEF and FEF25-75; ISO 26782:2009; and those that this library holds itself to.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.version import VERSION
from spiro_diffusion.core.vocabulary import INDICES
from spiro_diffusion.formats import waveform_file
from spiro_diffusion.formats.waveform_file import WaveformFile
from spiro_diffusion.physiology import counter, spirometry
from spiro_diffusion.physiology.manoeuvre import forced_expiration
from spiro_diffusion.physiology.spirometry import SAMPLE_PERIOD_S, Indices
from spiro_diffusion.physiology.waveforms import ExactIndices, Waveform, all_waveforms, sampled

Floats = NDArray[np.float64]
CHECKED = ("fev1", "fvc", "pef", "fef2575", "bev")
FAST_S = 0.002  # s: the period of the standard's flow waveforms
BTPS = 1.085
MOST_BYTES = 50_000_000  # of a waveform's file
FEWEST = 20  # values of one


class Limit(NamedTuple):
    """An error passes below the larger of a share of the true value and an absolute size (L or L/s)."""

    share: float
    absolute: float

    def holds(self, error: float, true: float) -> bool:
        """Whether an error of a value that should be `true` is small enough; NaN is not."""
        return bool(abs(error) <= max(self.share * abs(true), self.absolute) + 1e-12)


LIMITS: dict[str, dict[str, Limit]] = {
    "ATS/ERS": {
        "fev1": Limit(0.025, 0.050),
        "fvc": Limit(0.025, 0.050),
        "pef": Limit(0.10, 0.30),
        "fef2575": Limit(0.05, 0.20),
    },
    "ISO 26782": {"fev1": Limit(0.03, 0.050), "fvc": Limit(0.03, 0.050)},
    "ours": {
        "fev1": Limit(0.002, 0.005),
        "fvc": Limit(0.002, 0.005),
        "pef": Limit(0.02, 0.0),
        "fef2575": Limit(0.01, 0.01),
        "bev": Limit(0.05, 0.005),
    },
}


PEF_AT_10_MS = Limit(0.03, 0.0)  # ours: means of 10 ms have lost up to so much of a narrow peak


@dataclass(frozen=True)
class Result:
    """One waveform, measured one way, against what is known of it."""

    name: str
    route: str
    measured: dict[str, float]  # by index; L, L/s
    reference: dict[str, float]  # those that are known
    period_s: float

    def error(self, index: str) -> float:
        """Measured less known; NaN where the index is not known."""
        return self.measured[index] - self.reference.get(index, np.nan)

    def beyond(self) -> list[str]:
        """The limits that are not held, as "ISO 26782: FEV1"."""
        project_limits = LIMITS["ours"] | ({"pef": PEF_AT_10_MS} if self.period_s >= SAMPLE_PERIOD_S else {})
        return [
            f"{source}: {INDICES[index].label}"
            for source, limits in (LIMITS | {"ours": project_limits}).items()
            for index, limit in limits.items()
            if index in self.reference and not limit.holds(self.error(index), self.reference[index])
        ]


def _alone(flow: Floats, period_s: float) -> Indices:
    return spirometry.indices(flow[None], np.array([len(flow)]), period_s)


def _fast(wave: Waveform) -> Indices:
    return _alone(sampled(wave, FAST_S), FAST_S)


def _counted(wave: Waveform) -> Indices:
    """The waveform in whole millilitres each 10 ms."""
    flow = sampled(wave)[None]
    return _alone(counter.flow(counter.count(flow, BTPS, np.random.default_rng(0)), BTPS)[0], SAMPLE_PERIOD_S)


def _in_a_manoeuvre(wave: Waveform) -> Indices:
    """The waveform after two tidal breaths and a full inspiration, before another, recorded the other way round."""
    flow = sampled(wave)
    size = flow.sum() * SAMPLE_PERIOD_S
    breath = np.sin(np.arange(0, 3, SAMPLE_PERIOD_S) * 2 * np.pi / 3) * 0.5
    into = np.sin(np.arange(0, 2, SAMPLE_PERIOD_S) * np.pi / 2)
    into *= -size / (into.sum() * SAMPLE_PERIOD_S)
    return forced_expiration(-np.concatenate([breath, breath, into, flow, into]), SAMPLE_PERIOD_S).indices


ROUTES: dict[str, Callable[[Waveform], Indices]] = {
    "500 Hz": _fast,
    "100 Hz": lambda wave: _alone(sampled(wave), SAMPLE_PERIOD_S),
    "100 Hz, whole mL": _counted,
    "in a manoeuvre, signs turned": _in_a_manoeuvre,
}


def known_waveforms() -> list[Result]:
    """The built-in waveforms by every route."""
    return [
        Result(wave.name, route, _values(measure(wave)), _exact(exact), FAST_S if measure is _fast else SAMPLE_PERIOD_S)
        for wave, exact in all_waveforms()
        for route, measure in ROUTES.items()
    ]


def _exact(exact: ExactIndices) -> dict[str, float]:
    return {index: float(getattr(exact, index)) for index in CHECKED}


def _values(found: Indices) -> dict[str, float]:
    return {index: float(getattr(found, index)[0]) for index in CHECKED}


# Standard waveforms

_REFERENCES = {"fvc": "FVC", "fev1": "FEV1", "pef": "PEF|PEFR", "bev": "BEV|EV|VEXT|VBE"}
_REFERENCES["fef2575"] = r"FEF ?25-?75 ?%?|FEF ?\(?25-75\)?%?|MMEF|FEF2575"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


def standard_waveforms(folder: Path) -> list[Result]:
    """Every waveform file of a folder (see `read_waveform`), at its own rate and as counted at 10 ms.

    Raises SpiroError where the folder has none, or a file cannot be read.
    """
    if not folder.is_dir():
        raise SpiroError(f"{folder}: no such folder; name one that holds standard waveforms")
    results = []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        wave = read_waveform(path)
        if wave is None:
            continue
        reference = dict(wave.reference)
        measured = _values(_alone(wave.flow, wave.period_s))
        results.append(Result(path.name, f"{1 / wave.period_s:.0f} Hz", measured, reference, wave.period_s))
        slow = spirometry.at_10_ms(wave.flow, wave.period_s)
        counts = counter.count(slow[None], BTPS, np.random.default_rng(0))
        found = _alone(counter.flow(counts, BTPS)[0], SAMPLE_PERIOD_S)
        results.append(Result(path.name, "100 Hz, whole mL", _values(found), reference, SAMPLE_PERIOD_S))
    if not results:
        raise SpiroError(f"{folder}: holds no waveform; expected files with a line [Data] and VT or FT")
    return results


class StandardWaveform(NamedTuple):
    """A waveform of a file, and what its header says of it."""

    kind: Literal["VT", "FT"]
    flow: Floats  # (T,) L/s
    period_s: float
    reference: dict[str, float]  # L, L/s


def read_waveform(path: Path) -> StandardWaveform | None:
    """A waveform file (`formats.waveform_file`) and what its header says is true; None where it has no [Data].

    Values without a unit are in the one that fits their size: no lung holds 20 L, or blows 30 L/s. Values of FVC,
    FEV1, PEF, FEF25-75 and BEV in the header are what is known; of flow without a PEF its highest value is.

    Raises SpiroError that names the file, what is wrong and what is expected.
    """
    if path.stat().st_size > MOST_BYTES:
        raise SpiroError(f"{path}: is larger than {MOST_BYTES // 10**6} MB; a waveform is some seconds long")
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    if not waveform_file.is_marked(text):
        return None
    found = waveform_file.parse(text, str(path), path.stem)
    if len(found.values) < FEWEST:
        raise SpiroError(f"{path}: {len(found.values)} values below [Data]; expected a waveform")
    period = found.period_s or _period(found.times, path)
    references = _references(found.settings)
    values = found.values * (found.factor or _factor_by_size(found))
    if found.kind == "VT":
        values = values if values[-1] >= values[0] else -values
        return StandardWaveform(found.kind, np.diff(values) / period, period, references)
    flow = values if values.sum() >= 0 else -values
    return StandardWaveform(found.kind, flow, period, {"pef": float(flow.max())} | references)


def _factor_by_size(found: WaveformFile) -> float:
    """To L or L/s."""
    if found.kind == "VT":
        return 1e-3 if np.ptp(found.values) > 20 else 1.0
    highest = float(np.abs(found.values).max())
    return 1e-3 if highest > 1500 else 1 / 60 if highest > 30 else 1.0


def _period(time: Floats | None, path: Path) -> float:
    assert time is not None  # a file has times where it has no period
    period = float(time[-1] - time[0]) / (len(time) - 1)
    if not period > 0 or np.ptp(np.diff(time)) > 0.5 * period + 0.011:
        raise SpiroError(f"{path}: times below [Data] do not rise evenly")
    return period / 1000 if period >= waveform_file.SLOWEST_S else period


def _references(header: str) -> dict[str, float]:
    """Indices (L, L/s) that the header names."""
    values = {}
    for index, names in _REFERENCES.items():
        found = re.search(rf"(?im)^\s*(?:{names})\b[^\n\d=:;]*[=:;\t, ]\s*({_NUMBER})([^\n]*)$", header)
        if not found:
            continue
        value, unit = float(found.group(1)), found.group(0).lower()
        if "min" in unit:
            value /= 60
        elif "ml" in unit or value > 30:
            value /= 1000
        values[index] = value
    return values


# A report


def report(results: list[Result], tested: str = "the built-in waveforms", *, every: bool = True) -> str:
    """A test report in Markdown, as of a device: what was tested, limits, largest errors, and every measurement, or
    only those beyond a limit."""
    beyond = sum(bool(result.beyond()) for result in results)
    routes = "; ".join(dict.fromkeys(result.route for result in results))
    verdict = "failed" if beyond else "passed"
    facts = {
        "device under test": f"spiro-diffusion {VERSION}: its computation, without a sensor",
        "tested with": f"{tested}, {len({result.name for result in results})} in all",
        "measured at": routes,
        "result": f"**{verdict}**: {len(results)} measurements, {beyond} beyond a limit.",
    }
    head = "| waveform | measured | " + " | ".join(f"{INDICES[i].label}" for i in CHECKED) + " | beyond |"
    lines = ["# Self-test of the index computation", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {text} |" for name, text in facts.items()]
    lines += ["", "Errors are measured less known. For research; not for diagnosis.", "", "## Limits", ""]
    lines += [*_limits(), "", "The larger of the two counts.", "", "## Largest errors", "", *_largest(results)]
    listed = [result for result in results if every or result.beyond()]
    if listed:
        lines += ["", "## Measurements", "", head, "| --- " * (len(CHECKED) + 3) + "|"]
    for result in listed:
        cells = " | ".join(_cell(result, index) for index in CHECKED)
        lines.append(f"| {result.name} | {result.route} | {cells} | {', '.join(result.beyond()) or '-'} |")
    return "\n".join(lines) + "\n"


def _head(first: str) -> list[str]:
    return [f"| {first} | {' | '.join(INDICES[i].label for i in CHECKED)} |", "| --- " * (len(CHECKED) + 1) + "|"]


def _limits() -> list[str]:
    lines = _head("limit")
    for source, limits in (LIMITS | {"ours at 10 ms": LIMITS["ours"] | {"pef": PEF_AT_10_MS}}).items():
        cells = []
        for index in CHECKED:
            limit = limits.get(index)
            both = [f"{100 * limit.share:g} %"] if limit else []
            if limit and limit.absolute:
                litres = INDICES[index].unit == "L"
                both.append(f"{1000 * limit.absolute:g} mL" if litres else f"{limit.absolute:g} L/s")
            cells.append(" or ".join(both))
        lines.append(f"| {source} | {' | '.join(cells)} |")
    return lines


def _largest(results: list[Result]) -> list[str]:
    """The largest error of each index by each route."""
    lines = _head("measured at")
    for route in dict.fromkeys(result.route for result in results):
        some = [result for result in results if result.route == route]
        cells = []
        for index in CHECKED:
            with_reference = [result for result in some if index in result.reference]
            worst = max(with_reference, key=lambda r: abs(r.error(index) / (r.reference[index] or 1)), default=None)
            if with_reference and INDICES[index].unit == "L":
                worst = max(with_reference, key=lambda r: abs(r.error(index)))
            cells.append(_cell(worst, index) if worst else "")
        lines.append(f"| {route} | {' | '.join(cells)} |")
    return lines


def _cell(result: Result, index: str) -> str:
    if index not in result.reference:
        return ""
    error, reference = result.error(index), result.reference[index]
    if INDICES[index].unit == "L":
        return f"{1000 * error:+.1f} mL"
    return f"{100 * error / reference:+.2f} %"
