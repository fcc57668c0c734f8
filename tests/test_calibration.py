"""Intervals that hold on other people: how a correction is measured, kept and used, and what is said of strangers."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from spiro_diffusion import api
from spiro_diffusion.cli import main
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.physiology import time_grid
from spiro_diffusion.reconstruction import (
    calibration,
    cohort_calibration,
    dissimilarity,
    examples,
    segments,
    trials,
    validation,
)
from spiro_diffusion.reconstruction.calibration import Calibration
from spiro_diffusion.reconstruction.cohort_calibration import CohortCalibration, RecordedCase
from spiro_diffusion.reconstruction.densities import DeviceDensity
from spiro_diffusion.reconstruction.dissimilarity import Limits
from spiro_diffusion.user_curves import people

MAN = ["--age", "45", "--height", "175", "--sex", "male"]
HALF = 1.645  # of the 90 % interval of a normal distribution of SD 1


def cases(
    rng: np.random.Generator, n: int, off: float, spread: float
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """n people at one cut whose numbers lie `off` SDs from densities of SD 1, with another `spread`."""
    middle = rng.normal(0, 3, n)
    true = middle + off + spread * rng.standard_normal(n)
    return 1.0, true, middle[:, None] + HALF * np.array([-1.0, 0.0, 1.0]), np.arange(n)


def test_a_correction_moves_and_widens_intervals_until_they_hold_new_people() -> None:
    rng = np.random.default_rng(0)
    fitted = calibration.fit([cases(rng, 400, off=0.8, spread=2.0)])
    assert fitted.shift[0] * HALF == pytest.approx(0.8, abs=0.3)
    assert fitted.factor[0] == pytest.approx(2.0, rel=0.15)
    _, true, quantiles, _ = cases(rng, 20_000, off=0.8, spread=2.0)
    low, _, high = fitted.interval(quantiles, np.ones(len(true))).T
    assert ((low <= true) & (true <= high)).mean() == pytest.approx(0.9, abs=0.03)


def test_small_groups_hold_nine_in_ten_on_average_too() -> None:
    """The promise of split conformal prediction, on 300 groups of 20."""
    rng, coverages = np.random.default_rng(1), []
    for _ in range(300):
        fitted = calibration.fit([cases(rng, 20, off=-0.5, spread=1.5)])
        _, true, quantiles, _ = cases(rng, 200, off=-0.5, spread=1.5)
        low, _, high = fitted.interval(quantiles, np.ones(len(true))).T
        coverages.append(((low <= true) & (true <= high)).mean())
    assert 0.89 < np.mean(coverages) < 0.93


def test_ten_efforts_of_one_person_count_as_one() -> None:
    at, true, quantiles, person = cases(np.random.default_rng(2), 50, off=0, spread=1)
    plain = calibration.fit([(at, true, quantiles, person)])
    many = np.r_[np.arange(50), np.zeros(450, dtype=int)]
    again = calibration.fit([(at, true[many], quantiles[many], person[many])])
    assert again.factor == pytest.approx(plain.factor, rel=1e-6)
    assert again.people == [50]


def test_eight_people_say_nothing() -> None:
    assert calibration.fit([cases(np.random.default_rng(3), 8, off=1, spread=3)]) == Calibration.none()
    drawn, quantiles = np.arange(3.0), np.zeros((3, 3))
    assert np.array_equal(Calibration.none().corrected(drawn, quantiles, np.ones(3)), drawn)


def test_between_two_cuts_a_correction_lies_between_theirs() -> None:
    two = Calibration([1.0, 4.0], [0.0, 1.0], [1.0, 3.0], [30, 30])
    quantiles = np.tile([-1.0, 0.0, 1.0], (3, 1))
    assert two.corrected(np.full(3, 1.0), quantiles, np.array([0.5, 2.0, 9.0])) == pytest.approx([1.0, 2.5, 4.0])


def test_what_is_far_from_the_training_is_unlike_and_what_is_like_it_is_not() -> None:
    rng = np.random.default_rng(4)
    mixed = rng.standard_normal((5, 5))
    axes = dissimilarity.axes(rng.standard_normal((4000, 5)) @ mixed)
    at, true, quantiles, person = cases(rng, 300, off=0, spread=1)
    usual = dissimilarity.scores(rng.standard_normal((300, 5)) @ mixed, axes)
    limits = dissimilarity.limits([(at, true, quantiles, person)], [usual], Calibration.none())
    new = dissimilarity.scores(rng.standard_normal((2000, 5)) @ mixed, axes)
    far = dissimilarity.scores((6 + rng.standard_normal((50, 5))) @ mixed, axes)
    assert limits.passed(new, np.full(2000, at)).mean() < 0.04
    assert limits.passed(far, np.full(50, at)).all()
    assert limits.wider >= 1


def test_the_most_unlike_tenth_says_how_much_wider() -> None:
    rng = np.random.default_rng(5)
    at, true, quantiles, person = cases(rng, 400, off=0, spread=1)
    scores = rng.random(400)
    odd = scores > 0.9
    true[odd] = quantiles[odd, 1] + 4 * (true[odd] - quantiles[odd, 1])
    limits = dissimilarity.limits([(at, true, quantiles, person)], [scores], Calibration.none())
    assert 2.5 < limits.wider < 6
    assert Limits([], [], 1.0).passed(scores, np.full(400, at)).sum() == 0


# Of a user's people


def recorded(rng: np.random.Generator, n: int, by_expected: float, by_time: float, at_s: float = 1.0) -> RecordedCase:
    """n people whose volume where their record ends lies off the density, of SD 0.2, the more the less was expected and
    the later the record ends."""
    expected, after_s = rng.normal(-1.5, 0.5, n), np.exp(rng.normal(1.0, 0.4, n))
    off = 0.3 + by_expected * (expected + 1.5) + by_time * (np.log(after_s) - 1.0)
    half, there = 0.2 * HALF, expected - 0.1
    quantiles = half * np.array([-1.0, 0.0, 1.0])
    true = there + off * half + 0.2 * rng.standard_normal(n)
    return RecordedCase(at_s, true, there[:, None] + quantiles, expected[:, None] + quantiles, after_s, np.arange(n))


def completed_by(fitted: CohortCalibration, case: RecordedCase) -> np.ndarray:
    """The corrected quantiles (n, 3) where the records end."""
    cut_s = np.full(len(case.true), case.at_s)
    whole = fitted.interval(case.expected, cut_s)
    return whole - 0.1 + np.log(fitted.in_time(case.after_s[:, None], case.expected, cut_s))


def test_a_correction_follows_the_expected_volume_and_the_time_at_which_records_end() -> None:
    rng = np.random.default_rng(6)
    fitted = cohort_calibration.fit([recorded(rng, 600, by_expected=-0.5, by_time=0.8)])
    assert fitted.shift[0] == pytest.approx(0.3, abs=0.1)
    assert fitted.by_expected[0] == pytest.approx(-0.5, abs=0.15)
    assert fitted.by_time[0] == pytest.approx(0.8, abs=0.2)
    new = recorded(rng, 20_000, by_expected=-0.5, by_time=0.8)
    low, middle, high = completed_by(fitted, new).T
    assert np.median(middle - new.true) == pytest.approx(0, abs=0.02)
    assert ((low <= new.true) & (new.true <= high)).mean() == pytest.approx(0.9, abs=0.03)


def test_small_cohorts_hold_nine_in_ten_on_average() -> None:
    rng, coverages = np.random.default_rng(7), []
    for _ in range(60):
        fitted = cohort_calibration.fit([recorded(rng, 25, by_expected=-0.5, by_time=0.8)])
        new = recorded(rng, 400, by_expected=-0.5, by_time=0.8)
        low, _, high = completed_by(fitted, new).T
        coverages.append(((low <= new.true) & (new.true <= high)).mean())
    assert 0.88 < np.mean(coverages) < 0.95


def test_a_few_odd_ends_do_not_move_a_correction() -> None:
    rng = np.random.default_rng(8)
    case = recorded(rng, 60, by_expected=0.0, by_time=0.0)
    odd = case._replace(true=np.where(np.arange(60) < 4, case.true - 5, case.true))
    plain, moved = (cohort_calibration.fit([one]) for one in (case, odd))
    assert moved.shift[0] == pytest.approx(plain.shift[0], abs=0.25)
    assert moved.by_time[0] == pytest.approx(plain.by_time[0], abs=0.3)


def test_ten_efforts_of_one_of_the_people_count_as_one() -> None:
    case = recorded(np.random.default_rng(9), 40, by_expected=-0.5, by_time=0.5)
    many = case.some(np.r_[np.arange(40), np.zeros(9, dtype=int)])
    plain, again = cohort_calibration.fit([case]), cohort_calibration.fit([many])
    assert again.people == [40]
    assert again.factor == pytest.approx(plain.factor, rel=0.1)
    assert again.shift == pytest.approx(plain.shift, abs=0.02)


def test_beyond_the_range_of_the_people_a_correction_is_that_at_its_border() -> None:
    fitted = CohortCalibration([1.0], [0.0], [1.0], [30], [0.5], [1.0], [[-2.0, -1.5, -1.0]], [[0.0, 0.7, 1.4]])
    quantiles, cut_s = np.array([[-2.0, -1.0, 0.0], [-1.0, 0.0, 1.0]]), np.ones(2)
    assert fitted.corrected(quantiles[:, 1], quantiles, cut_s) == pytest.approx([-0.75, 0.25])
    factors = fitted.in_time(np.array([[1.0, 4.0, 60.0]] * 2), quantiles, cut_s)
    assert factors[0] == pytest.approx(np.exp([-0.7, np.log(4) - 0.7, 0.7]))
    assert CohortCalibration() == cohort_calibration.fit([recorded(np.random.default_rng(1), 8, 0, 0)])


# On the tiny model


@pytest.fixture
def model(reconstructing: Path) -> api.SpiroGenerator:
    return api.SpiroGenerator.from_checkpoint(reconstructing)


def blow(fvc: float, tau: float, seconds: float) -> pd.DataFrame:
    time = np.arange(0, seconds, 0.01)
    rise = np.maximum(time - 0.2, 0) ** 1.2
    out = 1 - 0.75 * np.exp(-rise / tau) - 0.25 * np.exp(-rise / (4 * tau))
    return pd.DataFrame({"time_s": time.round(2), "volume_l": fvc * out})


@pytest.fixture(scope="module")
def loops(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A laboratory's folder: 24 people, a file of two efforts each, the second the smaller one."""
    folder = tmp_path_factory.mktemp("laboratory")
    table, signals = pd.read_parquet(data / "curves.parquet"), np.load(data / "signals_L512.npy")
    chosen = np.flatnonzero(examples.full(table, signals) & table["best"].to_numpy(bool))[:24]
    rows = []
    for number, row in enumerate(chosen):
        person = table.iloc[row]
        rows.append(
            {"person": f"p{number}", "age": person["age"], "height": person["height"], "sex": int(person["sex"])}
        )
        points = int(time_grid.EDGES_S[segments.end_edge(signals[row : row + 1])][0] * 100) + time_grid.LEAD_SAMPLES
        flow = time_grid.to_10ms(signals[row : row + 1])[0][:points]
        efforts = [pd.DataFrame({"flow_l_s": share * flow}).assign(curve=i) for i, share in enumerate((1.0, 0.9))]
        times = np.tile(np.arange(len(flow)) / 100, 2)
        pd.concat(efforts).assign(time_s=times).to_csv(folder / f"p{number}.csv", index=False)
    pd.DataFrame(rows).to_csv(folder / "people.csv", index=False)
    (folder / "notes.txt").write_text("calibrated in May\n")
    return folder


def test_a_folder_of_people_is_read_and_the_best_effort_counts(loops: Path, model: api.SpiroGenerator) -> None:
    read = people.read_folder(loops)
    assert [len(curves.names) for curves in read.curves] == [2] * 24
    efforts = validation.read(loops, model.reconstructor)
    found = validation.completed(model.reconstructor, efforts, 1.0, draws=10, seed=0)
    assert len(found.rows) == 24
    assert found.recorded == pytest.approx([curves.record["fvc"].max() for curves in read.curves], abs=0.02)
    assert (found.drawn >= found.seen[:, None] - 1e-3).all()


def test_one_table_of_all_blows_is_read_too_even_compressed(loops: Path, tmp_path: Path) -> None:
    shutil.copy(loops / "people.csv", tmp_path)
    names = pd.read_csv(loops / "people.csv")["person"]
    parts = [pd.read_csv(loops / f"{name}.csv").query("curve == 0").assign(person=name) for name in names]
    pd.concat(parts).drop(columns="curve").to_csv(tmp_path / "all.csv.gz", index=False)
    read, separate = people.read_folder(tmp_path), people.read_folder(loops)
    assert [list(curves.names) for curves in read.curves] == [[name] for name in names]
    assert read.curves[3].record["fvc"][0] == pytest.approx(separate.curves[3].record["fvc"][0], abs=1e-6)


def test_intervals_are_corrected_for_a_laboratory_and_kept_for_later(
    loops: Path, reconstructing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spiro: Callable[..., str]
) -> None:
    folder = tmp_path / "laboratory"
    shutil.copytree(loops, folder)
    output = spiro("reconstruct", "--calibrate", str(folder))
    assert "calibration.json" in output
    kept = json.loads((folder / "calibration.json").read_text())
    assert kept["people"] == 24
    assert len(kept["calibration"]["cut_s"]) >= 3
    blow(4.5, 0.5, 2.0).to_csv(tmp_path / "mine.csv", index=False)
    plain, corrected = (
        json.loads(spiro("reconstruct", str(tmp_path / "mine.csv"), *MAN, "--json", *how))
        for how in ([], ["--calibration", str(folder / "calibration.json")])
    )
    assert "simulated people of the training" in plain["sentence"]
    assert "the efforts of 24 people of your own" in corrected["sentence"]
    assert corrected["indices"]["fvc"] != plain["indices"]["fvc"]
    again = spiro("validate", str(folder), "--calibration", str(folder / "calibration.json"), "-n", "50", "--json")
    cuts = json.loads(again)["cuts"]
    assert [cut["cut_s"] for cut in cuts] == [1.0, 2.0, 3.0]
    assert all(cut["holds"] >= 0.8 for cut in cuts), "of the people that it was measured on about nine in ten"


@pytest.fixture
def spiro(
    reconstructing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)
    Path("models").symlink_to(reconstructing)

    def run(*argv: str) -> str:
        status = main(list(argv))
        out, err = capsys.readouterr()
        assert status == 0, err
        return out

    return run


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    capsys.readouterr()
    assert main(list(argv)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    *warnings, last = err.splitlines()
    assert all("warning: " in line for line in warnings), err
    return last


def test_too_few_people_another_model_and_no_table_end_in_one_line(
    loops: Path,
    reconstructing: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models").symlink_to(reconstructing)
    few = tmp_path / "few"
    shutil.copytree(loops, few)
    pd.read_csv(loops / "people.csv").head(12).to_csv(few / "people.csv", index=False)
    output = refused(capsys, "reconstruct", "--calibrate", str(few))
    assert "12 people" in output
    assert "at least 20" in output
    assert not (few / "calibration.json").exists()
    (few / "people.csv").unlink()
    assert "people.csv: no such file" in refused(capsys, "validate", str(few))
    assert "no such folder" in refused(capsys, "validate", "nowhere")
    blow(4.5, 0.5, 2.0).to_csv("mine.csv", index=False)
    other: dict[str, Any] = {
        "kind": "spiro calibration",
        "reconstructor": "0" * 64,
        "people": 30,
        "age": [20, 60],
        "height": [150, 190],
    }
    trends = {"by_expected": [0.0], "by_time": [0.2], "expected": [[-3.0, -2.0, -1.0]], "time": [[0.0, 1.0, 2.0]]}
    other["calibration"] = {"cut_s": [1.0], "shift": [0.1], "factor": [1.2], "people": [30], **trends}
    Path("other.json").write_text(json.dumps(other))
    with_other = ("reconstruct", "mine.csv", *MAN, "--calibration", "other.json")
    assert "measured with another model" in refused(capsys, *with_other)
    for name, wrong in {"factor": [-1.2], "by_time": [1e9], "time": [[2.0, 1.0, 0.0]]}.items():
        damaged = other | {"calibration": other["calibration"] | {name: wrong}}
        Path("other.json").write_text(json.dumps(damaged))
        assert f"{name} is" in refused(capsys, *with_other)
    del other["calibration"]["time"]
    Path("other.json").write_text(json.dumps(other))
    assert "columns of" in refused(capsys, *with_other)
    Path("other.json").write_text("{}")
    assert "is no calibration" in refused(capsys, *with_other)
    assert "name the file" in refused(capsys, "reconstruct", *MAN)
    assert "takes no effort" in refused(capsys, "reconstruct", "mine.csv", *MAN, "--calibrate", str(loops))


def test_who_is_left_out_is_said(loops: Path, model: api.SpiroGenerator, tmp_path: Path) -> None:
    folder = tmp_path / "laboratory"
    shutil.copytree(loops, folder)
    table = pd.read_csv(folder / "people.csv").astype({"height": float})
    table.loc[3, "height"] = 229.0
    table.to_csv(folder / "people.csv", index=False)
    (folder / "p7.csv").unlink()
    output: list[str] = []
    assert model.calibrate(folder, tell=output.append).people == 22
    assert any("1 of 24 people have no curve" in line for line in output)
    assert any("height is 229" in line for line in output)
    assert "p7" not in " ".join(output), "names and numbers of people are not repeated"


def test_a_folder_whose_curves_are_of_nobody_in_the_table_is_refused(loops: Path, tmp_path: Path) -> None:
    table = pd.read_csv(loops / "people.csv")
    table.assign(person=[f"q{i}" for i in range(len(table))]).to_csv(tmp_path / "people.csv", index=False)
    shutil.copy(loops / "p1.csv", tmp_path)
    with pytest.raises(SpiroError, match="holds no curve of the people"):
        people.read_folder(tmp_path)
    table.assign(person="p1").to_csv(tmp_path / "people.csv", index=False)
    with pytest.raises(SpiroError, match="person of row 2 occurs twice"):
        people.read_folder(tmp_path)


def test_a_stranger_is_told_that_intervals_may_not_hold(model: api.SpiroGenerator) -> None:
    flow = np.diff(blow(4.5, 0.5, 2.0)["volume_l"]) / 0.01
    density = model.reconstructor.densities[segments.Segment.TAIL]
    assert isinstance(density, DeviceDensity)
    axes = np.eye(density.model.config.features - density.optional)
    never = model.reconstructor.corrections._replace(limits=Limits([1.0], [0.001], 1.7), axes=axes)
    model.reconstructor.corrections = never
    found = model.reconstruct(flow, age=45, height=175, sex="male", n=10)
    assert found.wider == 1.7
    assert "widened by a factor of 1.7 and may not hold" in found.sentence


def test_people_whom_the_densities_have_not_seen_correct_them(
    model: api.SpiroGenerator, data: Path, reconstructing: Path
) -> None:
    table, signals = pd.read_parquet(data / "curves.parquet"), np.load(data / "signals_L512.npy")
    rows = np.flatnonzero(examples.full(table, signals))
    learned = examples.examples(signals, table, rows, 2, seed=0)[segments.Segment.TAIL]
    found = trials.corrections(model.reconstructor.densities[segments.Segment.TAIL], learned, signals, table, rows)
    assert found.alone.cut_s[:3] == [0.5, 1.0, 2.0]
    assert all(0.3 < by < 10 for by in found.alone.factor)
    assert found.given != found.alone
    assert len(found.axes) == learned.features.shape[1] - model.reconstructor.densities[segments.Segment.TAIL].optional
