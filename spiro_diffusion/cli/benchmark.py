"""`spiro benchmark`: the judge as a public protocol, for curves of any origin."""

import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from spiro_diffusion.cli.options import Output
from spiro_diffusion.cli.program import command, group
from spiro_diffusion.cli.screen import print_json, print_line, print_table, wrote

DATA = Path("data")
Data = Annotated[Path, typer.Option(help="Folder `data` of the pipeline.")]

benchmark = group(
    "benchmark",
    "Evaluate curves of any generator by this project's protocol: docs/benchmark.md.",
    "spiro benchmark prepare --data data --out task",
)


class Tasks(StrEnum):
    """The tasks."""

    GENERATION = "generation"
    SESSIONS = "sessions"
    COMPLETION = "completion"


@command("spiro benchmark prepare --data data --out task", name="prepare", under=benchmark)
def prepare(
    out: Annotated[Path, typer.Option(help="Folder for the files of the tasks.")],
    output: Output,
    data: Data = DATA,
) -> None:
    """Write the inputs of the tasks: subjects to draw for, efforts to complete, splits, grid; no targets."""
    from spiro_diffusion.benchmark import task  # noqa: PLC0415
    from spiro_diffusion.benchmark.protocol import Source  # noqa: PLC0415
    from spiro_diffusion.generation.curve_files import check_files  # noqa: PLC0415

    check_files(output.force, *((out / name, ()) for name in task.FILES))
    files = task.prepare(Source.of(data), out)
    if output.as_json:
        print_json({"files": [str(file) for file in files]})
    else:
        wrote(files)


@command("spiro benchmark score --task generation --curves theirs.npz --name theirs", name="score", under=benchmark)
def score(
    task: Annotated[Tasks, typer.Option(help="Task of the submission.")],
    curves: Annotated[Path, typer.Option(help="The submission, .npz.")],
    output: Output,
    data: Data = DATA,
    metrics: Annotated[
        Path | None, typer.Option(help="Folder of the pipeline's figures. Default: metrics beside data.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the row. Default: that of the file.")] = None,
    out: Annotated[Path | None, typer.Option(help="All figures with their intervals, .json.")] = None,
    table: Annotated[Path | None, typer.Option(help="Markdown file whose table takes the rows, .md.")] = None,
) -> None:
    """Evaluate a submission, and print it beside this generator, the floor and the baselines."""
    from spiro_diffusion.benchmark import score as scoring  # noqa: PLC0415
    from spiro_diffusion.benchmark import table as tables  # noqa: PLC0415
    from spiro_diffusion.benchmark.protocol import Source  # noqa: PLC0415
    from spiro_diffusion.core.artifacts import write_json  # noqa: PLC0415
    from spiro_diffusion.core.version import VERSION  # noqa: PLC0415
    from spiro_diffusion.generation.curve_files import check_files  # noqa: PLC0415

    files = check_files(output.force, (out, (".json",))) + check_files(True, (table, (".md",)))
    found = scoring.score(task.value, Source.of(data), metrics or data.parent / "metrics", curves, name or curves.stem)
    date = datetime.date.today().isoformat()
    content = found.to_json() | {"version": VERSION, "date": date}
    if out:
        write_json(out, content)
    if table:
        tables.update(table, found, date)
    if output.as_json:
        print_json(content)
        return
    about = ", ".join(
        f"{key} {value}" for key, value in found.data.items() if key in ("source", "part", "participants")
    )
    print_table(f"{task.value} ({about}; 95 % intervals by participant)", *tables.on_screen(found))
    for note in found.notes:
        print_line(note)
    wrote(files)
