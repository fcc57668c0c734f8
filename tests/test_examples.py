"""The scripts of docs/examples/ run, and their pages are of the scripts as they are."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from lungs import Lungs
from repository import ROOT

EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def renderer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render", ROOT / "docs" / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_four_scripts() -> None:
    names = ["check_your_spirometer", "generate_a_population", "read_a_session", "teaching_set"]
    assert [script.stem for script in EXAMPLES] == names


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.stem)
@pytest.mark.filterwarnings("ignore:All-NaN slice", "ignore:Mean of empty slice")
def test_a_script_runs_and_draws_what_its_page_shows(
    script: Path, renderer: ModuleType, models: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for drawer in ("SessionEfforts", "SingleEfforts"):  # untrained networks hardly draw what is asked for
        monkeypatch.setattr(f"spiro_diffusion.api.{drawer}", lambda _: Lungs())
    renderer.render(script, tmp_path, models, data)
    page = (tmp_path / f"{script.stem}.md").read_text()
    pictures = re.findall(r"!\[[^]]+\]\((\w+\.png)\)", page)
    assert pictures
    assert sorted(pictures) == sorted(f.name for f in tmp_path.glob("*.png"))
    assert page.count("```text") >= 3  # it printed something


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.stem)
def test_a_page_is_of_its_script(script: Path, renderer: ModuleType) -> None:
    """`python docs/render.py` after a change of a script."""
    page = script.with_suffix(".md").read_text()
    for cell in renderer.cells(script.read_text()):
        if cell.text:
            assert all(line in page for line in cell.source.splitlines())
        else:
            assert f"```python\n{cell.source}\n```" in page
    for picture in re.findall(r"\((\w+\.png)\)", page):
        assert (script.parent / picture).stat().st_size < 200_000
