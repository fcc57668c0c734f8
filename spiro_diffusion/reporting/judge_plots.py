"""The plots of the evaluation, drawn for a physician: one function a picture, one picture a question.

Real is dark grey, generated blue, the floor light grey, everywhere. The bytes of a PNG depend on what is
drawn and on the version of matplotlib alone.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from spiro_diffusion.evaluation.conditional import PIT_BINS
from spiro_diffusion.evaluation.measured import Measured
from spiro_diffusion.evaluation.real import GROUPINGS
from spiro_diffusion.evaluation.targets import Tree, at
from spiro_diffusion.physiology import spirometry
from spiro_diffusion.plotting.style import ALERT, FLOOR, GENERATED, REAL, SERIES

LABELS = {"fev1": "FEV1", "fvc": "FVC", "pef": "PEF", "fef2575": "FEF25-75"}
UNITS = {"fev1": "L", "fvc": "L", "pef": "L/s", "fef2575": "L/s"}
LEVELS = {"every": "every effort", "best": "best acceptable effort"}
SEXES = {1: "men and boys", 2: "women and girls"}
PERCENTILES = (5, 25, 50, 75, 95)
SHOWN_S = 12.0  # of a curve: later volume hardly changes


def _canvas(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Canvas, NDArray]:
    canvas = Canvas(figsize=(width, height), layout="constrained")
    return canvas, canvas.subplots(rows, columns, squeeze=False, **options)


def flow_volume(real: Sequence[Measured], generated: Sequence[Measured]) -> Canvas:
    """Flow against volume of some people: their real efforts above, as many generated ones below."""
    return _side_by_side(real, generated, "volume (L)", "flow (L/s)", _loop)


def volume_time(real: Sequence[Measured], generated: Sequence[Measured]) -> Canvas:
    """Volume against time of the same people."""
    return _side_by_side(real, generated, "time (s)", "volume (L)", _spirogram)


def _loop(flow: NDArray, volume: NDArray, t0: float, fet: float) -> tuple[NDArray, NDArray]:
    del t0, fet
    smooth = np.convolve(flow, np.ones(3) / 3, mode="same")  # 30 ms, as a spirometer's screen shows it
    return volume[1:], smooth


def _spirogram(flow: NDArray, volume: NDArray, t0: float, fet: float) -> tuple[NDArray, NDArray]:
    del flow
    time = np.arange(len(volume)) * spirometry.SAMPLE_PERIOD_S - (t0 if np.isfinite(t0) else 0.0)
    shown = (time > -0.3) & (time < min(SHOWN_S, fet if np.isfinite(fet) else SHOWN_S))
    return time[shown], volume[shown]


def _side_by_side(
    real: Sequence[Measured],
    generated: Sequence[Measured],
    x: str,
    y: str,
    line: Callable[..., tuple[NDArray, NDArray]],
) -> Canvas:
    canvas, axes = _canvas(2, len(real), 2.6 * len(real), 5.4, sharex="col", sharey="col")
    for column, (above, below) in enumerate(zip(real, generated, strict=True)):
        person = above.people.iloc[0]
        sex = {1: "male", 2: "female"}[int(person["sex"])]
        axes[0, column].set_title(f"{sex}, {person['age']:.0f} y, {person['height']:.0f} cm")
        for ax, curves, colour in ((axes[0, column], above, REAL), (axes[1, column], below, GENERATED)):
            flow = curves.flow()
            volume = spirometry.volume(flow)
            for i in range(len(curves)):
                x_line, y_line = line(flow[i], volume[i], curves.indices["t0"][i], curves.indices["fet"][i])
                ax.plot(x_line, y_line, color=colour, lw=1.0, alpha=0.8)
                ax.plot(x_line[-1:], y_line[-1:], ".", color=colour, ms=4)  # where the effort ends
            ax.axhline(0, color="#cccccc", lw=0.6, zorder=0)
        axes[1, column].set_xlabel(x)
    axes[0, 0].set_ylabel(f"real\n{y}", color=REAL)
    axes[1, 0].set_ylabel(f"generated\n{y}", color=GENERATED)
    return canvas


def percentiles(
    against: str,
    people: pd.DataFrame,
    real: dict[str, NDArray],
    draws: dict[str, NDArray],
    train: pd.DataFrame,
    train_indices: dict[str, NDArray],
) -> Canvas:
    """Percentiles of FEV1, FVC and PEF against age or height, by sex.

    Args:
        against: `age` or `height`; people: the held-out best efforts; real: their indices (n,); draws:
            generated ones (n, K); train, train_indices: real training curves of best efforts.
    """
    names = ("fev1", "fvc", "pef")
    canvas, axes = _canvas(2, len(names), 10.5, 6.4, sharex=True)
    for row, (sex, label) in enumerate(SEXES.items()):
        own = people["sex"].to_numpy() == sex
        trained = train["sex"].to_numpy() == sex
        at_train = train[against].to_numpy(float)[trained]
        x = people[against].to_numpy(float)[own]
        if not own.any():
            continue
        spaced = np.geomspace if against == "age" else np.linspace  # childhood needs more places than old age
        grid = spaced(max(x.min(), at_train.min()), min(x.max(), at_train.max()), 60)
        for column, name in enumerate(names):
            ax: Axes = axes[row, column]
            values = draws[name][own]
            band = _smooth_quantiles(grid, np.repeat(x, values.shape[1]), values.ravel(), against)
            behind = _smooth_quantiles(grid, at_train, train_indices[name][trained], against)
            ax.fill_between(grid, band[0], band[4], color=GENERATED, alpha=0.16, lw=0, label="generated, 5 to 95 %")
            ax.fill_between(grid, band[1], band[3], color=GENERATED, alpha=0.28, lw=0, label="generated, 25 to 75 %")
            ax.plot(grid, band[2], color=GENERATED, lw=1.6, label="generated, median")
            for i, line in enumerate(behind):
                ax.plot(
                    grid,
                    line,
                    color=REAL,
                    lw=1.2 if i == 2 else 0.8,
                    ls="-" if i == 2 else (0, (4, 2)),
                    label={2: "real training people, median", 0: "real training people, 5, 25, 75, 95 %"}.get(i),
                )
            ax.plot(x, real[name][own], ".", color=ALERT, ms=3.2, alpha=0.7, label="real held-out people")
            ax.set_ylim(bottom=0)
            if row == 0:
                ax.set_title(f"{LABELS[name]} ({UNITS[name]})")
            if row == 1:
                ax.set_xlabel({"age": "age (years)", "height": "height (cm)"}[against])
        axes[row, 0].set_ylabel(label)
    canvas.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return canvas


def _smooth_quantiles(grid: NDArray, x: NDArray, values: NDArray, against: str) -> NDArray:
    """Percentiles (5, len(grid)) of values near each place, weighted by a Gaussian window; NaN without any value."""
    from scipy.ndimage import gaussian_filter1d  # noqa: PLC0415 (0.2 s, before any work)

    good = np.isfinite(values)
    if not good.any():
        return np.full((len(PERCENTILES), len(grid)), np.nan)
    order = np.argsort(values[good])
    x, values = x[good][order], values[good][order]
    # SD of the window: years, narrow where children grow; cm
    width = 0.5 + 0.09 * np.maximum(grid - 8, 0) if against == "age" else np.full_like(grid, 3.0)
    weight = np.exp(-0.5 * ((grid[:, None] - x) / width[:, None]) ** 2)
    cumulative = np.cumsum(weight, axis=1)
    share = (cumulative - 0.5 * weight) / cumulative[:, -1:]
    lines = np.array([[np.interp(p / 100, s, values) for s in share] for p in PERCENTILES])
    return gaussian_filter1d(lines, 2.0, axis=1, mode="nearest")  # few people make steps


def calibration(tree: Tree, floor: Tree) -> Canvas:
    """PIT histograms above, coverage against nominal below, for both levels."""
    canvas, axes = _canvas(3, 4, 10.5, 7.4)
    for column, name in enumerate(LABELS):
        for row, (level, label) in enumerate(LEVELS.items()):
            ax: Axes = axes[row, column]
            pit = at(tree, f"calibration.{level}.unweighted.{name}.pit")["value"]
            if pit is None:
                _empty(ax)
            else:
                ax.bar(
                    (np.arange(PIT_BINS) + 0.5) / PIT_BINS,
                    np.array(pit) * PIT_BINS,
                    1 / PIT_BINS,
                    color=GENERATED,
                    edgecolor="white",
                    lw=0.4,
                )
                ax.axhline(1, color=REAL, lw=0.9, ls="--")
                ax.set_ylim(0, max(2.0, 1.1 * max(pit) * PIT_BINS))
            if row == 0:
                ax.set_title(LABELS[name])
            if column == 0:
                ax.set_ylabel(f"PIT density\n{label}")
        ax = axes[2, column]
        ax.plot([40, 100], [40, 100], color=REAL, lw=0.9, ls="--")
        for k, (level, label) in enumerate(LEVELS.items()):
            for source, colour, who in ((floor, FLOOR, "floor"), (tree, GENERATED, "generated")):
                marker = "o" if level == "every" else "D"
                x = np.array([50, 80, 90]) + (k - 0.5) * 1.6
                found = [at(source, f"calibration.{level}.unweighted.{name}.coverage_{n}") for n in (50, 80, 90)]
                _points(ax, x, found, colour, marker, f"{who}, {label}", scale=100)
        ax.set_xticks([50, 80, 90])
        ax.set_xlabel("nominal (%)")
        if column == 0:
            ax.set_ylabel("coverage (%)")
    canvas.legend(*axes[2, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return canvas


def spread(tree: Tree, floor: Tree) -> Canvas:
    """Explained variance and residual SD of the logarithm, generated beside real and the floor."""
    canvas, axes = _canvas(2, 3, 10.5, 6.0)
    x = np.arange(len(LABELS), dtype=float)
    for row, (level, label) in enumerate(LEVELS.items()):
        base = f"spread.{level}.unweighted"
        for column, figure in enumerate(("explained_variance", "residual_sd")):
            ax: Axes = axes[row, column]
            for k, (source, key, colour, who) in enumerate(
                (
                    (floor, figure, FLOOR, "floor: real training people"),
                    (tree, f"{figure}_real", REAL, "real held-out people"),
                    (tree, figure, GENERATED, "generated"),
                )
            ):
                found = [at(source, f"{base}.{name}.{key}") for name in LABELS]
                _points(ax, x + (k - 1) * 0.2, found, colour, "o", who)
            ax.set_xticks(x, LABELS.values())
            ax.set_ylim(0, 1 if figure == "explained_variance" else None)
        ax = axes[row, 2]
        ax.axhspan(0.95, 1.05, color=GENERATED, alpha=0.1, lw=0)
        ax.axhline(1, color=REAL, lw=0.9, ls="--")
        for k, (part, marker) in enumerate((("", "o"), ("_male", "s"), ("_female", "^"))):
            found = [at(tree, f"{base}.{name}.residual_sd_ratio{part}") for name in LABELS]
            _points(
                ax, x + (k - 1) * 0.2, found, GENERATED, marker, {"": "all", "_male": "male", "_female": "female"}[part]
            )
        ax.set_xticks(x, LABELS.values())
        low, high = ax.get_ylim()
        ax.set_ylim(low, high + 0.16 * (high - low))
        ax.legend(loc="upper left", ncols=3, handletextpad=0.2, columnspacing=0.8)
        axes[row, 0].set_ylabel(label)
    axes[0, 0].set_title("explained variance of the logarithm")
    axes[0, 1].set_title("residual SD of the logarithm")
    axes[0, 2].set_title("residual SD, generated over real")
    canvas.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return canvas


def wasserstein(tree: Tree) -> Canvas:
    """Distance of each index in each group, over its floor, as a heat map."""
    canvas, axes = _canvas(1, 2, 10.5, 6.4)
    image = None
    for column, (level, label) in enumerate(LEVELS.items()):
        ax: Axes = axes[0, column]
        base = f"groups.{level}.unweighted"
        places = _groups(at(tree, base))
        if not places:
            _empty(ax)
            continue
        table = np.array([[_number(at(tree, f"{base}.{p[0]}.{i}.{p[1]}.over_floor")) for i in LABELS] for p in places])
        image = ax.imshow(np.log2(np.maximum(table, 1e-3)), cmap="RdBu_r", vmin=-1.6, vmax=1.6, aspect="auto")
        for (r, c), value in np.ndenumerate(table):
            kind, group = places[r]
            beyond = at(tree, f"{base}.{kind}.{list(LABELS)[c]}.{group}.beyond")["value"]
            text = "–" if np.isnan(value) else f"{value:.2f}" + (" !" if beyond else "")
            dark = np.isfinite(value) and abs(np.log2(max(value, 1e-3))) > 1.1
            ax.text(c, r, text, ha="center", va="center", color="white" if dark else "black", fontsize=9)
        for r in range(1, len(places)):
            if places[r][0] != places[r - 1][0]:
                ax.axhline(r - 0.5, color="white", lw=6)
        ax.set_xticks(range(len(LABELS)), LABELS.values())
        ax.set_yticks(range(len(places)), [_group_label(*p) for p in places] if column == 0 else [""] * len(places))
        ax.set_title(label)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    if image is not None:
        bar = canvas.colorbar(image, ax=axes[0, :], shrink=0.6, ticks=[-1, 0, 1])
        bar.set_ticklabels(["half the floor", "the floor", "twice the floor"])
        bar.outline.set_visible(False)
    return canvas


def two_sample(trees: dict[str, Tree]) -> Canvas:
    """AUC of the classifiers and overlap of the clouds, for every candidate that was judged."""
    canvas, axes = _canvas(2, 2, 10.5, 6.2)
    kinds = {"clinical": "clinical", "detailed": "detailed", "fine": "fine\n(to 1 s)", "whole": "fine\n(to 10 s)"}
    measures = ("precision", "recall", "density", "coverage")
    for row, (level, label) in enumerate(LEVELS.items()):
        for column, keys in enumerate((list(kinds), list(measures))):
            ax: Axes = axes[row, column]
            x = np.arange(len(keys), dtype=float)
            step = 0.8 / max(len(trees), 1)
            for k, (who, tree) in enumerate(trees.items()):
                base = f"two_sample.{level}"
                paths = [f"{base}.{key}.auc" if column == 0 else f"{base}.clinical.{key}" for key in keys]
                place = x + (k - (len(trees) - 1) / 2) * step
                _points(ax, place, [at(tree, p) for p in paths], SERIES[k % len(SERIES)], "o", who)
            ax.set_xticks(x, [kinds[k] for k in keys] if column == 0 else keys)
            if column == 0:
                ax.axhline(0.5, color=REAL, lw=0.9, ls="--")
                ax.set_ylim(0.35, 1.03)
                ax.set_ylabel(label)
            else:
                ax.set_ylim(0, None)
    axes[0, 0].set_title("AUC of a classifier: 0.5 cannot tell, 1.0 always tells")
    axes[0, 1].set_title("overlap in the clinical embedding: 1 is full")
    canvas.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(trees), 4))
    return canvas


def copying(distances: dict[str, NDArray]) -> Canvas:
    """Distances to the nearest training curve, and between two efforts of one person, as distributions."""
    canvas, axes = _canvas(1, 1, 7.0, 4.6)
    ax: Axes = axes[0, 0]
    labels = {
        "generated": ("generated, to the nearest training curve", GENERATED, "-"),
        "real": ("real held-out, to the nearest training curve", REAL, "-"),
        "between_efforts": ("real, between two efforts of one person", ALERT, "--"),
    }
    for key, (label, colour, style) in labels.items():
        values = np.sort(distances[key][np.isfinite(distances[key])])
        if len(values):
            ax.plot(values, 100 * (np.arange(len(values)) + 0.5) / len(values), color=colour, ls=style, label=label)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("root mean square difference of flow over 6 s (L/s)")
    ax.set_ylabel("share of curves at most so far (%)")
    ax.set_ylim(0, 100)
    canvas.legend(loc="outside lower center", ncols=1)
    return canvas


def violations(tree: Tree) -> Canvas:
    """Rates of curves that cannot be, or are not what was asked for."""
    canvas, axes = _canvas(1, 2, 10.5, 3.8, sharey=True)
    rules = {
        "falling": "volume\nfalls",
        "second_peak": "second\npeak",
        "no_plateau": "no plateau\n(grades A, B)",
        "large_bev": "late start\n(A, B, C)",
        "implausible": "beyond any\nperson",
    }
    x = np.arange(len(rules), dtype=float)
    for column, (level, label) in enumerate(LEVELS.items()):
        ax: Axes = axes[0, column]
        for k, (suffix, colour, who) in enumerate((("_real", REAL, "real"), ("", GENERATED, "generated"))):
            found = [at(tree, f"physics.{level}.unweighted.{rule}{suffix}") for rule in rules]
            ax.bar(
                x + (k - 0.5) * 0.36, [100 * np.nan_to_num(_number(f)) for f in found], 0.34, color=colour, alpha=0.55
            )
            _points(ax, x + (k - 0.5) * 0.36, found, colour, "o", who, scale=100)
        ax.set_xticks(x, rules.values())
        ax.set_title(label)
        ax.set_ylim(bottom=0)
    axes[0, 0].set_ylabel("curves (%)")
    axes[0, 1].legend(loc="upper right")
    return canvas


def reconstruction(real: Measured, again: Measured, chosen: Sequence[int]) -> Canvas:
    """Some real curves and what the VQ-VAE reads back of them, and the errors of all."""
    canvas, axes = _canvas(2, len(chosen), 2.6 * len(chosen), 5.4)
    flows, flows_again = real.flow(), again.flow()
    for column, row in enumerate(chosen):
        ax: Axes = axes[0, column]
        for flow, colour, label in ((flows, REAL, "real"), (flows_again, GENERATED, "read back")):
            x, y = _loop(flow[row], spirometry.volume(flow[row][None])[0], 0.0, 0.0)
            ax.plot(x, y, color=colour, lw=1.0, label=label)
        person = real.people.iloc[row]
        ax.set_title(f"grade {person['grade']}, {person['age']:.0f} y")
        ax.set_xlabel("volume (L)")
    axes[0, 0].set_ylabel("flow (L/s)")
    axes[0, 0].legend(loc="upper right")
    for column, name in enumerate(list(LABELS)[: len(chosen)]):
        ax = axes[1, column]
        error = again.indices[name] - real.indices[name]
        if UNITS[name] == "L":
            error, unit = 1000 * error, "mL"
        else:
            error, unit = 100 * error / real.indices[name], "%"
        ax.plot(real.indices[name], error, ".", color=GENERATED, ms=2.5, alpha=0.5)
        ax.axhline(0, color=REAL, lw=0.8)
        finite = np.abs(error[np.isfinite(error)])
        if len(finite):
            limit = max(float(np.percentile(finite, 98)), 1e-6)
            ax.set_ylim(-1.3 * limit, 1.3 * limit)
        ax.set_xlabel(f"real {LABELS[name]} ({UNITS[name]})")
        ax.set_title(f"error ({unit})")
    for ax in axes[1, len(LABELS) :]:
        ax.set_visible(False)
    return canvas


def training(logs: dict[str, dict[str, tuple[NDArray, NDArray]]]) -> Canvas:
    """Loss by epoch: for each model its `loss` on training and its `score` on validation curves: (epochs, values)."""
    kinds = {"loss": ("training loss", GENERATED), "score": ("validation error", ALERT)}
    canvas, axes = _canvas(len(kinds), len(logs), 10.5, 5.4, sharex="col")
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


def _points(
    ax: Axes, x: NDArray, figures: list[dict[str, Any]], colour: str, marker: str, label: str, scale: float = 1.0
) -> None:
    """Figures with their intervals; those that could not be computed are left out."""
    value = scale * np.array([_number(f) for f in figures])
    low = scale * np.array([_number(f, "low") for f in figures])
    high = scale * np.array([_number(f, "high") for f in figures])
    ax.plot(x, value, marker, color=colour, ms=4.5, label=label, zorder=3)
    ax.vlines(x, low, high, color=colour, lw=1.3)


def _number(figure: dict[str, Any], key: str = "value") -> float:
    value = figure.get(key, figure.get("value"))
    return float("nan") if value is None or isinstance(value, dict) else float(value)


def _empty(ax: Axes) -> None:
    ax.text(0.5, 0.5, "too few people", ha="center", va="center", transform=ax.transAxes, color="#777777")
    ax.set_xticks([])
    ax.set_yticks([])


def _groups(branch: Tree) -> list[tuple[str, str]]:
    """Kind and name of the groups of a branch of the tree, in order of kind, sex and age."""
    if "sex_age" not in branch:
        return []
    by_kind = {kind: branch[kind]["fev1"] for kind in GROUPINGS}
    by_age = sorted(by_kind["sex_age"], key=lambda n: (n.split("_")[0], int(n.split("_")[1])))
    return [("sex_age", n) for n in by_age] + [(k, n) for k in GROUPINGS[1:] for n in sorted(by_kind[k])]


def _group_label(kind: str, name: str) -> str:
    if kind != "sex_age":
        return name.replace("_", " ")
    sex, low, high = name.split("_")
    return f"{sex}, {low} to {high} y"
