"""The figures of docs/results.md are those of the committed files in metrics/full/."""

import re

import pytest
from repository import ROOT

from spiro_diffusion.core.artifacts import read_json

FULL = ROOT / "metrics/full"
PAGE = (ROOT / "docs/results.md").read_text(encoding="utf-8")
LEVELS = {"every": "Every effort", "best": "Best acceptable effort"}
INDICES = {"fev1": "FEV1", "fvc": "FVC", "pef": "PEF", "fef2575": "FEF25-75"}
ROWS = {  # the row's beginning, the figure's name in summary.json, its form, the factor
    "residual SD of {}, over that of held-out curves": ("{}_residual_sd_ratio", ".3f", 1),
    "coverage of 80 % intervals, {}": ("{}_coverage_80", ".1f", 100),
    "CRPS of {}": ("{}_crps", ".3f", 1),
}


def cell_of(section: str, row: str) -> str:
    """The generator's value in a row of a section, without its unit and interval."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE, flags=re.M | re.S)
    (value,) = re.findall(rf"^\| {re.escape(row)} \| ([-+\d.]+)", text, flags=re.M)
    return value


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("row", ROWS)
def test_a_figure_is_that_of_the_summary(level: str, index: str, row: str) -> None:
    name, form, factor = ROWS[row]
    value = read_json(FULL / "summary.json")[f"{level}_{name.format(index)}"]
    assert cell_of(LEVELS[level], row.format(INDICES[index])) == format(factor * value, form)


def test_targets_and_their_verdicts_are_those_of_the_run() -> None:
    targets = read_json(FULL / "targets.json")
    rows = re.findall(r"^\| (.+?) \| [\w ]+ \| \*\*([\w ]+)\*\* \|", PAGE, flags=re.M)
    assert rows == [(target["text"], target["verdict"].replace("_", " ")) for target in targets]


def test_the_page_names_data_machine_and_numbers() -> None:
    about = read_json(FULL / "about.json")
    judged = about["judged"]
    for line in (about["data"], about["machine"], f"Commit {about['commit']}"):
        assert line in PAGE
    assert f"{judged['training_curves']:,} efforts of {judged['training_participants']:,} participants" in PAGE
    assert f"{judged['curves']:,} efforts of {judged['participants']} {judged['split']} participants judge" in PAGE
