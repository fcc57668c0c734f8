"""Accuracy and calibration of completions, on full efforts that were interrupted artificially.

Held-out participants' best full efforts are cut, or coughed into, and drawn anew; what they were is the truth. A
participant's own lesser effort against their best one is the natural test. The baselines are in `completion_baselines`
and `completion_learners`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from spiro_diffusion.core.batching import in_parallel
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.evaluation import completion_cells, groups, utility
from spiro_diffusion.evaluation.bootstrap import Resamples
from spiro_diffusion.evaluation.completion_baselines import Baseline, BaselineData, Drawn, Efforts
from spiro_diffusion.evaluation.completion_learners import BASELINES, MOST_TREES, baselines
from spiro_diffusion.evaluation.conditional import crps, pit_steps
from spiro_diffusion.evaluation.figures import MIN_PEOPLE, Figure, figure, from_resamples, missing
from spiro_diffusion.evaluation.interruptions import JUDGED, Case, Interruption, Kind, cut, interrupted
from spiro_diffusion.evaluation.processes import in_processes
from spiro_diffusion.physiology import faults, time_grid
from spiro_diffusion.reconstruction.calibration import interval_score
from spiro_diffusion.reconstruction.reconstructor import Paths, Reconstructor, check_trusted
from spiro_diffusion.reconstruction.sibling_efforts import Others

INDICES = ("fvc", "fef2575", "fev1", "ratio")
SHARPNESS_S = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # cuts at which the width of the intervals is reported
INTERVALS = (50, 90)
OF_INTERVALS = ("coverage_90", "interval_score")  # what is reported of a baseline's
BATCH = 8192  # curves at a time: 8,192 x 513 float64 is 34 MB, of which some are held
CHUNK = 512
LATEST_SHARE, FEV_S = 0.75, 1.0  # where FEF25-75 and FEV1 end, as a share of the volume and in s after time zero
EXAMPLES = 4  # efforts of the page
EXAMPLE_CUTS_S = (1.0, 2.0)
EXAMPLE_DRAWS = 100
EXAMPLE_PERCENTILES = (5, 25, 75, 95)


def judge(
    model: Reconstructor,
    held_out: Efforts,
    baseline_data: BaselineData,
    *,
    draws: int,
    resamples: int,
    seed: int,
    trees: int = MOST_TREES,
) -> dict[str, Any]:
    """All figures of interrupted efforts, by case; see docs/reconstruction.md. `trees`: of boosted quantiles."""
    people = Resamples(held_out.people["seqn"], resamples, np.random.default_rng(seed))
    cases = _cases(held_out, seed)
    of_baselines = drawn_by(baselines(trees), cases, baseline_data, draws, seed)
    result: dict[str, Any] = {}
    for number, (case, others) in enumerate(zip(cases, of_baselines, strict=True)):
        truth = _indices(case.truth)
        plain, drawn = draw(model, case, draws, seed + number)
        restricted = people.restricted(case.rows)
        result[case.how.name] = _case(case, truth, drawn, {"plain_path": plain, **others}, restricted)
    return result


def drawn_by(
    of_baselines: dict[str, Baseline], cases: list[Case], baseline_data: BaselineData, draws: int, seed: int
) -> list[dict[str, Drawn]]:
    """Draws of each baseline for each case, computed on all cores."""
    pairs = [(number, name) for number in range(len(cases)) for name in of_baselines]

    def drawn(i: int) -> Drawn:
        number, name = pairs[i]
        return of_baselines[name](cases[number], baseline_data, draws, seed + number)

    found = dict(zip(pairs, in_processes(drawn, len(pairs)), strict=True))
    return [{name: found[number, name] for name in of_baselines} for number in range(len(cases))]


def given_others(
    model: Reconstructor, held_out: Efforts, others: Others, *, draws: int, resamples: int, seed: int
) -> dict[str, Any]:
    """The cases of `judge`, of the participants with another effort: drawn without it, and given the best of them.

    On plain paths, which decide nothing of FVC and little of FEF25-75; `error_ratio` and `crps_ratio` are those given
    it over those without: below 1 it helps.
    """
    has = np.flatnonzero(others.among > 0)
    result: dict[str, Any] = {"efforts": len(has)}
    if len(has) < MIN_PEOPLE:
        return result | {"reason": f"fewer than {MIN_PEOPLE} participants have another acceptable effort"}
    some = Efforts(held_out.signals[has], held_out.people.iloc[has].reset_index(drop=True))
    people = Resamples(some.people["seqn"], resamples, np.random.default_rng(seed))
    result["cases"] = {}
    for number, case in enumerate(_cases(some, seed)):
        truth, restricted = _indices(case.truth), people.restricted(case.rows)
        without, given = (
            draw_plain(model, case, draws, seed + number, siblings) for siblings in (None, others.at(has[case.rows]))
        )
        result["cases"][case.how.name] = {}
        for name in ("fvc", "fef2575"):
            compared = _against(given[name], without[name], truth[name], restricted)
            result["cases"][case.how.name][name] = {
                "without": _judged(without[name], truth[name], restricted),
                "given": _judged(given[name], truth[name], restricted),
                **{ratio: compared[ratio] for ratio in ("error_ratio", "crps_ratio")},
            }
    return result


def sharpness(model: Reconstructor, held_out: Efforts, *, draws: int, seed: int) -> dict[str, dict[str, float | None]]:
    """Median width (L) of the intervals of FVC by the time of the cut (s)."""
    found: dict[str, dict[str, float | None]] = {}
    for at in SHARPNESS_S:
        case = cut(held_out.signals, held_out.people, at)
        if len(case.rows) < MIN_PEOPLE:
            continue
        fvc = np.concatenate([paths.increments.sum(axis=1) for _, paths in _paths(model, case, draws, seed)])
        widths = (_width(fvc.reshape(-1, draws), n) for n in INTERVALS)
        found[f"{at:g}"] = {
            f"width_{n}": figure(float(np.median(w))).value for n, w in zip(INTERVALS, widths, strict=True)
        }
    return found


def natural(
    model: Reconstructor, signals: NDArray, table: pd.DataFrame, *, draws: int, resamples: int, seed: int
) -> dict[str, Any]:
    """A participant's own effort of grade C or D, completed where a fault is found, against their best effort.

    Args:
        signals, table: all efforts of the held-out participants, (n, bins) L/s.
    """
    pre = (table["test_type"] == "Pre").to_numpy()
    best = table[pre & table["best"].to_numpy(bool)].set_index("seqn")[["fvc", "fev1", "fef2575"]]
    chosen = np.flatnonzero(
        pre & table["grade"].isin(["C", "D"]).to_numpy() & table["seqn"].isin(best.index).to_numpy()
    )
    some, faulty = table.iloc[chosen], np.asarray(signals[chosen])
    trusted, kinds = np.ones(faulty.shape, dtype=bool), []
    for i, flow in enumerate(time_grid.to_10ms(faulty)):
        found = faults.detect(flow)
        mask = faults.trusted(found)
        try:
            check_trusted(mask)
        except SpiroError:
            found = []
        kinds.append("+".join(sorted({f.kind for f in found})))
        trusted[i] = mask if found else True
    with_fault = np.array([bool(k) for k in kinds])
    counts = {str(k): int(v) for k, v in pd.Series(kinds, dtype=object)[with_fault].value_counts().items()}
    result: dict[str, Any] = {"efforts": len(chosen), "mended": int(with_fault.sum()), "faults": counts}
    if some["seqn"][with_fault].nunique() < MIN_PEOPLE:
        return result | {"reason": f"faults were found in efforts of fewer than {MIN_PEOPLE} participants"}
    rows = np.flatnonzero(with_fault)
    owners = some.iloc[rows].reset_index(drop=True)
    case = Case(Interruption(Kind.RECORDED), rows, faulty[rows], trusted[rows], faulty[rows], owners)
    _, drawn = draw(model, case, draws, seed)
    truth = best.loc[owners["seqn"]]
    people = Resamples(owners["seqn"], resamples, np.random.default_rng(seed))
    for name in ("fvc", "fev1", "fef2575"):
        real, recorded = truth[name].to_numpy(float), owners[name].to_numpy(float)
        result[name] = {
            "reconstructed": _error(np.median(drawn[name], axis=1), real, people),
            "as_recorded": _error(recorded, real, people),
            **_calibration(drawn[name], real, people),
        }
    return result


def summary(result: dict[str, Any]) -> dict[str, float | None]:
    """Headline figures of what `judge.json` holds: errors in mL, coverage, the worst ratio to a baseline (below 1: all
    are beaten), bias by obstruction."""
    found: dict[str, float | None] = {}
    for name, case in result["cases"].items():
        generated = case["generator"]
        found[f"{name}_fvc_error_ml"] = _ml(generated["fvc"]["error"])
        found[f"{name}_fef2575_error"] = generated["fef2575"]["error"]["value"]
        for index in ("fvc", "fef2575"):
            found[f"{name}_{index}_coverage_90"] = generated[index]["coverage_90"]["value"]
            for ratio in ("error_ratio", "crps_ratio"):
                ratios = [case[name][index][ratio]["value"] for name in BASELINES]
                defined = [r for r in ratios if r is not None]
                found[f"{name}_{index}_{ratio}_worst"] = max(defined) if defined else None
        found[f"{name}_fvc_width_90_ml"] = _ml(generated["fvc"]["width_90"])
        for group, biased in case["ratio_bias"].items():
            found[f"{name}_ratio_bias_{group}"] = biased["bias"]["value"]
            of_baselines = [
                case[other]["ratio_bias"][group]["bias"]["value"] for other in BASELINES if "ratio_bias" in case[other]
            ]
            defined = [bias for bias in of_baselines if bias is not None]
            found[f"{name}_ratio_bias_{group}_least_baseline"] = min(defined, key=abs) if defined else None
        inside = [cell["from"] <= completion_cells.NOMINAL <= cell["to"] for cell in case["cells"].values()]
        found[f"{name}_cells"], found[f"{name}_cells_hold"] = len(inside), sum(inside)
    for name, indices in result["others"].get("cases", {}).items():
        fvc = indices["fvc"]
        found[f"{name}_fvc_error_ml_others"] = _ml(fvc["given"]["error"])
        found[f"{name}_fvc_width_90_ml_others"] = _ml(fvc["given"]["width_90"])
        found[f"{name}_fvc_coverage_90_others"] = fvc["given"]["coverage_90"]["value"]
        for index in ("fvc", "fef2575"):
            found[f"{name}_{index}_crps_ratio_others"] = indices[index]["crps_ratio"]["value"]
    return found


def _ml(litres: dict[str, Any]) -> float | None:
    return None if litres["value"] is None else round(1000 * litres["value"], 3)


def example_arrays(model: Reconstructor, held_out: Efforts, seed: int) -> dict[str, NDArray]:
    """Arrays of some held-out efforts cut short, for the page: of `efforts` e their `age` (years), `sex` (1, 2),
    `ratio` (FEV1/FVC) and `volume` (e, edges) L as it was, and for each of `cut_s` the `bands` (cuts, e, percentiles,
    edges) of the volume drawn; NaN where an effort ended before the cut."""
    few = np.linspace(0, len(held_out.signals) - 1, min(EXAMPLES, len(held_out.signals))).astype(int)
    order = np.argsort((held_out.people["fev1"] / held_out.people["fvc"]).to_numpy())[few]  # from obstructed to not
    signals, people = held_out.signals[order], held_out.people.iloc[order]
    shape = len(EXAMPLE_CUTS_S), len(order), len(EXAMPLE_PERCENTILES), time_grid.N_SAMPLES + 1
    bands = np.full(shape, np.nan, dtype=np.float32)
    for number, at_s in enumerate(EXAMPLE_CUTS_S):
        case = cut(signals, people, at_s)
        curves = model.plain(case.signals, case.trusted, case.people, EXAMPLE_DRAWS, seed).flow()
        volumes = time_grid.volume(curves).reshape(len(case.rows), EXAMPLE_DRAWS, -1)
        bands[number, case.rows] = np.percentile(volumes, EXAMPLE_PERCENTILES, axis=1).swapaxes(0, 1)
    return {
        "cut_s": np.array(EXAMPLE_CUTS_S),
        "age": people["age"].to_numpy(float),
        "sex": people["sex"].to_numpy(np.int64),
        "ratio": (people["fev1"] / people["fvc"]).to_numpy(float),
        "volume": time_grid.volume(signals).astype(np.float32),
        "bands": bands,
    }


def draw(model: Reconstructor, case: Case, draws: int, seed: int) -> tuple[Drawn, Drawn]:
    """Indices (n, draws) of reconstructions of a case, on plain paths and on the diffusion's.

    Between the knots the path decides FEF25-75 and FEV1 alone, and these only where something before 75 % of the
    volume or the end of the first second is hidden. The diffusion draws those.
    """
    plain, diffused = [], []
    for part_seed, paths in _paths(model, case, draws, seed):
        found = _indices(paths.flow())
        plain.append(found)
        rows = _path_matters(paths)
        diffused.append({name: values.copy() for name, values in found.items()})
        if len(rows):
            curves = model.diffused(paths.some(rows), part_seed).flow()
            for name, values in _indices(curves).items():
                diffused[-1][name][rows] = values
    return _joined(plain, draws), _joined(diffused, draws)


def draw_plain(model: Reconstructor, case: Case, draws: int, seed: int, others: Others | None = None) -> Drawn:
    """Indices (n, draws) of reconstructions of a case on plain paths, given the best of each person's `others` if
    known."""
    return _joined([_indices(paths.flow()) for _, paths in _paths(model, case, draws, seed, others)], draws)


def _paths(
    model: Reconstructor, case: Case, draws: int, seed: int, others: Others | None = None
) -> Iterator[tuple[int, Paths]]:
    """The draws of a case by the densities alone, a batch at a time, each with its seed."""
    rows = max(1, BATCH // draws)
    starts = range(0, len(case.rows), rows)
    for start in tqdm(starts, desc=case.how.label, unit="batch", leave=False, delay=1):
        part = slice(start, start + rows)
        arguments = (case.signals[part], case.trusted[part], case.people.iloc[part], draws, seed + start)
        yield seed + start, model.plain(*arguments, others=others.at(part) if others else None)


def _path_matters(paths: Paths) -> NDArray[np.int64]:
    """Efforts of which something is hidden before three quarters of the volume or the first second are out."""
    v = np.cumsum(paths.increments, axis=1) - paths.increments
    early = (v < LATEST_SHARE * paths.increments.sum(axis=1, keepdims=True)) | (time_grid.EDGES_S[:-1] < FEV_S)
    return np.flatnonzero((early & paths.hidden_bins()).any(axis=1))


def _joined(parts: list[Drawn], draws: int) -> Drawn:
    return {name: np.concatenate([part[name] for part in parts]).reshape(-1, draws) for name in INDICES}


def _cases(held_out: Efforts, seed: int) -> list[Case]:
    cases = [interrupted(how, held_out.signals, held_out.people, seed) for how in JUDGED]
    return [case for case in cases if len(case.rows) >= MIN_PEOPLE]


def _case(case: Case, truth: Drawn, drawn: Drawn, others: dict[str, Drawn], people: Resamples) -> dict[str, Any]:
    result: dict[str, Any] = {"efforts": figure(len(case.rows)), "generator": {}}
    for name in INDICES:
        result["generator"][name] = _judged(drawn[name], truth[name], people)
    likely = completion_cells.predicted_obstructed(case.people, drawn["ratio"])
    recorded = _indices(np.where(case.trusted, case.signals, 0))
    for other, values in others.items():
        result[other] = {name: _against(drawn[name], values[name], truth[name], people) for name in ("fvc", "fef2575")}
        if case.how.kind == Kind.CUT:  # FEV1 was seen
            ratio = recorded["fev1"][:, None] / values["fvc"]
            result[other]["ratio_bias"] = _ratio_bias(case, truth["ratio"], ratio, likely, people)
    result["ratio_bias"] = _ratio_bias(case, truth["ratio"], drawn["ratio"], likely, people)
    taken = _ratio_bias(case, truth["ratio"], recorded["ratio"][:, None], likely, people)
    for group, biased in result["ratio_bias"].items():
        biased["as_recorded"] = taken[group]["bias"]
    result["cells"] = completion_cells.cells(case.people, drawn["fvc"], truth["fvc"], likely, len(JUDGED))
    return result


def _judged(draws: NDArray, truth: NDArray, people: Resamples) -> dict[str, Figure]:
    return {**_error(np.median(draws, axis=1), truth, people), **_calibration(draws, truth, people)}


def _error(point: NDArray, truth: NDArray, people: Resamples) -> dict[str, Figure]:
    error = point - truth
    good = np.isfinite(error)
    if (restricted := _enough(people, good)) is None:
        return _missing("error", "bias")
    return {
        "error": from_resamples(restricted.medians(np.abs(error[good]))),
        "bias": from_resamples(restricted.medians(error[good])),
    }


def _calibration(draws: NDArray, truth: NDArray, people: Resamples) -> dict[str, Figure]:
    """CRPS, coverage of central intervals by ranks (as in `conditional.calibration`), their median width, and the mean
    score of those of 90 %."""
    names = ["crps", *(f"coverage_{n}" for n in INTERVALS), *(f"width_{n}" for n in INTERVALS), "interval_score"]
    good = np.isfinite(truth) & np.isfinite(draws).all(axis=1)
    if (restricted := _enough(people, good)) is None:
        return _missing(*names)
    some, real = draws[good], truth[good]
    result = {"crps": from_resamples(restricted.means(crps(real, some)))}
    low, high = pit_steps(real, some)
    for n in INTERVALS:
        begin, end = 0.5 - n / 200, 0.5 + n / 200
        inside = np.clip(np.minimum(high, end) - np.maximum(low, begin), 0, None) / (high - low)
        result[f"coverage_{n}"] = from_resamples(restricted.means(inside))
        result[f"width_{n}"] = from_resamples(restricted.medians(_width(some, n)))
    ends = np.quantile(some, [0.05, 0.95], axis=1)
    result["interval_score"] = from_resamples(restricted.means(interval_score(real, *ends)))
    return result


def _against(drawn: NDArray, other: NDArray, truth: NDArray, people: Resamples) -> dict[str, Figure]:
    """Error, CRPS and intervals of other draws, and the generator's over them: below 1 the generator is better."""
    good = np.isfinite(truth) & np.isfinite(drawn).all(axis=1) & np.isfinite(other).all(axis=1)
    if (restricted := _enough(people, good)) is None:
        return _missing("error", "crps", "error_ratio", "crps_ratio", *OF_INTERVALS)
    real = truth[good]
    intervals = _calibration(other[good], real, restricted)
    errors = [restricted.medians(np.abs(np.median(d[good], axis=1) - real)) for d in (drawn, other)]
    scores = [restricted.means(crps(real, d[good])) for d in (drawn, other)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "error": from_resamples(errors[1]),
            "crps": from_resamples(scores[1]),
            "error_ratio": from_resamples(errors[0] / errors[1]),
            "crps_ratio": from_resamples(scores[0] / scores[1]),
            **{name: intervals[name] for name in OF_INTERVALS},
        }


def _ratio_bias(
    case: Case, truth: NDArray, drawn: NDArray, likely: NDArray[np.bool_], people: Resamples
) -> dict[str, dict[str, Figure]]:
    """Mean error of FEV1/FVC, (n, draws) for the true (n,), by obstruction, true and predicted (`likely` (n,))."""
    names = groups.obstruction(utility.obstructed(case.people, truth))
    chosen = {name: names == name for name in ("obstructed", "not_obstructed")} | {"predicted_obstructed": likely}
    result = {}
    for name, group in chosen.items():
        rows = group & np.isfinite(drawn).all(axis=1) & np.isfinite(truth)
        restricted = _enough(people, rows)
        error = np.median(drawn[rows], axis=1) - truth[rows]
        result[name] = {"bias": from_resamples(restricted.means(error))} if restricted else _missing("bias")
    return result


def _enough(people: Resamples, rows: NDArray[np.bool_]) -> Resamples | None:
    """The resamples of some rows; None where they are of too few participants."""
    return people.restricted(rows) if len(np.unique(people.person[rows])) >= MIN_PEOPLE else None


def _missing(*names: str) -> dict[str, Figure]:
    return {name: missing(f"fewer than {MIN_PEOPLE} participants") for name in names}


def _width(draws: NDArray, nominal: int) -> NDArray[np.float64]:
    low, high = np.quantile(draws, [0.5 - nominal / 200, 0.5 + nominal / 200], axis=1)
    return high - low


def _indices(signals: NDArray) -> Drawn:
    """Indices (n,) of curves (n, bins), on all cores."""
    parts = [signals[i : i + CHUNK] for i in range(0, len(signals), CHUNK)]
    found = list(in_parallel(lambda i: time_grid.indices_of_signals(parts[i]), len(parts)))
    drawn = {name: np.concatenate([getattr(f, name) for f in found]) for name in ("fvc", "fef2575", "fev1")}
    return drawn | {"ratio": drawn["fev1"] / drawn["fvc"]}
