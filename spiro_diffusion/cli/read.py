"""Commands that read user curves: `indices`, `reconstruct`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spiro_diffusion.cli.options import MODELS, Btps, Calibration, Draws, Models, Output, Subject
from spiro_diffusion.cli.program import command
from spiro_diffusion.cli.screen import (
    print_error,
    print_indices,
    print_json,
    print_line,
    print_table,
    records,
    warn,
    wrote,
)
from spiro_diffusion.cli.session import Reading, Sheet, as_json, print_session
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.vocabulary import INDICES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from spiro_diffusion.reconstruction.completion import Recovered
    from spiro_diffusion.user_curves import UserCurves


@dataclass(frozen=True)
class Written:
    """Output files of indices."""

    out: Annotated[Path | None, typer.Option(help="Table of all columns, .csv.")] = None
    report: Annotated[Path | None, typer.Option(help="One-page report of the session, .pdf or .html.")] = None


@command("spiro indices mine.csv --age 45 --height 175 --sex male")
def indices(
    file: Annotated[Path, typer.Argument(help="Efforts in any format of docs/formats.md; or NHANES's SPXRAW.")],
    subject: Subject,
    reading: Reading,
    sheet: Sheet,
    results: Written,
    output: Output,
    seqn: Annotated[int | None, typer.Option(help="Only this participant of SPXRAW.")] = None,
    btps: Btps = None,
) -> None:
    """Indices of recorded curves; with age, height and sex also GLI Global z-scores, acceptability, session grades.

    CSV: time in s; flow in L/s or volume in L at BTPS; a column `curve` distinguishes efforts. A record may contain the
    inspirations before and after an effort, and several efforts. NHANES: SPXRAW_G.zip and the like, a table of
    data/repaired, or a CSV with columns SPAFACT and SPXRAW; age, height and sex come from DEMO and BMX in the same
    folder. The efforts of one person are one session: its best values and their interpretation.
    """
    from spiro_diffusion.generation import curve_files  # noqa: PLC0415
    from spiro_diffusion.sessions.reading import phases_of  # noqa: PLC0415
    from spiro_diffusion.user_curves import read  # noqa: PLC0415
    from spiro_diffusion.user_curves.tables import people_table, person_table  # noqa: PLC0415

    person = subject.person("z-scores need")
    files = curve_files.check_files(output.force, (results.out, (".csv",)), (results.report, (".pdf", ".html")))
    found = read(file, btps=btps, seqn=seqn, people=person is None)
    about = found.about
    if about is not None:
        table = about.join(people_table(found, person))
    subject_of_session = reading.person(subject) or reading.of_survey(found)
    if subject_of_session is None and (reading.requested() or results.report):
        raise SpiroError("a session needs --age, --height and --sex, or of NHANES --seqn, with DEMO and BMX beside it")
    session = None if subject_of_session is None else reading.interpret(found, subject_of_session, btps)
    if about is None:
        table = person_table(found, person, phases_of(found))
        table.insert(0, "curve", found.names)
    notes = found.notes if session is None else session.session.notes
    if results.out:
        curve_files.write_indices(results.out, table)
    if session is not None and results.report:
        sheet.write(session, results.report)
    if output.as_json:
        result = {"files": [str(f) for f in files], "notes": notes, "curves": records(table)}
        print_json(result if session is None else result | {"session": as_json(session)})
        return
    print_indices(table, str(file), ["curve"])
    if session is not None:
        print_session(session)
    for note in notes:
        print_error(f"note: {note}")
    wrote(files)


@dataclass(frozen=True)
class Efforts:
    """The effort to reconstruct, and others of the same person."""

    file: Annotated[Path | None, typer.Argument(help="One effort, or several, in any format of docs/formats.md.")] = (
        None
    )
    curve: Annotated[str | None, typer.Option(help="Which curve, where the file holds several.")] = None
    others: Annotated[
        Path | None,
        typer.Option(
            help="Other efforts of the person, as a file; if it is the same file, all curves but the named one."
        ),
    ] = None
    btps: Btps = None

    def read(self) -> "tuple[NDArray, list[NDArray], list[str]]":
        """Flow of the effort, flow of each other effort, and notes on the file.

        Raises SpiroError if the file holds several curves and none is named, or there are no others.
        """
        from spiro_diffusion.user_curves import read  # noqa: PLC0415

        if self.file is None:
            raise SpiroError("name the file of the effort to reconstruct, as mine.csv")
        found = read(self.file, btps=self.btps)
        if self.curve is None and len(found.names) > 1:
            raise SpiroError(
                f"{self.file}: holds {len(found.names)} curves; name one with --curve, as --curve {found.names[0]}"
            )
        if self.curve is not None and self.curve not in found.names:
            raise SpiroError(f"{self.file}: holds no curve {self.curve!r}; there are {', '.join(found.names[:10])}")
        row = found.names.index(self.curve) if self.curve else 0
        given = []
        if self.others is not None:
            rest = found if self.others.resolve() == self.file.resolve() else read(self.others, btps=self.btps)
            given = [flow for i, flow in enumerate(rest.curves()) if rest is not found or i != row]
            if not given:
                raise SpiroError(
                    f"{self.others}: holds no curve but the one to reconstruct; --others takes other efforts"
                )
        used = found.names if given and rest is found else [found.names[row]]
        return found.curves()[row], given, _notes_on(found, used)


def _notes_on(found: "UserCurves", used: list[str]) -> list[str]:
    """The notes of a file but those on curves that are not used."""
    unused = tuple(f"curve {name}: " for name in found.names if name not in used)
    return [note for note in found.notes if not note.startswith(unused)]


@dataclass(frozen=True)
class Device:
    """For whose spirometer and people intervals hold."""

    calibrate: Annotated[
        Path | None,
        typer.Option(help="Folder of full efforts of 20 people or more, with people.csv: correct for them."),
    ] = None
    calibration: Calibration = None


@dataclass(frozen=True)
class Results:
    """Output files."""

    out: Annotated[Path | None, typer.Option(help="Mean and percentiles over time, .csv.")] = None
    plot: Annotated[Path | None, typer.Option(help="Plot of the recorded and the completed effort, .png.")] = None


@dataclass(frozen=True)
class Completions(Draws):
    """As Draws, for completions."""

    draws: Annotated[int, typer.Option("-n", "--draws", min=1, help="Reconstructions drawn.")] = 100


@command("spiro reconstruct mine.csv --age 45 --height 175 --sex male --mask 0:2.0")
def reconstruct(
    efforts: Efforts,
    subject: Subject,
    draws: Completions,
    files: Results,
    output: Output,
    device: Device,
    mask: Annotated[
        str | None,
        typer.Option(help="Trusted parts, s from time zero: 0:2.0 or 0:0.6,1.1:2.0. Default: all but faults."),
    ] = None,
) -> None:
    """Complete an effort that was cut short, interrupted by a cough or badly started. Not for diagnosis.

    --calibrate FOLDER corrects the intervals for another spirometer or population: it cuts and completes the full
    efforts of the folder, and writes FOLDER/calibration.json for --calibration.
    """
    from spiro_diffusion.generation import curve_files  # noqa: PLC0415

    if device.calibrate is not None:
        if efforts.file is not None:
            raise SpiroError("--calibrate FOLDER takes no effort; complete efforts afterwards with --calibration")
        _calibrate(device.calibrate, draws.models, efforts.btps, output)
        return
    person = subject.person(needs := "a reconstruction needs")
    if person is None:
        raise SpiroError(f"{needs} --age, --height and --sex, all three")
    paths = curve_files.check_files(output.force, (files.out, (".csv",)), (files.plot, (".png",)))
    flow, others, notes = efforts.read()

    from spiro_diffusion.api import SpiroGenerator  # noqa: PLC0415 (torch)

    found = SpiroGenerator.from_checkpoint(draws.models, calibration=device.calibration).reconstruct(
        flow, mask=mask, others=others, n=draws.draws, seed=draws.seed, notes=notes, tell=warn, **person._asdict()
    )
    if files.out:
        curve_files.write_indices(files.out, found.bands())
    if files.plot:
        found.plot(files.plot)
    if output.as_json:
        print_json({"files": [str(f) for f in paths], "seed": draws.seed, **found.to_dict()})
        return
    for note in found.notes:
        print_error(f"note: {note}")
    _print_summary(found, f"{efforts.file}: {draws.draws} draws of the full effort (volumes L, flows L/s)")
    print_line(found.sentence)
    wrote(paths)


def _calibrate(folder: Path, models: str, btps: float | None, output: Output) -> None:
    """Write FOLDER/calibration.json, and print the corrections."""
    from spiro_diffusion.api import SpiroGenerator  # noqa: PLC0415 (torch)
    from spiro_diffusion.generation import curve_files  # noqa: PLC0415
    from spiro_diffusion.reconstruction.user_calibration import FILE  # noqa: PLC0415

    file = folder / FILE
    paths = curve_files.check_files(output.force, (file, (".json",)))
    calibrated = SpiroGenerator.from_checkpoint(models).calibrate(folder, btps=btps, tell=warn)
    calibrated.write(file)
    if output.as_json:
        print_json({"files": [str(f) for f in paths], "people": calibrated.people, **vars(calibrated.calibration)})
        return
    header = ("cut at (s)", "people", "moved by (half widths)", "widened by")
    columns = (
        calibrated.calibration.cut_s,
        calibrated.calibration.people,
        calibrated.calibration.shift,
        calibrated.calibration.factor,
    )
    rows = [(f"{at:g}", str(n), f"{shift:+.2f}", f"{by:.2f}") for at, n, shift, by in zip(*columns, strict=True)]
    print_table(f"{folder}: how the 90 % intervals were corrected", header, rows)
    wrote(paths)
    print_line(f"use it: spiro reconstruct mine.csv --age 45 --height 175 --sex male --calibration {file}")


@command("spiro validate LOOPS")
def validate(
    folder: Annotated[Path, typer.Argument(help="Full efforts of people, with people.csv: person, age, height, sex.")],
    output: Output,
    models: Models = MODELS,
    calibration: Calibration = None,
    btps: Btps = None,
    draws: Annotated[int, typer.Option("-n", "--draws", min=10, help="Completions of each effort.")] = 200,
    out: Annotated[Path | None, typer.Option(help="Table of results, .csv.")] = None,
) -> None:
    """Validate completions of recorded efforts cut after 1, 2 and 3 s: error of the volume where the record ends.

    Figures are too good for people who were in the training data or on whom the simulator is based.
    """
    from spiro_diffusion.generation import curve_files  # noqa: PLC0415

    paths = curve_files.check_files(output.force, (out, (".csv",)))
    from spiro_diffusion.api import SpiroGenerator  # noqa: PLC0415 (torch)

    generator = SpiroGenerator.from_checkpoint(models, calibration=calibration)
    table = generator.validate(folder, btps=btps, n=draws, tell=warn)
    if out:
        curve_files.write_indices(out, table)
    if output.as_json:
        print_json({"files": [str(f) for f in paths], "cuts": records(table)})
        return
    header = ("cut at", "efforts", "as recorded (mL)", "error (mL)", "bias (mL)", "90 % holds (%)", "95 % from", "to")
    shares = ("holds", "holds_from", "holds_to")
    rows = [
        (
            f"{row.cut_s:g} s",
            f"{row.efforts}",
            *(f"{getattr(row, name):.0f}" for name in ("as_recorded_ml", "error_ml", "bias_ml")),
            *(f"{100 * getattr(row, name):.0f}" for name in shares),
        )
        for row in table.itertuples()
    ]
    print_table(f"{folder}: volume where each record ends, completed from what came before the cut", header, rows)
    wrote(paths)


def _print_summary(found: "Recovered", title: str) -> None:
    header = ("", "recorded", "median", "mean", "50 % from", "to", "90 % from", "to")
    rows = [
        (INDICES[str(name)].label, *(f"{v:.{INDICES[str(name)].decimals}f}" for v in values))
        for name, values in found.summary().iterrows()
    ]
    print_table(title, header, rows)
