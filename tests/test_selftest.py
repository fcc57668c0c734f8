"""The self-test: closed formulas, a folder of standard waveforms, a syringe, and the command."""

from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from spiro_diffusion.cli.selftest import selftest
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.physiology import selftest as checks
from spiro_diffusion.physiology import syringe
from spiro_diffusion.physiology.waveforms import lung, sampled

WAVE = lung(0.3, 0.1, [(3.0, 0.4), (1.0, 1.2)], 8.0)
FLOW = sampled(WAVE, 0.002)
VOLUME = np.concatenate([[0], np.cumsum(FLOW) * 0.002])
PERIOD = 0.01
MEASUREMENTS = "\n## Measurements"


def spiro_selftest(*arguments: object) -> tuple[int, str, str]:
    app = typer.Typer()
    app.command()(selftest)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, str(result.exception or "")


def waveform(path: Path, header: str, values: np.ndarray, first: str = "") -> Path:
    lines = [header, "[Data]", *([first] if first else []), *(f"{value:.5f}" for value in values)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_known_waveform_is_within_every_limit_by_every_route() -> None:
    results = checks.known_waveforms()
    assert {result.route for result in results} == set(checks.ROUTES)
    assert [(r.name, r.route, r.beyond()) for r in results if r.beyond()] == []
    fast = [abs(r.error("pef")) / r.reference["pef"] for r in results if r.route == "500 Hz"]
    assert np.median(fast) < 0.005


def test_a_wrong_ruler_is_seen() -> None:
    good = checks.known_waveforms()[4]
    bad = checks.Result(
        good.name, good.route, good.measured | {"fev1": good.measured["fev1"] + 0.2}, good.reference, 0.002
    )
    assert bad.beyond() == ["ATS/ERS: FEV1", "ISO 26782: FEV1", "ours: FEV1"]
    assert "+200." in checks.report([bad])
    nan = checks.Result("x", "y", dict.fromkeys(checks.CHECKED, np.nan), {"fvc": 3.0}, 0.002)
    assert "ATS/ERS: FVC" in nan.beyond()


@pytest.mark.parametrize(
    ("header", "values", "first", "kind"),
    [
        ("Type=FT\nInterval=2 ms\nFVC=4.0", FLOW, "", "FT"),
        ("Sampling rate: 500 Hz\nFVC (mL): 4000", 1000 * VOLUME, "VT", "VT"),
        ("dt = 0.002\nFVC;4.00", FLOW * 60, "FT", "FT"),
        ("Units: mL/s\nsample interval (s) = 0.002", FLOW * 1000, "FT", "FT"),
    ],
)
def test_waveforms_of_both_kinds_and_all_units_are_read(
    header: str, values: np.ndarray, first: str, kind: str, tmp_path: Path
) -> None:
    wave = checks.read_waveform(waveform(tmp_path / "w.txt", header, values, first))
    assert wave is not None
    assert wave.kind == kind
    assert wave.period_s == pytest.approx(0.002)
    assert wave.flow.sum() * wave.period_s == pytest.approx(VOLUME[-1], abs=0.01)
    if "FVC" in header:
        assert wave.reference["fvc"] == pytest.approx(4.0)


def test_decimal_commas_and_a_column_of_times_are_read(tmp_path: Path) -> None:
    path = tmp_path / "w.txt"
    rows = "\n".join(f"{i * 0.002:.3f};{v:.5f}".replace(".", ",") for i, v in enumerate(VOLUME))
    path.write_text(f"Profile 1\n[Data]\nt;VT\n{rows}\n")
    wave = checks.read_waveform(path)
    assert wave is not None
    assert wave.flow.sum() * wave.period_s == pytest.approx(VOLUME[-1], abs=0.01)


def test_a_folder_of_waveforms_is_measured_and_its_page_written(tmp_path: Path) -> None:
    folder = tmp_path / "waves"
    folder.mkdir()
    waveform(folder / "a.txt", f"FT\nInterval=2 ms\nFVC={VOLUME[-1]:.4f}\nPEF={FLOW.max():.3f}", FLOW)
    (folder / "notes.txt").write_text("no waveform\n")
    code, out, _ = spiro_selftest(folder, "--page", tmp_path / "page.md")
    assert code == 0
    whole = (tmp_path / "page.md").read_text()
    assert whole.count("a.txt") == 2  # at its own rate and counted
    assert out == f"{whole[: whole.index(MEASUREMENTS)]}wrote {tmp_path / 'page.md'}\n"
    waveform(folder / "b.txt", "FT\nInterval=2 ms\nFVC=9.0", FLOW)
    code, out, error = spiro_selftest(folder)
    assert code == 1
    assert "ISO 26782: FVC" in out
    assert MEASUREMENTS in out
    assert "a.txt" not in out, "what is within the limits is in the whole report"
    assert "beyond a limit" in error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Interval=2 ms\n[Data]\n" + "1.0\n" * 30, "neither VT"),
        ("FT\n[Data]\n" + "1.0\n" * 30, "no interval and no rate"),
        ("FT\nInterval=2 ms\n[Data]\n1\n2\n", "expected a waveform"),
        ("FT\nInterval=2 ms\n[Data]\n" + "1.0\n" * 30 + "1;2\n", "value 31 of .Data. is neither"),
        ("FT\nInterval=2 ms\n[Data]\n" + "1e999\n" * 30, "value 1 of .Data. is neither"),
        ("FT\n[Data]\n" + "0;1\n" * 30, "do not rise evenly"),
    ],
)
def test_a_waveform_that_cannot_be_read_is_refused_in_a_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text(text)
    with pytest.raises(SpiroError, match=message) as caught:
        checks.read_waveform(tmp_path / "bad.txt")
    assert str(tmp_path / "bad.txt") in str(caught.value)


def test_a_folder_without_waveforms_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpiroError, match="holds no waveform"):
        checks.standard_waveforms(tmp_path)
    with pytest.raises(SpiroError, match="no such folder"):
        checks.standard_waveforms(tmp_path / "none")


def strokes(*volumes: float, zero: float = 0.0) -> list[tuple[np.ndarray, float]]:
    """A stroke out and in at low, middle and high flow for each volume."""
    records = []
    for volume in volumes:
        parts = [np.zeros(100)]
        for flow in (1.0, 3.0, 8.0):
            stroke = np.full(max(round(volume / flow / PERIOD), 1), 1.0)
            stroke *= volume / (stroke.sum() * PERIOD)
            parts += [stroke, np.zeros(100), -stroke, np.zeros(100)]
        records.append((np.concatenate(parts) + zero, PERIOD))
    return records


def test_a_good_syringe_holds_and_a_bad_one_says_why() -> None:
    good = syringe.check(strokes(3.0, 3.02, 2.99))
    assert good.faults == ()
    assert len(good.strokes) == 18
    assert "accuracy" in syringe.check(strokes(3.0, 3.2)).faults[0]
    assert "BTPS" in syringe.check(strokes(3.26)).faults[0]
    assert syringe.check(strokes(3.26), btps=3.26 / 3).faults == ()
    assert syringe.check(strokes(3.0, zero=0.04)).faults[-1].startswith("zero")
    assert "repeatability" in " ".join(syringe.check(strokes(2.94, 3.06)).faults)
    slow = [(record[:500], period) for record, period in strokes(3.0)]
    assert "no stroke at high flow" in " ".join(syringe.check(slow).faults)
    with pytest.raises(SpiroError, match="no stroke of a 3 L syringe"):
        syringe.check([(np.zeros(300), PERIOD)])


def test_the_command_without_arguments_passes() -> None:
    code, out, _ = spiro_selftest()
    assert code == 0
    assert "0 beyond a limit" in out
    assert MEASUREMENTS not in out
    assert "--page" in out


def test_the_committed_report_is_that_of_this_code() -> None:
    """`spiro selftest --page docs/selftest.md` renews it."""
    committed = (Path(__file__).parents[1] / "docs" / "selftest.md").read_text(encoding="utf-8").splitlines()
    made = checks.report(checks.known_waveforms()).splitlines()
    assert [line for line in committed if "spiro-diffusion" not in line] == [
        line
        for line in made
        if "spiro-diffusion" not in line  # with its version
    ]
