"""What docs/sessions.md shows runs, and what it says of bad input is so."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from repository import ROOT

from spiro_diffusion.cli import main
from spiro_diffusion.physiology import counter
from spiro_diffusion.simulation.simulator import simulate

PAGE = (ROOT / "docs" / "sessions.md").read_text(encoding="utf-8")
MAN = ("--age", "45", "--height", "175", "--sex", "male")


@pytest.fixture(scope="module")
def visit() -> pd.DataFrame:
    """The blows of a simulated person before and after the bronchodilator: curve (1, 2 ... and post 1 ...), time_s,
    flow_l_s."""
    raw = simulate("G", 40, 4)["SPXRAW"]
    after = raw.loc[raw["SPATTYPE"] != "Pre", "SEQN"].iloc[0]
    parts = []
    for number, row in enumerate(raw[raw["SEQN"] == after].itertuples(), 1):
        flow = counter.flow(np.asarray(row.SPXRAW)[None], float(row.SPAFACT))[0]
        name = f"{number}" if row.SPATTYPE == "Pre" else f"post {number}"
        parts.append(pd.DataFrame({"curve": name, "time_s": 0.01 * np.arange(len(flow)), "flow_l_s": flow}))
    return pd.concat(parts).round(4)


@pytest.fixture
def here(visit: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the page's commands run in."""
    monkeypatch.chdir(tmp_path)
    post = visit["curve"].str.startswith("post")
    visit.to_csv("visit.csv", index=False)
    visit[~post].to_csv("before.csv", index=False)
    visit[post].to_csv("after.csv", index=False)
    (tmp_path / "LAB").mkdir()
    for name in ("P1", "P2"):
        visit.to_csv(f"LAB/{name}.csv", index=False)
    people = {"person": ["P1", "P2"], "age": [45, 50], "height": [175, 171], "sex": ["male", "male"]}
    pd.DataFrame(people).to_csv("people.csv", index=False)
    return tmp_path


def test_every_command_of_the_page_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.S)
    for command in block.strip().splitlines():
        assert main(shlex.split(command)[1:]) == 0, command
    output = capsys.readouterr().out
    for expected in (
        "best values",
        "FEV1 grade",
        "lower limit of normal",
        "2022 standard",
        "FEV1Q",
        "slow VC (5.40 L)",
    ):
        assert expected in output, expected
    assert "2 sessions read" in output
    assert len(pd.read_csv("sessions/sessions.csv")) == 2
    table = Path("sessions/sessions.csv").read_bytes()
    assert main(["sessions", "LAB", "people.csv", "--pages", "html"]) == 0
    assert "0 sessions read, 2 as before" in capsys.readouterr().out
    assert Path("sessions/sessions.csv").read_bytes() == table
    assert len(list((here / "sessions" / "pages").glob("*.html"))) == 2
    assert "Bronchodilatator" in (here / "visit.html").read_text(encoding="utf-8")


def test_the_python_of_the_page_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
    exec(compile(block, "sessions.md", "exec"), {})
    assert "Before the bronchodilator" in capsys.readouterr().out


def said_of(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = main(["indices", *words])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def test_exchanged_and_doubled_files_are_told(
    here: Path, visit: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said_of(capsys, "after.csv", *MAN)[1].count("no blow before the bronchodilator") == 1
    status, output = said_of(capsys, "after.csv", "--post", "before.csv", *MAN)
    assert (status, "already holds blows after the bronchodilator" in output) == (1, True)
    status, output = said_of(capsys, "before.csv", "--post", "before.csv", *MAN)
    assert (status, "is in both files" in output) == (1, True)
    before = visit[~visit["curve"].str.startswith("post")]
    before.assign(curve="pre " + before["curve"]).to_csv("named.csv", index=False)
    status, output = said_of(capsys, "before.csv", "--post", "named.csv", *MAN)
    assert (status, "are the two files exchanged?" in output) == (1, True)
    before.assign(flow_l_s=0.8 * before["flow_l_s"]).to_csv("lower.csv", index=False)
    status, output = said_of(capsys, "before.csv", "--post", "lower.csv", *MAN)
    assert (status, "lower after the bronchodilator, by" in output) == (0, True)


def test_several_people_are_told(here: Path, visit: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    before = visit[~visit["curve"].str.startswith("post")]
    other = before.assign(curve="B" + before["curve"], flow_l_s=0.5 * before["flow_l_s"])
    pd.concat([before, other]).to_csv("mixed.csv", index=False)
    assert "are they of one person?" in said_of(capsys, "mixed.csv", *MAN)[1]
    pd.concat([before.assign(person="A"), other.assign(person="B")]).to_csv("mixed.csv", index=False)
    assert "2 people are in the file" in said_of(capsys, "mixed.csv", *MAN)[1]


def test_who_grows_needs_the_height_of_the_earlier_visit(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    child = ("--age", "12", "--height", "175", "--sex", "male", "--previous")
    status, output = said_of(capsys, "before.csv", *child, "1.9,11")
    assert (status, "needs their height then" in output) == (1, True)
    status, output = said_of(capsys, "before.csv", *child, "1.9,11,168")
    assert status == 0
    assert "conditional change score" in output
    assert "3 months to 5 years apart" not in output
    assert "3 months to 5 years apart" in said_of(capsys, "before.csv", *child, "1.9,4,110")[1]


def test_a_folder_says_what_it_cannot_choose_and_goes_on(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "LAB" / "P1.txt").write_text("notes")
    people = pd.read_csv("people.csv")
    people = pd.concat([people, people.iloc[[1]].assign(person="P3"), people.iloc[[1]]])
    people.assign(group=["", "", "martian", ""]).to_csv("people.csv", index=False)
    (here / "LAB" / "P3.csv").symlink_to(here / "LAB" / "P2.csv")
    assert main(["sessions", "LAB", "people.csv"]) == 1
    output = capsys.readouterr().err
    for expected in ("holds 2 files P1", "group is martian", "names this person again", "3 of 4 sessions"):
        assert expected in output, expected
    assert pd.read_csv("sessions/sessions.csv")["person"].tolist() == ["P2"]
