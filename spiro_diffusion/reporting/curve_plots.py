"""Plots of the evaluation's curves and draws, one function a picture, from the arrays of `evaluation.plot_data`."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from spiro_diffusion.core.vocabulary import INDICES, JUDGED, SEXES
from spiro_diffusion.evaluation.plot_data import PERCENTILES_OF, Arrays
from spiro_diffusion.physiology import spirometry
from spiro_diffusion.plotting.curves import smooth
from spiro_diffusion.plotting.style import ALERT, GENERATED, REAL, SOFT, ZERO
from spiro_diffusion.reporting.sources import Source

PLOTTED_S = 12.0  # of a curve: volume changes little after that
PEOPLE = {"male": "men and boys", "female": "women and girls"}
AXES = {"age": "age (years)", "height": "height (cm)"}

Points = tuple[NDArray, NDArray]
Logs = dict[str, dict[str, Points]]  # model → series → (epochs, values)


def canvas_of(rows: int, columns: int, width: float, height: float, **options: bool | str) -> tuple[Canvas, NDArray]:
    """A canvas with axes (rows, columns)."""
    canvas = Canvas(figsize=(width, height), layout="constrained")
    return canvas, canvas.subplots(rows, columns, squeeze=False, **options)  # type: ignore[call-overload]


def flow_volume(plot_data: Arrays, source: Source) -> Canvas:
    """Flow against volume of some people: their held-out efforts above, a generated session of as many below."""
    return _side_by_side(plot_data, source, "volume (L)", "flow (L/s)", _loop)


def volume_time(plot_data: Arrays, source: Source) -> Canvas:
    """Volume against time of the same people."""
    return _side_by_side(plot_data, source, "time (s)", "volume (L)", _spirogram)


def _loop(flow: NDArray, t0: float = 0.0, fet: float = 0.0) -> Points:
    del t0, fet
    return spirometry.volume(flow[None])[0][1:], smooth(flow)


def _spirogram(flow: NDArray, t0: float, fet: float) -> Points:
    volume = spirometry.volume(flow[None])[0]
    time = np.arange(len(volume)) * spirometry.SAMPLE_PERIOD_S - (t0 if np.isfinite(t0) else 0.0)
    plotted = (time > -0.3) & (time < min(PLOTTED_S, fet if np.isfinite(fet) else PLOTTED_S))
    return time[plotted], volume[plotted]


def _side_by_side(plot_data: Arrays, source: Source, x: str, y: str, line: Callable[..., Points]) -> Canvas:
    people = len(plot_data["person_age"])
    canvas, axes = canvas_of(2, people, 2.6 * people, 5.4, sharex="col", sharey="col")
    for column, (age, height, sex) in enumerate(
        zip(plot_data["person_age"], plot_data["person_height"], plot_data["person_sex"], strict=True)
    ):
        axes[0, column].set_title(f"{SEXES[int(sex)]}, {age:.0f} y, {height:.0f} cm")
        for ax, side, colour in ((axes[0, column], "held_out", REAL), (axes[1, column], "generated", GENERATED)):
            for i in np.flatnonzero(plot_data[f"{side}_person"] == column):
                points = line(plot_data[f"{side}_flow"][i], plot_data[f"{side}_t0"][i], plot_data[f"{side}_fet"][i])
                ax.plot(*points, color=colour, lw=1.0, alpha=0.8)
                ax.plot(points[0][-1:], points[1][-1:], ".", color=colour, ms=4)  # where the effort ends
            ax.axhline(0, color=ZERO, lw=0.6, zorder=0)
        axes[1, column].set_xlabel(x)
    axes[0, 0].set_ylabel(f"{source.held_out}\n{y}", color=REAL)
    axes[1, 0].set_ylabel(f"generated, one lung\n{y}", color=GENERATED)
    return canvas


def percentiles(plot_data: Arrays, source: Source, against: str) -> Canvas:
    """Percentiles of indices of best efforts against `age` or `height`, by sex."""
    canvas, axes = canvas_of(2, len(PERCENTILES_OF), 10.5, 6.4, sharex=True)
    labels = {2: f"{source.word}, training people, median", 0: "the same, 5, 25, 75, 95 %"}
    for row, (code, sex) in enumerate(SEXES.items()):
        for ax, name in zip(axes[row], PERCENTILES_OF, strict=True):
            key = f"{against}_{code}_{name}"
            if f"{key}_grid" not in plot_data:
                empty(ax)
                continue
            grid, band = plot_data[f"{key}_grid"], plot_data[f"{key}_generated"]
            ax.fill_between(grid, band[0], band[4], color=GENERATED, alpha=0.16, lw=0, label="generated, 5 to 95 %")
            ax.fill_between(grid, band[1], band[3], color=GENERATED, alpha=0.28, lw=0, label="generated, 25 to 75 %")
            ax.plot(grid, band[2], color=GENERATED, lw=1.6, label="generated, median")
            for i, line in enumerate(plot_data[f"{key}_training"]):
                width, dashes = (1.2, "-") if i == 2 else (0.8, (0, (4, 2)))
                ax.plot(grid, line, color=REAL, lw=width, ls=dashes, label=labels.get(i))
            values = plot_data[f"{key}_values"]
            ax.plot(plot_data[f"{key}_x"], values, ".", color=ALERT, ms=3.2, alpha=0.7, label=source.held_out)
            ax.set_ylim(bottom=0)
            if row == 0:
                ax.set_title(f"{INDICES[name].label} ({INDICES[name].unit})")
            else:
                ax.set_xlabel(AXES[against])
        axes[row, 0].set_ylabel(PEOPLE[sex])
    handles = max((ax.get_legend_handles_labels() for ax in axes.flat), key=lambda found: len(found[0]))
    canvas.legend(*handles, loc="outside lower center", ncols=3)
    return canvas


def round_trip(plot_data: Arrays, source: Source) -> Canvas:
    """Some held-out curves and what the VQ-VAE reads back of them, and the errors of all."""
    columns = len(plot_data["trip_age"])
    canvas, axes = canvas_of(2, columns, 2.6 * columns, 5.4)
    for column, (age, grade) in enumerate(zip(plot_data["trip_age"], plot_data["trip_grade"], strict=True)):
        ax: Axes = axes[0, column]
        for flow, colour, label in zip(
            plot_data["trip_flow"], (REAL, GENERATED), (source.held_out, "read back"), strict=True
        ):
            ax.plot(*_loop(flow[column]), color=colour, lw=1.0, label=label)
        ax.set(title=f"grade {grade}, {age:.0f} y", xlabel="volume (L)")
    axes[0, 0].set_ylabel("flow (L/s)")
    canvas.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    for ax, name in zip(axes[1], JUDGED, strict=False):
        before, after = plot_data[f"trip_{name}"].astype(float)
        index, error = INDICES[name], after - before
        error, unit = (1000 * error, "mL") if index.unit == "L" else (100 * error / before, "%")
        ax.plot(before, error, ".", color=GENERATED, ms=2.5, alpha=0.5)
        ax.axhline(0, color=REAL, lw=0.8)
        finite = np.abs(error[np.isfinite(error)])
        if len(finite):
            limit = max(float(np.percentile(finite, 98)), 1e-6)
            ax.set_ylim(-1.3 * limit, 1.3 * limit)
        ax.set(xlabel=f"{index.label} ({index.unit})", title=f"error ({unit})")
    return canvas


def copying(plot_data: Arrays, source: Source) -> Canvas:
    """Distances to the nearest training curve, and between two efforts of one person, as distributions."""
    canvas, axes = canvas_of(1, 1, 7.0, 4.6)
    ax: Axes = axes[0, 0]
    for key, label, colour, dashes in (
        ("generated", "generated, to the nearest training curve", GENERATED, "-"),
        ("held_out", f"{source.held_out}, to the nearest training curve", REAL, "-"),
        ("between_efforts", f"{source.held_out}, between two efforts of one person", ALERT, "--"),
    ):
        values = plot_data[f"distance_{key}"]
        if len(values):
            ax.plot(values, 100 * (np.arange(len(values)) + 0.5) / len(values), color=colour, ls=dashes, label=label)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("root mean square difference of flow over 6 s (L/s)")
    ax.set_ylabel("share of curves at most so far (%)")
    ax.set_ylim(0, 100)
    canvas.legend(loc="outside lower center", ncols=1)
    return canvas


def training(logs: Logs) -> Canvas:
    """Loss by epoch: for each model its `loss` on training and its `score` on validation curves: (epochs, values)."""
    kinds = {"loss": ("training loss", GENERATED), "score": ("validation error", ALERT)}
    canvas, axes = canvas_of(len(kinds), len(logs), 10.5, 5.4, sharex="col")
    for column, (model, series) in enumerate(logs.items()):
        for ax, (kind, (label, colour)) in zip(axes[:, column], kinds.items(), strict=True):
            epoch, value = series.get(kind, (np.zeros(0), np.zeros(0)))
            ax.plot(epoch, value, color=colour, lw=1.3, marker="." if len(value) < 20 else None)
            if len(value) > 4:  # the first epochs would hide the rest
                low, high = value.min(), np.percentile(value, 90)
                ax.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
            ax.set_title(f"{model}: {label}")
        axes[-1, column].set_xlabel("epoch")
    return canvas


def empty(ax: Axes) -> None:
    """Say that nothing could be computed here."""
    ax.text(0.5, 0.5, "too few people", ha="center", va="center", transform=ax.transAxes, color=SOFT)
    ax.set_xticks([])
    ax.set_yticks([])
