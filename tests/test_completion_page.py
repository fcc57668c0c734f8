"""The page of completions: a sentence and a picture first, then a verdict that its intervals bear out."""

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spiro_diffusion.reporting import completion_report
from spiro_diffusion.reporting.completion_plots import NAMES


def figure(value: float | None, spread: float = 0.01) -> dict[str, float | None]:
    return {"value": None} if value is None else {"value": value, "low": value - spread, "high": value + spread}


def case(error: float | None, theirs: float | None, coverage: float) -> dict[str, Any]:
    """Figures of one case: errors of FVC in L, of the generator and of every baseline."""
    indices = {
        name: {
            index: {"error": figure(error if name == "generator" else theirs), "crps": figure(0.01)}
            | {f"coverage_{n}": figure(coverage, 0.05) for n in (90, 50)}
            for index in ("fvc", "fef2575")
        }
        for name in NAMES
    }
    sides = {"bias": figure(0.0), "as_recorded": figure(0.1)}
    biased = dict.fromkeys(("predicted_obstructed", "obstructed", "not_obstructed"), sides)
    cells = {"all": {"people": 36, "holds": coverage, "from": coverage - 0.05, "to": coverage + 0.05}}
    return indices | {"ratio_bias": biased, "cells": cells}


@pytest.fixture
def page(tmp_path: Path) -> str:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    cases = {
        "cut_1": case(0.05, 0.09, 0.90),
        "cut_2": case(0.09, 0.05, 0.70),
        "cut_3": case(0.05, 0.055, 0.99),
        "cut_4": case(None, None, 0.90),
    }
    result = {
        "data": {"source": "simulated", "efforts": 36, "split": "test", "part": "test", "draws": 20},
        "cases": cases,
        "natural": {"mended": 0, "efforts": 0, "faults": {}},
        "others": {"reason": "nobody has another effort"},
        "sharpness": {},
    }
    return completion_report.render(result, dict.fromkeys(("errors", "sharpness", "efforts"), tmp_path / "a.png"))


def test_a_sentence_and_a_picture_with_its_legend_come_first(page: str) -> None:
    sentence, picture, table = (page.index(mark) for mark in ('<p class="lead">', "<img", "<table"))
    assert sentence < picture < table
    lead = " ".join(re.sub(r"<[^>]+>", "", page[sentence:picture]).split())
    assert "36 held-out participants (simulated" in lead
    assert "by 50 to 90 mL" in " ".join(lead.replace("FVC by", "by").split())
    assert "Dotted line: the" in page[picture:table]


def test_a_group_whose_interval_does_not_hold_nine_in_ten_is_bold(page: str) -> None:
    row = page[page.index("<tr><th>all</th>") :].split("</tr>", maxsplit=1)[0]
    assert re.findall(r"<strong>(\d+) ", row) == ["70", "99"]
    assert "90 (85 to 95; 36 people)" in row


def test_the_verdict_is_what_the_intervals_say(page: str) -> None:
    (verdict,) = re.findall(r"<h2>The verdict</h2>.*?<tbody>(.*?)</tbody>", page, flags=re.S)
    rows = [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in verdict.split("</tr>")[:-1]]
    better, worse, alike, unknown = rows
    assert " better " in better
    assert "consistent with 90" in better
    assert " worse " in worse
    assert "too narrow" in worse
    assert "no difference shown" in alike
    assert "too wide" in alike
    assert "not determined" in unknown


def test_it_is_for_a_phone_too(page: str) -> None:
    assert 'name="viewport" content="width=device-width' in page
    outside = re.sub(r'<div class="wide" tabindex="0">.*?</div>', "", page, flags=re.S)
    assert "<table" not in outside, "what is wide scrolls in a frame of its own"
    assert "<img" not in outside
