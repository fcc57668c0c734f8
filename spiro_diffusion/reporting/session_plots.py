"""The plot of the figures of sessions, and the rows of their table."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure as Canvas

from spiro_diffusion.core.vocabulary import INDICES
from spiro_diffusion.evaluation import response
from spiro_diffusion.evaluation.figures import Figure, Series, Tree
from spiro_diffusion.evaluation.registry import RATIO, Form, at, node_at
from spiro_diffusion.evaluation.session_figures import ERROR, FIGURES, SessionFigure, holds
from spiro_diffusion.evaluation.session_judge import BASELINES, Record
from spiro_diffusion.evaluation.session_values import COMPARED
from spiro_diffusion.physiology.ats_ers import REPEATABLE_L
from spiro_diffusion.plotting.style import FLOOR, GENERATED, REAL, SERIES, SOFT
from spiro_diffusion.reporting.cells import Cell, write
from spiro_diffusion.reporting.curve_plots import canvas_of, empty
from spiro_diffusion.reporting.sources import Source

LARGEST_GAP = {"fev1": 0.5, "fvc": 0.5, "pef": 3.0}  # L, L/s: gaps up to here are drawn
INDEPENDENT = BASELINES[0]
COPIES = {  # of `session_copies.FIGURES`
    "nearest_share": "sessions nearest to a training session, 0.50 unless copied",
    "nearer_than_held": "nearer to one than a held-out session is, 0.50 unless copied",
    "authenticity": "farther from it than that one from the next",
}


def gaps(record: Record, source: Source) -> Canvas:
    """Share of sessions whose best and second best effort lie within so much of each other."""
    canvas, axes = canvas_of(1, len(COMPARED), 10.5, 3.8, sharey="row")
    lines = (
        ("generator", "held_out", REAL, source.held_out, "-"),
        ("floor", "candidate", FLOOR, f"floor: {source.word}, training people", "-"),
        (INDEPENDENT, "candidate", SERIES[3], INDEPENDENT, "--"),
        ("generator", "candidate", GENERATED, "generated", "-"),
    )
    for ax, index in zip(axes[0], COMPARED, strict=True):
        for candidate, side, colour, label, dashes in lines:
            found = node_at(record.candidates[candidate], f"gaps.{index}_{side}")
            if not isinstance(found, Series) or not found.value:
                empty(ax)
                continue
            values = np.concatenate([[0.0], np.sort(found.value)])
            shares = np.linspace(0, 100, len(values))
            ax.step(values, shares, where="post", color=colour, label=label, ls=dashes, lw=1.6)
        if INDICES[index].unit == "L":
            ax.axvline(REPEATABLE_L, color=SOFT, lw=0.8, ls=":")
        ax.set_xlim(0, LARGEST_GAP[index])
        ax.set_ylim(0, 100)
        ax.set_title(INDICES[index].label)
        ax.set_xlabel(f"best less second best ({INDICES[index].unit})")
    axes[0, 0].set_ylabel("sessions (%)")
    canvas.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return canvas


def contents(record: Record) -> dict[str, Any]:
    """What the page says of sessions: names of the candidates, rows of both tables, and how many intervals hold 0."""
    trees = record.candidates
    generator_tree = trees["generator"]
    others = {name: tree for name, tree in trees.items() if name != "generator"}
    rows = [
        _row(generator_tree, one) | {"others": [_difference(tree, one.name, one.form) for tree in others.values()]}
        for one in FIGURES
    ]
    holding = {name: holds(figures) for name, tree in trees.items() if isinstance(figures := tree["figures"], dict)}
    return {
        "data": record.data,
        "others": list(others),
        "rows": rows,
        "copies": [
            {
                "label": label,
                "cells": {name: write(at(tree, f"copies.{figure}"), RATIO) for name, tree in trees.items()},
            }
            for figure, label in COPIES.items()
        ],
        "auc": {name: write(at(tree, "auc"), RATIO) for name, tree in trees.items()},
        "holds": {name: f"{count} of {of}" for name, (count, of) in holding.items()},
        "confidence": f"{100 * (1 - record.data['error'] / record.data['figures']):.2f}",
    }


def responses(people: int, figures: Tree) -> dict[str, Any]:
    """What the page says of people before and after the bronchodilator."""
    count, of = holds(figures)
    rows = [_row({"figures": figures}, one) for one in response.FIGURES]
    confidence = f"{100 * (1 - ERROR / len(response.FIGURES)):.2f}"
    return {"people": people, "rows": rows, "holds": f"{count} of {of}", "confidence": confidence}


def _row(tree: Tree, one: SessionFigure) -> dict[str, Any]:
    """A figure's row: held out, generated, their difference, what was published."""
    return {
        "label": one.label,
        "held_out": _cell(tree, one.name, "held_out", one.form),
        "generated": _cell(tree, one.name, "candidate", one.form),
        "difference": _difference(tree, one.name, one.form),
        "published": one.published.text,
    }


def _cell(tree: Tree, name: str, side: str, form: Form) -> Cell:
    return write(at(tree, f"figures.{name}.{side}"), form)


def _difference(tree: Tree, name: str, form: Form) -> dict[str, Any]:
    found: Figure = at(tree, f"figures.{name}.difference")
    cell = write(found, form._replace(signed=True))
    beyond = found.interval is not None and not found.interval[0] <= 0 <= found.interval[1]
    return {"cell": cell, "beyond": beyond}
