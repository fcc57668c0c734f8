"""Options shared by several commands, as dataclasses that `program.command` expands."""

from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.conditions import CONDITIONS

if TYPE_CHECKING:
    from spiro_diffusion.user_curves.tables import Person

Models = Annotated[
    str,
    typer.Option(help="Model: a folder, a .zip, its address or a name. Default: `models`, or that of the wheel."),
]
Btps = Annotated[
    float | None, typer.Option(help="Factor to BTPS for a file that does not state it; 1 for data at BTPS.")
]
Calibration = Annotated[
    Path | None, typer.Option(help="Corrected intervals: a file made by `spiro reconstruct --calibrate`.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON only.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
Folder = Annotated[Path, typer.Option(help="Folder of the pipeline, or of a run such as runs/full.")]
MODELS = "models"
PATTERN = (
    "normal, obstruction, possible-restriction, possible-mixed, low-fev1 (ERS/ATS 2022); prism; gold-1 to gold-4 of "
    "adults, drawn after a bronchodilator: two puffs, at least ten minutes."
)


@dataclass(frozen=True)
class Subject:
    """Age, height and sex."""

    age: Annotated[float | None, typer.Option(help="Years.")] = None
    height: Annotated[float | None, typer.Option(help="Standing height in cm.")] = None
    sex: Annotated[str | None, typer.Option(help="male or female.")] = None

    def keywords(self) -> dict[str, Any]:
        """The options that are given."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def person(self, what: str) -> "Person | None":
        """All three, or None if none is given; `what` names what needs them.

        Raises SpiroError if only some are given.
        """
        from spiro_diffusion.user_curves.tables import Person  # noqa: PLC0415 (pandas)

        given = self.keywords()
        if given and len(given) < len(vars(self)):
            raise SpiroError(f"{what} --age, --height and --sex, all three")
        return Person(**given) if given else None


KNOWN = "2.5, 2.2:2.8, 80%, 70%:80%, z-1.7 or z-2:z-1"
REQUESTS = "Patients on request"  # panels of the help
AS_ABOVE = "as --fev1"


def _known(index: str, help: str) -> Any:
    return typer.Option(help=f"{index}, {help}", rich_help_panel=REQUESTS, metavar="VALUE")


@dataclass(frozen=True)
class Requests:
    """Known values of a patient, and requirements on the curves."""

    fev1: Annotated[str | None, _known("FEV1", f"L, % of predicted or z: {KNOWN}; of the drawn curve.")] = None
    fvc: Annotated[str | None, _known("FVC", f"L, {AS_ABOVE}.")] = None
    ratio: Annotated[str | None, _known("FEV1/FVC", f"0 to 1, {AS_ABOVE}; % is of predicted (GLI Global).")] = None
    pef: Annotated[str | None, _known("PEF", f"L/s, {AS_ABOVE}; expected by Hankinson 1999.")] = None
    fef2575: Annotated[str | None, _known("FEF25-75", f"L/s, {AS_ABOVE}; expected by GLI 2012.")] = None
    pattern: Annotated[str | None, typer.Option(help=PATTERN, rich_help_panel=REQUESTS)] = None
    effort: Annotated[
        str | None, typer.Option(help="poor, cough, early-stop or slow-start (ATS/ERS 2019).", rich_help_panel=REQUESTS)
    ] = None
    weight: Annotated[float | None, typer.Option(help="kg.", rich_help_panel=REQUESTS)] = None
    bmi: Annotated[float | None, typer.Option(help="kg/m2, instead of --weight.", rich_help_panel=REQUESTS)] = None
    ethnicity: Annotated[
        str | None,
        typer.Option(
            help="RIDRETH1: 1 mexican_american, 2 other_hispanic, 3 white, 4 black, 5 other.", rich_help_panel=REQUESTS
        ),
    ] = None
    cycle: Annotated[str | None, typer.Option(help="NHANES cycle, E, F or G.", rich_help_panel=REQUESTS)] = None


@dataclass(frozen=True)
class Draws:
    """Number of draws, seed and model."""

    draws: Annotated[int, typer.Option("-n", "--draws", min=1, help="Curves for each person.")] = 20
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same curves.")] = 0
    models: Models = MODELS


@dataclass(frozen=True)
class Output:
    """Form of the output."""

    as_json: AsJson = False
    force: Force = False


def _condition_fields() -> list[tuple[str, Any, Any]]:
    return [(c.name, Annotated[str | None, typer.Option(help=c.help)], field(default=None)) for c in CONDITIONS]


Conditions: Any = make_dataclass("Conditions", _condition_fields(), frozen=True)  # an option for each of CONDITIONS
