"""Plots of the data half: agreement with the published values, and what the grid keeps."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spiro_diffusion.core.artifacts import atomic
from spiro_diffusion.dataset import agreement

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
TITLES = {
    "fev05": "FEV0.5",
    "fev075": "FEV0.75",
    "fev1": "FEV1",
    "fvc": "FVC",
    "pef": "PEF (80 ms slope)",
    "fef2575": "FEF25-75",
    "bev": "BEV",
}
UNITS = {"fev1": "L", "fvc": "L", "pef": "L/s", "fef2575": "L/s", "bev": "L"}


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, the same bytes for the same figure."""
    with atomic(path) as part:
        figure.savefig(part, format="png", dpi=120, metadata={"Software": None})


def bland_altman(best: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """Difference against mean of four indices: each participant's best effort and the published value."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 7.6))
        figure.subplots_adjust(left=0.08, right=0.92, bottom=0.07, top=0.89, wspace=0.38, hspace=0.38)
        for axes, name in zip(figure.subplots(2, 2).flat, ("fev1", "fvc", "pef", "fef2575"), strict=True):
            _bland_altman(axes, best[name].to_numpy(), published[name].to_numpy(), name)
        figure.suptitle("Best acceptable effort before the bronchodilator, less the published value", color=INK)
    return figure


def _bland_altman(axes: Axes, ours: NDArray, theirs: NDArray, name: str) -> None:
    known = ~np.isnan(ours - theirs)
    mean, difference = (ours[known] + theirs[known]) / 2, ours[known] - theirs[known]
    figures = agreement.bland_altman(ours, theirs)
    axes.set_title(TITLES[name], loc="left", pad=16)
    axes.set_xlabel(f"mean of the two ({UNITS[name]})")
    axes.set_ylabel(f"difference ({UNITS[name]})")
    if "sd" not in figures:
        return
    span = 6 * figures["sd"]
    inside = np.abs(difference) <= span
    axes.scatter(mean[inside], difference[inside], s=5, alpha=0.3, color=INK, linewidths=0)
    edge = np.sign(difference[~inside]) * span
    axes.scatter(mean[~inside], edge, s=16, marker="D", facecolors="none", edgecolors=INK, linewidths=0.7)
    axes.set_ylim(-1.08 * span, 1.08 * span)
    axes.axhline(0, color=SOFT, linewidth=0.6)
    for key, style, text in (("upper", "--", "+1.96 SD"), ("bias", "-", "mean"), ("lower", "--", "-1.96 SD")):
        axes.axhline(figures[key], color=ACCENT, linewidth=1, linestyle=style)
        label = f"{text}\n{figures[key]:+.3f}"
        axes.text(
            1.01, figures[key], label, transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=ACCENT
        )
    note = f"n = {figures['n']:,}"
    if (~inside).any():
        note += f"; {(~inside).sum()} beyond the axis, drawn as diamonds"
    axes.text(0, 1.005, note, transform=axes.transAxes, fontsize=8, color=SOFT, va="bottom")


def round_trip(before: pd.DataFrame, after: pd.DataFrame, signal: NDArray, edges: NDArray) -> Figure:
    """What the 512 samples keep: one curve read off the grid, and the errors of the indices of all.

    Args:
        before, after: indices of the curves at 10 ms and after the grid.
        signal: (512,), L/s, one curve on the grid; `edges`: (513,), s, of its bins.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 7.2))
        figure.subplots_adjust(left=0.12, right=0.98, bottom=0.07, top=0.89, wspace=0.4, hspace=0.38)
        flow_volume, volume_time, volumes, flows = figure.subplots(2, 2).flat
        v = np.concatenate([[0], np.cumsum(signal * np.diff(edges))])
        flow_volume.stairs(signal, v, color=INK, linewidth=1, baseline=None)
        flow_volume.set(title="One curve of 512 samples", xlabel="volume (L)", ylabel="flow (L/s)")
        volume_time.plot(edges, v, color=INK, linewidth=1)
        volume_time.plot(edges[::8], v[::8], "|", color=ACCENT, markersize=6, markeredgewidth=0.8)
        volume_time.set(title="Its volume; every eighth edge marked", xlabel="time (s)", xlim=(-0.6, 10))
        volume_time.set_ylabel("volume (L)")
        _errors(volumes, before, after, ["fvc", "fev6", "fev3", "fev1", "fev075", "fev05", "bev"])
        _errors(flows, before, after, ["fef2575", "pef"])
        figure.suptitle(f"What the 512 samples keep of {len(before):,} curves", color=INK)
    return figure


def _errors(axes: Axes, before: pd.DataFrame, after: pd.DataFrame, names: list[str]) -> None:
    """Median, 99th percentile and largest absolute error of each index, on a logarithmic axis."""
    unit = agreement.unit(names[0])
    shown = 1e-3 if unit == "mL" else 1e-4  # what is smaller stands at the axis
    for place, name in enumerate(names):
        absolute = np.abs(agreement.errors(before, after, name))
        low, high, most = np.maximum(np.percentile(absolute, [50, 99, 100]), shown)
        axes.plot([low, most], [place, place], color=SOFT, linewidth=1)
        axes.plot(low, place, "o", color=INK, label="median" if not place else None)
        axes.plot(high, place, "s", color=ACCENT, label="99 %" if not place else None)
        axes.plot(most, place, "|", color=SOFT, markersize=10, label="largest" if not place else None)
    axes.set_xscale("log")
    axes.set_xlim(shown * 0.7)
    axes.set_yticks(range(len(names)), [TITLES.get(name, name.upper()) for name in names])
    axes.set(title=f"Absolute error ({unit}); {shown:g} or less at the left", ylim=(-0.6, len(names) - 0.4))
    axes.legend(frameon=False, fontsize=8, loc="center right" if len(names) < 4 else "upper right")
