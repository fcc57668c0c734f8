"""`spiro` as its users meet it: curves for people, indices of one's own curves, errors in one line."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spiro_diffusion.api import SpiroGenerator
from spiro_diffusion.cli import main
from spiro_diffusion.cli.screen import cell
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.vocabulary import INDICES
from spiro_diffusion.generation import columns, curve_files, drawn_curves, personal_conditions, populations
from spiro_diffusion.generation.conditions import CONDITIONS
from spiro_diffusion.generation.subjects import conditioned
from spiro_diffusion.models import conditioning
from spiro_diffusion.physiology import time_grid

MAN = ["--age", "45", "--height", "175", "--sex", "male"]
Spiro = Callable[..., tuple[int, str, str]]


@pytest.fixture
def spiro(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Spiro:
    """Run a command in an empty folder that has `models`: status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    Path("models").symlink_to(models)

    def run(*argv: str) -> tuple[int, str, str]:
        status = main(list(argv))
        return status, *capsys.readouterr()

    return run


def refused(result: tuple[int, str, str], *words: str) -> None:
    """One line on stderr that holds the words, status 1, nothing on stdout."""
    status, out, err = result
    assert (status, out, err.count("\n")) == (1, "", 1), err
    for word in words:
        assert word in err


def blow(period: float = 0.01, seconds: float = 8.0, fvc: float = 4.0) -> pd.DataFrame:
    """Volume of a curve that empties with a time constant of 0.5 s from 0.2 s on."""
    time = np.arange(0, seconds, period)
    return pd.DataFrame({"time_s": time, "volume_l": fvc * (1 - np.exp(-np.maximum(time - 0.2, 0) / 0.5))})


def flow_of(curve_table: pd.DataFrame) -> np.ndarray:
    """Flow in L/s of each 10 ms of a volume."""
    return np.diff(curve_table["volume_l"], append=curve_table["volume_l"].iloc[-1]) / 0.01


def test_the_same_curves_come_as_csv_parquet_and_npz(spiro: Spiro) -> None:
    for ending in ("csv", "parquet", "npz"):
        status, _, err = spiro("generate", *MAN, "-n", "3", "--seed", "5", "--out", f"c.{ending}", "--force")
        assert (status, err) == (0, "")
    long = pd.read_csv("c.csv")
    assert list(long) == ["person", "draw", "time_s", "flow_l_s", "volume_l"]
    pd.testing.assert_frame_equal(long, pd.read_parquet("c.parquet"))
    arrays = np.load("c.npz", allow_pickle=False)
    assert arrays["flow_l_s"].shape == arrays["volume_l"].shape == (3, 2048)
    np.testing.assert_allclose(arrays["flow_l_s"].ravel(), long["flow_l_s"], atol=1e-4)
    np.testing.assert_allclose(np.diff(arrays["volume_l"]), arrays["flow_l_s"][:, :-1] * 0.01, atol=1e-5)
    assert arrays["time_s"][[0, 50]].tolist() == [-0.5, 0.0]
    assert (arrays["person"].tolist(), arrays["age"].tolist(), arrays["grade"].tolist()) == ([0, 0, 0], [45.0], ["A"])
    table = pd.read_csv("c_indices.csv")
    assert {"person", "draw", "fev1", "fvc", "ratio", "pef", "fef2575", "fev1_z", "fvc_z", "ratio_z"} <= set(table)


def test_a_seed_gives_the_same_bytes_and_another_seed_others(spiro: Spiro) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert (
            spiro("generate", *MAN, "-n", "2", "--seed", seed, "--out", f"{name}.npz", "--plot", f"{name}.png")[0] == 0
        )
    a, b, c = (Path(f"{name}.npz").read_bytes() for name in "abc")
    assert a == b != c
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_a_table_of_people_may_say_which_effort(spiro: Spiro) -> None:
    Path("people.csv").write_text(
        "id,Age,height,sex,grade,test_type\nx,30,180,m,,\ny,8,130,Female,d,\nz,60,160,2,B,Bron\n"
    )
    assert spiro("generate", "--people", "people.csv", "-n", "2", "--out", "c.npz")[0] == 0
    arrays = np.load("c.npz", allow_pickle=False)
    assert arrays["person"].tolist() == [0, 0, 1, 1, 2, 2]
    assert arrays["id"].tolist() == ["x", "y", "z"]
    assert arrays["sex"].tolist() == ["m", "Female", "2"]
    assert arrays["grade"].tolist() == ["A", "D", "B"]
    assert arrays["test_type"].tolist() == ["Pre", "Pre", "Bron"]
    assert arrays["best"].tolist() == ["True", "False", "False"]


def test_any_effort_leaves_grade_and_best_open() -> None:
    people = pd.DataFrame({"age": [45], "height": [175], "sex": ["male"]})
    best, other = conditioned(people).iloc[0], conditioned(people, any_effort=True).iloc[0]
    assert (best["grade"], best["test_type"], best["best"]) == ("A", "Pre", True)
    assert (other["grade"], other["test_type"], other["best"]) == (None, "Pre", None)


def test_json_holds_indices_and_files(spiro: Spiro) -> None:
    status, out, _ = spiro("generate", *MAN, "-n", "2", "--json", "--out", "c.csv")
    result = json.loads(out)
    assert status == 0
    assert result["files"] == ["c.csv", "c_indices.csv"]
    assert [c["draw"] for c in result["curves"]] == [0, 1]


def test_near_the_ends_of_what_was_trained_it_warns(spiro: Spiro) -> None:
    status, _, err = spiro("generate", "--age", "78.5", "--height", "175", "--sex", "f", "-n", "1")
    assert status == 0
    assert err.startswith("spiro: warning: age 78.5 is within 2 years")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--age", "80", "--height", "175", "--sex", "male"], ["age is 80", "6 to 79 years"]),
        (["--age", "5.9", "--height", "115", "--sex", "male"], ["age is 5.9", "6 to 79 years"]),
        (["--age", "45", "--height", "1.75", "--sex", "male"], ["height is 1.75", "108 to 195 cm", "not metres"]),
        (["--age", "45", "--height", "5.9", "--sex", "male"], ["height is 5.9", "not feet"]),
        (["--age", "45", "--height", "69", "--sex", "male"], ["height is 69", "not inches"]),
        (["--age", "45", "--height", "175", "--sex", "3"], ["sex is 3", "male, female"]),
        (["--age", "nan", "--height", "175", "--sex", "male"], ["age is nan", "expected a number"]),
        (["--age", "45"], ["--height, --sex missing"]),
        ([*MAN, "--grade", "E"], ["grade is E", "A, B, C, D"]),
        ([*MAN, "--out", "c.xlsx"], ["'.xlsx'", ".csv, .parquet, .npz"]),
        ([*MAN, "-n", "1000000"], ["1000000 curves", "50000"]),
        ([*MAN, "--models", "no/where"], ["no such checkpoint", "dvc pull", "make repro"]),
        ([*MAN, "--models", "nowhere"], ["nowhere is no folder", "no address", "no name of packaged"]),
        (["--people", "nobody.csv"], ["nobody.csv: no such file"]),
        (["--people", "people.csv", *MAN], ["not both"]),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_line(spiro: Spiro, arguments: list[str], words: list[str]) -> None:
    refused(spiro("generate", *arguments), *words)


def test_a_foreign_checkpoint_is_refused(spiro: Spiro, models: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "vqvae.safetensors").write_bytes((models / "vqvae.safetensors").read_bytes())
    (other / "cldm.safetensors").write_bytes(b"not a checkpoint")
    refused(spiro("generate", *MAN, "--models", str(other)), "not a readable checkpoint")


def test_without_one_of_the_two_checkpoints_it_says_what_to_fetch(spiro: Spiro, models: Path, tmp_path: Path) -> None:
    for there, absent in (("cldm", "vqvae"), ("vqvae", "cldm")):
        half = tmp_path / f"only_{there}"
        half.mkdir()
        (half / f"{there}.safetensors").write_bytes((models / f"{there}.safetensors").read_bytes())
        refused(spiro("generate", *MAN, "--models", str(half)), f"{absent}.safetensors: no such checkpoint", "dvc pull")


@pytest.mark.parametrize("there", ["c.csv", "c_indices.csv", "c.png"])
def test_nothing_is_written_over_without_force(spiro: Spiro, there: str) -> None:
    Path(there).write_text("mine")
    command = ["generate", *MAN, "-n", "1", "--out", "c.csv", "--plot", "c.png"]
    refused(spiro(*command), there, "--force")
    assert Path(there).read_text() == "mine"
    assert spiro(*command, "--force")[0] == 0
    assert Path(there).read_bytes() != b"mine"


def test_people_without_a_column_are_refused(spiro: Spiro) -> None:
    Path("people.csv").write_text("age,size,sex\n45,175,male\n")
    refused(spiro("generate", "--people", "people.csv"), "no column height", "found age, size, sex")


def test_indices_of_a_known_curve(spiro: Spiro) -> None:
    blow().to_csv("mine.csv", index=False)
    status, out, _ = spiro("indices", "mine.csv", *MAN, "--json")
    (curve,) = json.loads(out)["curves"]
    assert status == 0
    assert curve["fvc"] == pytest.approx(4.0, abs=0.002)
    assert curve["fev1"] == pytest.approx(4.0 * (1 - np.exp(-2)), abs=0.02)  # an exponential has FEV1/FVC 1 - e^-2
    assert curve["fet"] == pytest.approx(7.8, abs=0.05)
    assert curve["acceptable_fev1"] is True
    assert curve["acceptable_fvc"] is True
    assert curve["fvc_z"] < curve["ratio_z"]
    assert "fev1_z" not in json.loads(spiro("indices", "mine.csv", "--json")[1])["curves"][0]


@pytest.mark.parametrize("period", [0.001, 0.005, 0.02])
def test_other_periods_are_read_as_they_are_and_it_says_so(spiro: Spiro, period: float) -> None:
    blow(period).to_csv("mine.csv", index=False)
    result = json.loads(spiro("indices", "mine.csv", "--json")[1])
    assert f"sampled each {1000 * period:g} ms: indices are read at that rate" in result["notes"][0]
    assert result["curves"][0]["fev1"] == pytest.approx(4.0 * (1 - np.exp(-2)), abs=0.02)
    assert result["curves"][0]["fvc"] == pytest.approx(4.0, abs=0.002)


def test_several_curves_of_different_length_in_flow(spiro: Spiro) -> None:
    parts = []
    for name, fvc, seconds in (("first", 4.0, 8.0), ("second", 3.0, 5.0)):
        curve = blow(seconds=seconds, fvc=fvc)
        flow = np.diff(curve["volume_l"], append=curve["volume_l"].iloc[-1]) / 0.01
        parts.append(pd.DataFrame({"curve": name, "time_s": curve["time_s"], "flow_l_s": flow}))
    pd.concat(parts).to_csv("mine.csv", index=False)
    curves = json.loads(spiro("indices", "mine.csv", "--json")[1])["curves"]
    assert [c["curve"] for c in curves] == ["first", "second"]
    assert [c["fvc"] for c in curves] == pytest.approx([4.0, 3.0], abs=0.002)
    assert [c["fet"] for c in curves] == pytest.approx([7.8, 4.8], abs=0.05)


def test_generated_curves_read_again_have_their_indices(tmp_path: Path, spiro: Spiro) -> None:
    volume = blow(seconds=20.49)["volume_l"].to_numpy()[:2049]
    flow = np.diff(volume).astype(np.float32)[None] / 0.01
    flow[:, 400:] = 0
    people = pd.DataFrame({"age": [45.0], "height": [175.0], "sex": [1]})
    curves = drawn_curves.from_signals(time_grid.to_grid(flow, np.array([0.3]))[:, None], people)
    curve_files.write_curves(tmp_path / "c.csv", curves)
    again = json.loads(spiro("indices", str(tmp_path / "c.csv"), *MAN, "--json")[1])["curves"][0]
    first = curves.indices().iloc[0]
    for name in ("fev1", "fvc", "pef", "fet", "fev1_z"):
        assert again[name] == pytest.approx(first[name], abs=2e-3)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: t.rename(columns={"volume_l": "pressure"}), ["columns are time_s, pressure", "volume_l"]),
        (lambda t: t.assign(volume_l=1000 * t["volume_l"]), ["more than a lung can", "not mL"]),
        (lambda t: t.assign(volume_l=t["volume_l"] / 1000), ["in litres"]),
        (lambda t: t.assign(time_s=1000 * t["time_s"]), ["milliseconds"]),
        (lambda t: pd.concat([t, t]), ["does not grow evenly", "'curve'"]),
        (lambda t: t.iloc[::10], ["0.1 s is too few"]),
        (lambda t: t.drop(index=100), ["does not grow evenly"]),
        (lambda t: t.assign(volume_l=t["volume_l"].where(t.index != 7)), ["volume_l is nan in row 8"]),
        (lambda t: t.iloc[:5], ["5 samples are no curve"]),
        (lambda t: t.iloc[:0], ["holds no samples"]),
        (
            lambda t: t.assign(flow_l_s=flow_of(t), volume_l=1.5 * t["volume_l"]),
            ["flow_l_s sums up to 4 L", "rises by 6 L"],
        ),
    ],
)
def test_a_file_that_holds_no_curve_is_refused(
    spiro: Spiro, spoil: Callable[[pd.DataFrame], pd.DataFrame], words: list[str]
) -> None:
    spoil(blow()).to_csv("mine.csv", index=False)
    refused(spiro("indices", "mine.csv"), "mine.csv", *words)


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_other_separators_are_read_of_curves_and_refused_of_people(spiro: Spiro, mark: str, name: str) -> None:
    blow().to_csv("mine.csv", index=False, sep=mark, decimal="," if mark == ";" else ".")
    (curve,) = json.loads(spiro("indices", "mine.csv", "--json")[1])["curves"]
    assert curve["fvc"] == pytest.approx(4.0, abs=0.002)
    Path("people.csv").write_text(f"age{mark}height{mark}sex\n45{mark}175{mark}male\n")
    refused(spiro("generate", "--people", "people.csv"), "people.csv", f"separated by {name}")


def test_flow_beside_its_own_volume_is_read_and_an_empty_volume_asked_nothing(spiro: Spiro) -> None:
    both = blow().assign(flow_l_s=flow_of(blow()))
    for volume in (both["volume_l"], np.nan):
        both.assign(volume_l=volume).to_csv("mine.csv", index=False)
        (curve,) = json.loads(spiro("indices", "mine.csv", "--json")[1])["curves"]
        assert curve["fvc"] == pytest.approx(4.0, abs=0.002)


def test_nothing_of_a_table_is_cut_and_nothing_is_minus_nothing(spiro: Spiro) -> None:
    name = "the third effort of this participant after the bronchodilator"
    blow().assign(curve=name, person=1).to_csv("mine.csv", index=False)
    _, out, _ = spiro("indices", "mine.csv", *MAN)
    (row,) = (line for line in out.splitlines() if name in line)
    assert row.split()[-2:] == ["yes/yes", "E/E"]
    assert "…" not in out
    assert [cell(value) for value in (-0.001, 0.001, -0.01, float("nan"), True)] == [
        "0.00",
        "0.00",
        "-0.01",
        "-",
        "yes",
    ]


def test_other_forms_of_generated_curves_are_told_from_nhanes_own(spiro: Spiro) -> None:
    pd.DataFrame({"time_s": [0.0]}).to_parquet("mine.parquet")
    np.savez("mine.npz", flow_l_s=np.zeros(9))
    for name in ("mine.parquet", "mine.npz"):
        refused(spiro("indices", name), name, "other curves as CSV")
    Path("half.parquet").write_bytes(Path("mine.parquet").read_bytes()[:200])
    refused(spiro("indices", "half.parquet"), "half.parquet", "not a Parquet table")


def test_several_people_in_one_file_are_told_of(spiro: Spiro) -> None:
    parts = [
        blow(fvc=fvc).assign(person=i, draw=0, flow_l_s=flow_of(blow(fvc=fvc))) for i, fvc in enumerate((4.0, 3.0))
    ]
    pd.concat(parts).to_csv("mine.csv", index=False)
    assert "2 people are in the file" in spiro("indices", "mine.csv", *MAN)[2]


def test_files_that_are_no_tables_are_refused(spiro: Spiro) -> None:
    Path("empty.csv").write_text("")
    Path("picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff\xfe")
    for name in ("empty.csv", "picture.csv", "nothing.csv", "."):
        refused(spiro("indices", name), name)


def test_z_scores_need_the_whole_person(spiro: Spiro) -> None:
    blow().to_csv("mine.csv", index=False)
    refused(spiro("indices", "mine.csv", "--age", "45"), "--age, --height and --sex")
    refused(
        spiro("indices", "mine.csv", "--age", "99", "--height", "175", "--sex", "f"), "z-scores are given for 3 to 95"
    )


def test_info_says_what_the_model_is(spiro: Spiro, models: Path) -> None:
    _, out, _ = spiro("info")
    assert "9 curves of 3 participants, source 'simulated'" in out
    assert "no figures" in out
    assert "Not for diagnosis" in out
    Path("summary.json").write_text('{"best_fev1_residual_sd_ratio": 1.07, "targets_met": 5.0}')
    _, out, _ = spiro("info", "--metrics", "summary.json")
    assert "1.07" in out
    assert "targets: 5 met" in out
    assert json.loads(spiro("info", "--json")[1])["made_from"]["age"] == [6.0, 79.0]


def test_a_wrong_option_ends_in_a_line(spiro: Spiro) -> None:
    status, out, err = spiro("generate", "--nonsense")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--nonsense" in err


def test_help_and_version_do_without_torch() -> None:
    program = (
        "import sys; from spiro_diffusion.cli import main; main(['--help']); main(['--version']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'pandas', 'numpy')))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "generate" in ran.stdout


def test_wide_tables_have_a_row_a_curve(spiro: Spiro) -> None:
    command = ["generate", *MAN, "-n", "3", "--seed", "5"]
    for name in ("w.csv", "w.parquet"):
        assert spiro(*command, "--wide", "--out", name, "--force")[0] == 0
    spiro(*command, "--out", "c.npz")
    wide = pd.read_csv("w.csv")
    pd.testing.assert_frame_equal(wide, pd.read_parquet("w.parquet"))
    assert list(wide)[:7] == ["person", "draw", "age", "height", "sex", "t_-0.50", "t_-0.49"]
    np.testing.assert_allclose(wide.filter(like="t_"), np.load("c.npz")["flow_l_s"], atol=1e-4)


def test_the_512_samples_come_with_their_edges(spiro: Spiro) -> None:
    command = ["generate", *MAN, "-n", "2", "--grid", "512"]
    for name in ("c.npz", "c.csv"):
        assert spiro(*command, "--out", name, "--force")[0] == 0
    arrays = np.load("c.npz", allow_pickle=False)
    assert (arrays["flow_l_s"].shape, arrays["edges_s"].shape) == ((2, 512), (513,))
    expired = (arrays["flow_l_s"] * np.diff(arrays["edges_s"])).cumsum(axis=1)
    np.testing.assert_allclose(arrays["volume_l"][:, 1:], expired[:, :-1], atol=1e-4)
    np.testing.assert_allclose(pd.read_csv("c.csv")["time_s"][:512], arrays["edges_s"][:-1], atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--wide", "--out", "c.npz"], ["--wide", ".csv or .parquet"]),
        (["--wide"], ["--wide", "--out"]),
        (["--grid", "512"], ["--grid", "--out"]),
    ],
)
def test_forms_of_a_file_that_there_is_none_of_are_refused(
    spiro: Spiro, arguments: list[str], words: list[str]
) -> None:
    refused(spiro("generate", *MAN, *arguments), *words)


def test_a_cohort_needs_people_and_writes_over_nothing(spiro: Spiro, data: Path) -> None:
    refused(spiro("cohort", "-n", "5"), "data/curves.parquet: no such file", "dvc repro")
    refused(spiro("cohort", "-n", "5", "--out", "c.parquet"), "name a folder, as c")
    assert not Path("cohort").exists()
    Path("cohort").mkdir()
    Path("cohort/mine.txt").write_text("mine")
    for force in ([], ["--force"]):
        refused(spiro("cohort", "-n", "5", "--data", str(data), *force), "holds 'mine.txt'")
    assert Path("cohort/mine.txt").read_text() == "mine"


def test_a_cohort_has_the_population_of_its_survey() -> None:
    """Of two participants the one that stands for nine times as many people is drawn nine times as often."""
    curves = pd.DataFrame(
        {
            "seqn": [8, 8, 8, 5, 3],
            "age": [40.0, 40, 40, 70, 90],
            "height": [180.0, 180, 180, 160, 170],
            "sex": [1, 1, 1, 2, 2],
            "mec_weight": [900.0, 900, 900, 100, 5000],
            "grade": ["A", "B", "D", "C", "A"],
            "test_type": ["Pre", "Pre", "Bron", "Pre", "Pre"],
            "best": [True, False, False, True, True],
        }
    )
    trained = {"age": [6.0, 79.0], "height": [108.0, 195.0]}
    efforts = populations.draw_people(curves, 4000, trained, np.random.default_rng(0))
    people = efforts.drop_duplicates("person")
    assert (people["sex"] == 1).mean() == pytest.approx(0.9, abs=0.02)
    man = efforts[efforts["sex"] == 1]
    assert man["grade"].iloc[:3].tolist() == ["A", "B", "D"]
    assert man["effort"].iloc[:6].tolist() == [1, 2, 3, 1, 2, 3]
    assert man["age"].mean() == pytest.approx(40, abs=0.05)
    assert man["age"].std() == pytest.approx(populations.JITTER["age"], abs=0.05)
    assert efforts["age"].max() < 79  # who is beyond the trained ages gives no one his place
    with pytest.raises(SpiroError, match="no participant"):
        populations.draw_people(curves[curves["age"] == 90], 10, trained, np.random.default_rng(0))


def test_report_says_where_it_is_and_its_headline(spiro: Spiro) -> None:
    refused(spiro("report"), "metrics/evaluate/summary.json: no such file", "spiro evaluate")
    folder = Path("run/metrics/evaluate")
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text('{"best_fev1_residual_sd_ratio": 1.07, "targets_met": 5.0}')
    assert "report.html is not there" in spiro("report", "--folder", "run")[1]
    (folder / "report.html").write_text("<p>")
    status, out, _ = spiro("report", "--folder", "run")
    assert status == 0
    for words in ("1.07", "targets: 5 met", "report: run/metrics/evaluate/report.html"):
        assert words in out
    result = json.loads(spiro("report", "--folder", "run", "--json")[1])
    assert result == {
        "report": "run/metrics/evaluate/report.html",
        "figures": {"best_fev1_residual_sd_ratio": 1.07, "targets_met": 5.0},
    }


def test_evaluate_ends_as_its_stage_does_and_writes_over_nothing(spiro: Spiro) -> None:
    refused(spiro("evaluate", "--folder", "nowhere"), "nowhere: no such folder")
    ran = subprocess.run(
        [sys.executable, "-m", "spiro_diffusion.cli", "evaluate"], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("spiro: dvc.yaml: no such file in ")
    assert ran.stderr.endswith("run from the root of the repository, which holds it\n")
    Path("metrics/evaluate").mkdir(parents=True)
    Path("metrics/evaluate/summary.json").write_text("{}")
    refused(spiro("evaluate"), "summary.json", "--force")


def nhanes_csv(efforts: list[pd.DataFrame], factor: float = 1.1) -> pd.DataFrame:
    """Efforts as NHANES keeps them: a text of mL per 10 ms at ATPS."""
    rows = []
    for number, effort in enumerate(efforts, start=1):
        counts = np.diff(np.floor(1000 * effort["volume_l"] / factor)).astype(int)
        rows.append({"SEQN": 7, "SPAMANU": number, "SPAFACT": factor, "SPXRAW": ",".join(map(str, counts))})
    return pd.DataFrame(rows)


def test_three_alike_efforts_are_a_session_of_grade_a(spiro: Spiro) -> None:
    efforts = [blow(fvc=fvc).assign(curve=i) for i, fvc in enumerate((4.0, 3.95, 3.9))]
    pd.concat(efforts).to_csv("mine.csv", index=False)
    curves = json.loads(spiro("indices", "mine.csv", *MAN, "--json")[1])["curves"]
    assert {(c["session_fev1"], c["session_fvc"]) for c in curves} == {("A", "A")}
    pd.concat([efforts[0], blow(fvc=3.0).assign(curve=9)]).to_csv("apart.csv", index=False)
    assert "E/E" in spiro("indices", "apart.csv", *MAN)[1]


def test_curves_in_the_format_of_nhanes_as_csv(spiro: Spiro) -> None:
    nhanes_csv([blow(), blow(fvc=3.0)]).to_csv("mine.csv", index=False)
    status, out, _ = spiro("indices", "mine.csv", *MAN, "--json", "--out", "table.csv")
    curves = json.loads(out)["curves"]
    assert status == 0
    assert [c["fvc"] for c in curves] == pytest.approx([4.0, 3.0], abs=0.003)
    assert curves[0]["fev1"] == pytest.approx(4.0 * (1 - np.exp(-2)), abs=0.02)
    assert {c["curve"] for c in curves} == {"7/Pre/1", "7/Pre/2"}
    assert pd.read_csv("table.csv")["fvc_z"].notna().all()


def test_curves_of_nhanes_find_their_people_beside_them(spiro: Spiro, data: Path) -> None:
    """The table that `repair` wrote, with DEMO and BMX beside: indices and z-scores are those of the pipeline."""
    table = pd.read_parquet(data / "curves.parquet").set_index(["seqn", "test_type", "curve_number"])
    seqn = table.index[table["best"].to_numpy()][0][0]
    result = json.loads(spiro("indices", str(data / "repaired/SPXRAW_G.parquet"), "--seqn", str(seqn), "--json")[1])
    curves = pd.DataFrame(result["curves"]).set_index(["seqn", "test_type", "curve_number"])
    mine = table.loc[curves.index.intersection(table.index)]
    assert len(mine) > 1
    for name in ("fev1", "fvc", "pef"):
        np.testing.assert_allclose(curves.loc[mine.index, name], mine[name], atol=2e-3)
    assert curves["fev1_z"].notna().all()
    assert set(curves["session_fvc"]) <= set("ABCDEFU")
    assert result["session"]["grades"]["pre"]["fvc"] in set(curves["session_fvc"])  # read as a session too


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: t.drop(columns="SPAFACT"), ["no column SPAFACT"]),
        (lambda t: t.assign(SPAFACT=110.0), ["SPAFACT is 110 in row 1", "about 1.1"]),
        (lambda t: t.assign(SPXRAW="1,2,x"), ["row 0: SPXRAW is no list of numbers"]),
        (lambda t: t.assign(SPXRAW="1,2,4000"), ["holds 4000 mL, outside -64 to 192"]),
        (lambda t: t.iloc[:0], ["holds no curves"]),
    ],
)
def test_what_is_no_spxraw_is_refused(
    spiro: Spiro, spoil: Callable[[pd.DataFrame], pd.DataFrame], words: list[str]
) -> None:
    spoil(nhanes_csv([blow()])).to_csv("mine.csv", index=False)
    refused(spiro("indices", "mine.csv"), "mine.csv", *words)


def test_participants_are_told_apart(spiro: Spiro, data: Path) -> None:
    refused(spiro("indices", str(data / "repaired/SPXRAW_G.parquet"), "--seqn", "1"), "no curve of participant 1")
    refused(spiro("indices", str(data / "repaired/SPXRAW_G.parquet"), *MAN), "participants are not one of 45 years")
    blow().to_csv("mine.csv", index=False)
    refused(spiro("indices", "mine.csv", "--seqn", "1"), "--seqn is for NHANES's SPXRAW")


def test_the_shell_completes_commands_and_options() -> None:
    for words, expected in (("spiro gen", "generate"), ("spiro generate --te", "--test-type")):
        ran = subprocess.run(
            [Path(sys.executable).parent / "spiro"],
            env=os.environ
            | {"_SPIRO_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout.split() == [expected]


def test_every_command_has_an_example_of_itself(spiro: Spiro) -> None:
    commands = re.findall(r"^│ ([a-z]+) ", spiro("--help")[1].split("Commands")[1], flags=re.M)
    assert {"generate", "indices", "info", "cohort", "evaluate", "report", "export"} <= set(commands)
    for command in commands:
        assert f"Example: spiro {command}" in " ".join(spiro(command, "--help")[1].split())


def test_nothing_asked_for_is_answered_with_the_help(spiro: Spiro) -> None:
    status, out, err = spiro()
    assert (status, err) == (2, "")
    assert "generate" in out


# What a newcomer stumbles over


def judged(models: Path, **figures: float) -> None:
    """Leave a judge's figures of the model beside its folder."""
    folder = models.parent / "metrics/evaluate"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(figures))
    (folder / "judge.json").write_text(json.dumps({"data": {"models": artifacts.sha256(models / "cldm.safetensors")}}))


def test_all_invalid_rows_of_a_table_are_listed_or_left_out(spiro: Spiro) -> None:
    Path("people.csv").write_text(
        "id,age,height,sex\na,45,175,男\nb,abc,160,female\nc,30,165,女\nd,99,165,f\ne,8,130,q\nf,9,130,q\n"
    )
    command = ["generate", "--people", "people.csv", "-n", "1"]
    listed = ("4 of 6 rows", "age is abc in row 2", "age is 99 in row 4", "sex is q in rows 5-6", "--skip-invalid")
    refused(spiro(*command), *listed)
    status, _, err = spiro(*command, "--skip-invalid", "--out", "c.csv")
    assert status == 0
    assert "warning: left out: 4 of 6 rows" in err
    kept = pd.read_csv("c_indices.csv")
    assert kept[["id", "age", "sex"]].to_numpy().tolist() == [["a", 45, "男"], ["c", 30, "女"]]


@pytest.mark.parametrize(("age", "height"), [("9", "190"), ("60", "112")])
def test_a_height_that_nobody_has_at_that_age_is_warned_of(spiro: Spiro, age: str, height: str) -> None:
    status, _, err = spiro("generate", "--age", age, "--height", height, "--sex", "male", "-n", "1")
    assert status == 0
    assert f"not {height} cm: these curves are of a person such as the model never saw" in err
    assert spiro("generate", *MAN, "-n", "1")[2] == ""


def test_a_model_whose_own_figures_are_bad_says_so_at_each_use(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "run/models"
    shutil.copytree(models, copied)
    command = ["generate", *MAN, "-n", "1", "--models", str(copied)]

    def warned() -> str:
        assert main(command) == 0
        return capsys.readouterr().err

    assert warned() == "", "without figures nothing is said"
    judged(copied, best_auc_clinical=0.55, best_fev1_coverage_80=0.8)
    assert warned() == "", "nor of a good model"
    judged(copied, best_auc_clinical=0.99, best_fev1_coverage_80=0.0)
    line = warned()
    assert line.count("\n") == 1
    assert "AUC 0.99" in line
    assert "80 % intervals hold 0 % (FEV1)" in line
    blow()[:220].to_csv(tmp_path / "mine.csv", index=False)
    reconstruct = ["reconstruct", str(tmp_path / "mine.csv"), *MAN, "-n", "2"]
    cohort = ["cohort", "-n", "1", "--out", str(tmp_path / "cohort"), "--data", str(tmp_path)]
    for other in (reconstruct, ["export", "--out", str(tmp_path / "onnx")], cohort, ["info"]):
        main([*other, "--models", str(copied)])  # neither reconstructor nor data are there: that is said afterwards
        assert "AUC 0.99" in capsys.readouterr().err, other[0]
    (copied.parent / "metrics/evaluate/judge.json").write_text('{"data": {"models": "another"}}')
    assert warned() == "", "nor by another model's figures"


@pytest.mark.parametrize("name", ["[pre]", "[/x]", "[bold]b[/bold]", "a\x1b[31mred", "bell\x07", "\x1b]0;title\x07"])
def test_names_of_curves_are_shown_as_written_without_control_characters(spiro: Spiro, name: str) -> None:
    blow().assign(curve=name).to_csv("mine.csv", index=False)
    status, out, err = spiro("indices", "mine.csv", *MAN)
    assert status == 0
    assert ascii(name)[1:-1] in out
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out + err)
    pd.concat([blow().assign(curve=name), blow().assign(curve="2")]).to_csv("mine.csv", index=False)
    refused(spiro("reconstruct", "mine.csv", *MAN), "name one with --curve")


@pytest.mark.parametrize("command", ["generate", "cohort"])
def test_a_seed_beyond_what_generators_take_is_refused(spiro: Spiro, command: str) -> None:
    arguments = MAN if command == "generate" else []
    refused(spiro(command, *arguments, "--seed", str(2**64)), f"seed is {2**64}; expected 0 to {2**63 - 1}")


def test_places_that_take_no_file_are_told_in_a_line(spiro: Spiro) -> None:
    long = "n" * 300
    refused(spiro("generate", *MAN, "--out", f"{long}.csv"), "the name has more than 232 bytes")
    assert spiro("generate", *MAN, "-n", "1", "--out", f"{'n' * 220}.csv")[0] == 0, "its table of indices has 232"
    refused(spiro("generate", *MAN, "--models", long), "File name too long")
    refused(spiro("generate", "--people", f"{long}.csv"), "File name too long")
    os.mkfifo("pipe.csv")
    refused(spiro("generate", *MAN, "--out", "pipe.csv", "--force"), "is a device, not a file")


def test_ctrl_c_ends_a_command_in_a_line(spiro: Spiro, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SpiroGenerator, "from_checkpoint", interrupted)
    assert spiro("generate", *MAN) == (130, "", "spiro: interrupted\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_output_ends_in_a_line_and_a_closed_one_in_none() -> None:
    command = [sys.executable, "-m", "spiro_diffusion.cli", "--help"]
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (1, "spiro: output: No space left on device\n")


def test_commands_load_no_library_that_they_can_do_without(models: Path, tmp_path: Path) -> None:
    blow().to_csv(tmp_path / "mine.csv", index=False)
    runs = {
        "torch": [["info", "--models", str(models)], ["indices", str(tmp_path / "mine.csv"), *MAN]],
        "torch._dynamo": [["generate", *MAN, "-n", "1", "--models", str(models)]],
        "scipy": [
            ["generate", *MAN, "-n", "1", "--models", str(models)],
            ["indices", str(tmp_path / "mine.csv"), *MAN],
        ],
    }
    for absent, commands in runs.items():
        calls = "; ".join(f"assert main({command!r}) == 0" for command in commands)
        program = f"import sys; from spiro_diffusion.cli import main; {calls}; sys.exit({absent!r} in sys.modules)"
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{absent} was imported; {ran.stderr}"


def test_a_column_of_the_table_of_indices_is_added_in_one_place(spiro: Spiro, monkeypatch: pytest.MonkeyPatch) -> None:
    more = columns.Column("fev3", INDICES["fev3"], on_screen=True, compute=lambda found: found.fev3.astype(np.float64))
    monkeypatch.setattr(columns, "COLUMNS", (*columns.COLUMNS, more))
    blow().to_csv("mine.csv", index=False)
    assert "FEV3" in spiro("indices", "mine.csv", *MAN)[1]
    assert json.loads(spiro("indices", "mine.csv", "--json")[1])["curves"][0]["fev3"] == pytest.approx(3.99, abs=0.02)


def test_options_for_conditions_are_those_that_the_model_knows() -> None:
    """What the model may be told and a user may say differ by the participant's best, which `--any-effort` decides."""
    expected = [name for name in conditioning.NAMES if name not in ("age", "height", "sex", "best")]
    listed = {condition.name for condition in CONDITIONS} | set(personal_conditions.NAMES)
    assert listed - {"bmi"} == set(expected)  # which gives a weight
