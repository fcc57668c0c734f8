"""The command `selftest`: check the index computation against the limits of ATS/ERS, ISO 26782 and our own."""

from pathlib import Path
from typing import Annotated

import typer

from spiro_diffusion.cli.program import command
from spiro_diffusion.cli.screen import print_line, wrote
from spiro_diffusion.core.errors import SpiroError


@command("spiro selftest --page selftest.md")
def selftest(
    folder: Annotated[
        Path | None, typer.Argument(help="A folder of standard waveforms ([Data] with VT or FT).", show_default=False)
    ] = None,
    syringe: Annotated[
        Path | None,
        typer.Option(help="A CSV of a syringe's strokes, as `spiro indices` reads it.", show_default=False),
    ] = None,
    volume: Annotated[float, typer.Option(help="The syringe's volume, L.", min=0.5, max=10)] = 3.0,
    btps: Annotated[float, typer.Option(help="BTPS factor already applied to the strokes.", min=0.9, max=1.2)] = 1.0,
    page: Annotated[
        Path | None, typer.Option(help="Write the whole report here (Markdown).", show_default=False)
    ] = None,
) -> None:
    """Compute the indices of known waveforms and print the error of each; exit status 1 beyond a limit.

    Default: built-in waveforms with closed-form indices.
    """
    from spiro_diffusion import user_curves  # noqa: PLC0415
    from spiro_diffusion.core.artifacts import atomic  # noqa: PLC0415
    from spiro_diffusion.physiology import selftest as checks  # noqa: PLC0415
    from spiro_diffusion.physiology import syringe as syringe_check  # noqa: PLC0415

    if syringe is not None:
        records = [(record.flow, record.period_s) for record in user_curves.read_records(syringe, btps=1.0)]
        found = syringe_check.check(records, volume, btps)
        text, failed = found.markdown(volume), bool(found.faults)
        printed = text
    else:
        results = checks.known_waveforms() if folder is None else checks.standard_waveforms(folder)
        tested = "the built-in waveforms" if folder is None else f"the waveforms of {folder.name}"
        text, failed = checks.report(results, tested), any(result.beyond() for result in results)
        printed = checks.report(results, tested, every=False)
    if page is not None:
        with atomic(page) as part:
            part.write_text(text, encoding="utf-8")
    typer.echo(printed, nl=False)
    if page is not None:
        wrote([page])
    elif printed != text:
        print_line("every measurement: --page FILE writes the whole report")
    if failed:
        raise SpiroError("beyond a limit; see the table")
