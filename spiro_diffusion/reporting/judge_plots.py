"""Plots of the judge's figures: one function a picture, one picture a question.

Held-out curves are dark grey, generated ones blue, the floor light grey, everywhere.
"""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from spiro_diffusion.core.vocabulary import INDICES, JUDGED
from spiro_diffusion.evaluation.conditional import PIT_BINS
from spiro_diffusion.evaluation.figures import Figure, Series, Tree
from spiro_diffusion.evaluation.groups import group_names, group_words
from spiro_diffusion.evaluation.registry import (
    COVERAGES,
    EMBEDDINGS,
    GROUPINGS,
    LEVELS,
    OVERLAPS,
    RULES,
    TARGETS,
    Level,
    at,
    named,
    node_at,
)
from spiro_diffusion.plotting.style import FLOOR, GENERATED, PAPER, REAL, SERIES
from spiro_diffusion.reporting.curve_plots import canvas_of, empty
from spiro_diffusion.reporting.sources import Source

MARKERS = "osD^vP*"  # of the candidates: two of their colours are greys
LABELS = [INDICES[name].label for name in JUDGED]


def calibration(tree: Tree, floor: Tree) -> Canvas:
    """PIT histograms above, coverage against nominal below, for both levels."""
    canvas, axes = canvas_of(3, 4, 10.5, 7.4)
    for column, name in enumerate(JUDGED):
        for row, (level, label) in enumerate(LEVELS.items()):
            ax: Axes = axes[row, column]
            _pit(ax, node_at(tree, named("pit", level, name)))
            if row == 0:
                ax.set_title(INDICES[name].label)
            if column == 0:
                ax.set_ylabel(f"PIT density\n{label}")
        ax = axes[2, column]
        ax.plot([40, 100], [40, 100], color=REAL, lw=0.9, ls="--")
        for k, (level, label) in enumerate(LEVELS.items()):
            for source, colour, series in ((floor, FLOOR, "floor"), (tree, GENERATED, "generated")):
                marker = "o" if level == "every" else "D"
                x = np.array(COVERAGES) + (k - 0.5) * 1.6
                found = [at(source, named(f"coverage_{n}", level, name)) for n in COVERAGES]
                _points(ax, x, found, colour, marker, f"{series}, {label}", scale=100)
        ax.set_xticks(COVERAGES)
        ax.set_xlabel("nominal (%)")
        if column == 0:
            ax.set_ylabel("coverage (%)")
    canvas.legend(*axes[2, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return canvas


def _pit(ax: Axes, pit: object) -> None:
    if not isinstance(pit, Series):
        empty(ax)
        return
    density = np.array(pit.value) * PIT_BINS
    places = (np.arange(PIT_BINS) + 0.5) / PIT_BINS
    ax.bar(places, density, 1 / PIT_BINS, color=GENERATED, edgecolor=PAPER, lw=0.4)
    ax.axhline(1, color=REAL, lw=0.9, ls="--")
    ax.set_ylim(0, max(2.0, 1.1 * density.max()))


def spread(tree: Tree, floor: Tree, source: Source) -> Canvas:
    """Explained variance and residual SD of the logarithm, generated beside held-out curves and the floor."""
    canvas, axes = canvas_of(2, 3, 10.5, 6.0)
    x = np.arange(len(JUDGED), dtype=float)
    for row, (level, label) in enumerate(LEVELS.items()):
        for ax, figure in zip(axes[row], ("explained_variance", "residual_sd"), strict=False):
            for k, (side, key, colour, series) in enumerate(
                (
                    (floor, figure, FLOOR, f"floor: {source.word}, training people"),
                    (tree, f"{figure}_real", REAL, source.held_out),
                    (tree, figure, GENERATED, "generated"),
                )
            ):
                _points(ax, x + (k - 1) * 0.2, _of_indices(side, key, level), colour, "o", series)
            ax.set_xticks(x, LABELS)
            ax.set_ylim(0, 1 if figure == "explained_variance" else None)
        ax = axes[row, 2]
        rule = TARGETS["residual_sd"].rule
        ax.axhspan(rule.low, rule.high, color=GENERATED, alpha=0.1, lw=0)
        ax.axhline(1, color=REAL, lw=0.9, ls="--")
        for k, (part, series, marker) in enumerate(
            (("", "all", "o"), ("_male", "male", "s"), ("_female", "female", "^"))
        ):
            found = _of_indices(tree, f"residual_sd_ratio{part}", level)
            _points(ax, x + (k - 1) * 0.2, found, GENERATED, marker, series)
        ax.set_xticks(x, LABELS)
        low, high = ax.get_ylim()
        ax.set_ylim(low, high + 0.16 * (high - low))
        ax.legend(loc="upper left", ncols=3, handletextpad=0.2, columnspacing=0.8)
        axes[row, 0].set_ylabel(label)
    axes[0, 0].set_title("explained variance of the logarithm")
    axes[0, 1].set_title("residual SD of the logarithm")
    axes[0, 2].set_title("residual SD, generated over held-out")
    canvas.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return canvas


def wasserstein(tree: Tree) -> Canvas:
    """Distance of each index in each group, over its floor, as a heat map."""
    canvas, axes = canvas_of(1, 2, 10.5, 6.4)
    image = None
    for column, (level, label) in enumerate(LEVELS.items()):
        ax: Axes = axes[0, column]
        base = f"groups.{level}.unweighted"
        rows = [(kind, group) for kind in GROUPINGS for group in group_names(tree, f"{base}.{kind}")]
        if not rows:
            empty(ax)
            continue
        paths = [[f"{base}.{kind}.{name}.{group}" for name in JUDGED] for kind, group in rows]
        table = np.array([[_number(at(tree, f"{path}.over_floor")) for path in line] for line in paths])
        image = ax.imshow(np.log2(np.maximum(table, 1e-3)), cmap="RdBu_r", vmin=-1.6, vmax=1.6, aspect="auto")
        for (r, c), value in np.ndenumerate(table):
            beyond = at(tree, f"{paths[r][c]}.beyond").value
            text = "–" if np.isnan(value) else f"{value:.2f}" + (" !" if beyond else "")
            dark = np.isfinite(value) and abs(np.log2(max(value, 1e-3))) > 1.1
            ax.text(c, r, text, ha="center", va="center", color=PAPER if dark else "black", fontsize=9)
        for r in range(1, len(rows)):
            if rows[r][0] != rows[r - 1][0]:
                ax.axhline(r - 0.5, color=PAPER, lw=6)
        ax.set_xticks(range(len(LABELS)), LABELS)
        ax.set_yticks(range(len(rows)), [group_words(g) for _, g in rows] if column == 0 else [""] * len(rows))
        ax.set_title(label)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    if image is not None:
        bar = canvas.colorbar(image, ax=axes[0, :], shrink=0.6, ticks=[-1, 0, 1])
        bar.set_ticklabels(["half the floor", "the floor", "twice the floor"])
        bar.outline.set_visible(False)
    return canvas


def two_sample(trees: Mapping[str, Tree]) -> Canvas:
    """AUC of the classifiers and overlap of the clouds, for every candidate that was judged."""
    canvas, axes = canvas_of(2, 2, 10.5, 6.2)
    for row, (level, label) in enumerate(LEVELS.items()):
        for ax, names, ticks in (
            (
                axes[row, 0],
                [f"auc_{kind}" for kind in EMBEDDINGS],
                [e.replace(", ", "\n") for e in EMBEDDINGS.values()],
            ),
            (axes[row, 1], [f"{name}_clinical" for name in OVERLAPS], OVERLAPS),
        ):
            x = np.arange(len(names), dtype=float)
            for k, (series, tree) in enumerate(trees.items()):
                place = x + (k - (len(trees) - 1) / 2) * 0.8 / len(trees)
                found = [at(tree, named(name, level)) for name in names]
                _points(ax, place, found, SERIES[k % len(SERIES)], MARKERS[k % len(MARKERS)], series)
            ax.set_xticks(x, ticks)
            ax.set_ylim(0, None)
        axes[row, 0].axhline(0.5, color=REAL, lw=0.9, ls="--")
        axes[row, 0].set_ylim(0.35, 1.03)
        axes[row, 0].set_ylabel(label)
    axes[0, 0].set_title("AUC of a classifier: 0.5 cannot tell, 1.0 always tells")
    axes[0, 1].set_title("overlap in the clinical embedding: 1 is full")
    canvas.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(trees), 4))
    return canvas


def violations(tree: Tree, source: Source) -> Canvas:
    """Rates of curves that are impossible or not as requested."""
    canvas, axes = canvas_of(1, 2, 10.5, 3.8, sharey=True)
    x = np.arange(len(RULES), dtype=float)
    for ax, (level, label) in zip(axes[0], LEVELS.items(), strict=True):
        for k, (suffix, colour, series) in enumerate((("_real", REAL, source.held_out), ("", GENERATED, "generated"))):
            found = [at(tree, named(f"{rule}{suffix}", level)) for rule in RULES]
            place = x + (k - 0.5) * 0.36
            ax.bar(place, [100 * np.nan_to_num(_number(f)) for f in found], 0.34, color=colour, alpha=0.55)
            _points(ax, place, found, colour, "o", series, scale=100)
        ax.set_xticks(x, [textwrap.fill(words, 13) for words in RULES.values()])
        ax.set_title(label)
    axes[0, 0].set_ylim(bottom=0)  # of both, after both are drawn
    axes[0, 0].set_ylabel("curves (%)")
    axes[0, 1].legend(loc="upper right")
    return canvas


def _of_indices(tree: Tree, name: str, level: Level) -> list[Figure]:
    return [at(tree, named(name, level, index)) for index in JUDGED]


def _points(
    ax: Axes, x: NDArray, figures: Sequence[Figure], colour: str, marker: str, label: str, scale: float = 1.0
) -> None:
    """Figures with their intervals; those that could not be computed are left out."""
    value = scale * np.array([_number(f) for f in figures])
    low, high = (scale * np.array([(f.interval or 2 * (_number(f),))[side] for f in figures]) for side in (0, 1))
    ax.plot(x, value, marker, color=colour, ms=4.5, label=label, zorder=3)
    ax.vlines(x, low, high, color=colour, lw=1.3)


def _number(figure: Figure) -> float:
    return float("nan") if figure.value is None else figure.value
