"""A session of one lung on the page: what is shown of it, without a browser."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from plotly.utils import PlotlyJSONEncoder

from spiro_diffusion.api import Person, SpiroGenerator, read_session
from spiro_diffusion.app import drawn_session_table, generate
from spiro_diffusion.app.drawn_session import DrawnSession, as_recorded, drawn_session
from spiro_diffusion.app.requests import Drawer, Request
from spiro_diffusion.generation.drawn_curves import Curves
from spiro_diffusion.physiology import reference, time_grid

CONTROLS: dict[str, Any] = {"age": 45, "height": 175, "sex": "male", "n": 32, "guidance": 1, "seed": 0}
CONTROLS |= {"effort": "best", "draw": "session", "before": 8, "after": 0, "spoiled": "either", "pattern": "either"}


def blown(*efforts: tuple[str, str, float, float]) -> Curves:
    """A man's efforts of a test type, a grade, an FVC (L) and a share of it expired in 1 s, by one time constant."""
    kinds, grades, fvc, ratio = zip(*efforts, strict=True)
    after = np.maximum(time_grid.EDGES_S, 0)[None]
    tau = -1 / np.log1p(-np.array(ratio))[:, None]
    volume = np.array(fvc)[:, None] * (1 - np.exp(-np.minimum(after, 12) / tau))
    signals = (np.diff(volume, axis=1) / time_grid.WIDTHS_S).astype(np.float32)
    people = pd.DataFrame({"age": [45.0], "height": [175.0], "sex": [1]})
    numbers = pd.Series(kinds).groupby(list(kinds)).cumcount() + 1
    table = pd.DataFrame({"effort": numbers, "test_type": kinds, "grade": grades, "best": False})
    nobody = np.zeros(len(efforts), dtype=np.int64)
    return Curves(people, nobody, nobody, signals, people, table)


@pytest.fixture(scope="module")
def seen() -> DrawnSession:
    before = ("Pre", "A", 4.0, 0.60), ("Pre", "C", 3.9, 0.62), ("Pre", "D", 4.5, 0.70)
    return drawn_session(blown(*before, ("Bron", "B", 4.2, 0.68), ("Bron", "A", 3.8, 0.65)))


@pytest.fixture(scope="module")
def drawer(models: Path) -> Drawer:
    return Drawer(SpiroGenerator.from_checkpoint(models))


def outputs(drawer: Drawer, **change: Any) -> dict[str, Any]:
    return generate.outputs(drawer, generate.Sent(CONTROLS | change, None, None))


def words(components: Any) -> str:
    return json.dumps(components, cls=PlotlyJSONEncoder, ensure_ascii=False)


def test_a_poor_effort_gives_no_best_value_and_best_values_may_be_of_two_efforts(seen: DrawnSession) -> None:
    rows = {row.name: row for row in seen.rows}
    assert rows["fvc"].best["pre"].value == pytest.approx(4.0, abs=0.01)  # not 4.5 L of the effort of grade D
    assert rows["fev1"].best["pre"].value == pytest.approx(3.9 * 0.62, abs=0.01)
    assert rows["ratio"].best["pre"].value == pytest.approx(3.9 * 0.62 / 4.0, abs=0.005)
    assert rows["fvc"].gap["pre"] == pytest.approx(0.1, abs=0.01)
    assert rows["fvc"].gap["post"] == pytest.approx(0.4, abs=0.01)
    best = seen.efforts[seen.efforts["best"]]
    assert list(zip(best["phase"], best["number"], strict=True)) == [("pre", 1), ("post", 1)]
    expected = reference.gli_global("fev1", 45, 175, 1)
    assert rows["fev1"].best["pre"].z == pytest.approx(float(expected.z(3.9 * 0.62)), abs=0.02)


def test_the_change_is_of_the_best_values_and_the_response_of_predicted(seen: DrawnSession) -> None:
    change = {row.name: row.change for row in seen.rows}["fev1"]
    rise = 4.2 * 0.68 - 3.9 * 0.62
    assert change is not None
    assert change.absolute == pytest.approx(rise, abs=0.01)
    assert change.percent == pytest.approx(100 * rise / (3.9 * 0.62), abs=0.3)
    median = float(reference.gli_global("fev1", 45, 175, 1).m)
    assert change.percent_predicted == pytest.approx(100 * rise / median, abs=0.3)
    assert seen.responded == ["fev1"]
    text = words(drawn_session_table.sentences(seen))
    assert "Before the bronchodilator: obstruction." in text
    assert "After the bronchodilator: obstruction, GOLD 2." in text
    assert "A response in FEV₁ by ERS/ATS 2022" in text


def test_the_tables_say_grade_change_and_what_does_not_repeat(seen: DrawnSession) -> None:
    whole = words(drawn_session_table.tables(seen))
    for text in ("two puffs, at least ten minutes", "beyond 150 mL", "within 150 mL", "+200 mL", "% pred."):
        assert text in whole
    best, _, efforts = drawn_session_table.tables(seen)
    assert len(efforts.children[1].children) == 5 + 2  # the efforts, and a line above those of each phase
    titles = [line.children[0].children for line in best.children[1].children]
    assert titles[0] == "Lower limit of normal"
    assert titles[1:] == ["Best before", "Best less second best", "Best after", "Best less second best", "Change"]


def test_where_no_effort_is_good_there_are_no_best_values() -> None:
    poor = drawn_session(blown(("Pre", "D", 3.0, 0.7), ("Pre", "D", 3.1, 0.7)))
    assert poor.patterns == {}
    assert not poor.efforts["best"].any()
    assert "no effort of grade A, B or C" in words(drawn_session_table.sentences(poor))
    assert "–" in words(drawn_session_table.tables(poor))


def test_the_best_effort_is_drawn_strong_and_over_the_others(drawer: Drawer) -> None:
    answer = outputs(drawer, after=3)
    for plot in (answer["loop"], answer["spirogram"]):
        efforts = [trace for trace in plot.data if trace.line.dash is None]
        assert len(efforts) == 8 + 3
        assert len({trace.line.color for trace in efforts}) in (2, 3, 4)  # before and after, light and strong
        widths = [trace.line.width for trace in efforts]
        assert widths == sorted(widths)
    assert answer["subject"] == "Simulated session of 11 efforts: male, 45 y, 175 cm"
    assert "two puffs, at least ten minutes" in words(answer["notes"])
    assert "no person made them" in answer["hint"]
    assert "Not for diagnosis" in answer["hint"]


def test_what_is_asked_of_the_patient_reaches_the_generator(drawer: Drawer, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    draw = SpiroGenerator.sessions

    def noted(self: SpiroGenerator, **keywords: Any) -> Curves:
        calls.append(keywords)
        names = ("age", "height", "sex", "seed", "n", "efforts", "after", "tell")
        return draw(self, **{name: keywords[name] for name in names})

    monkeypatch.setattr(SpiroGenerator, "sessions", noted)
    sent = CONTROLS | {"before": 3, "after": 2, "pattern": "gold-2", "spoiled": "cough", "fev1": " 60%:70% ", "pef": ""}
    drawer(Request.checked(**sent))
    (keywords,) = calls
    assert (keywords["efforts"], keywords["after"], keywords["n"]) == (3, 2, 1)
    assert (keywords["pattern"], keywords["effort"], keywords["fev1"]) == ("gold-2", "cough", "60%:70%")
    assert "pef" not in keywords
    assert Request.checked(**sent).name == "male_45y_175cm_session_gold-2_seed0"


def test_a_saved_session_is_read_as_a_session(drawer: Drawer, tmp_path: Path) -> None:
    curves = blown(("Pre", "A", 4.0, 0.6), ("Pre", "A", 3.9, 0.62), ("Bron", "A", 4.2, 0.68))
    as_recorded(curves).to_csv(tmp_path / "session.csv", index=False)
    read = read_session(tmp_path / "session.csv", Person(45, 175, "male"))
    assert [blow.name for blow in read.blows] == ["pre 1", "pre 2", "post 1"]
    assert [blow.indices["fvc"] for blow in read.blows] == pytest.approx([4.0, 3.9, 4.2], abs=0.02)
    sent = generate.Sent(CONTROLS | {"before": 2}, None, None)
    saved = {what: generate.saved(drawer, sent, what) for what in generate.DOWNLOADS}
    assert saved["curves"]["filename"] == "curves_male_45y_175cm_session_seed0.csv"
    assert saved["curves"]["content"].startswith("curve,time_s,flow_l_s\npre 1,")
    assert saved["indices"]["content"].startswith("person,draw,effort,test_type,grade,best")
    assert saved["picture"]["filename"].endswith(".png")
