"""The file of headline figures, which `dvc metrics show` prints on one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.pipeline import headline


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    """A folder with every figure that is asked for, 12.3456 each."""
    content: dict[str, Any] = {}
    for file, *keys in headline.FIGURES.values():
        place = content.setdefault(file, {})
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = 12.3456
    for file, figures in content.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(json.dumps(figures))
    return tmp_path


def edit(file: Path, **figures: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | figures))


def test_figures_are_short_and_what_is_not_determined_is_null(metrics: Path) -> None:
    edit(metrics / "evaluate/summary.json", best_fev1_crps=0.310274, targets_met=14.0, best_auc_fine=None)
    headline.write(metrics)
    found = json.loads((metrics / "main.json").read_text())
    assert set(found) == set(headline.FIGURES)
    assert (found["crps"], found["met"], found["fine"], found["ae_ml"]) == (0.31, 14, None, 12.3)
    assert '"met": 14,' in (metrics / "main.json").read_text()


def test_a_row_fits_120_columns(metrics: Path) -> None:
    """As DVC prints it: the path and the figures, four blanks between."""
    widest = {name: "0.123" for name in headline.FIGURES} | {"met": "33", "missed": "33", "curves": "100000"}
    widths = [len("metrics/main.json"), *(max(len(name), len(value)) for name, value in widest.items())]
    assert sum(widths) + 4 * (len(widths) - 1) <= 120


def test_a_missing_file_is_named(metrics: Path) -> None:
    (metrics / "reconstruct/summary.json").unlink()
    with pytest.raises(SpiroError, match=r"reconstruct/summary\.json: no such file"):
        headline.write(metrics)


def test_a_figure_that_is_renamed_is_missed(metrics: Path) -> None:
    (metrics / "evaluate/summary.json").write_text("{}")
    with pytest.raises(KeyError):
        headline.write(metrics)
