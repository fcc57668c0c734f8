"""A session as a clinician reads it: what counts, what is best, what it means."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spiro_diffusion.cli import main
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.sessions import Decision, Person, Previous, Session, Visit, interpret, read_session
from spiro_diffusion.sessions import interpretation as reading_of
from spiro_diffusion.sessions.reading import recounted
from spiro_diffusion.sessions.sentences import _TABLE, LANGUAGES

MAN = Person(45.0, 175.0, "male", "caucasian")
MAN_OPTIONS = ("--age", "45", "--height", "175", "--sex", "male")


def blow(fvc: float, fev1: float, *, seconds: float = 8.0) -> np.ndarray:
    """Flow (L/s, each 10 ms) of an exponential blow with this FVC and FEV1 (L), cut after some seconds."""
    rate = -math.log(1 - fev1 / fvc)
    edges = np.arange(0, seconds + 1e-9, 0.01)
    return np.concatenate([np.zeros(10), np.diff(fvc * (1 - np.exp(-rate * edges))) / 0.01])


def write(path: Path, blows: dict[str, np.ndarray]) -> Path:
    parts = [
        pd.DataFrame({"curve": name, "time_s": np.round(0.01 * np.arange(len(flow)), 2), "flow_l_s": flow})
        for name, flow in blows.items()
    ]
    pd.concat(parts).to_csv(path, index=False)
    return path


def session(path: Path, blows: dict[str, np.ndarray], visit: Visit | None = None, person: Person = MAN) -> Session:
    return read_session(write(path / "session.csv", blows), person, visit, btps=1)


GOOD = {"1": blow(5.0, 3.8), "2": blow(4.95, 3.9), "3": blow(4.9, 3.7)}


def test_the_largest_fev1_and_fvc_may_come_from_different_blows(tmp_path: Path) -> None:
    read = interpret(session(tmp_path, GOOD))
    fev1, fvc, ratio, mid = (read.values[name].best["pre"] for name in ("fev1", "fvc", "ratio", "fef2575"))
    assert (fev1.blow, fvc.blow, ratio.blow) == (2, 1, None)
    assert ratio.value == pytest.approx(fev1.value / fvc.value)
    assert mid.blow == 2, "FEF25-75 is of the blow with the largest sum of both: 8.85 L"
    assert read.session.grades["pre"] == ("A", "A")
    assert read.repeatability["pre"].fvc == pytest.approx(0.05, abs=0.01)
    assert read.repeatability["pre"].met
    assert read.findings["pre"].pattern == "normal"


def test_nhanes_takes_the_largest_of_every_index(tmp_path: Path) -> None:
    read = session(tmp_path, {"long": blow(5.2, 3.6), "fast": blow(4.2, 3.9), "3": blow(5.1, 3.6)})
    ours, theirs = interpret(read), interpret(read, convention="nhanes")
    assert theirs.values["fef2575"].best["pre"].blow == 2
    assert ours.values["fef2575"].best["pre"].blow != 2


def test_a_person_decides_against_the_rules_and_the_grades_follow(tmp_path: Path) -> None:
    read = session(tmp_path, GOOD, Visit(decisions={"2": Decision(counts=False, who="M. B.", why="leak heard")}))
    assert [one.counts for one in read.blows] == [True, False, True]
    assert read.grades["pre"] == ("B", "B"), "two blows are left"
    assert interpret(read).values["fev1"].best["pre"].blow == 1
    again = recounted(read, {})
    assert [one.counts for one in again.blows] == [True] * 3
    assert again.grades["pre"] == ("A", "A")
    with pytest.raises(SpiroError, match="there is no blow 9; there are 1, 2, 3"):
        recounted(read, {"9": Decision(counts=True)})


@pytest.mark.parametrize(
    ("fvc", "fev1", "pattern", "severity", "prism"),
    [
        (5.0, 3.9, "normal", "none", False),
        (5.0, 2.6, "obstruction", "mild", False),
        (5.0, 1.9, "obstruction", "moderate", False),
        (3.2, 2.6, "restriction", "mild", True),
        (3.3, 1.5, "mixed", "moderate", False),
        (2.4, 0.7, "mixed", "severe", False),
    ],
)
def test_patterns_and_how_severe(
    tmp_path: Path, fvc: float, fev1: float, pattern: str, severity: str, prism: bool
) -> None:
    blows = {str(i): blow(fvc, fev1 - 0.01 * i, seconds=15.2) for i in range(3)}
    found = interpret(session(tmp_path, blows)).findings["pre"]
    assert (found.pattern, found.severity, found.prism) == (pattern, severity, prism)
    assert found.severity_of == ("fvc" if pattern == "restriction" else "fev1")


@pytest.mark.parametrize(
    ("z", "word"), [(-1.64, "none"), (-1.65, "mild"), (-2.5, "mild"), (-2.51, "moderate"), (-4.0, "moderate")]
)
def test_limits_of_severity(z: float, word: str) -> None:
    assert reading_of.severity(z) == word
    assert reading_of.severity(-4.01) == "severe"


def test_a_low_ratio_with_a_normal_fev1_is_said_so(tmp_path: Path) -> None:
    read = interpret(session(tmp_path, {str(i): blow(6.0, 3.5 - 0.01 * i, seconds=15.2) for i in range(3)}))
    assert read.findings["pre"].pattern == "obstruction"
    assert read.findings["pre"].severity == "none"
    assert any("FEV1 is not low" in message for message in read.sentences())


def test_the_bronchodilator_in_one_file_by_names_and_in_two(tmp_path: Path) -> None:
    before = {f"pre {i}": blow(4.8, 2.4 + 0.01 * i, seconds=15.2) for i in range(3)}
    after = {f"post {i}": blow(4.9, 2.75 + 0.01 * i, seconds=15.2) for i in range(3)}
    one = interpret(session(tmp_path, before | after))
    first, second = write(tmp_path / "a.csv", before), write(tmp_path / "b.csv", {n[5:]: f for n, f in after.items()})
    two = interpret(read_session(first, MAN, post=second, btps=1))
    for read in (one, two):
        assert read.session.phases == ("pre", "post")
        assert read.values["fev1"].change is not None
        assert read.values["fev1"].change.absolute == pytest.approx(0.35, abs=0.01)
        by = {response.edition: response for response in read.responses}
        assert by["2005"].fev1, "14 % and 350 mL"
        assert not by["2022"].fev1, "9 % of predicted"
        assert not by["2022"].fvc
    assert [b.name for b in two.session.blows] == ["pre pre 0", "pre pre 1", "pre pre 2", "post 0", "post 1", "post 2"]


@pytest.mark.parametrize(("litres", "by_2022", "by_2005"), [(0.20, False, False), (0.40, True, True)])
def test_who_responds(tmp_path: Path, litres: float, by_2022: bool, by_2005: bool) -> None:
    blows = {f"pre {i}": blow(4.8, 2.2, seconds=15.2) for i in range(2)}
    blows |= {f"post {i}": blow(4.8, 2.2 + litres, seconds=15.2) for i in range(2)}
    found = {r.edition: r.fev1 for r in interpret(session(tmp_path, blows)).responses}
    assert found == {"2022": by_2022, "2005": by_2005}


def test_a_child_is_held_against_the_conditional_change_score_and_an_adult_by_fev1q(tmp_path: Path) -> None:
    child = Person(12.0, 150.0, "female")
    blows = {str(i): blow(2.6, 2.2 - 0.01 * i) for i in range(3)}
    read = interpret(session(tmp_path, blows, Visit(previous=Previous(2.05, 11.0, 144.0)), child))
    assert read.change is not None
    assert read.change.score is not None
    assert not read.change.beyond
    assert reading_of.change_score(-1.0, -3.0, 10.0, 12.0) == pytest.approx((-3 - 0.762 * -1) / math.sqrt(1 - 0.762**2))
    adult = interpret(session(tmp_path, GOOD, Visit(previous=Previous(4.1, 40.0))))
    assert adult.change is not None
    assert adult.change.fev1q == pytest.approx((8.2, 7.8), abs=0.05)


def test_a_slow_vc_gives_fev1_over_vc(tmp_path: Path) -> None:
    read = interpret(session(tmp_path, GOOD, Visit(slow_vc=5.5)))
    assert read.fev1_vc["pre"] == pytest.approx(read.values["fev1"].best["pre"].value / 5.5)
    with pytest.raises(SpiroError, match="slow VC is 55 L; expected"):
        session(tmp_path, GOOD, Visit(slow_vc=55))


def test_low_quality_qualifies_or_withholds_the_pattern(tmp_path: Path) -> None:
    one = interpret(session(tmp_path, {"1": blow(5.0, 3.8)}))
    assert one.session.grades["pre"] == ("E", "E")
    assert any("grade E" in message and "repeat" in message for message in one.sentences())
    short = interpret(session(tmp_path, {"1": blow(6.0, 2.4, seconds=1.6)}))
    assert short.session.grades["pre"].fvc == "U"
    assert short.findings["pre"].withheld == "short fvc"
    assert any("not named" in message for message in short.sentences())
    cut = {"1": blow(5.0, 3.8, seconds=0.5)}
    none = interpret(session(tmp_path, cut))
    assert none.session.grades["pre"] == ("F", "F")
    assert none.findings["pre"].withheld == "no fev1"
    assert none.values["fev1"].best == {}


def test_outside_a_references_people_there_is_nothing(tmp_path: Path) -> None:
    unnamed = interpret(session(tmp_path, GOOD, person=MAN._replace(group=None)))
    assert unnamed.values["pef"].reference is None, "Hankinson 1999 has no equation for all people"
    assert unnamed.values["fef2575"].reference == ("GLI 2012", "other", False)
    read = interpret(session(tmp_path, GOOD))
    assert read.values["pef"].reference == ("Hankinson 1999", "caucasian", True)
    asian = interpret(session(tmp_path, GOOD, person=MAN._replace(group="northeast_asian")), equations="gli_2012")
    assert asian.values["fev1"].reference == ("GLI 2012", "northeast_asian", False)
    with pytest.raises(SpiroError, match="z-scores are given for 3 to 95"):
        session(tmp_path, GOOD, person=MAN._replace(age=99))
    with pytest.raises(SpiroError, match="group is martian; expected one of caucasian"):
        session(tmp_path, GOOD, person=MAN._replace(group="martian"))  # type: ignore[arg-type]


def test_every_sentence_is_said_in_every_language(tmp_path: Path) -> None:
    blows = {f"pre {i}": blow(3.3, 1.5, seconds=15.2) for i in range(3)}
    read = interpret(session(tmp_path, blows, Visit(slow_vc=4.0, previous=Previous(2.0, 40.0))))
    for language in LANGUAGES:
        sentences = read.sentences(language)
        assert len(sentences) == len(read.statements)
        assert not any("{" in sentence for sentence in sentences)
    assert "0,5 L" in " ".join(read.sentences("de"))
    with pytest.raises(SpiroError, match="language is fr"):
        read.sentences("fr")  # type: ignore[arg-type]
    assert all(len(set(row)) == len(LANGUAGES) for row in _TABLE.values())


# The command line


def spiro(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    output = capsys.readouterr()
    return status, output.out, output.err


def test_indices_prints_the_session_and_json_holds_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "mine.csv", GOOD)
    options = (*MAN_OPTIONS, "--btps", "1", "--group", "caucasian", "--reject", "3=leak", "--header", "operator=M. B.")
    status, out, _ = spiro(capsys, "indices", file, *options)
    assert status == 0
    for words in ("best values", "FEV1 grade B", "blow 3 (3) does not count, as decided. leak", "GLI Global 2022"):
        assert words in out
    assert "Not for diagnosis" in out
    session = json.loads(spiro(capsys, "indices", file, *options, "--json", "--report", tmp_path / "p.html")[1])[
        "session"
    ]
    assert "obstruction" not in (tmp_path / "p.html").read_text()
    assert session["values"]["fev1"]["best"]["pre"]["blow"] == 2
    assert session["grades"] == {"pre": {"fev1": "B", "fvc": "B"}}
    assert session["findings"]["pre"]["pattern"] == "normal"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--slow-vc", "4"), "a session needs --age, --height and --sex"),
        ((*MAN_OPTIONS, "--reject", "7"), "there is no blow 7; there are 1, 2, 3"),
        ((*MAN_OPTIONS, "--previous", "soon"), "--previous soon: give FEV1 in L and age in years"),
        ((*MAN_OPTIONS, "--previous", "3.1,60"), "the earlier visit was at 60 years, this one is at 45"),
        ((*MAN_OPTIONS, "--header", "colour=red"), "--header colour=red: give one of date, operator"),
        ((*MAN_OPTIONS, "--equations", "ours"), "--equations ours: expected one of gli_global, gli_2012"),
        ((*MAN_OPTIONS, "--best", "mine"), "--best mine: expected one of ats_ers_2019, nhanes"),
        ((*MAN_OPTIONS, "--post", "none.csv"), "none.csv: no such file"),
    ],
)
def test_what_cannot_be_read_so_ends_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    status, out, err = spiro(capsys, "indices", write(tmp_path / "mine.csv", GOOD), "--btps", "1", *options)
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert words in err


def laboratory(folder: Path) -> Path:
    """Three people with blows, and one whose file is none."""
    folder.mkdir()
    for number in range(3):
        write(folder / f"p{number}.csv", {str(i): blow(4.0 + number, 3.0 - 0.02 * i) for i in range(3)})
    (folder / "p3.csv").write_text("nothing here")
    table = pd.DataFrame({"person": [f"p{i}" for i in range(5)], "age": 40, "height": 170, "sex": "male"})
    table.to_csv(folder / "people.csv", index=False)
    return folder


def test_a_folder_goes_on_after_a_bad_file_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab, out = laboratory(tmp_path / "lab"), tmp_path / "out"
    command = ("sessions", lab, lab / "people.csv", "--out", out, "--btps", "1", "--pages", "html")
    status, output, err = spiro(capsys, *command)
    assert status == 1
    assert "3 sessions read, 0 as before, 2 failed" in output
    assert "p3: " in err
    assert "p4: " in err
    assert err.strip().splitlines()[-1].endswith("2 of 5 sessions could not be read; see above")
    table = pd.read_csv(out / "sessions.csv")
    assert list(table["person"]) == ["p0", "p1", "p2"]
    assert set(table["pre_pattern"]) == {"normal", "obstruction"}
    pages = {page.name: page.stat().st_mtime_ns for page in (out / "pages").iterdir()}
    assert set(pages) == {"p0.html", "p1.html", "p2.html"}
    (lab / "p3.csv").write_bytes((lab / "p0.csv").read_bytes())
    write(lab / "p4.csv", GOOD)
    status, output, _ = spiro(capsys, *command)
    assert (status, "2 sessions read, 3 as before, 0 failed" in output) == (0, True)
    assert len(pd.read_csv(out / "sessions.csv")) == 5
    assert all((out / "pages" / name).stat().st_mtime_ns == at for name, at in pages.items()), (
        "they were not made again"
    )
