"""Commands that describe a model and a repository: `info`, `card`, `evaluate`, `report`, `verify`."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from spiro_diffusion.cli.options import MODELS, AsJson, Folder, Force, Models
from spiro_diffusion.cli.program import command
from spiro_diffusion.cli.screen import print_figures, print_json, print_line, warn, wrote
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.version import VERSION
from spiro_diffusion.generation.intended_use import EVALUATED

COMPLETIONS = Path("metrics/reconstruct/judge.json")  # of a folder of the pipeline, as in dvc.yaml


@command("spiro info --json")
def info(
    models: Models = MODELS,
    metrics: Annotated[
        Path | None, typer.Option(help="File of figures. Default: metrics/evaluate/summary.json beside models.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Training data, figures and limits of use of the model."""
    from spiro_diffusion.core.artifacts import read_json  # noqa: PLC0415
    from spiro_diffusion.engines import choice, store  # noqa: PLC0415
    from spiro_diffusion.generation import model_figures  # noqa: PLC0415
    from spiro_diffusion.generation.intended_use import LIMITS, trained_on  # noqa: PLC0415

    folder = store.located(models)
    made_from = choice.made_from(folder)
    summary = metrics or folder.parent / EVALUATED / "summary.json"
    figures = read_json(summary) if metrics or summary.exists() else {}
    for warning in model_figures.warning(folder):
        warn(warning)
    if as_json:
        print_json({"version": VERSION, "made_from": made_from, "figures": figures, "limits": LIMITS})
        return
    print_line(f"spiro {VERSION}")
    print_line(f"trained on {trained_on(made_from)}")
    print_line("ages {:g} to {:g} years, heights {:g} to {:g} cm".format(*made_from["age"], *made_from["height"]))
    if figures:
        print_figures(figures, summary)
    else:
        print_line(f"no figures: {summary} is not there; make them with `dvc repro evaluate`")
    for limit in LIMITS:
        print_line(f"- {limit}")


@command("spiro card --metrics metrics/evaluate; spiro card --hub spiro-diffusion")
def card(
    models: Models = MODELS,
    metrics: Annotated[
        Path | None, typer.Option(help="Folder of figures. Default: metrics/evaluate beside the models.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Markdown file. Default: card.md beside the models.")] = None,
    hub: Annotated[
        Path | None, typer.Option(help="A folder to publish instead: card, weights, their licence, checksums.")
    ] = None,
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """The model card: data, use, limits, figures by group; with `--hub` in a folder ready for a model hub
    (docs/publish.md).
    """
    from spiro_diffusion.core.artifacts import write_text  # noqa: PLC0415
    from spiro_diffusion.engines import choice, store  # noqa: PLC0415
    from spiro_diffusion.generation.curve_files import check_files  # noqa: PLC0415
    from spiro_diffusion.reporting import model_card as cards  # noqa: PLC0415

    folder = store.located(models)
    figures = metrics or folder.parent / EVALUATED
    if hub:
        from spiro_diffusion.cohorts.hub import write_hub  # noqa: PLC0415

        files = write_hub(hub, folder, figures, force)
    else:
        out = out or folder / "card.md"
        check_files(force, (out, (".md",)))
        write_text(out, cards.card(choice.made_from(folder), cards.read(figures)))
        files = [out]
    if as_json:
        print_json({"files": [str(file) for file in files]})
    else:
        wrote(files)


@command("spiro evaluate --folder runs/full")
def evaluate(folder: Folder = Path(), as_json: AsJson = False, force: Force = False) -> None:
    """Judge the models of a folder by its held-out participants: the stages `evaluate` and `report`, without DVC.

    Reads data/, models/, metrics/ and params.yaml there, writes metrics/evaluate/; the report only where completions
    were judged too.
    """
    from spiro_diffusion.generation.curve_files import check_files  # noqa: PLC0415
    from spiro_diffusion.pipeline import run  # noqa: PLC0415

    check_files(force, *((folder / EVALUATED / name, ()) for name in ("summary.json", "report.html")))
    whole = (folder / COMPLETIONS).is_file()  # the pages of both judges are one stage
    for stage in ("evaluate", "report") if whole else ("evaluate",):
        if run.run_one(stage, folder):
            raise typer.Exit(1)  # the stage has printed the reason
    report(folder, as_json)


@command("spiro report --json")
def report(folder: Folder = Path(), as_json: AsJson = False) -> None:
    """Path of the evaluation report, and its headline figures."""
    from spiro_diffusion.core.artifacts import read_json  # noqa: PLC0415

    summary, page = (folder / EVALUATED / name for name in ("summary.json", "report.html"))
    if not summary.is_file():
        raise SpiroError(f"{summary}: no such file; make it with `dvc repro evaluate` or `spiro evaluate`")
    figures, there = read_json(summary), page.is_file()
    if as_json:
        print_json({"report": str(page) if there else None, "figures": figures})
        return
    print_figures(figures, summary)
    print_line(f"report: {page}{'' if there else ' is not there; make it with `dvc repro evaluate`'}")


@command("spiro verify; spiro verify --remote beside; spiro verify --tolerance")
def verify(
    remote: Annotated[str | None, typer.Option(help="Check this DVC remote, not the local cache and files.")] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Delete damaged files, for dvc pull or push to restore.")
    ] = False,
    tolerance: Annotated[
        bool, typer.Option("--tolerance", help="Compare figures with the committed ones, within their random error.")
    ] = False,
    folder: Annotated[Path, typer.Option(help="Root of the repository.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Read every stored byte of the pipeline again and compare it with dvc.lock."""
    if tolerance:
        _verify_figures(folder, as_json)
        return
    from spiro_diffusion.pipeline.verify_store import examine  # noqa: PLC0415

    found = examine(folder, remote, remove)
    bad = [s for s in found if s.state == "damaged" or (remote and s.state == "missing")]
    states = Counter(s.state for s in found)
    counts = {state: states[state] for state in ("whole", "damaged", "missing")}
    if as_json:
        print_json(counts | {"files": [dataclasses.asdict(s) for s in found if s.state != "whole"]})
    else:
        for s in bad:
            print_line(f"{s.state}: {s.path}: {s.where}: {s.file}")
        print_line(", ".join(f"{n} {state}" for state, n in counts.items()))
    if bad:
        again = "" if remove else f"`spiro verify{f' --remote {remote}' if remote else ''} --remove`, then "
        remedy = f"`dvc push -r {remote}` where they are whole" if remote else "`dvc pull`"
        raise SpiroError(f"{len(bad)} of {len(found)} are not what dvc.lock says; to repair them: {again}{remedy}")


def _verify_figures(folder: Path, as_json: bool) -> None:
    from spiro_diffusion.pipeline.verify_figures import compare  # noqa: PLC0415

    found = compare(folder)
    if as_json:
        print_json(dataclasses.asdict(found))
    else:
        print_line(f"{'figure':<10}{'committed':>10}{'here':>10}{'may differ by':>15}")
        for figure in found.figures:
            numbers = "".join(f"{_number(n):>{w}}" for n, w in ((figure.committed, 10), (figure.here, 10)))
            print(f"{figure.name:<10}{numbers}{_number(figure.allowed):>15}  {figure.state}")
        if not found.of("beyond"):
            print_line(found.sentence)
    if found.of("beyond"):
        raise SpiroError(found.sentence)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
