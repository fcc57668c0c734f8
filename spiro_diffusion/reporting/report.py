"""The report of an evaluation: its pictures, and one self-contained HTML file."""

import base64
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from matplotlib.figure import Figure as Canvas
from tqdm import tqdm

from spiro_diffusion.core.artifacts import read_json, read_npz, write_text
from spiro_diffusion.core.vocabulary import INDICES, JUDGED, Split
from spiro_diffusion.evaluation import registry, response, session_judge, targets
from spiro_diffusion.evaluation.figures import Tree
from spiro_diffusion.evaluation.plot_data import Arrays
from spiro_diffusion.evaluation.record import Record
from spiro_diffusion.evaluation.registry import ALL_LEVELS, LEVELS, READ_VERDICTS, Line, at
from spiro_diffusion.evaluation.targets import Judged
from spiro_diffusion.plotting import style
from spiro_diffusion.reporting import curve_plots, data_plots, judge_plots, session_plots
from spiro_diffusion.reporting.cells import write
from spiro_diffusion.reporting.curve_plots import Logs
from spiro_diffusion.reporting.sources import source_of

SPLITS: dict[Split, str] = {
    "train": "train the models",
    "validation": "choose among models",
    "test": "judge the results",
}
LEFT_OUT = {
    "not_in_demo": "participant not in DEMO",
    "not_in_bmx": "participant not in BMX",
    "too_short": "too short to hold a forced expiration",
    "no_age": "age missing",
    "no_sex": "sex missing",
    "no_height": "height missing",
    "no_time_zero": "nothing expired",
    "impossible": "impossible volume or flow",
    "grade": "effort grade not asked for",
    "test_type": "test type not asked for",
    "no_plateau": "no plateau",
    "age": "age not asked for",
    "not_best": "not the participant's best effort",
}
EARLIER = {  # figures of earlier stages
    "align": "align/counts.json",
    "filter": "filter/counts.json",
    "resample": "resample/agreement.json",
}
LOGS = {  # of the trainings
    "VQ-VAE": "train_vqvae/plots/metrics",
    "facts": "train_cldm/facts/plots/metrics",
    "latents": "train_cldm/plots/metrics",
}


def make(metrics: Path, folder: Path, logs: Logs) -> None:
    """Write the pictures and the page of the record in `folder`, from files below `metrics` alone.

    Raises SpiroError where a file is missing or damaged.
    """
    record = Record.read(folder)
    plot_data = read_npz(metrics / "evaluate/plot_data.npz")
    data = read_npz(metrics / "resample/plot_data.npz")
    stages = {name: read_json(metrics / path) for name, path in EARLIER.items()}
    sessions = session_judge.Record.read(metrics / "evaluate")
    source = source_of(record.data["source"])
    of_sessions = {"sessions": partial(session_plots.gaps, sessions, source)}
    pictures = draw(folder / "plots", judged_pictures(record, plot_data, logs) | of_sessions)
    with_data = draw(metrics / "resample/plots", data_pictures(data, stages["resample"]))
    of_people = session_plots.contents(sessions) | {
        "response": session_plots.responses(*response.read(metrics / "evaluate"))
    }
    page = render(record, of_people, pictures | with_data, stages)
    write_text(folder / "report.html", page)


def judged_pictures(record: Record, plot_data: Arrays, logs: Logs) -> dict[str, Callable[[], Canvas]]:
    """The pictures of an evaluation by name."""
    generated, floor, source = record.generator, record.floor, source_of(record.data["source"])
    pictures: dict[str, Callable[[], Canvas]] = {
        "flow_volume": partial(curve_plots.flow_volume, plot_data, source),
        "volume_time": partial(curve_plots.volume_time, plot_data, source),
        "percentiles_age": partial(curve_plots.percentiles, plot_data, source, "age"),
        "percentiles_height": partial(curve_plots.percentiles, plot_data, source, "height"),
        "reconstruction": partial(curve_plots.round_trip, plot_data, source),
        "spread": partial(judge_plots.spread, generated, floor, source),
        "calibration": partial(judge_plots.calibration, generated, floor),
        "wasserstein": partial(judge_plots.wasserstein, generated),
        "two_sample": partial(judge_plots.two_sample, record.candidates),
        "copying": partial(curve_plots.copying, plot_data, source),
        "violations": partial(judge_plots.violations, generated, source),
    }
    return pictures | ({"training": partial(curve_plots.training, logs)} if logs else {})


def data_pictures(plot_data: Arrays, agreement: Mapping[str, Any]) -> dict[str, Callable[[], Canvas]]:
    """The pictures of the data by name, from what the stage resample stored and measured."""
    return {
        "bland_altman": partial(data_plots.bland_altman, plot_data),
        "grid_round_trip": partial(data_plots.grid_round_trip, plot_data, agreement["round_trip"]),
    }


def draw(folder: Path, pictures: Mapping[str, Callable[[], Canvas]]) -> dict[str, Path]:
    """Draw pictures into a folder; their files by name."""
    for name, function in tqdm(pictures.items(), desc="draw plots", unit="plot", leave=False, delay=1):
        style.save(folder / f"{name}.png", function)
    return {name: folder / f"{name}.png" for name in pictures}


def training_logs(metrics: Path) -> Logs:
    """Loss series that `training.log` wrote, by model; empty where there are none."""
    logs: Logs = {}
    for model, folder in LOGS.items():
        files = [metrics / folder / f"{name}.tsv" for name in ("loss", "score")]
        tables = {path.stem: pd.read_csv(path, sep="\t") for path in files if path.exists()}
        series = {k: (t.iloc[:, 0].to_numpy(float), t.iloc[:, -1].to_numpy(float)) for k, t in tables.items()}
        logs |= {model: series} if series else {}
    return logs


def render(record: Record, sessions: Mapping[str, Any], pictures: Mapping[str, Path], stages: Mapping[str, Any]) -> str:
    """The report as HTML.

    Args:
        sessions: see `session_plots.contents`, with `response` as `session_plots.responses` gives it.
        pictures: PNG files by name; those that are absent leave their place empty.
        stages: figures of earlier stages by name (`align`, `filter`, `resample`).
    """
    candidates = record.candidates
    trip = {name: candidates[name] for name in ("generator", "grid round trip")}
    return template("report.html.j2").render(
        data=record.data,
        source=source_of(record.data["source"]),
        targets=_by_name([_target(t) for t in record.targets]),
        counts=targets.counts(record.targets),
        verdicts=READ_VERDICTS,
        candidates=list(candidates),
        tables={level: _rows(registry.table(level), candidates) for level in LEVELS},
        reconstruction=_rows(registry.round_trip_table(), trip),
        sessions=sessions,
        pictures={name: inline(path) for name, path in pictures.items() if path.exists()},
        flow=_flow(stages),
        agreement=_agreement(stages),
    )


def template(name: str) -> jinja2.Template:
    """A template of this package; a name that it uses and does not get is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spiro_diffusion.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["colours"] = style.REPORT
    return environment.get_template(name)


def inline(path: Path) -> str:
    """A PNG as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _rows(lines: list[Line], trees: Mapping[str, Tree]) -> list[dict[str, Any]]:
    return [
        {"label": line.label, "cells": [write(at(tree, line.path), line.form) for tree in trees.values()]}
        for line in lines
    ]


def _target(target: Judged) -> dict[str, Any]:
    """A target with its worst figure in words."""
    worst = target.decisive
    return {
        "name": target.name,
        "text": target.text,
        "verdict": target.verdict,
        "level_label": ALL_LEVELS[target.level],
        "verdict_label": READ_VERDICTS[target.verdict],
        "shown": None if worst.value is None else write(worst, registry.line_at(target.worst).form),
        "what": _what(target.worst),
        "met": target.passed,
        "of": len(target.computed),
        "reasons": sorted({f.figure.reason for f in target.figures if f.figure.reason}),
    }


def _by_name(judged: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Targets of the same name together, one for each level."""
    return [[t for t in judged if t["name"] == name] for name in dict.fromkeys(t["name"] for t in judged)]


def _what(path: str) -> str:
    """A figure's path in words: the parts that distinguish it from its neighbours."""
    parts = [p for p in path.split(".")[1:] if p not in (*LEVELS, "unweighted")]
    parts = [p.removesuffix("_ml").removesuffix("_percent") for p in parts]  # the unit stands beside the number
    return ", ".join(INDICES[p].label if p in JUDGED else p.replace("_", " ") for p in parts)


def _flow(stages: Mapping[str, Any]) -> dict[str, Any]:
    """The flow of curves and participants (CONSORT): steps, each with what left before it and why, and the splits."""
    steps: list[dict[str, Any]] = []
    for stage, before, after, name in (
        ("align", "raw", "aligned", "aligned"),
        ("filter", "aligned", "filtered", "used"),
    ):
        flow = stages.get(stage, {}).get("flow")
        if not flow:
            continue
        if not steps:
            steps.append({"name": "recorded", **flow[before], "dropped": []})
        dropped = [{**d, "why": LEFT_OUT.get(d["reason"], d["reason"])} for d in flow["dropped"] if d["curves"]]
        steps.append({"name": name, **flow[after], "dropped": dropped})
    splits = stages.get("filter", {}).get("splits", {})
    return {"steps": steps, "splits": [{"name": s, "use": SPLITS[s], **splits[s]} for s in SPLITS if s in splits]}


def _agreement(stages: Mapping[str, Any]) -> list[dict[str, str]]:
    """Agreement of the best efforts with the published values."""
    indices = stages.get("resample", {}).get("published", {}).get("indices", {})
    rows = []
    for name in JUDGED:
        found, index = indices.get(name, {}), INDICES[name]
        if "bias" in found:
            scale, unit = (1000, "mL") if index.unit == "L" else (1, index.unit)
            bias, lower, upper = (f"{scale * found[key]:+.3g}" for key in ("bias", "lower", "upper"))
            row = {"label": index.label, "n": str(found["n"])}
            rows.append(row | {"bias": f"{bias} {unit}", "limits": f"{lower} to {upper} {unit}"})
    return rows
