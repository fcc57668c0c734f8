"""The report of completions: interrupted efforts, errors of the draws, and limitations."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from spiro_diffusion.core import artifacts
from spiro_diffusion.core.vocabulary import SEXES
from spiro_diffusion.evaluation import groups
from spiro_diffusion.reporting import cells, completion_plots, report
from spiro_diffusion.reporting.completion_plots import LABELS, NAMES
from spiro_diffusion.reporting.sources import source_of

Figure = dict[str, Any]  # as judge.json holds it
GROUPS = {  # of `completion_cells`, in words
    "all": "all",
    **{word: word for word in SEXES.values()},
    **{f"{low}_{high}": f"{low} to {high} years" for low, high in groups.AGE_BANDS},
    **{name: name.replace("_", " ").title() for name in groups.ETHNICITIES.values()},
    "predicted_obstructed": "obstructed, as predicted",
    "predicted_unobstructed": "not obstructed, as predicted",
}


def write(folder: Path) -> None:
    """Write `plots/` and `report.html` into a folder with `judge.json` and `plot_data.npz` of `reconstruct`."""
    result = artifacts.read_json(folder / "judge.json")
    pictures = {
        "errors": partial(completion_plots.errors, result),
        "sharpness": partial(completion_plots.sharpness, result),
        "efforts": partial(completion_plots.efforts, artifacts.read_npz(folder / "plot_data.npz")),
    }
    artifacts.write_text(folder / "report.html", render(result, report.draw(folder / "plots", pictures)))


def render(result: dict[str, Any], pictures: Mapping[str, Path]) -> str:
    """The page as HTML; `result` is what the stage writes as `judge.json`."""
    source = source_of(result["data"]["source"])
    others, judged = result["others"], {name for case in result["cases"].values() for name in case["cells"]}
    return report.template("reconstruction.html.j2").render(
        data=result["data"],
        source=source.label,
        explanation=source.explanation,
        cases={LABELS[name]: case for name, case in result["cases"].items()},
        cell_names={name: words for name, words in GROUPS.items() if name in judged},
        candidates=NAMES,
        natural=result["natural"],
        others=others | {"cases": {LABELS[name]: case for name, case in others.get("cases", {}).items()}},
        ml=_ml,
        number=lambda figure: _cell(figure, 1, 3),
        percent=lambda figure: _cell(figure, 100, 1),
        pictures={name: report.inline(path) for name, path in pictures.items()},
    )


def _ml(figure: Figure) -> cells.Cell:
    return _cell(figure, 1000, 0)


def _cell(figure: Figure, scale: float, digits: int) -> cells.Cell:
    if figure["value"] is None:
        return cells.Cell("–")
    value, *ends = (
        f"{round(scale * figure[k], digits) + 0.0:.{digits}f}" for k in ("value", "low", "high") if k in figure
    )
    return cells.Cell(value, " to ".join(ends))
