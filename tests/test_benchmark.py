"""`spiro benchmark`: what another group is given, how its curves are judged, and what is refused."""

import csv
import functools
import json
import re
from pathlib import Path
from typing import Any

import judge_world as world
import numpy as np
import pandas as pd
import pytest
from repository import ROOT

from spiro_diffusion.benchmark import protocol, submission, table
from spiro_diffusion.benchmark import score as scoring
from spiro_diffusion.benchmark.protocol import Source
from spiro_diffusion.benchmark.score import Scored
from spiro_diffusion.cli import main
from spiro_diffusion.core.artifacts import read_json, read_npz, write_json, write_npz
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.dataset import splits
from spiro_diffusion.evaluation import candidates, data, session_judge
from spiro_diffusion.evaluation.judge import judge
from spiro_diffusion.evaluation.record import Record
from spiro_diffusion.evaluation.registry import Question, named
from spiro_diffusion.physiology import time_grid

DRAWS, RESAMPLES = protocol.DRAWS, 100
AUC, CRPS = named("auc_clinical", "every"), named("crps", "every", "fvc")
NEAREST, COVERAGE = named("nearest_share", "every"), named("coverage_80", "every", "fvc")


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "RESAMPLES", RESAMPLES)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, few_resamples: None) -> Path:
    """A folder of the pipeline: `data` of a world with known laws, `metrics` with the record of its judge."""
    root = tmp_path_factory.mktemp("benchmark")
    world.write_files(root / "data", held_out=40, train=170, validation=40)
    write_json(root / "data/raw/manifest.json", {"source": "simulated", "files": {}})
    source = Source.of(root / "data")
    real = data.load_real(source.signals, source.curves, source.repaired, source.part, protocol.SEED)
    floor = judge(candidates.floor(real, DRAWS["generation"], 1), real, resamples=RESAMPLES, seed=1)
    about = data.about(real, source.source, source.part, {})
    Record(about, floor, floor, {}, {"PCA": floor}, []).write(root / "metrics/evaluate")
    others = {"generator": real.members, "independent efforts": real.members}
    reference_surface = real.reference_surface(best=False)
    session_judge.judge(real.held_out, others, reference_surface, resamples=RESAMPLES, seed=1).write(
        root / "metrics/evaluate"
    )
    return root


@pytest.fixture(scope="module")
def source(folder: Path) -> Source:
    return Source.of(folder / "data")


@pytest.fixture(scope="module")
def task(folder: Path) -> Path:
    assert main(["benchmark", "prepare", "--data", str(folder / "data"), "--out", str(folder / "task")]) == 0
    return folder / "task"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge is asked what the story is about, alone."""
    requested: tuple[Question, ...] = ("two_sample", "calibration", "copying", "crps_people")
    monkeypatch.setattr(scoring, "judge", functools.partial(judge, questions=requested))


def submit(path: Path, source: Source, flow: np.ndarray, **more: Any) -> Path:
    """A submission of curves (n, draws, bins) for the rows of the generation task, or of the completion task."""
    generated = protocol.generation(source)["id"].to_numpy(str)
    completed = np.concatenate([protocol.case_ids(case) for case in protocol.completion(source)])
    write_npz(path, {"id": generated if len(flow) == len(generated) else completed, "flow_l_s": flow, **more})
    return path


def judged(folder: Path, source: Source, path: Path, name: str = "theirs") -> Scored:
    return scoring.score("generation", source, folder / "metrics", path, name)


def blow(source: Source, lungs: bool) -> dict[str, np.ndarray]:
    """The arrays of a submission of sessions: of one lung each, or every effort of another; grades as they were."""
    requested, rng = protocol.sessions(source), np.random.default_rng(4)
    people = requested["person"].to_numpy() if lungs else np.arange(len(requested))
    of_person = rng.standard_normal((people.max() + 1, 3))[people] * world.PERSON_SD
    flow = world.signals(requested, of_person + rng.standard_normal((len(requested), 3)) * world.EFFORT_SD, rng)
    return {"id": requested["id"].to_numpy(str), "grade": requested["grade"].to_numpy(str), "flow_l_s": flow}


@pytest.fixture(scope="module")
def perfect(folder: Path, source: Source) -> Scored:
    """The curves of a generator that knows the world's laws."""
    flow = world.perfect(protocol.generation(source), DRAWS["generation"], 3)
    return judged(folder, source, submit(folder / "perfect.npz", source, flow))


def test_another_group_is_told_for_whom_to_draw_and_on_whom_to_train(task: Path, source: Source) -> None:
    rows = list(csv.DictReader((task / "generation.csv").open()))
    table = pd.read_parquet(source.curves)
    assert len(rows) == (table["split"] == "test").sum() == len({row["id"] for row in rows})
    assert set(rows[0]) == {"id", "age", "height", "sex", "grade", "test_type", "best"}
    parts = pd.read_csv(task / "splits.csv").set_index("seqn")["part"]
    assert (table["seqn"].map(parts).isin(["choosing", "reporting"]) == (table["split"] == "validation")).all()
    assert (parts == "train").sum() == 170
    about = read_json(task / "task.json")
    assert (about["judged_part"], about["rows"]["generation"], about["rows"]["cut_1"]) == ("test", len(rows), 40)


def test_best_efforts_of_a_lower_grade_are_asked_for_as_grade_a_too(folder: Path, tmp_path: Path) -> None:
    curves = pd.read_parquet(folder / "data/curves.parquet")
    curves["grade"] = np.where(curves["best"], "B", curves["grade"])
    curves.to_parquet(tmp_path / "curves.parquet")
    rows = protocol.generation(Source(tmp_path, "simulated", "test"))
    assert rows["again"].sum() == 40
    assert rows["id"].is_unique
    assert (rows.loc[rows["again"], "grade"] == "A").all()


def test_sessions_of_one_lung_pass_and_those_of_strangers_are_found_out(
    folder: Path, source: Source, task: Path
) -> None:
    rows = pd.read_csv(task / "sessions.csv")
    assert list(rows) == ["id", *protocol.SESSION_CONDITIONS]
    assert rows.groupby(["person", "test_type"])["place"].apply(lambda one: one.tolist() == [1, 2, 3]).all()
    found = {}
    for name in ("lungs", "strangers"):
        write_npz(folder / f"{name}.npz", blow(source, name == "lungs"))
        found[name] = scoring.score("sessions", source, folder / "metrics", folder / f"{name}.npz", name)
    assert list(found["lungs"].rows) == ["lungs", "held-out participants", "generator", "independent efforts"]
    lungs, strangers = (one.rows[name] for name, one in found.items())
    low, high = lungs["auc"].interval or (1, 0)
    assert low - 0.02 < 0.5 < high + 0.02
    assert (strangers["auc"].value or 0) > 0.8
    held_out = found["lungs"].rows["held-out participants"]["figures.fev1_cv.candidate"].value or 0
    assert lungs["figures.fev1_cv.candidate"].value == pytest.approx(held_out, rel=0.3)
    assert (strangers["figures.fev1_cv.candidate"].value or 0) > 2 * held_out
    assert (lungs["holds"].value or 0) > (strangers["holds"].value or 99) + 5
    assert (lungs["copies.nearest_share"].low or 1) < 0.5


def test_without_a_record_sessions_stand_beside_what_needs_no_generator(
    folder: Path, source: Source, tmp_path: Path
) -> None:
    write_npz(tmp_path / "lungs.npz", blow(source, True) | {"smooth": np.array(False)})
    found = scoring.score("sessions", source, tmp_path / "metrics", tmp_path / "lungs.npz", "lungs")
    assert list(found.rows) == ["lungs", "held-out participants", "floor", "nearest training session"]
    assert "dvc repro evaluate" in found.notes[0]
    assert set(found.rows["floor"]) == set(found.rows["lungs"])


def test_a_malformed_submission_of_sessions_is_refused_in_a_line(source: Source, tmp_path: Path) -> None:
    requested, good = protocol.sessions(source), blow(source, True)
    n, first = len(requested), requested["id"].iloc[0]
    for change, message in (
        ({"grade": None}, "has no array grade, only flow_l_s, id"),
        ({"grade": np.array(["F"] * n)}, "grade F; expected one of A, B, C, D"),
        ({"grade": np.array(["A"] * (n - 1))}, f"({n - 1},); expected one for each id"),
        ({"flow_l_s": np.ones((n, 2, 512))}, "has 2 curves an effort; a session is one draw"),
        ({"flow_l_s": np.ones((n, 500))}, f"({n}, 1, 500); expected ({n}, draws, 512 or 2048) with 1 draws or more"),
        ({"id": requested["id"].to_numpy(str)[1:]}, f"of {n} ids 1 missing"),
        ({"person": requested["person"].to_numpy() + 1}, f"person of the effort {first} is 1, in sessions.csv 0"),
        ({"test_type": np.array(["Bron"] * n)}, f"test_type of the effort {first} is Bron, in sessions.csv Pre"),
    ):
        arrays = {name: values for name, values in (good | change).items() if values is not None}
        write_npz(tmp_path / "theirs.npz", arrays)
        with pytest.raises(SpiroError, match=re.escape(message)) as caught:
            submission.read_sessions(tmp_path / "theirs.npz", requested)
        assert "\n" not in str(caught.value)
    again = {"person": requested["person"].to_numpy(), "test_type": requested["test_type"].to_numpy(str)}
    write_npz(tmp_path / "theirs.npz", {k: v[::-1] for k, v in (good | again).items()})
    found = submission.read_sessions(tmp_path / "theirs.npz", requested)
    assert (found.signals == good["flow_l_s"]).all()
    assert found.grades.tolist() == requested["grade"].tolist()


def test_what_is_hidden_of_an_effort_is_not_handed_out(task: Path) -> None:
    given = read_npz(task / "completion.npz")
    assert np.unique(given["id"]).size == len(given["id"])
    first = given["case"] == "cut_1"
    hidden = given["edges_s"][:-1] >= 1.01
    assert not given["seen"][first][:, hidden].any()
    assert not given["flow_l_s"][first][:, hidden].any()
    assert given["flow_l_s"][first][:, ~hidden].max() > 1
    assert not {"fvc", "truth", "seqn"} & set(given)


def test_other_data_have_other_ids(source: Source) -> None:
    rows = protocol.generation(source)
    older = rows.assign(age=rows["age"] + 1)
    assert not set(protocol.row_ids(older)) & set(rows["id"])


def test_a_perfect_generator_is_near_chance_and_stands_beside_the_others(perfect: Scored) -> None:
    assert list(perfect.rows) == ["theirs", "generator", "floor", "PCA"]
    row = perfect.rows["theirs"]
    for path, ideal in ((AUC, 0.5), (NEAREST, 0.5), (COVERAGE, 0.8)):
        low, high = row[path].interval or (np.nan, np.nan)
        assert low - 0.02 < ideal < high + 0.02, (path, row[path])
    assert row["crps_over_baselines.fvc"].baseline == "PCA"


def test_efforts_of_training_people_look_real_and_are_found_out_as_copies(
    folder: Path, source: Source, perfect: Scored, quick: None
) -> None:
    curves = pd.read_parquet(source.curves)
    train = np.flatnonzero(curves["split"] == "train")
    rng = np.random.default_rng(0)
    requested = protocol.generation(source)
    picked = rng.choice(train, (len(requested), DRAWS["generation"]))
    row = judged(folder, source, submit(folder / "copied.npz", source, np.load(source.signals)[picked])).rows["theirs"]
    assert (row[AUC].value or 1) < 0.65
    assert (row[NEAREST].low or 0) > 0.5
    assert row["copying.every.near_copies"].value == 1
    assert row[named("authenticity", "every")].value == 0
    assert (perfect.rows["theirs"]["copying.every.near_copies"].value or 0) < 0.3


def test_one_curve_for_everybody_is_found_out(folder: Path, source: Source, perfect: Scored, quick: None) -> None:
    mean = np.load(source.signals).mean(axis=0)
    flow = np.broadcast_to(mean, (len(protocol.generation(source)), DRAWS["generation"], len(mean)))
    row = judged(folder, source, submit(folder / "constant.npz", source, flow, smooth=np.array(True))).rows["theirs"]
    assert (row[AUC].value or 0) > 0.9
    assert row[COVERAGE].value == 0
    assert (row[CRPS].value or 0) > 1.5 * (perfect.rows["theirs"][CRPS].value or 9)


def test_the_order_of_the_rows_and_the_axis_do_not_matter(source: Source, tmp_path: Path) -> None:
    ids = protocol.generation(source)["id"].to_numpy(str)
    flow = world.perfect(protocol.generation(source), DRAWS["generation"], 3)
    write_npz(tmp_path / "mixed.npz", {"id": ids[::-1], "flow_l_s": flow[::-1]})
    assert (submission.read_curves(tmp_path / "mixed.npz", ids.tolist()).signals == flow).all()
    fine = time_grid.to_10ms(flow.reshape(-1, 512)).reshape(*flow.shape[:2], -1)
    write_npz(tmp_path / "fine.npz", {"id": ids, "flow_l_s": fine})
    found = submission.read_curves(tmp_path / "fine.npz", ids.tolist()).signals
    assert np.allclose(found[..., : time_grid.FINE_BINS], flow[..., : time_grid.FINE_BINS], atol=1e-5)
    volume, was = (time_grid.volume(x.reshape(-1, 512)) for x in (found, flow))
    assert np.allclose(volume, was, atol=1e-3)  # L


IDS = ["a", "b", "c"]
FLOW = np.ones((3, 10, 512), np.float32)
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no id": ({"flow_l_s": FLOW}, "has no array id, only flow_l_s"),
    "numbers as ids": ({"id": np.arange(3), "flow_l_s": FLOW}, "expected the task's ids as texts"),
    "another id": ({"id": ["a", "b", "x"], "flow_l_s": FLOW}, "1 missing, 1 unknown, 0 twice (the first: c)"),
    "an id twice": ({"id": ["a", "b", "c", "c"], "flow_l_s": FLOW}, "0 missing, 0 unknown, 1 twice"),
    "no flow": ({"id": IDS, "flow": FLOW}, "has no array flow_l_s, only flow, id"),
    "one curve a row": ({"id": IDS, "flow_l_s": FLOW[:, 0]}, "(3, 512); expected (3, draws, 512 or 2048)"),
    "few draws": ({"id": IDS, "flow_l_s": FLOW[:, :9]}, "with 10 draws or more"),
    "too few rows": ({"id": IDS, "flow_l_s": FLOW[:2]}, "(2, 10, 512); expected (3, draws"),
    "another axis": ({"id": IDS, "flow_l_s": FLOW[..., :500]}, "(3, 10, 500)"),
    "a NaN": ({"id": IDS, "flow_l_s": np.where(np.arange(512) == 9, np.nan, FLOW)}, "30 of 15360 values that are NaN"),
    "mL/s": ({"id": IDS, "flow_l_s": 7000 * FLOW}, "is 7000, more than any person's in L/s; give L/s at BTPS, not mL"),
    "words": ({"id": IDS, "flow_l_s": FLOW.astype(str)}, "expected numbers as float32"),
    "two answers": ({"id": IDS, "flow_l_s": FLOW, "smooth": np.array([True, False])}, "expected one true or false"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_malformed_file_is_refused_in_a_line(kind: str, tmp_path: Path) -> None:
    arrays, message = BROKEN[kind]
    write_npz(tmp_path / "theirs.npz", {name: np.asarray(values) for name, values in arrays.items()})
    with pytest.raises(SpiroError, match=re.escape(message)) as caught:
        submission.read_curves(tmp_path / "theirs.npz", IDS)
    assert "\n" not in str(caught.value)
    assert "theirs.npz" in str(caught.value)


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "theirs.npz", id=np.array(IDS), flow_l_s=np.array([None, None, None]))
    with pytest.raises(SpiroError, match="not a readable"):
        submission.read_curves(tmp_path / "theirs.npz", IDS)


def test_completions_may_be_volumes_alone(tmp_path: Path) -> None:
    write_npz(tmp_path / "theirs.npz", {"id": np.array(IDS[::-1]), "fvc": np.tile([[3.0], [2.0], [1.0]], 20)})
    found = submission.read_completions(tmp_path / "theirs.npz", IDS)
    assert isinstance(found, dict)
    assert found["fvc"][:, 0].tolist() == [1, 2, 3]
    for fvc, message in ((np.full((3, 20), 4100), "give L at BTPS"), (np.ones(3), "expected (3, draws)")):
        write_npz(tmp_path / "theirs.npz", {"id": np.array(IDS), "fvc": fvc})
        with pytest.raises(SpiroError, match=re.escape(message)):
            submission.read_completions(tmp_path / "theirs.npz", IDS)


def test_the_truth_completes_without_error_and_what_was_seen_does_not(folder: Path, source: Source) -> None:
    cases = protocol.completion(source)
    for name, parts in (("truth", [case.truth for case in cases]), ("seen", [case.signals for case in cases])):
        flow = np.repeat(np.concatenate(parts)[:, None], DRAWS["completion"], axis=1)
        path = submit(folder / f"{name}.npz", source, flow)
        row = scoring.score("completion", source, folder / "metrics", path, name).rows[name]
        for case in ("cut_1", "cut_4", "cough"):
            assert (row[f"{case}.fvc.error"].value == 0) == (name == "truth"), (name, case)
        if name == "truth":
            assert row["cut_1.fvc.interval_score"].value == 0
            assert row["cut_1.fvc.crps"].value == pytest.approx(0, abs=1e-12)
        else:
            assert (row["cut_1.fvc.error"].value or 0) > 0.1
            assert (row["cut_1.fvc.coverage_90"].value or 0) < 0.1


def test_an_interval_counts_its_width_and_twenty_times_what_it_misses(source: Source) -> None:
    case = protocol.completion(source)[0]
    truth = time_grid.indices_of_signals(case.truth).fvc
    drawn = truth[:, None] + np.linspace(1.0, 2.0, 21)  # the 90 % interval from 1.05 to 1.95 L too large
    row = scoring.of_case(case, {"fvc": drawn})
    assert row["cut_1.fvc.error"].value == pytest.approx(1.5)
    assert row["cut_1.fvc.interval_score"].value == pytest.approx(0.9 + 20 * 1.05)
    assert row["cut_1.fef2575.error"].reason == "not given"


def test_figures_of_other_people_are_left_out(folder: Path, source: Source, tmp_path: Path) -> None:
    record = {"data": {"source": "simulated", "part": "test", "efforts": 40}, "cases": {}}
    error = {"value": 0.1, "low": 0.08, "high": 0.12}
    record["cases"] = {"cut_1": {"generator": {"fvc": {"error": error}}, "last_value": {"fvc": {"error": error}}}}
    fvc = np.full((200, 20), 4.0)
    ids = np.concatenate([protocol.case_ids(case) for case in protocol.completion(source)])
    write_npz(tmp_path / "fvc.npz", {"id": ids, "fvc": fvc})
    for efforts, rows in ((40, {"fvc", "generator", "last_value"}), (41, {"fvc"})):
        record["data"]["efforts"] = efforts
        write_json(tmp_path / "reconstruct/judge.json", record)
        found = scoring.score("completion", source, tmp_path, tmp_path / "fvc.npz", "fvc")
        assert {name for name, row in found.rows.items() if row} == rows
        assert bool(found.notes) == (efforts == 41)


def test_the_table_keeps_the_rows_of_others_and_replaces_its_own(perfect: Scored, tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    table.update(path, perfect, "2026-01-01")
    again = Scored("generation", perfect.data, {"another": perfect.rows["theirs"]}, [])
    table.update(path, again, "2026-01-02")
    table.update(path, again, "2026-01-03")
    lines = [line for line in path.read_text().splitlines() if line.startswith("| ")][3:]
    assert [line.split(" | ")[0].strip("| ") for line in lines] == ["theirs", "generator", "floor", "PCA", "another"]
    assert "2026-01-01" in lines[0]
    assert "2026-01-03" in lines[-1]
    assert len({line.count("|") for line in lines}) == 1
    older = re.sub(r"(?m)^(\| .*) \|[^|]*\|$", r"\1 |", path.read_text())  # of a version without the last column
    path.write_text(older)
    table.update(path, again, "2026-01-04")
    lines = [line for line in path.read_text().splitlines() if line.startswith("| ")]
    assert len({line.count("|") for line in lines}) == 1
    assert lines[3].endswith("| – |")
    assert not lines[-1].endswith("| – |")
    (tmp_path / "notes.md").write_text("# Mine\n")
    with pytest.raises(SpiroError, match="is no table of the benchmark"):
        table.update(tmp_path / "notes.md", again, "2026-01-03")


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs/benchmark.md").read_text(), flags=re.S)


def test_the_examples_of_the_page_are_judged(
    task: Path, folder: Path, quick: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    for block in blocks():
        assert len(block.splitlines()) <= 14
        exec(block, {})
    for kind, file in (("generation", "theirs.npz"), ("sessions", "blown.npz"), ("completion", "completed.npz")):
        arguments = ["benchmark", "score", "--task", kind, "--curves", file, "--table", "table.md", "--json"]
        capsys.readouterr()
        assert main(arguments) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["data"]["participants"] == 40
        assert found["rows"][Path(file).stem]
    assert {"## generation", "## sessions", "## completion"} <= set((folder / "table.md").read_text().splitlines())


def test_the_command_line_ends_in_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, perfect: Scored
) -> None:
    data_of = ["--data", str(folder / "data")]
    theirs = ["benchmark", "score", "--task", "generation", "--curves", "missing.npz", *data_of]
    for arguments, message in (
        (theirs, "missing.npz: no such file"),
        ([*theirs, "--name", "floor"], "choose another"),
        ([*theirs[:5], str(folder / "perfect.npz"), *data_of, "--name", "PCA"], "choose another"),
        ([*theirs, "--name", "a|b"], "choose another"),
        (["benchmark", "prepare", "--data", str(tmp_path), "--out", str(tmp_path)], "manifest.json: no such file"),
    ):
        assert main(arguments) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_nobody_is_in_two_parts(source: Source, task: Path) -> None:
    parts = pd.read_csv(task / "splits.csv")
    table = pd.read_parquet(source.curves)
    requested = set(table.iloc[splits.rows_of_part(table, "test")]["seqn"])
    assert requested == set(parts.loc[parts["part"] == "test", "seqn"])
