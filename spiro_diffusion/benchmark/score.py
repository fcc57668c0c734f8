"""Score a submission as our generator and completions are scored, with their rows and the baselines' for comparison."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.benchmark import protocol, submission
from spiro_diffusion.benchmark.protocol import RESAMPLES, SEED, Source, Task
from spiro_diffusion.core.artifacts import read_json
from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.evaluation import (
    candidates,
    conditional,
    data,
    measured,
    session_candidates,
    session_copies,
    session_figures,
    session_judge,
)
from spiro_diffusion.evaluation.bootstrap import Resamples
from spiro_diffusion.evaluation.candidates import Candidate
from spiro_diffusion.evaluation.completion_learners import BASELINES
from spiro_diffusion.evaluation.figures import (
    MIN_PEOPLE,
    Figure,
    Tree,
    figure,
    from_json,
    from_resamples,
    missing,
    to_json,
    too_few,
)
from spiro_diffusion.evaluation.interruptions import Case
from spiro_diffusion.evaluation.judge import judge, over_baselines
from spiro_diffusion.evaluation.real import Real
from spiro_diffusion.evaluation.record import Record
from spiro_diffusion.evaluation.registry import leaves
from spiro_diffusion.evaluation.targets import counts, verdicts
from spiro_diffusion.physiology import time_grid
from spiro_diffusion.reconstruction.calibration import interval_score

OURS, FLOOR, AS_HELD_OUT = "generator", "floor", "held-out participants"
NEAREST = session_judge.BASELINES[-1]  # of sessions, the one that needs no generator
COMPLETION_BASELINES = ("plain_path", *BASELINES)  # of completion
JUDGED = ("fvc", "fef2575")  # of completions
NOMINAL = 90  # %: the central intervals of completions
FIGURES = ("error", "bias", "crps", "coverage_90", "interval_score")  # of an index of completions
NOT_GIVEN = dict.fromkeys(FIGURES, missing("not given"))
LOOKED_FOR = ("baselines", "evaluate")  # where the record of the judge lies, the first with all baselines in it

Row = dict[str, Figure]  # path of a figure → the figure


@dataclasses.dataclass(frozen=True)
class Scored:
    """Rows by name, the submission's first; `data`: on whom they were judged; `notes`: remarks on the comparison."""

    task: Task
    data: dict[str, Any]
    rows: dict[str, Row]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        return {f.name: to_json(getattr(self, f.name)) for f in dataclasses.fields(self)}


def score(task: Task, source: Source, metrics: Path, curves: Path, name: str) -> Scored:
    """Judge the NPZ `curves` of docs/benchmark.md; `metrics`: the folder with the figures of the pipeline's stages.

    Raises SpiroError where the data are missing, or the file or the name does not fit.
    """
    if (
        name in (OURS, FLOOR, AS_HELD_OUT, *COMPLETION_BASELINES, *session_judge.BASELINES)
        or not name.isprintable()
        or "|" in name
    ):
        raise _taken(name)
    judged = {"generation": generation, "sessions": sessions, "completion": completion}[task]
    return judged(source, metrics, curves, name)


def _taken(name: str) -> SpiroError:
    return SpiroError(f"--name {printable(name)}: is another row's name, or none for a table; choose another")


def generation(source: Source, metrics: Path, curves: Path, name: str) -> Scored:
    """The row of generated curves, beside those of the generator, the floor and the baselines."""
    requested = protocol.generation(source)
    found = submission.read_curves(curves, requested["id"].tolist())
    real = data.load_real(source.signals, source.curves, source.repaired, source.part, SEED)
    about = data.about(real, source.source, source.part, {"draws": found.signals.shape[1], "seed": SEED})
    record, notes = _record(metrics, about)
    if record is not None and name in record.candidates:
        raise _taken(name)
    submission_tree = judge(candidate(found, requested, real), real, resamples=RESAMPLES, seed=SEED, name=name)
    if record is None:
        floor = judge(candidates.floor(real, protocol.DRAWS["generation"], SEED), real, resamples=RESAMPLES, seed=SEED)
        others: dict[str, Tree] = {FLOOR: floor}
    else:
        if not record.baselines:
            notes = ["no baseline was judged yet: dvc repro baselines/dvc.yaml"]
        floor, others = record.floor, {n: t for n, t in record.candidates.items() if n != "grid round trip"}
        submission_tree["crps_over_baselines"] = over_baselines(submission_tree, record.baselines, RESAMPLES, SEED)
    verdict = ", ".join(
        f"{n} {word.replace('_', ' ')}" for word, n in counts(verdicts(submission_tree, floor)).items() if n
    )
    trees = {name: submission_tree, **others}
    rows = {n: {path: f for path, f in leaves(tree) if isinstance(f, Figure)} for n, tree in trees.items()}
    return Scored("generation", about, rows, [f"targets of {name}: {verdict}", *notes])


def candidate(curves: submission.Curves, requested: pd.DataFrame, real: Real) -> Candidate:
    """The curves of the rows `requested` (`protocol.generation`) as the judge takes them."""
    again = requested["again"].to_numpy(bool)
    best = candidates.best_effort_requests(real)
    as_a = curves.signals[pd.Index(requested["id"]).get_indexer(pd.Index(protocol.row_ids(best)))]
    first, draws = 0 if curves.smooth else time_grid.FINE_BINS, curves.signals.shape[1]

    def measure(signals: NDArray, people: pd.DataFrame, seed: int) -> tuple[measured.Measured, dict[str, NDArray]]:
        people = people.reset_index(drop=True)
        return measured.draw(lambda some, *_: signals[some.index], people, draws, seed, "measured", first)

    requested_curves, measured_curves = measure(curves.signals[~again], real.held_out.people, SEED)
    return Candidate(requested_curves, measured_curves, measure(as_a, best, SEED + 1)[1])


def sessions(source: Source, metrics: Path, curves: Path, name: str) -> Scored:
    """The row of sessions, beside held-out people's own, and those of the generator, the floor and the baselines."""
    requested = protocol.sessions(source)
    found = submission.read_sessions(curves, requested)
    real = data.load_real(source.signals, source.curves, source.repaired, source.part, SEED)
    about = data.about(real, source.source, source.part, {"draws": 1, "seed": SEED})
    drawn = session_candidates.Session(found.grades, found.signals)
    first = 0 if found.smooth else time_grid.FINE_BINS
    candidate_sessions = {name: session_candidates.counted(drawn, real.held_out.people, SEED, first)}
    others, notes = _sessions_judged(metrics, about, requested)
    if not others:
        nearest = session_candidates.nearest_session(real.held_out.people, real.train, real.train_signals, SEED)
        candidate_sessions |= {FLOOR: real.members, NEAREST: nearest}
    record = session_judge.judge(
        real.held_out, candidate_sessions, real.reference_surface(best=False), resamples=RESAMPLES, seed=SEED
    )
    for number, (each, sessions_of) in enumerate(candidate_sessions.items()):
        rng = np.random.default_rng([SEED, number, 1])
        record.candidates[each]["copies"] = session_copies.copies(sessions_of, real, RESAMPLES, rng)
    trees = record.candidates | others
    rows = {name: of_sessions(trees[name]), AS_HELD_OUT: _held_out(trees[name])}
    rows |= {each: of_sessions(tree) for each, tree in trees.items() if each != name}
    return Scored("sessions", about | {"sessions": record.data["sessions"]}, rows, notes)


def of_sessions(tree: Tree) -> Row:
    """The figures of a tree of `session_judge.judge`, and `holds`: how many differences from held-out people hold 0."""
    row = {path: one for path, one in leaves(tree) if isinstance(one, Figure)}
    inside, of = session_figures.holds(_figures(tree))
    return row | {"holds": figure(inside) if of else missing("no figure has an interval")}


def _held_out(tree: Tree) -> Row:
    """What held-out people's own sessions give in the place of a candidate's."""
    found = {at: node.get("held_out") for at, node in _figures(tree).items() if isinstance(node, dict)}
    return {f"figures.{at}.candidate": one for at, one in found.items() if isinstance(one, Figure)}


def _figures(tree: Tree) -> Tree:
    return node if isinstance(node := tree.get("figures"), dict) else {}


def _sessions_judged(
    metrics: Path, about: dict[str, Any], requested: pd.DataFrame
) -> tuple[dict[str, Tree], list[str]]:
    """The trees of the record of sessions by name where it is of the same people, else why there are none."""
    folder = metrics / "evaluate"
    if not (folder / session_judge.FILE).is_file():
        return {}, [f"{folder / session_judge.FILE}: no such file; the generator's row is made by `dvc repro evaluate`"]
    record, (judged, notes) = session_judge.Record.read(folder), _record(metrics, about)
    same = {"participants": about["participants"], "efforts": len(requested)}
    if judged is None or any(record.data.get(key) != value for key, value in same.items()):
        return {}, [f"{folder}: was judged on other participants; its rows are left out"]
    return record.candidates, notes


def _record(metrics: Path, about: dict[str, Any]) -> tuple[Record | None, list[str]]:
    """The judge's record where it is of the same people, else why there is none."""
    for stage in LOOKED_FOR:
        if (metrics / stage / "judge.json").is_file():
            record = Record.read(metrics / stage)
            same = ("source", "part", "participants", "curves", "training_curves")
            if all(record.data.get(key) == about[key] for key in same):
                return record, []
            return None, [f"{metrics / stage}: was judged on other participants; its rows are left out"]
    return None, [f"{metrics}: holds no judge.json; the generator's row is made by `dvc repro evaluate`"]


def completion(source: Source, metrics: Path, curves: Path, name: str) -> Scored:
    """The row of completed efforts, beside those of our completions and the baselines."""
    cases = protocol.completion(source)
    ids = np.concatenate([protocol.case_ids(case) for case in cases])
    found = submission.read_completions(curves, ids.tolist())
    drawn = _indices(found) if isinstance(found, np.ndarray) else found
    submission_row: Row = {}
    start = 0
    for case in cases:
        part = slice(start, start := start + len(case.rows))
        submission_row |= of_case(case, {index: values[part] for index, values in drawn.items()})
    efforts = max(len(case.rows) for case in cases)  # a cough interrupts them all
    about = {"source": source.source, "part": source.part, "efforts": efforts}
    others, notes = _completed(metrics / "reconstruct" / "judge.json", about)
    about |= {"participants": efforts, "draws": drawn["fvc"].shape[1], "seed": SEED}
    return Scored("completion", about, {name: submission_row, **others}, notes)


def of_case(case: Case, drawn: dict[str, NDArray]) -> Row:
    """Figures of the indices (n, draws) drawn for a case, L or L/s: median absolute error, bias, CRPS, coverage of the
    90 % intervals, their mean score, and the share of efforts that some draw left undetermined."""
    row: Row = {}
    truth = _indices(case.truth[:, None])
    for index in JUDGED:
        found = _of_index(truth[index][:, 0], drawn[index], case) if index in drawn else NOT_GIVEN
        row |= {f"{case.how.name}.{index}.{name}": figure for name, figure in found.items()}
    return row


def _of_index(truth: NDArray, drawn: NDArray, case: Case) -> Row:
    defined = np.isfinite(truth)
    good = defined & np.isfinite(drawn).all(axis=1)
    left_out = figure(1 - good.sum() / max(defined.sum(), 1))
    if good.sum() < MIN_PEOPLE:  # of each participant there is one effort
        return dict.fromkeys(FIGURES, too_few(int(good.sum()))) | {"undetermined": left_out}
    people = Resamples(case.people["seqn"][good], RESAMPLES, np.random.default_rng(SEED))
    real, values = truth[good], drawn[good]
    middle, tail = np.median(values, axis=1) - real, 0.5 - NOMINAL / 200
    low, high = np.quantile(values, [tail, 1 - tail], axis=1)
    calibrated = conditional.calibration(real, values, np.ones(len(real)), people)
    assert isinstance(calibrated, dict)
    result = {
        "error": from_resamples(people.medians(np.abs(middle))),
        "bias": from_resamples(people.medians(middle)),
        "crps": calibrated["crps"],
        "coverage_90": calibrated["coverage_90"],
        "interval_score": from_resamples(people.means(interval_score(real, low, high))),
        "undetermined": left_out,
    }
    return {name: node for name, node in result.items() if isinstance(node, Figure)}


def _indices(signals: NDArray) -> dict[str, NDArray]:
    """FVC (L) and FEF25-75 (L/s), (n, draws) each, of signals (n, draws, 512)."""
    found = time_grid.indices_of_signals(signals.reshape(-1, time_grid.N_SAMPLES))
    return {index: getattr(found, index).reshape(signals.shape[:2]) for index in JUDGED}


def _completed(path: Path, about: dict[str, Any]) -> tuple[dict[str, Row], list[str]]:
    """Rows of our completions and their baselines from the record of the stage reconstruct, or why there are none."""
    if not path.is_file():
        return {}, [f"{path}: no such file; the rows of our completions are made by `dvc repro reconstruct`"]
    record = read_json(path)
    if any(record["data"].get(key) != value for key, value in about.items()):
        return {}, [f"{path}: was judged on other efforts; its rows are left out"]
    rows: dict[str, Row] = {name: {} for name in (OURS, *COMPLETION_BASELINES)}
    for case, named in record["cases"].items():
        for name, row in rows.items():
            found = from_json({index: named.get(name, {}).get(index, {}) for index in JUDGED})
            row |= {f"{case}.{at}": node for at, node in leaves(found) if isinstance(node, Figure)}
    return rows, []
