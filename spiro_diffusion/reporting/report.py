"""The report of an evaluation: one HTML file that holds its pictures and asks no network for anything."""

import base64
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from spiro_diffusion.evaluation.figures import Figure
from spiro_diffusion.evaluation.targets import Tree, at

SOURCES = {
    "simulated": (
        "simulated source",
        "The people and their curves were drawn by this program's own simulator; nobody was measured. "
        "Nothing here is a result on NHANES.",
    ),
    "nhanes": ("NHANES, the CDC's public files", "The people were measured in NHANES; the files came from the CDC."),
    "folder": (
        "files of a folder",
        "The files came from a folder, named as the CDC's. Whether people were measured or drawn is known to whoever "
        "filled it: nothing here may be called a result on NHANES unless they are the CDC's own files.",
    ),
}
VERDICTS = {
    "met": "met",
    "within_noise": "within noise",
    "missed": "missed",
    "open": "open",
}
LEVELS = {"every": "every effort", "best": "best effort", "all": "overall"}
INDICES = {"fev1": "FEV1", "fvc": "FVC", "pef": "PEF", "fef2575": "FEF25-75"}


SPLITS = {"train": "train the models", "validation": "choose among models", "test": "judge the results"}
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


class Line(NamedTuple):
    """One row of the table of figures: a label, the path of a figure, and how it is written."""

    label: str
    path: str
    form: str  # ratio, percent, points, litres, mL, number
    note: str = ""


def lines(level: str) -> list[Line]:
    """The figures of the table that compares all candidates on one level."""
    spread, calibration = f"spread.{level}.unweighted", f"calibration.{level}.unweighted"
    groups, named = f"groups.{level}.unweighted", INDICES.items()
    return [
        *(
            Line(
                f"explained variance, log {label}, minus real", f"{spread}.{i}.explained_variance_difference", "signed"
            )
            for i, label in named
        ),
        *(Line(f"residual SD of {label}, over real", f"{spread}.{i}.residual_sd_ratio", "ratio") for i, label in named),
        *(
            Line(f"coverage of 80 % intervals, {label}", f"{calibration}.{i}.coverage_80", "percent")
            for i, label in named
        ),
        Line("CRPS of FEV1 (L)", f"{calibration}.fev1.crps", "number"),
        Line("CRPS of FVC (L)", f"{calibration}.fvc.crps", "number"),
        Line("CRPS of PEF (L/s)", f"{calibration}.pef.crps", "number"),
        *(
            [
                Line("CRPS of FEV1, asked for grade A, over GLI Global's", "crps_gli.best.fev1.ratio", "ratio"),
                Line("CRPS of FVC, asked for grade A, over GLI Global's", "crps_gli.best.fvc.ratio", "ratio"),
            ]
            if level == "best"
            else []
        ),
        Line(
            "Wasserstein distance by sex and age, over the floor",
            f"{groups}.sex_age_mean_over_floor",
            "ratio",
        ),
        Line("groups by sex and age beyond the limit", f"{groups}.sex_age_beyond", "count"),
        Line("two-sample AUC, clinical", f"two_sample.{level}.clinical.auc", "ratio"),
        Line("two-sample AUC, detailed", f"two_sample.{level}.detailed.auc", "ratio"),
        Line("two-sample AUC, fine, to 1 s", f"two_sample.{level}.fine.auc", "ratio"),
        Line("two-sample AUC, fine, to 10 s", f"two_sample.{level}.whole.auc", "ratio"),
        *(
            Line(f"{k}, clinical", f"two_sample.{level}.clinical.{k}", "ratio")
            for k in ("precision", "recall", "density", "coverage")
        ),
        Line("trained on it, tested on real, over trained on real", f"utility.{level}.ratio", "ratio"),
        Line("nearest to a training curve", f"copying.{level}.nearest_share", "percent"),
        Line("authenticity", f"copying.{level}.authenticity", "percent"),
        Line("membership AUC by distance", f"copying.{level}.membership_distance_auc", "ratio"),
        Line("membership AUC by loss", f"copying.{level}.membership_loss_auc", "ratio"),
        Line("impossible or not as asked, above the real rate", f"physics.{level}.unweighted.any_difference", "points"),
    ]


RECONSTRUCTION = [
    Line("FEV1, median absolute error", "reconstruction.fev1_ml", "mL"),
    Line("FVC, median absolute error", "reconstruction.fvc_ml", "mL"),
    Line("PEF, median absolute error", "reconstruction.pef_percent", "%"),
    Line("FEF25-75, median absolute error", "reconstruction.fef2575_percent", "%"),
    Line("flow, root mean square error", "reconstruction.flow_rmse", "L/s"),
    Line("codebook in use", "reconstruction.codes_in_use", "percent"),
    Line("perplexity of the codebook", "reconstruction.perplexity", "number"),
]


class Cell(NamedTuple):
    """A figure as text."""

    value: str
    interval: str = ""


def write(figure: Figure, form: str) -> Cell:
    """A figure and its interval as text."""
    if figure["value"] is None:
        return Cell("–")
    value = _number(figure["value"], form)
    if "low" not in figure:
        return Cell(value)
    return Cell(value, f"{_number(figure['low'], form, bare=True)} to {_number(figure['high'], form, bare=True)}")


def _number(value: float, form: str, bare: bool = False) -> str:
    value = 0.0 if abs(value) < 5e-4 and form in ("signed", "ratio") else value  # no negative zeros
    if form == "percent":
        return f"{100 * value:.1f}" + ("" if bare else " %")
    if form == "points":
        return f"{100 * value:+.2f}" + ("" if bare else " points")
    if form == "signed":
        return f"{value:+.3f}"
    if form == "ratio":
        return f"{value:.3f}"
    if form == "count":
        return f"{value:.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:.{min(digits, 4)}f}"
    return text if bare or form == "number" else f"{text} {form}"


def render(result: Tree, pictures: Mapping[str, Path], stages: Tree) -> str:
    """The report as HTML.

    Args:
        result: what the stage evaluate wrote as `judge.json`.
        pictures: PNG files by name; those that are absent leave their place empty.
        stages: metrics of earlier stages by name (`align`, `filter`, `resample`), where there are any.
    """
    candidates = {
        "generator": result["generator"],
        "floor": result["floor"],
        "grid round trip": result["grid_round_trip"],
        **result["baselines"],
    }
    tables = {
        level: [
            {"label": line.label, "cells": [write(at(tree, line.path), line.form) for tree in candidates.values()]}
            for line in lines(level)
        ]
        for level in ("every", "best")
    }
    label, explanation = SOURCES[result["data"]["source"]]
    return template("report.html.j2").render(
        data=result["data"],
        source=label,
        explanation=explanation,
        targets=_by_text([_target(t) for t in result["targets"]]),
        counts={v: sum(t["verdict"] == v for t in result["targets"]) for v in VERDICTS},
        verdicts=VERDICTS,
        candidates=list(candidates),
        tables=tables,
        reconstruction=[
            {
                "label": line.label,
                "cells": [
                    write(at(tree, line.path), line.form) for tree in (result["generator"], result["grid_round_trip"])
                ],
            }
            for line in RECONSTRUCTION
        ],
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
    return environment.get_template(name)


def inline(path: Path) -> str:
    """A PNG as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _target(target: dict[str, Any]) -> dict[str, Any]:
    """A target with its worst figure in words."""
    figures = [f for f in target["figures"] if f["value"] is not None]
    worst = next(f for f in target["figures"] if f["path"] == target["worst"])
    met = sum(f["verdict"] in ("met", "within_noise") for f in figures)
    reasons = sorted({f["reason"] for f in target["figures"] if f["value"] is None})
    return {
        **target,
        "level_label": LEVELS[target["level"]],
        "verdict_label": VERDICTS[target["verdict"]],
        "shown": None if worst["value"] is None else write(worst, "number"),
        "what": _what(worst["path"]),
        "met": met,
        "of": len(figures),
        "reasons": reasons,
    }


def _by_text(judged: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Targets under their text, with what was found on each level."""
    rows: dict[str, dict[str, Any]] = {}
    for target in judged:
        row = rows.setdefault(target["name"], {"text": target["text"], "levels": []})
        row["levels"].append(target)
    return list(rows.values())


def _what(path: str) -> str:
    """A figure's path in words: the parts that tell it from its neighbours."""
    parts = [p for p in path.split(".")[1:] if p not in ("every", "best", "unweighted")]
    return ", ".join(INDICES.get(p, p.replace("_", " ")) for p in parts)


def _flow(stages: Tree) -> dict[str, Any]:
    """The flow of curves and participants (CONSORT): steps, each with what left before it and why, and the splits."""
    steps: list[dict[str, Any]] = []
    for stage, before, after in (("align", "raw", "aligned"), ("filter", "aligned", "filtered")):
        flow = stages.get(stage, {}).get("flow")
        if not flow:
            continue
        if not steps:
            steps.append({"name": "recorded", **flow[before], "dropped": []})
        dropped = [{**d, "why": LEFT_OUT.get(d["reason"], d["reason"])} for d in flow["dropped"] if d["curves"]]
        steps.append({"name": {"aligned": "aligned", "filtered": "used"}[after], **flow[after], "dropped": dropped})
    splits = stages.get("filter", {}).get("splits", {})
    return {
        "steps": steps,
        "splits": [{"name": s, "use": SPLITS[s], **splits[s]} for s in SPLITS if s in splits],
    }


def _agreement(stages: Tree) -> list[dict[str, str]]:
    """Agreement of the best efforts with the published values."""
    indices = stages.get("resample", {}).get("published", {}).get("indices", {})
    rows = []
    for name, label in INDICES.items():
        found = indices.get(name, {})
        if "bias" in found:
            scale, unit = (1000, "mL") if name in ("fev1", "fvc") else (1, "L/s")
            rows.append(
                {
                    "label": label,
                    "n": str(found["n"]),
                    "bias": f"{scale * found['bias']:+.3g} {unit}",
                    "limits": f"{scale * found['lower']:+.3g} to {scale * found['upper']:+.3g} {unit}",
                }
            )
    return rows
