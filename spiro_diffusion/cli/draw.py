"""Commands that draw from the generator: `generate`, `cohort`, `export`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from spiro_diffusion.cli.options import MODELS, AsJson, Conditions, Draws, Force, Models, Output, Requests, Subject
from spiro_diffusion.cli.program import command
from spiro_diffusion.cli.screen import print_indices, print_json, print_line, print_table, records, warn, wrote
from spiro_diffusion.core.errors import SpiroError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class People:
    """A table of subjects."""

    people: Annotated[
        Path | None, typer.Option(help="CSV: age, height, sex; optional grade, test_type, pattern ...")
    ] = None
    skip_invalid: Annotated[bool, typer.Option("--skip-invalid", help="Skip invalid rows of --people.")] = False

    def table(self, subject: Subject) -> "pd.DataFrame | dict[str, Any]":
        """The subjects of the file, or the one given by options.

        Raises SpiroError if both or neither are given.
        """
        from spiro_diffusion.generation.subjects import read_people  # noqa: PLC0415 (pandas)

        given = subject.keywords()
        if self.people is not None:
            if given:
                raise SpiroError("give --people or --age, --height and --sex, not both")
            return read_people(self.people)
        missing = [f"--{name}" for name in vars(subject) if name not in given]
        if missing:
            raise SpiroError(f"{', '.join(missing)} missing; give --age, --height and --sex, or --people FILE")
        return given


@dataclass(frozen=True)
class Files:
    """Output files."""

    out: Annotated[Path | None, typer.Option(help="Curves as .csv, .parquet or .npz, with *_indices.csv.")] = None
    plot: Annotated[Path | None, typer.Option(help="Plot of the curves, .png.")] = None
    wide: Annotated[bool, typer.Option("--wide", help="One row for each curve, columns t_-0.50 ...")] = False
    grid: Annotated[
        Literal["10ms", "512"], typer.Option(help="Time axis of the file: every 10 ms, or the model's 512 samples.")
    ] = "10ms"

    def checked(self, force: bool) -> list[Path]:
        """All output files.

        Raises SpiroError if one exists already, or has an unknown ending.
        """
        from spiro_diffusion.generation import curve_files  # noqa: PLC0415 (pandas)

        if self.wide and (self.out is None or self.out.suffix.lower() == ".npz"):
            raise SpiroError("--wide is for --out with .csv or .parquet; .npz has a row a curve anyway")
        if self.grid != "10ms" and self.out is None:
            raise SpiroError("--grid is for --out; give --out too")
        indices = self.out and curve_files.indices_path(self.out)
        return curve_files.check_files(force, (self.out, curve_files.ENDINGS), (indices, ()), (self.plot, (".png",)))


@dataclass(frozen=True)
class Efforts:
    """Which efforts are drawn."""

    any_effort: Annotated[bool, typer.Option("--any-effort", help="Draw any effort, not a person's best.")] = False
    session: Annotated[
        int | None,
        typer.Option(min=1, max=8, help="Draw sessions of so many efforts of one lung; -n sessions for each person."),
    ] = None
    after: Annotated[
        int, typer.Option(min=0, max=8, help="With --session: efforts after two puffs of a bronchodilator.")
    ] = 0


@command("spiro generate --age 45 --height 175 --sex male -n 20 --seed 0 --out curves.csv")
def generate(
    subject: Subject,
    people: People,
    conditions: Conditions,
    requests: Requests,
    draws: Draws,
    files: Files,
    output: Output,
    efforts: Efforts,
) -> None:
    """Draw curves: best acceptable efforts before a bronchodilator, unless others are chosen.

    Known values of a patient, a pattern or a kind of effort can be requested; the rest is drawn (docs/patients.md).

    Flow in L/s and volume in L at BTPS, every 10 ms from -0.50 s; time zero is at 0.
    """
    from spiro_diffusion.generation import curve_files, drawn_curves  # noqa: PLC0415
    from spiro_diffusion.generation.intended_use import trained_on  # noqa: PLC0415

    table, paths = people.table(subject), files.checked(output.force)

    from spiro_diffusion.api import SpiroGenerator  # noqa: PLC0415 (torch)

    progress = not output.as_json and sys.stderr.isatty()
    generator = SpiroGenerator.from_checkpoint(draws.models)
    common: dict[str, Any] = {"n": draws.draws, "seed": draws.seed, "skip_invalid": people.skip_invalid, "tell": warn}
    if efforts.session is None:
        if efforts.after:
            raise SpiroError(
                "--after is for --session: give the number of efforts before too, as --session 6 --after 4"
            )
        common |= {"any_effort": efforts.any_effort, "progress": progress}
        curves = generator.generate(table, **common, **vars(conditions), **vars(requests))
    else:
        given = {name: value for name, value in {**vars(conditions), **vars(requests)}.items() if value is not None}
        if given.keys() & {"grade", "test_type"} or efforts.any_effort:
            raise SpiroError(
                "--session draws the grade of each effort; leave out --grade, --test-type and --any-effort"
            )
        curves = generator.sessions(table, efforts=efforts.session, after=efforts.after, **common, **given)
    indices = curves.indices()
    if files.out:
        curve_files.write_curves(files.out, curves, progress, wide=files.wide, grid=files.grid)
        curve_files.write_indices(curve_files.indices_path(files.out), indices)
    if files.plot:
        curves.plot(files.plot)
    if output.as_json:
        print_json({"files": [str(f) for f in paths], "seed": draws.seed, "curves": records(indices)})
        return
    first = ["person", "draw"] if efforts.session is None else ["draw", "effort", "test_type", "grade"]
    print_indices(indices, f"{drawn_curves.counted(len(curves))}: {drawn_curves.summary(curves.people)}", first)
    print_line(f"the model was trained on {trained_on(generator.made_from)}; not for diagnosis")
    wrote(paths)


@command("spiro cohort -n 1000 --seed 0 --out cohort")
def cohort(
    people: Annotated[int, typer.Option("-n", "--people", min=1, help="Number of people.")] = 10_000,
    retests: Annotated[int, typer.Option(min=0, max=100, help="Further visits of each person.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same people and curves.")] = 0,
    out: Annotated[Path, typer.Option(help="Output folder: efforts, people, data card, metadata.")] = Path("cohort"),
    models: Models = MODELS,
    data: Annotated[Path, typer.Option(help="Folder with curves.parquet, the participants to model people on.")] = Path(
        "data"
    ),
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """Draw a synthetic population, weighted as the survey's participants, into a folder ready to publish.

    It contains efforts in parts of bounded size, a table of people, a data card with prevalences beside those of the
    survey, Croissant and RO-Crate metadata, licence, citation and checksums (docs/datasets.md).
    """
    from spiro_diffusion.cohorts import card, folder  # noqa: PLC0415 (pandas)

    folder.check(out, force)

    from spiro_diffusion.api import SpiroGenerator  # noqa: PLC0415 (torch)

    progress = not as_json and sys.stderr.isatty()
    written = SpiroGenerator.from_checkpoint(models).write_cohort(
        out, people, seed, retests=retests, data=data, force=force, progress=progress, tell=warn
    )
    drawn, rate = written.drawn, written.seconds_per_1000
    if as_json:
        given: dict[str, Any] = {"seed": seed, "people": people, "retests": retests, "efforts": drawn.efforts}
        print_json({"files": [str(f) for f in written.files], **given, "seconds_per_1000_efforts": round(rate, 3)})
        return
    rows = card.shares(written.participants, drawn.means)
    print_table("people by best values", ("", "participants, weighted", "drawn"), rows)
    print_line(f"{people} people, {drawn.efforts} efforts in {drawn.seconds:.1f} s: {rate:.2f} s per 1,000 efforts")
    wrote([out / folder.CARD])
    print_line(f"and {len(written.files) - 1} files beside it")


@command("spiro export --out onnx && python onnx/sample.py --age 45 --height 175 --sex male")
def export(
    out: Annotated[Path, typer.Option(help="Output folder: the networks, their constants and sample.py.")] = Path(
        "onnx"
    ),
    models: Models = MODELS,
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """Export the generator to ONNX: the same curves with numpy and onnxruntime alone."""
    from spiro_diffusion.api import SpiroGenerator  # noqa: PLC0415
    from spiro_diffusion.engines import onnx_export  # noqa: PLC0415 (torch)
    from spiro_diffusion.generation import curve_files  # noqa: PLC0415

    curve_files.check_files(force, *((out / name, ()) for name in onnx_export.FILES))
    generator = SpiroGenerator.from_checkpoint(models, device="cpu")
    files = generator.export(out, tell=warn)
    difference = generator.export_difference(out)
    if as_json:
        print_json({"files": [str(f) for f in files], "largest_difference_l_s": difference})
        return
    wrote(files)
    if difference is None:
        print_line("not compared: onnxruntime is not installed (`python -m pip install onnxruntime`)")
    else:
        print_line(f"{onnx_export.COMPARED} curves drawn by both differ by at most {difference:.1e} L/s")
