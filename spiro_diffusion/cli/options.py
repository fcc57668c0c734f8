"""Options that several commands share, in groups: each a dataclass, which `program.command` takes apart."""

from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.conditions import CONDITIONS

if TYPE_CHECKING:
    from spiro_diffusion.user_curves.tables import Person

Models = Annotated[Path, typer.Option(help="Folder with vqvae.safetensors and cldm.safetensors.")]
Btps = Annotated[
    float | None, typer.Option(help="Factor to BTPS of a file that does not say its own; 1 where it is at BTPS.")
]
Calibration = Annotated[
    Path | None, typer.Option(help="Corrects intervals: a file that `spiro reconstruct --calibrate` made.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Write over files that are there.")]
Folder = Annotated[Path, typer.Option(help="Folder of the pipeline, or of a run as runs/full.")]
MODELS = Path("models")


@dataclass(frozen=True)
class Subject:
    """Age, height and sex."""

    age: Annotated[float | None, typer.Option(help="Years.")] = None
    height: Annotated[float | None, typer.Option(help="Standing height in cm.")] = None
    sex: Annotated[str | None, typer.Option(help="male or female.")] = None

    def keywords(self) -> dict[str, Any]:
        """Those that are given."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def person(self, what: str) -> "Person | None":
        """All three, or None where none is given; `what` needs them.

        Raises SpiroError where only some are given.
        """
        from spiro_diffusion.user_curves.tables import Person  # noqa: PLC0415 (pandas)

        given = self.keywords()
        if given and len(given) < len(vars(self)):
            raise SpiroError(f"{what} --age, --height and --sex, all three")
        return Person(**given) if given else None


@dataclass(frozen=True)
class Draws:
    """How many, from which seed, by which models."""

    draws: Annotated[int, typer.Option("-n", "--draws", min=1, help="Curves for each person.")] = 20
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same curves.")] = 0
    models: Models = MODELS


@dataclass(frozen=True)
class Output:
    """How results are printed and written."""

    as_json: AsJson = False
    force: Force = False


def _condition_fields() -> list[tuple[str, Any, Any]]:
    return [(c.name, Annotated[str | None, typer.Option(help=c.help)], field(default=None)) for c in CONDITIONS]


Conditions: Any = make_dataclass("Conditions", _condition_fields(), frozen=True)  # an option for each of CONDITIONS
