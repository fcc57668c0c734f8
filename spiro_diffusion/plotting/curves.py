"""Plots of curves: flow against volume beside volume against time."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spiro_diffusion.physiology import spirometry, time_grid
from spiro_diffusion.plotting import style

PLOTTED_S = 10.0  # of a curve against time
MOST_LINES = 40  # of draws under what was measured
Floats = NDArray[np.floating]


def smooth(flow: Floats) -> Floats:
    """Flow (T,) as means of 30 ms, as a spirometer's screen shows it."""
    return np.convolve(flow, np.ones(3) / 3, mode="same")


def panels(title: str) -> tuple[Figure, Axes, Axes]:
    """A figure with axes for flow against volume and for volume against time."""
    canvas = Figure(figsize=(9.6, 4.4), layout="constrained")
    loops, spirograms = canvas.subplots(1, 2)
    loops.set(xlabel="volume (L)", ylabel="flow (L/s)")
    spirograms.set(xlabel="time (s)", ylabel="volume (L)")
    for ax in (loops, spirograms):
        ax.axhline(0, color=style.ZERO, lw=0.6, zorder=0)
    canvas.suptitle(title, fontsize=11)
    return canvas, loops, spirograms


def subjects(
    time: Floats, flow: Floats, subject: NDArray, names: Sequence[str], colours: Sequence[str], title: str
) -> Figure:
    """Curves (N, T) in L/s of some subjects (N,), a colour a subject; a legend where they have names."""
    canvas, loops, spirograms = panels(title)
    alpha = float(np.clip(6 / np.sqrt(len(flow)), 0.15, 0.8))
    last = np.minimum(spirometry.end_of_flow(flow), int((time < PLOTTED_S).sum()))
    named: set[int] = set()
    for i, (person, end) in enumerate(zip(subject, last, strict=True)):
        label = names[person] if names and person not in named else None
        named.add(person)
        colour = colours[person] if names else colours[0]
        volume = spirometry.volume(flow[i : i + 1])[0, :-1]
        loops.plot(volume, smooth(flow[i]), color=colour, lw=0.9, alpha=alpha, label=label)
        spirograms.plot(time[:end], volume[:end], color=colour, lw=0.9, alpha=alpha)
    if names:
        for line in loops.legend(fontsize=8).get_lines():
            line.set_alpha(1)
    return canvas


def completed(time: Floats, measured: Floats, trusted: NDArray[np.bool_], draws: Floats, title: str) -> Figure:
    """A measured effort (T,) in L/s, dotted where it is not trusted (T,), over draws (M, T) of the full effort."""
    canvas, loops, spirograms = panels(title)
    volumes = spirometry.volume(draws)[:, :-1]
    for flow, volume in zip(draws[:MOST_LINES], volumes[:MOST_LINES], strict=True):
        loops.plot(volume, smooth(flow), color=style.GENERATED, lw=0.7, alpha=0.2)
    for low, high, opacity in ((5, 95, 0.2), (25, 75, 0.35)):
        between = np.percentile(volumes, [low, high], axis=0)
        spirograms.fill_between(time, *between, color=style.GENERATED, alpha=opacity, lw=0)
    recorded = spirometry.volume(measured[None])[0, :-1]
    there = np.arange(len(recorded)) < int(spirometry.end_of_flow(measured[None])[0])
    for kept, width, dash in ((trusted, 1.8, "-"), (~trusted, 1.0, ":")):
        part = np.where(kept & there, recorded, np.nan)
        loops.plot(part, smooth(measured), color=style.REAL, lw=width, ls=dash)
        spirograms.plot(time, part, color=style.REAL, lw=width, ls=dash)
    longest = float(spirometry.end_of_flow(draws).max()) * spirometry.SAMPLE_PERIOD_S - time_grid.LEAD_S
    spirograms.set(xlim=(-time_grid.LEAD_S, min(longest + 0.5, 15.0)))
    return canvas
