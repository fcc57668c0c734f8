"""The command line `spiro`: draw curves for people or a population, read one's own, judge the model, see what it is.

What it does lies in `api`, `output`, `own_curves` and `synthetic`; torch is imported by the commands that need it.
"""

import contextlib
import dataclasses
import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.version import VERSION

if TYPE_CHECKING:
    import pandas as pd

WIDEST = 400  # characters of a table on the screen; longer names are cut
ROWS_SHOWN = 40  # curves listed on the screen; of more, percentiles
HEADERS = {  # columns of indices on the screen; CSV and JSON have more
    "fev1": "FEV1",
    "fvc": "FVC",
    "ratio": "ratio",
    "pef": "PEF",
    "fef2575": "FEF 25-75",
    "fev1_z": "zFEV1",
    "fvc_z": "zFVC",
    "ratio_z": "zratio",
    "acceptable": "ok",
    "session": "grade",
}
EVALUATED = Path("metrics/evaluate")  # of a folder of the pipeline, as in dvc.yaml

app = typer.Typer(
    name="spiro",
    help="Lung-function curves for people of a given age, height and sex. Not for diagnosis.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Models = Annotated[Path, typer.Option(help="Folder with vqvae.safetensors and cldm.safetensors.")]
Btps = Annotated[
    float | None, typer.Option(help="Factor to BTPS of a file that does not say its own; 1 where it is at BTPS.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Write over files that are there.")]
Age = Annotated[float | None, typer.Option(help="Years.")]
Height = Annotated[float | None, typer.Option(help="Standing height in cm.")]
Sex = Annotated[str | None, typer.Option(help="male or female.")]
Grid = Literal["10ms", "512"]
Folder = Annotated[Path, typer.Option(help="Folder of the pipeline, or of a run as runs/full.")]


@app.command(epilog="Example: spiro generate --age 45 --height 175 --sex male -n 20 --seed 0 --out curves.csv")
def generate(
    age: Age = None,
    height: Height = None,
    sex: Sex = None,
    people: Annotated[Path | None, typer.Option(help="CSV: age, height, sex; optional grade, test_type.")] = None,
    draws: Annotated[int, typer.Option("-n", "--draws", min=1, help="Curves for each person.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same curves.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Curves as .csv, .parquet or .npz; *_indices.csv beside.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Picture of the curves, .png.")] = None,
    models: Models = Path("models"),
    grade: Annotated[str | None, typer.Option(help="Effort grade A, B, C or D; A unless said.")] = None,
    test_type: Annotated[str | None, typer.Option(help="Pre or Bron (after the bronchodilator); Pre.")] = None,
    any_effort: Annotated[bool, typer.Option("--any-effort", help="Any effort, not a person's best.")] = False,
    as_json: AsJson = False,
    force: Force = False,
    wide: Annotated[bool, typer.Option("--wide", help="Table of one row a curve, columns t_-0.50 ...")] = False,
    grid: Annotated[Grid, typer.Option(help="In the file: a sample each 10 ms, or the model's 512.")] = "10ms",
) -> None:
    """Draw curves: best acceptable efforts before a bronchodilator, unless asked for others.

    Flow in L/s and volume in L at BTPS on a 10 ms axis from -0.50 s, 0 being time zero.
    """
    from spiro_diffusion.generation import drawn_curves  # noqa: PLC0415 (pandas: `spiro --help` does without)

    table = _people(people, age, height, sex)
    files = []
    if out:
        drawn_curves.check_ending(out, drawn_curves.ENDINGS)
        files += [out, drawn_curves.indices_path(out)]
    if plot:
        drawn_curves.check_ending(plot, (".png",))
        files.append(plot)
    if wide and (out is None or out.suffix.lower() == ".npz"):
        raise SpiroError("--wide is for --out with .csv or .parquet; .npz has a row a curve anyway")
    if grid != "10ms" and out is None:
        raise SpiroError("--grid says what --out holds; give --out too")
    drawn_curves.check_paths(files, force)

    from spiro_diffusion.api import SpiroGenerator  # noqa: PLC0415 (torch)

    progress = not as_json and sys.stderr.isatty()
    curves = SpiroGenerator.from_checkpoint(models).generate(
        table,
        grade=grade,
        test_type=test_type,
        any_effort=any_effort,
        n=draws,
        seed=seed,
        progress=progress,
        tell=lambda warning: _say(f"warning: {warning}"),
    )
    indices = curves.indices()
    if out:
        drawn_curves.write_curves(out, curves, progress, wide=wide, grid=grid)
        drawn_curves.write_indices(drawn_curves.indices_path(out), indices)
    if plot:
        curves.plot(plot)
    if as_json:
        _print_json({"files": [str(f) for f in files], "seed": seed, "curves": _records(indices)})
        return
    title = f"{len(curves)} curves: {drawn_curves.who(curves.people)}"
    _print_indices(indices.drop(columns=["age", "height", "sex"]), title, ["person", "draw"])
    _wrote(files)


@app.command(epilog="Example: spiro indices mine.csv --age 45 --height 175 --sex male")
def indices(
    file: Annotated[Path, typer.Argument(help="Curves in any format of docs/formats.md: CSV, NHANES's SPXRAW, ...")],
    age: Age = None,
    height: Height = None,
    sex: Sex = None,
    seqn: Annotated[int | None, typer.Option(help="Of SPXRAW, this participant alone.")] = None,
    btps: Btps = None,
    out: Annotated[Path | None, typer.Option(help="All columns as .csv.")] = None,
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """Indices of your own curves; with age, height and sex also GLI Global z-scores, acceptability, session grades.

    CSV: time in s, one sample each 10 ms; flow in L/s or volume in L at BTPS, expiration positive; `curve` tells
    several apart. NHANES: SPXRAW_G.zip and the like, a table of data/repaired, or a CSV with columns SPAFACT and
    SPXRAW; age, height and sex come from DEMO and BMX beside it. The efforts of one person are one session.
    """
    from spiro_diffusion.generation import drawn_curves  # noqa: PLC0415
    from spiro_diffusion.user_curves import read  # noqa: PLC0415

    given = [value is not None for value in (age, height, sex)]
    if any(given) and not all(given):
        raise SpiroError("z-scores need --age, --height and --sex, all three")
    if out:
        drawn_curves.check_ending(out, (".csv",))
        drawn_curves.check_paths([out], force)
    own = read(file, btps=btps, seqn=seqn, people=age is None)
    if own.about is not None:
        table = own.about.join(drawn_curves.people_table(own.flow, own.points, own.about, age, height, sex))
    else:
        table = drawn_curves.person_table(own.flow, own.points, age, height, sex)
        table.insert(0, "curve", own.names)
    if out:
        drawn_curves.write_indices(out, table)
    if as_json:
        _print_json({"files": [str(out)] if out else [], "notes": own.notes, "curves": _records(table)})
        return
    _print_indices(table, str(file), ["curve"])
    for note in own.notes:
        _say(f"note: {note}")
    _wrote([out] if out else [])


@app.command(epilog="Example: spiro reconstruct mine.csv --age 45 --height 175 --sex male --mask 0:2.0")
def reconstruct(
    file: Annotated[Path, typer.Argument(help="One effort, or several, in any format of docs/formats.md.")],
    age: Age = None,
    height: Height = None,
    sex: Sex = None,
    mask: Annotated[
        str | None, typer.Option(help="What is trusted, s from time zero: 0:2.0 or 0:0.6,1.1:2.0; else found.")
    ] = None,
    draws: Annotated[int, typer.Option("-n", "--draws", min=1, help="Reconstructions drawn.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same draws.")] = 0,
    curve: Annotated[str | None, typer.Option(help="Which curve, where the file holds several.")] = None,
    btps: Btps = None,
    others: Annotated[
        Path | None,
        typer.Option(help="Other efforts of the person, likewise; the same file: its curves but the one named."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Mean and percentiles by time, .csv.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Picture of what was measured and drawn, .png.")] = None,
    models: Models = Path("models"),
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """What a full effort would have given where yours was cut short, coughed into or badly begun. Not for diagnosis."""
    from spiro_diffusion.generation import drawn_curves  # noqa: PLC0415
    from spiro_diffusion.user_curves import read  # noqa: PLC0415

    if age is None or height is None or sex is None:
        raise SpiroError("a reconstruction needs --age, --height and --sex, all three")
    files = [path for path in (out, plot) if path]
    for path, ending in ((out, ".csv"), (plot, ".png")):
        if path:
            drawn_curves.check_ending(path, (ending,))
    drawn_curves.check_paths(files, force)
    own = read(file, btps=btps)
    if curve is None and len(own.names) > 1:
        raise SpiroError(f"{file}: holds {len(own.names)} curves; name one with --curve, as --curve {own.names[0]}")
    if curve is not None and curve not in own.names:
        raise SpiroError(f"{file}: holds no curve {curve!r}; there are {', '.join(own.names[:10])}")
    row = own.names.index(curve) if curve else 0
    curves = own.curves()
    told = []
    if others is not None:
        rest = own if others.resolve() == file.resolve() else read(others, btps=btps)
        told = [flow for i, flow in enumerate(rest.curves()) if rest is not own or i != row]
        if not told:
            raise SpiroError(f"{others}: holds no curve but the one to reconstruct; --others takes other efforts")

    from spiro_diffusion.api import SpiroGenerator  # noqa: PLC0415 (torch)

    found = SpiroGenerator.from_checkpoint(models).reconstruct(
        curves[row],
        age=age,
        height=height,
        sex=sex,
        mask=mask,
        others=told,
        n=draws,
        seed=seed,
        notes=own.notes,
        tell=lambda warning: _say(f"warning: {warning}"),
    )
    if out:
        drawn_curves.write_indices(out, found.bands())
    if plot:
        found.plot(plot)
    if as_json:
        _print_json({"files": [str(f) for f in files], "seed": seed, **found.to_dict()})
        return
    for note in found.notes:
        _say(f"note: {note}")
    rows = [
        (HEADERS.get(str(name), str(name).upper()), *(f"{v:.2f}" for v in values))
        for name, values in found.summary().iterrows()
    ]
    header = ("", "recorded", "median", "mean", "50 % from", "to", "90 % from", "to")
    _print_table(f"{file}: {draws} draws of the full effort (volumes L, flows L/s)", header, rows)
    typer.echo(found.sentence)
    _wrote(files)


@app.command(epilog="Example: spiro info --json")
def info(
    models: Models = Path("models"),
    metrics: Annotated[Path | None, typer.Option(help="Figures; metrics/evaluate/summary.json beside models.")] = None,
    as_json: AsJson = False,
) -> None:
    """What the model was trained on, how good it is, and what it must not be used for."""
    from spiro_diffusion.core.artifacts import read_json  # noqa: PLC0415
    from spiro_diffusion.generation.intended_use import LIMITS, trained_on  # noqa: PLC0415
    from spiro_diffusion.models.latent_diffusion import load_cldm  # noqa: PLC0415

    made_from = load_cldm(models / "cldm.safetensors")[1]
    summary = metrics or models.parent / "metrics" / "evaluate" / "summary.json"
    figures = read_json(summary) if metrics or summary.exists() else {}
    if as_json:
        _print_json({"version": VERSION, "made_from": made_from, "figures": figures, "limits": LIMITS})
        return
    typer.echo(f"spiro {VERSION}")
    typer.echo(f"trained on {trained_on(made_from)}")
    typer.echo("ages {:g} to {:g} years, heights {:g} to {:g} cm".format(*made_from["age"], *made_from["height"]))
    if figures:
        _print_figures(figures, summary)
    else:
        typer.echo(f"no figures: {summary} is not there; make them with `dvc repro evaluate`")
    for limit in LIMITS:
        typer.echo(f"- {limit}")


@app.command(epilog="Example: spiro cohort -n 1000 --seed 0 --out cohort.parquet")
def cohort(
    people: Annotated[int, typer.Option("-n", "--people", min=1, help="How many.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same people and curves.")] = 0,
    out: Annotated[Path, typer.Option(help="Efforts, .parquet; *_card.md beside.")] = Path("cohort.parquet"),
    models: Models = Path("models"),
    data: Annotated[Path, typer.Option(help="Folder with curves.parquet, from whose participants it draws.")] = Path(
        "data"
    ),
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """A synthetic population: people as the survey weighs its participants, a session of efforts each, a data card."""
    from spiro_diffusion.generation import drawn_curves  # noqa: PLC0415

    drawn_curves.check_ending(out, (".parquet",))
    files = [out, out.with_name(f"{out.stem}_card.md")]
    drawn_curves.check_paths(files, force)

    from spiro_diffusion.api import SpiroGenerator  # noqa: PLC0415 (torch)

    progress = not as_json and sys.stderr.isatty()
    table = SpiroGenerator.from_checkpoint(models).write_cohort(out, people, seed, data=data, progress=progress)
    if as_json:
        _print_json({"files": [str(f) for f in files], "seed": seed, "people": people, "efforts": len(table)})
        return
    best = table[table["best"].astype(bool)].drop(columns=["age", "height", "sex", "grade", "test_type", "best"])
    title = f"{people} people, {len(table)} efforts; {len(best)} best ones"
    _print_indices(best, title, ["person", "effort"])
    _wrote(files)


@app.command(epilog="Example: spiro evaluate --folder runs/full")
def evaluate(folder: Folder = Path(), as_json: AsJson = False, force: Force = False) -> None:
    """Judge the models of a folder by its held-out participants: the stage `evaluate`, without DVC.

    Reads data/, models/, metrics/ and params.yaml there, writes metrics/evaluate/.
    """
    from spiro_diffusion.generation.drawn_curves import check_paths  # noqa: PLC0415
    from spiro_diffusion.pipeline import run  # noqa: PLC0415

    check_paths([folder / EVALUATED / name for name in ("summary.json", "report.html")], force)
    status = run.run_one("evaluate", folder)
    if status:
        raise typer.Exit(1)  # the stage has said why
    report(folder, as_json)


@app.command(epilog="Example: spiro report --json")
def report(folder: Folder = Path(), as_json: AsJson = False) -> None:
    """Where the report of an evaluation is, and its headline figures."""
    from spiro_diffusion.core.artifacts import read_json  # noqa: PLC0415

    summary, page = (folder / EVALUATED / name for name in ("summary.json", "report.html"))
    if not summary.is_file():
        raise SpiroError(f"{summary}: no such file; make it with `dvc repro evaluate` or `spiro evaluate`")
    figures, there = read_json(summary), page.is_file()
    if as_json:
        _print_json({"report": str(page) if there else None, "figures": figures})
        return
    _print_figures(figures, summary)
    typer.echo(f"report: {page}{'' if there else ' is not there; make it with `dvc repro evaluate`'}")


@app.command(epilog="Example: spiro verify; spiro verify --remote beside")
def verify(
    remote: Annotated[str | None, typer.Option(help="Read this DVC remote, not the cache and the files here.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Delete what is damaged, for dvc pull or push.")] = False,
    folder: Annotated[Path, typer.Option(help="Root of the repository.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Read every stored byte of the pipeline again and hold it against dvc.lock."""
    from spiro_diffusion.pipeline.verify_store import examine  # noqa: PLC0415

    found = examine(folder, remote, remove)
    bad = [s for s in found if s.state == "damaged" or (remote and s.state == "missing")]
    states = Counter(s.state for s in found)
    counts = {state: states[state] for state in ("whole", "damaged", "missing")}
    if as_json:
        _print_json(counts | {"files": [dataclasses.asdict(s) for s in found if s.state != "whole"]})
    else:
        for s in bad:
            typer.echo(f"{s.state}: {s.path}: {s.where}: {s.file}")
        typer.echo(", ".join(f"{n} {state}" for state, n in counts.items()))
    if bad:
        again = "" if remove else f"`spiro verify{f' --remote {remote}' if remote else ''} --remove`, then "
        mend = f"`dvc push -r {remote}` where they are whole" if remote else "`dvc pull`"
        raise SpiroError(f"{len(bad)} of {len(found)} are not what dvc.lock says; to mend them: {again}{mend}")


@app.command(name="app", epilog="Example: spiro app --port 8050")
def page(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0 takes a free one.")] = 8050,
    models: Models = Path("models"),
) -> None:
    """Show the page in the browser: curves for a person, your own among them. For this computer alone."""
    try:
        from spiro_diffusion.app.server import HOST, open_server  # noqa: PLC0415 (dash)
    except ModuleNotFoundError as error:
        raise SpiroError(f"the page needs {error.name}: pip install 'spiro-diffusion[app]'") from None
    from spiro_diffusion.api import SpiroGenerator  # noqa: PLC0415 (torch)
    from spiro_diffusion.app.requests import Draws  # noqa: PLC0415

    server = open_server(Draws(SpiroGenerator.from_checkpoint(models)), port)
    typer.echo(f"http://{HOST}:{server.port} (ends with Ctrl-C)")
    with contextlib.closing(server.socket), contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


@app.command(epilog="Example: spiro card --metrics metrics/evaluate")
def card(
    models: Models = Path("models"),
    metrics: Annotated[Path | None, typer.Option(help="Figures; metrics/evaluate beside the models.")] = None,
    out: Annotated[Path | None, typer.Option(help="Markdown; card.md beside the models.")] = None,
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """The model card: data, use, limits, figures by group."""
    from spiro_diffusion.core.artifacts import write_text  # noqa: PLC0415
    from spiro_diffusion.generation.drawn_curves import check_ending, check_paths  # noqa: PLC0415
    from spiro_diffusion.models.latent_diffusion import load_cldm  # noqa: PLC0415
    from spiro_diffusion.reporting import model_card as cards  # noqa: PLC0415

    out = out or models / "card.md"
    check_ending(out, (".md",))
    check_paths([out], force)
    made_from = load_cldm(models / "cldm.safetensors")[1]
    write_text(out, cards.card(made_from, cards.read(metrics or models.parent / EVALUATED)))
    if as_json:
        _print_json({"files": [str(out)]})
    else:
        _wrote([out])


@app.command(epilog="Example: spiro export --out onnx && python onnx/sample.py --age 45 --height 175 --sex male")
def export(
    out: Annotated[Path, typer.Option(help="Folder for the networks, their numbers and sample.py.")] = Path("onnx"),
    models: Models = Path("models"),
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """The generator as ONNX: draws the same curves with numpy and onnxruntime alone."""
    from spiro_diffusion.api import SpiroGenerator  # noqa: PLC0415
    from spiro_diffusion.generation import drawn_curves, onnx_export  # noqa: PLC0415 (torch)

    drawn_curves.check_paths([out / name for name in onnx_export.FILES], force)
    generator = SpiroGenerator.from_checkpoint(models, device="cpu")
    files = generator.export(out)
    difference = generator.export_difference(out)
    if as_json:
        _print_json({"files": [str(f) for f in files], "largest_difference_l_s": difference})
        return
    _wrote(files)
    if difference is None:
        typer.echo("not compared: onnxruntime is not installed (`python -m pip install onnxruntime`)")
    else:
        typer.echo(f"{onnx_export.COMPARED} curves drawn by both differ by at most {difference:.1e} L/s")


@app.callback(invoke_without_command=True)
def _spiro(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(VERSION)


def main(argv: list[str] | None = None) -> int:
    """Run `spiro`; the exit status: 0, 1 on bad input, 2 on a wrong option, 130 when interrupted."""
    try:
        return int(app(argv, standalone_mode=False) or 0)
    except SpiroError as error:
        _say(str(error))
        return 1
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted")
        return 130
    except Exception as error:
        if not hasattr(error, "format_message"):  # what click raises on a wrong option
            raise
        if message := error.format_message():  # none where the help was asked for by saying nothing
            _say(f"{message} (see spiro --help)")
        return 2


def _people(file: Path | None, age: float | None, height: float | None, sex: str | None) -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415

    from spiro_diffusion.generation.subjects import read_people  # noqa: PLC0415

    given = {"age": age, "height": height, "sex": sex}
    if file is not None:
        if any(value is not None for value in given.values()):
            raise SpiroError("give --people or --age, --height and --sex, not both")
        return read_people(file)
    missing = [f"--{name}" for name, value in given.items() if value is None]
    if missing:
        raise SpiroError(f"{', '.join(missing)} missing; give --age, --height and --sex, or --people FILE")
    return pd.DataFrame([given])


def _wrote(files: list[Path]) -> None:
    for file in files:
        typer.echo(f"wrote {file}")


def _print_figures(figures: dict[str, float | None], summary: Path) -> None:
    from spiro_diffusion.evaluation.registry import READ_VERDICTS, headline_rows  # noqa: PLC0415

    _print_table("held-out participants, best efforts", ("figure", "value", "ideal"), headline_rows(figures))
    counts = [
        f"{v:.0f} {said}" for word, said in READ_VERDICTS.items() if (v := figures.get(f"targets_{word}")) is not None
    ]
    typer.echo(f"targets: {', '.join(counts)} (of {summary})")


def _records(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Rows as dictionaries, None for what is not determined."""
    return [{str(k): _plain(v) for k, v in row.items()} for row in table.to_dict(orient="records")]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=2, allow_nan=False))


def _print_indices(table: "pd.DataFrame", title: str, keys: list[str]) -> None:
    for name in ("acceptable", "session"):
        if f"{name}_fev1" in table:
            pairs = zip(table[f"{name}_fev1"], table[f"{name}_fvc"], strict=True)
            table = table.assign(**{name: ["/".join(_cell(v) for v in pair) for pair in pairs]})
    table = table[[name for name in (*keys, *HEADERS) if name in table]]
    if len(table) > ROWS_SHOWN:
        columns = table.drop(columns=keys).select_dtypes("number")
        shown = columns.quantile([0.05, 0.5, 0.95])
        shown.insert(0, "percentile", ["5", "50", "95"])
        table = shown
    rows = [tuple(_cell(v) for v in row) for row in table.to_numpy(dtype=object)]
    pairs_shown = "; ok, grade: of FEV1/of FVC" if "session" in table else ""
    _print_table(
        f"{title} (volumes L, flows L/s{pairs_shown})", tuple(HEADERS.get(str(name), str(name)) for name in table), rows
    )


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{round(value, 2) + 0.0:.2f}" if math.isfinite(value) else "-"  # no -0.00
    return str(value)


def _print_table(title: str, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console()
    whole = console.measure(table, options=console.options.update(max_width=WIDEST)).maximum
    Console(width=max(console.width, whole)).print(table)  # a narrow terminal wraps lines; it does not lose figures


def _say(line: str) -> None:
    typer.echo(f"spiro: {' '.join(line.split())}", err=True)


if __name__ == "__main__":
    sys.exit(main())
