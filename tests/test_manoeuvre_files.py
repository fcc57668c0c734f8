"""Files of whole manoeuvres as their users meet them: the command and the page read the blow and say what they cut."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spiro_diffusion.app import generate, user_effort
from spiro_diffusion.app.view import View
from spiro_diffusion.cli import main
from spiro_diffusion.physiology.waveforms import Waveform, lung, sampled
from spiro_diffusion.user_curves import RawBlow, to_efforts
from spiro_diffusion.user_curves import read as read_file
from spiro_diffusion.user_curves.tables import Person, person_table

CASES = Path(__file__).parents[2] / "shared" / "cases"
MAN = ["--age", "40", "--height", "175", "--sex", "male"]
CHILD = ["--age", "7", "--height", "125", "--sex", "female"]
LUNG = lung(0.0, 0.1, [(3.0, 0.4), (1.0, 1.2)], 9.0)
Read = Callable[..., dict]


def blow(period: float = 0.01, wave: Waveform = LUNG) -> np.ndarray:
    return sampled(wave, period)


def breath_in(litres: float, seconds: float = 2.0, period: float = 0.01) -> np.ndarray:
    shape = np.sin(np.arange(0, seconds, period) * np.pi / seconds)
    return -litres * shape / (shape.sum() * period)


@pytest.fixture
def read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Read:
    """What `spiro indices --json` says of curves of flow."""

    def run(*flows: np.ndarray, period: float = 0.01, person: list[str] = MAN, decimals: int = 6) -> dict:
        parts = [
            pd.DataFrame({"curve": i, "time_s": np.round(np.arange(len(f)) * period, decimals), "flow_l_s": f})
            for i, f in enumerate(flows, 1)
        ]
        pd.concat(parts).to_csv(tmp_path / "mine.csv", index=False)
        status = main(["indices", str(tmp_path / "mine.csv"), *person, "--json"])
        out, err = capsys.readouterr()
        assert status == 0, err
        return json.loads(out)

    return run


def test_a_breath_in_after_the_blow_changes_nothing_but_what_is_known_of_it(read: Read) -> None:
    size = blow().sum() * 0.01
    looped = read(*(np.concatenate([k * blow(), breath_in(k * size)]) for k in (1, 0.99, 0.98)))
    alone = read(*(k * blow() for k in (1, 0.99, 0.98)))
    for one, other in zip(looped["curves"], alone["curves"], strict=True):
        assert one["fivc"] == pytest.approx(other["fvc"], abs=0.01)
        assert one["pif"] == pytest.approx(other["fvc"] * np.pi / 4, rel=0.02)
        assert {k: v for k, v in one.items() if k not in ("fivc", "pif")} == pytest.approx(other, abs=0.011)  # FET
    assert "curve 1: 2.0 s after the expiration's greatest volume left out" in looped["notes"]
    assert not any("left out" in note for note in alone["notes"])


def test_volume_counts_from_full_inspiration(read: Read) -> None:
    found = read(np.concatenate([breath_in(1.5), blow()]))
    (alone,) = read(blow())["curves"]
    (curve,) = found["curves"]
    assert [curve[k] for k in ("fev1", "fvc")] == pytest.approx([alone[k] for k in ("fev1", "fvc")], abs=2e-3)
    assert curve["inspired"] == pytest.approx(1.5, abs=0.01)
    assert "curve 1: 2.0 s of breathing before full inspiration left out" in found["notes"]


def test_signs_either_way_round(read: Read) -> None:
    loop = np.concatenate([breath_in(4.0), blow(), breath_in(4.0)])
    turned, upright = read(-loop), read(loop)
    assert turned["curves"][0] == pytest.approx(upright["curves"][0], abs=1e-3)
    assert any("inspiration was recorded as positive" in note for note in turned["notes"])


def test_two_blows_in_one_record_are_two_efforts_of_a_session(read: Read) -> None:
    found = read(np.concatenate([blow(), breath_in(4.0), 0.97 * blow(), breath_in(4.0)]))
    assert [c["curve"] for c in found["curves"]] == ["1", "1 (2)"]
    first, second = (c["fvc"] for c in found["curves"])
    assert second == pytest.approx(0.97 * first, abs=0.005)
    assert found["curves"][0]["session_fvc"] == "B"


def test_inspiring_more_than_was_expired_makes_the_effort_usable_only(read: Read) -> None:
    (curve,) = read(np.concatenate([blow(), breath_in(4.5)]))["curves"]
    assert (curve["acceptable_fev1"], curve["acceptable_fvc"], curve["usable_fvc"]) == (False, False, True)


def test_hesitation_and_a_zero_that_is_off_are_told(read: Read) -> None:
    found = read(np.concatenate([breath_in(4.0), np.zeros(300), blow()]), np.concatenate([np.full(150, 0.06), blow()]))
    assert any("later than 2 s" in note for note in found["notes"])
    assert any("+0.060 L/s: the zero is off" in note for note in found["notes"])
    hesitated, shifted = found["curves"]
    assert hesitated["acceptable_fev1"]
    assert not shifted["usable_fev1"]


@pytest.mark.parametrize(("period", "decimals"), [(0.002, 6), (0.008, 2), (1 / 60, 2)])
def test_peak_flow_is_that_of_the_records_own_rate(read: Read, period: float, decimals: int) -> None:
    flow = blow(period, lung(0.2, 0.05, [(3.0, 0.25), (1.0, 1.2)], 8.0))
    (curve,) = read(flow, period=period, decimals=decimals)["curves"]
    assert curve["pef"] == pytest.approx(flow.max(), rel=0.02)


def unfinished(size: float) -> np.ndarray:
    """A child's blow that ends after 2.2 s without a plateau."""
    return size / 2.0 * blow(wave=lung(0.0, 0.1, [(1.4, 0.3), (0.6, 1.4)], 2.2))


def test_a_first_effort_without_a_plateau_is_provisional_until_another_repeats_it(
    read: Read, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (alone,) = read(unfinished(1.92), person=CHILD)["curves"]
    assert (alone["acceptable_fvc"], alone["provisional_fvc"], alone["session_fvc"]) == (False, True, "U")
    assert main(["indices", str(tmp_path / "mine.csv"), *CHILD]) == 0
    assert "yes/provisional" in capsys.readouterr().out
    session = read(unfinished(1.92), unfinished(1.90), unfinished(1.89), person=CHILD)["curves"]
    assert [c["acceptable_fvc"] for c in session] == [True, True, True]
    assert session[0]["session_fvc"] == "A"


def test_the_page_judges_an_effort_within_its_session_and_shows_what_was_breathed_in() -> None:
    person = Person(7, 125, "female")
    loop = np.concatenate([unfinished(1.92), breath_in(1.8)])
    for flows, message in (([loop], "FVC provisional"), ([loop, unfinished(1.9)], "FVC acceptable")):
        session = to_efforts([RawBlow(str(i), "flow", f, 0.01) for i, f in enumerate(flows)], "mine.csv")
        kept = user_effort.effort(json.loads(json.dumps(user_effort.to_store(session))), 0)
        assert kept is not None
        row = person_table(kept.session, person).iloc[kept.number]
        (words,) = generate.judged(View("", 0, None, None, [], row))  # type: ignore[arg-type]
        assert message in words.children
        assert "FIVC 1.80 L, PIF 1.41 L/s" in words.children


cases = pytest.mark.skipif(not CASES.is_dir(), reason="the project's cases are not at hand")


def case(name: str, capsys: pytest.CaptureFixture[str], *person: str) -> list[dict]:
    assert main(["indices", str(next(CASES.glob(f"{name}*"))), *person, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["curves"]


@cases
def test_case_01_is_case_02(capsys: pytest.CaptureFixture[str]) -> None:
    person = ("--age", "27", "--height", "175", "--sex", "male")
    for one, other in zip(case("01", capsys, *person), case("02", capsys, *person), strict=True):
        assert one["fet"] == pytest.approx(other["fet"], abs=0.07)  # 02 was cut six samples before the breath in
        unlike = ("fivc", "pif", "fet", "last_second")
        assert {k: v for k, v in one.items() if k not in unlike} == pytest.approx(
            {k: v for k, v in other.items() if k not in unlike}, abs=2e-3
        )


@cases
@pytest.mark.parametrize(
    ("name", "fvc", "fev1"),
    [
        ("03", 3.07, 2.42),
        ("04", 3.07, 2.42),
        ("11", 5.84, None),
        *((name, 4.44, None) for name in ("2_german", "2_names", "2_preamble", "2_hz60")),
    ],
)
def test_cases_have_their_right_values(
    capsys: pytest.CaptureFixture[str], name: str, fvc: float, fev1: float | None
) -> None:
    (curve,) = case(name, capsys)
    assert curve["fvc"] == pytest.approx(fvc, abs=0.006)
    assert fev1 is None or curve["fev1"] == pytest.approx(fev1, abs=0.006)


@cases
def test_case_10_is_accepted_and_case_13_has_its_peak_flows(capsys: pytest.CaptureFixture[str]) -> None:
    assert all(c["acceptable_fvc"] and c["session_fvc"] == "A" for c in case("10", capsys, *CHILD))
    flow = pd.read_csv(next(CASES.glob("13_*"))).groupby("curve").flow_l_s.max()
    for curve in case("13", capsys):
        assert curve["pef"] == pytest.approx(flow[int(curve["curve"])], rel=0.02)


@cases
def test_case_2_lmin_is_refused_by_range(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["indices", str(CASES / "2_lmin_flow.csv")]) == 1
    assert "not mL or L/min" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["csv", "txt", "json"])
def test_a_file_is_converted_and_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str) -> None:
    flow = np.concatenate([breath_in(1.0), blow(), breath_in(3.0)])
    rows = pd.DataFrame({"time_s": np.arange(len(flow)) * 0.01, "flow_l_s": flow})
    rows.to_csv(tmp_path / "mine.csv", index=False)
    out = tmp_path / f"made.{ending}"
    assert main(["convert", str(tmp_path / "mine.csv"), str(out)]) == 0
    output = capsys.readouterr()
    assert f"wrote {out}" in output.out
    assert "left out" in output.err
    again = read_file(out, btps=1.0)
    assert again.flow.sum() * 0.01 == pytest.approx(blow().sum() * 0.01, abs=2e-3)
    assert main(["convert", str(tmp_path / "mine.csv"), str(out)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "mine.csv"), str(tmp_path / "made.pdf")]) == 1
    assert "expected .csv, .txt, .json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("age", "height", "message"),
    [
        ("27", "69", "not inches (69 inches are 175 cm)"),
        ("27", "1.75", "not metres (1.75 metres are 175 cm)"),
        ("27", "5.74", "not feet (5.74 feet are 175 cm)"),
        ("27", "1750", "not millimetres (1750 millimetres are 175 cm)"),
        ("7", "48", "not inches (48 inches are 122 cm)"),
    ],
)
def test_a_height_in_another_unit_is_caught(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], age: str, height: str, message: str
) -> None:
    pd.DataFrame({"time_s": np.arange(900) * 0.01, "flow_l_s": blow()}).to_csv(tmp_path / "mine.csv", index=False)
    arguments = ["indices", str(tmp_path / "mine.csv"), "--age", age, "--height", height, "--sex", "male"]
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert "skip-invalid" not in line


def test_a_height_that_contradicts_the_age_is_told(read: Read) -> None:
    assert not any("check age" in note for note in read(blow())["notes"])
    months = read(blow(), person=["--age", "72", "--height", "116", "--sex", "male"])  # six years in months
    assert any("check age and height: at 72 years" in note for note in months["notes"])
