"""The plots of reconstructions: errors beside the rivals', sharpness and coverage, and some efforts drawn anew."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Canvas

from spiro_diffusion.evaluation.completion import Held
from spiro_diffusion.evaluation.completion_baselines import RIVALS
from spiro_diffusion.evaluation.interruptions import cut
from spiro_diffusion.physiology import time_grid
from spiro_diffusion.plotting import style
from spiro_diffusion.reconstruction.reconstructor import Reconstructor

NAMES = {
    "generator": "generator",
    "plain_path": "its densities alone",
    "last_value": "last value held",
    "exponential": "exponential tail",
    "two_exponentials": "two exponentials",
    "neighbours": "nearest training efforts",
    "ridge": "ridge regression",
    "boosted_trees": "boosted trees",
}
SHOWN = 4  # efforts
SHOWN_CUTS_S = (1.0, 2.0)
SHOWN_S = 8.0
SHOWN_DRAWS = 100
BANDS = ((5, 95, 0.2), (25, 75, 0.35))  # percentiles, opacity


def draw(folder: Path, model: Reconstructor, held: Held, result: dict[str, Any], seed: int) -> dict[str, Path]:
    """Write all pictures; their paths by name."""
    pictures: dict[str, Callable[[], Canvas]] = {
        "errors": lambda: errors(result),
        "sharpness": lambda: sharpness(result),
        "efforts": lambda: efforts(model, held, seed),
    }
    paths = {name: folder / f"{name}.png" for name in pictures}
    for name, picture in pictures.items():
        style.save(paths[name], picture)
    return paths


def errors(result: dict[str, Any]) -> Canvas:
    """Median absolute error and CRPS of FVC by case, the generator's and its rivals'."""
    canvas = Canvas(figsize=(10.5, 4.4), layout="constrained")
    axes = canvas.subplots(1, 2)
    cases = result["cases"]
    places = np.arange(len(cases))
    colours = dict(zip(RIVALS, (style.FLOOR, *style.SERIES[2:]), strict=False))
    for ax, figure, title in ((axes[0], "error", "median absolute error"), (axes[1], "crps", "CRPS")):
        for name in ("generator", *RIVALS):
            values = [case[name]["fvc"][figure]["value"] for case in cases.values()]
            own = name == "generator"
            ax.plot(
                places,
                [np.nan if v is None else 1000 * v for v in values],
                "o-" if own else ".-",
                color=style.GENERATED if own else colours[name],
                lw=2 if own else 1,
                label=NAMES[name],
                zorder=3 if own else 2,
            )
        ax.set(yscale="log", ylabel="mL", title=f"FVC: {title}")
        ax.set_xticks(places, [label(name) for name in cases])
    axes[1].legend(fontsize=8)
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
    right.set_xticks(places, [label(name) for name in result["cases"]])
    return canvas


def efforts(model: Reconstructor, held: Held, seed: int) -> Canvas:
    """Some held-out efforts cut short: what was seen, the bands of what is drawn, and what was."""
    few = np.linspace(0, len(held.signals) - 1, min(SHOWN, len(held.signals))).astype(int)
    order = np.argsort((held.people["fev1"] / held.people["fvc"]).to_numpy())[few]  # from obstructed to not
    canvas = Canvas(figsize=(2.7 * len(order), 5.4), layout="constrained")
    axes = canvas.subplots(len(SHOWN_CUTS_S), len(order), squeeze=False, sharey="col")
    for row, at in zip(axes, SHOWN_CUTS_S, strict=True):
        case = cut(held.signals[order], held.people.iloc[order], at)
        drawn = model.fill(case.signals, case.trusted, case.people, SHOWN_DRAWS, seed)
        for place, i in enumerate(case.rows):
            ax, person = row[i], case.people.iloc[place]
            volumes, truth = time_grid.volume(drawn[place]), time_grid.volume(case.truth[place][None])[0]
            seen = at + 1e-9 >= time_grid.EDGES_S
            for low, high, opacity in BANDS:
                between = np.percentile(volumes, [low, high], axis=0)
                ax.fill_between(time_grid.EDGES_S, *between, color=style.GENERATED, alpha=opacity, lw=0)
            ax.plot(time_grid.EDGES_S, truth, color=style.REAL, lw=1, ls=":")
            ax.plot(time_grid.EDGES_S[seen], truth[seen], color=style.REAL, lw=2)
            sex = {1: "male", 2: "female"}[int(person["sex"])]
            ratio = person["fev1"] / person["fvc"]
            ax.set(xlim=(-0.3, SHOWN_S), title=f"{sex}, {person['age']:.0f} y, FEV1/FVC {ratio:.2f}")
        row[0].set_ylabel(f"cut at {at:g} s\nvolume (L)")
    for ax in axes[-1]:
        ax.set_xlabel("time (s)")
    return canvas


def label(case: str) -> str:
    """A case in words."""
    return case if case == "cough" else f"cut at {case.removeprefix('cut_')} s"
