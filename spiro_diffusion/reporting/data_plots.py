"""Plots of the data stages: agreement with the published values, and resampling error.

From the arrays that the stage resample stores: for each judged index `best_…` and `published_…` (n,), one `signal`
(512,) in L/s with the `edges` (513,) in s of its bins, and the number of `curves`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spiro_diffusion.core.vocabulary import INDICES, JUDGED
from spiro_diffusion.dataset import agreement
from spiro_diffusion.plotting.style import ALERT, INK, SOFT

TRIP_VOLUMES = ("fvc", "fev6", "fev3", "fev1", "fev075", "fev05", "bev")
TRIP_FLOWS = ("fef2575", "pef")


def bland_altman(plot_data: Mapping[str, NDArray]) -> Figure:
    """Difference against mean of four indices: each participant's best effort and the published value."""
    figure = Figure(figsize=(10, 7.6), layout="constrained")
    for axes, name in zip(figure.subplots(2, 2).flat, JUDGED, strict=True):
        _bland_altman(axes, plot_data[f"best_{name}"], plot_data[f"published_{name}"], name)
    figure.suptitle("Best acceptable effort before the bronchodilator, less the published value", color=INK)
    return figure


def _bland_altman(axes: Axes, computed: NDArray, published_values: NDArray, name: str) -> None:
    both = ~np.isnan(computed - published_values)
    mean, difference = (computed[both] + published_values[both]) / 2, computed[both] - published_values[both]
    figures = agreement.bland_altman(computed, published_values)
    label, unit = INDICES[name].label, INDICES[name].unit
    note = f"n = {figures['n']:,}"
    axes.set(xlabel=f"mean of the two ({unit})", ylabel=f"difference ({unit})")
    if "sd" in figures:
        span = 6 * figures["sd"]
        inside = np.abs(difference) <= span
        axes.scatter(mean[inside], difference[inside], s=5, alpha=0.3, color=INK, linewidths=0)
        edge = np.sign(difference[~inside]) * span
        axes.scatter(mean[~inside], edge, s=16, marker="D", facecolors="none", edgecolors=INK, linewidths=0.7)
        axes.set_ylim(-1.08 * span, 1.08 * span)
        axes.axhline(0, color=SOFT, linewidth=0.6)
        for key, dashes, words in (("upper", "--", "+1.96 SD"), ("bias", "-", "mean"), ("lower", "--", "-1.96 SD")):
            axes.axhline(figures[key], color=ALERT, linewidth=1, linestyle=dashes)
            text, across = f"{words}\n{figures[key]:+.3f}", axes.get_yaxis_transform()
            axes.text(1.01, figures[key], text, transform=across, va="center", fontsize=8, color=ALERT)
        if (~inside).any():
            note += f"; {(~inside).sum()} beyond the axis, drawn as diamonds"
    axes.set_title(f"{label} ({note})")


def grid_round_trip(plot_data: Mapping[str, NDArray], errors: Mapping[str, Mapping[str, Any]]) -> Figure:
    """What the 512 samples keep: one curve read off the grid, and the errors of the indices of all.

    Args:
        errors: of each index of all curves, see `agreement.round_trip`.
    """
    figure = Figure(figsize=(10, 7.2), layout="constrained")
    flow_volume, volume_time, volumes, flows = figure.subplots(2, 2).flat
    signal, edges = plot_data["signal"], plot_data["edges"]
    v = np.concatenate([[0], np.cumsum(signal * np.diff(edges))])
    flow_volume.stairs(signal, v, color=INK, linewidth=1, baseline=None)
    flow_volume.set(title="One curve of 512 samples", xlabel="volume (L)", ylabel="flow (L/s)")
    volume_time.plot(edges, v, color=INK, linewidth=1)
    volume_time.plot(edges[::8], v[::8], "|", color=ALERT, markersize=6, markeredgewidth=0.8)
    volume_time.set(title="Its volume; every eighth edge marked", xlabel="time (s)", xlim=(-0.6, 10))
    volume_time.set_ylabel("volume (L)")
    _errors(volumes, errors, TRIP_VOLUMES)
    _errors(flows, errors, TRIP_FLOWS)
    figure.suptitle(f"What the 512 samples keep of {plot_data['curves'].item():,} curves", color=INK)
    return figure


def _errors(axes: Axes, errors: Mapping[str, Mapping[str, Any]], names: tuple[str, ...]) -> None:
    """Median, 99th percentile and largest absolute error of each index, on a logarithmic axis."""
    unit = agreement.unit(names[0])
    least = 1e-3 if unit == "mL" else 1e-4  # what is smaller stands at the axis
    for place, name in enumerate(names):
        low, high, most = (max(errors[name][key], least) for key in ("p50", "p99", "max"))
        axes.plot([low, most], [place, place], color=SOFT, linewidth=1)
        axes.plot(low, place, "o", color=INK, label="median" if not place else None)
        axes.plot(high, place, "s", color=ALERT, label="99 %" if not place else None)
        axes.plot(most, place, "|", color=SOFT, markersize=10, label="largest" if not place else None)
    axes.set_xscale("log")
    axes.set_xlim(least * 0.7)
    axes.set_yticks(range(len(names)), [INDICES[name].label for name in names])
    axes.set(title=f"Absolute error ({unit}); {least:g} or less at the left", ylim=(-0.6, len(names) - 0.4))
    axes.legend(fontsize=8, loc="center right" if len(names) < 4 else "upper right")
