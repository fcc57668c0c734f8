"""The command `convert`: user curves from any readable format to any writable one."""

from pathlib import Path
from typing import Annotated

import typer

from spiro_diffusion.cli.options import Btps, Force
from spiro_diffusion.cli.program import command
from spiro_diffusion.cli.screen import print_error, wrote
from spiro_diffusion.core.errors import SpiroError

ENDINGS = {".csv": "csv", ".txt": "ukb", ".json": "fhir"}


@command("spiro convert session.xml session.csv")
def convert(
    file: Annotated[Path, typer.Argument(help="Efforts in any format of docs/formats.md; or NHANES's SPXRAW.")],
    out: Annotated[Path, typer.Argument(help=".csv, .txt (UK Biobank field 3066) or .json (FHIR R4).")],
    btps: Btps = None,
    seqn: Annotated[int | None, typer.Option(help="Only this participant of SPXRAW.")] = None,
    force: Force = False,
) -> None:
    """Convert the forced expirations of a file to another format: flow every 10 ms at BTPS."""
    from spiro_diffusion.generation import curve_files  # noqa: PLC0415 (pandas)
    from spiro_diffusion.user_curves import WRITERS, read  # noqa: PLC0415

    curve_files.check_files(force, (out, tuple(ENDINGS)))
    if out.exists() and file.exists() and out.samefile(file):
        raise SpiroError(f"{out}: is the input file; give another name")
    found = read(file, btps=btps, seqn=seqn, people=False)
    WRITERS[ENDINGS[out.suffix.lower()]](out, found)
    for note in found.notes:
        print_error(f"note: {note}")
    wrote([out])
