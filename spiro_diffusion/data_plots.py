"""Plots of the data half: agreement with the published values, and what the grid keeps."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spiro_diffusion import agreement, grid
from spiro_diffusion.artifacts import atomic

INK, ACCENT, SOFT = "#22333b", "#c1121f", "#5e6472"
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}
TITLES = {"fev1": "FEV1", "fvc": "FVC", "pef": "PEF (80 ms slope)", "fef2575": "FEF25-75", "bev": "BEV"}
UNITS = {"fev1": "L", "fvc": "L", "pef": "L/s", "fef2575": "L/s", "bev": "L"}


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, the same bytes for the same figure."""
    with atomic(path) as part:
        figure.savefig(part, format="png", dpi=120, metadata={"Software": None})


def bland_altman(best: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """Difference against mean of four indices: each participant's best effort and the published value."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 7.2), layout="constrained")
        for axes, name in zip(figure.subplots(2, 2).flat, ("fev1", "fvc", "pef", "fef2575"), strict=True):
            _bland_altman(axes, best[name].to_numpy(), published[name].to_numpy(), name)
        figure.suptitle("Best acceptable effort before the bronchodilator, less the published value", color=INK)
    return figure


def _bland_altman(axes: Axes, ours: NDArray, theirs: NDArray, name: str) -> None:
    known = ~np.isnan(ours - theirs)
    mean, difference = (ours[known] + theirs[known]) / 2, ours[known] - theirs[known]
    figures = agreement.bland_altman(ours, theirs)
    axes.set_title(f"{TITLES[name]}, {figures['n']:,} participants", loc="left")
    axes.set_xlabel(f"mean of the two ({UNITS[name]})")
    axes.set_ylabel(f"difference ({UNITS[name]})")
    if "sd" not in figures:
        return
    span = max(6 * figures["sd"], 1.2 * abs(figures["lower"]))
    axes.scatter(mean, np.clip(difference, -span, span), s=4, alpha=0.25, color=INK, linewidths=0, rasterized=True)
    axes.set_ylim(-1.05 * span, 1.05 * span)
    axes.axhline(0, color=SOFT, linewidth=0.6)
    for key, style, text in (("bias", "-", "bias"), ("upper", "--", "+1.96 SD"), ("lower", "--", "-1.96 SD")):
        axes.axhline(figures[key], color=ACCENT, linewidth=1, linestyle=style)
        axes.annotate(
            f"{text} {figures[key]:+.3f}",
            (1, figures[key]),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=ACCENT,
        )
    beyond = int((np.abs(difference) > span).sum())
    if beyond:
        axes.annotate(
            f"{beyond} beyond the axis, drawn at its edge", (0.01, 0.02), xycoords="axes fraction", fontsize=7
        )


def round_trip(before: pd.DataFrame, after: pd.DataFrame, signal: NDArray) -> Figure:
    """What the 512 samples keep: one curve on the grid, and the errors of the indices of all.

    Args:
        before, after: indices of the curves at 10 ms and after the grid.
        signal: (512,), L/s, one curve on the grid.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 6.4), layout="constrained")
        axes = figure.subplots(2, 3).flat
        axes[0].stairs(signal, grid.EDGES_S, color=INK, linewidth=1)
        axes[0].set(title="One curve: flow", xlabel="time after time zero (s)", ylabel="flow (L/s)", xlim=(-0.5, 6))
        axes[1].plot(grid.EDGES_S, grid.volume(signal[None])[0], color=INK, linewidth=1)
        axes[1].set(title="Its volume", xlabel="time after time zero (s)", ylabel="volume (L)", xlim=(-0.5, 10))
        for axis, name in zip(axes[2:], ("fev1", "fvc", "pef", "fef2575"), strict=True):
            error = np.sort(np.abs(agreement.errors(before, after, name)))
            axis.plot(np.maximum(error, 1e-4), 100 * np.arange(1, len(error) + 1) / len(error), color=INK)
            axis.set_xscale("log")
            axis.set(title=f"{TITLES[name]}: error", xlabel=f"absolute error ({agreement.unit(name)})")
            axis.set(ylabel="curves with at most this (%)", ylim=(0, 101))
            axis.axvline(np.percentile(error, 99), color=ACCENT, linewidth=1, linestyle="--")
            axis.annotate(
                f"99 %: {np.percentile(error, 99):.2g} {agreement.unit(name)}",
                (0.03, 0.9),
                xycoords="axes fraction",
                fontsize=8,
                color=ACCENT,
            )
    return figure
