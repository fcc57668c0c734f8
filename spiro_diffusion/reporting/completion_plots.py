"""Plots of completions: errors against the baselines, sharpness, coverage, and example efforts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from spiro_diffusion.core.vocabulary import SEXES
from spiro_diffusion.evaluation.interruptions import JUDGED
from spiro_diffusion.physiology import time_grid
from spiro_diffusion.plotting import style

NAMES = {
    "generator": "model",
    "plain_path": "its densities alone",
    "last_value": "last value held",
    "exponential": "exponential tail",
    "two_exponentials": "two exponentials",
    "neighbours": "nearest training efforts",
    "ridge": "ridge regression",
    "boosted_quantiles": "boosted quantiles",
    "nearest_lungs": "regression on nearest lungs",
}
LABELS = {how.name: how.label for how in JUDGED}  # of cases
PLOTTED_S = 8.0


def errors(result: dict[str, Any]) -> Canvas:
    """Median absolute error and CRPS of FVC by case, the generator's and the baselines'."""
    canvas = Canvas(figsize=(10.5, 4.9), layout="constrained")
    axes = canvas.subplots(1, 2)
    cases = result["cases"]
    places = np.arange(len(cases))
    baselines = [name for name in NAMES if name not in ("generator", "plain_path")]
    colours = {"generator": style.GENERATED, **dict(zip(baselines, (style.FLOOR, *style.SERIES[2:]), strict=False))}
    for ax, figure, title in ((axes[0], "error", "median absolute error"), (axes[1], "crps", "CRPS")):
        for name, colour in colours.items():
            values = [case[name]["fvc"][figure]["value"] for case in cases.values()]
            is_generator = name == "generator"
            ax.plot(
                places,
                [np.nan if v is None else 1000 * v for v in values],
                "o-" if is_generator else ".-",
                color=colour,
                lw=2 if is_generator else 1,
                label=NAMES[name],
                zorder=3 if is_generator else 2,
            )
        ax.set(yscale="log", ylabel="mL", title=f"FVC: {title}")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.grid(axis="y", color=style.GRID)
        ax.set_xticks(places, [LABELS[name] for name in cases])
    canvas.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=4)
    return canvas


def sharpness(result: dict[str, Any]) -> Canvas:
    """Width of the intervals of FVC by the time of the cut, and how often they hold the truth."""
    canvas = Canvas(figsize=(10.5, 3.8), layout="constrained")
    left, right = canvas.subplots(1, 2)
    times = [float(t) for t in result["sharpness"]]
    order = np.argsort(times)
    for nominal, line in ((90, "o-"), (50, "o--")):
        widths = np.array([1000 * v[f"width_{nominal}"] for v in result["sharpness"].values()])
        left.plot(np.array(times)[order], widths[order], line, color=style.GENERATED, label=f"{nominal} % interval")
    left.set(xlabel="effort cut at (s)", ylabel="median width, FVC (mL)", ylim=(0, None))
    left.legend()
    places = np.arange(len(result["cases"]))
    for nominal, colour in ((90, style.GENERATED), (50, style.SERIES[6])):
        right.axhline(nominal, color=colour, lw=0.8, ls=":")
        for shift, index, marker in ((-0.1, "fvc", "o"), (0.1, "fef2575", "s")):
            for place, case in zip(places, result["cases"].values(), strict=True):
                found = case["generator"][index][f"coverage_{nominal}"]
                if found["value"] is None:
                    continue
                low, high = (100 * found.get(k, found["value"]) for k in ("low", "high"))
                right.plot([place + shift] * 2, [low, high], color=colour, lw=1)
                right.plot(place + shift, 100 * found["value"], marker, color=colour, ms=5)
    right.set(ylabel="truth in the interval (%)", ylim=(0, 102), title="round: FVC, square: FEF25-75")
    right.set_xticks(places, [LABELS[name] for name in result["cases"]])
    return canvas


def efforts(examples: Mapping[str, NDArray]) -> Canvas:
    """Some held-out efforts cut short: what was seen, the bands of what is drawn, and what was; see
    `completion.example_arrays`."""
    cuts, edges = examples["cut_s"], time_grid.EDGES_S
    canvas = Canvas(figsize=(2.7 * len(examples["age"]), 5.4), layout="constrained")
    axes = canvas.subplots(len(cuts), len(examples["age"]), squeeze=False, sharey="col")
    for row, cut_s, bands in zip(axes, cuts, examples["bands"], strict=True):
        seen = edges <= cut_s + 1e-9
        for i, ax in enumerate(row):
            low, lower, upper, high = bands[i]
            for ends, opacity in (((low, high), 0.2), ((lower, upper), 0.35)):
                ax.fill_between(edges, *ends, color=style.GENERATED, alpha=opacity, lw=0)
            ax.plot(edges, examples["volume"][i], color=style.REAL, lw=1, ls=":")
            ax.plot(edges[seen], examples["volume"][i][seen], color=style.REAL, lw=2)
            title = f"{SEXES[int(examples['sex'][i])]}, {examples['age'][i]:.0f} y, FEV1/FVC {examples['ratio'][i]:.2f}"
            ax.set(xlim=(-0.3, PLOTTED_S), title=title)
        row[0].set_ylabel(f"cut at {cut_s:g} s\nvolume (L)")
    for ax in axes[-1]:
        ax.set_xlabel("time (s)")
    return canvas
