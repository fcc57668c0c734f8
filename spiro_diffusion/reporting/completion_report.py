"""The page of the reconstructions: what was spoiled, how far the draws were off, and what that does not prove."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spiro_diffusion.core.artifacts import read_json, write_text
from spiro_diffusion.reporting import report
from spiro_diffusion.reporting.completion_plots import NAMES, label
from spiro_diffusion.reporting.sources import SOURCES

Figure = dict[str, Any]  # as judge.json has it


def write(folder: Path) -> None:
    """Write the page of a folder from its stored figures and pictures."""
    pictures = {path.stem: path for path in sorted((folder / "plots").glob("*.png"))}
    write_text(folder / "report.html", render(read_json(folder / "judge.json"), pictures))


def render(result: dict[str, Any], pictures: Mapping[str, Path]) -> str:
    """The page as HTML; `result` is what the stage writes as `judge.json`."""
    source = SOURCES[result["data"]["source"]]
    natural = result["natural"]
    return report.template("reconstruction.html.j2").render(
        data=result["data"],
        source=source.label,
        explanation=source.explanation,
        cases={label(name): case for name, case in result["cases"].items()},
        candidates={name: NAMES[name] for name in NAMES},
        natural=natural,
        others=result["others"] | {"cases": {label(n): c for n, c in result["others"].get("cases", {}).items()}},
        ml=_ml,
        number=lambda figure: _cell(figure, 1, 3),
        percent=lambda figure: _cell(figure, 100, 1),
        pictures={name: report.inline(path) for name, path in pictures.items() if path.exists()},
    )


def _ml(figure: Figure) -> report.Cell:
    return _cell(figure, 1000, 0)


def _cell(figure: Figure, scale: float, digits: int) -> report.Cell:
    if figure["value"] is None:
        return report.Cell("–")
    interval = f"{scale * figure['low']:.{digits}f} to {scale * figure['high']:.{digits}f}" if "low" in figure else ""
    return report.Cell(f"{scale * figure['value']:.{digits}f}", interval)
