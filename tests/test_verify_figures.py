"""`spiro verify --tolerance`: whether a run whose bytes differ agrees with the committed figures."""

import json
import subprocess
from pathlib import Path

import pytest
from repository import ROOT

from spiro_diffusion.cli import main
from spiro_diffusion.pipeline import headline, verify_figures

FIGURES = {"curves": 2741, "ae_ml": 13.3, "fine": 0.92, "useful": None, "copies": 0.5}
SPREAD = {"seeds": 3, "sd": {"curves": 0, "ae_ml": 0.4, "fine": 0.04}}


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    """A repository whose commit holds figures and their spread."""
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/main.json").write_text(json.dumps(FIGURES))
    (tmp_path / "metrics/spread.json").write_text(json.dumps(SPREAD))
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "Figures"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def verified(folder: Path, capsys: pytest.CaptureFixture[str], **changed: float | None) -> tuple[int, str, str]:
    (folder / "metrics/main.json").write_text(json.dumps(FIGURES | changed))
    status = main(["verify", "--tolerance", "--folder", str(folder)])
    return status, *capsys.readouterr()


def test_figures_within_luck_agree(committed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, output, _ = verified(committed, capsys, ae_ml=15.6, fine=0.7, copies=0.1)
    assert status == 0
    assert output.splitlines()[-1] == (
        "3 of 3 figures within the spread over 3 seeds of the committed ones; of unknown spread: useful, copies"
    )


def test_a_figure_beyond_it_is_named_with_status_1(committed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, output, error = verified(committed, capsys, ae_ml=15.8)
    assert (status, error.count("\n")) == (1, 1)
    assert "1 of 3" not in error
    assert "2 of 3 figures within" in error
    assert "beyond it: ae_ml;" in error
    assert [line.split()[-1] for line in output.splitlines() if line.startswith("ae_ml")] == ["beyond"]
    assert "beyond it: curves" in verified(committed, capsys, curves=2742)[2], "what has no spread must be equal"
    assert "beyond it: fine" in verified(committed, capsys, fine=None)[2]


def test_more_seeds_allow_less(committed: Path) -> None:
    def allowed(seeds: int) -> float | None:
        (committed / "metrics/spread.json").write_text(json.dumps(SPREAD | {"seeds": seeds}))
        return verify_figures.compare(committed).figures[1].allowed

    assert allowed(3) == pytest.approx(0.4 * 4.303 * 2**0.5, rel=1e-3)
    assert allowed(30) == pytest.approx(0.4 * 2.045 * 2**0.5, rel=1e-3)


def test_without_a_commit_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/spread.json").write_text(json.dumps(SPREAD))
    status, output, error = verified(tmp_path, capsys)
    assert (status, output) == (1, "")
    assert "no commit of it to compare with" in error


def test_the_committed_spread_is_of_headline_figures() -> None:
    spread = json.loads((ROOT / verify_figures.SPREAD).read_text())
    assert set(spread["sd"]) <= set(headline.FIGURES)
    assert spread["seeds"] >= 3
