"""The plots of a session's page, flow against volume and volume against time, at fixed aspect ratios."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from spiro_diffusion.plotting import style
from spiro_diffusion.plotting.curves import smooth
from spiro_diffusion.sessions.best_values import Values
from spiro_diffusion.sessions.page_contents import Contents, Floats, PageBlow

MM_A_LITRE = (
    40.0,
    30.0,
    20.0,
    15.0,
    12.5,
    10.0,
    7.5,
    6.0,
    5.0,
    4.0,
    3.0,
)  # 10 is ATS/ERS 2005's; one that fits is taken
MM_A_SECOND = (20.0, 15.0, 12.5, 10.0, 7.5, 6.0, 5.0, 4.0, 3.0, 2.0)  # likewise, 20
FLOW_A_LITRE = 2.0  # L/s that are as long as 1 L
LEAST_L, LEAST_FLOW, LEAST_S = 2.0, 4.0, 6.0  # of the axes
LONGEST_S = 15.0  # of the time axis: an expiration needs no more (ATS/ERS 2019)
BEFORE_S = 0.3  # of the time axis before time zero
COLOURS = {"pre": style.INK, "post": style.GENERATED}
DASHES = {"pre": "-", "post": (0, (5, 1.6))}
REJECTED = "#808080"
TINY = 6.5  # points, of the marks of predicted values
PREDICTED = "#555555"


class Scales(NamedTuple):
    """Ends of the axes, and the millimetres that a litre and a second take."""

    litres: tuple[float, float]
    flow: tuple[float, float]
    volume: tuple[float, float]  # of volume against time
    seconds: tuple[float, float]
    mm_a_litre: float
    mm_a_second: float

    @property
    def loop(self) -> tuple[float, float]:
        """Width and height of flow against volume, mm."""
        return (
            np.ptp(self.litres) * self.mm_a_litre,
            float(np.ptp(self.flow)) / FLOW_A_LITRE * self.mm_a_litre,
        )

    @property
    def spirogram(self) -> tuple[float, float]:
        """Width and height of volume against time, mm."""
        return float(np.ptp(self.seconds)) * self.mm_a_second, float(np.ptp(self.volume)) * self.mm_a_litre


def scales(contents: Contents, width: float, height: float) -> Scales:
    """The scales of both plots, which share `width` mm and have `height` mm each."""
    volumes = [blow.volume for blow in contents.blows]
    rows = {row.name: row for row in contents.rows}
    litres = _greatest([*volumes, *_limits(rows.get("fvc")), *_completed(contents)], LEAST_L)
    lowest = min((float(v.min(initial=0.0)) for v in volumes), default=0.0)
    left = -np.ceil(-lowest) if lowest < -0.2 else 0.0
    flows = [smooth(blow.flow) for blow in contents.blows]
    top = _greatest([*flows, *_limits(rows.get("pef"))], LEAST_FLOW)
    top = FLOW_A_LITRE * np.ceil(top / FLOW_A_LITRE)
    least = min((float(flow.min(initial=0.0)) for flow in flows), default=0.0)
    bottom = -FLOW_A_LITRE * np.ceil(-least / FLOW_A_LITRE) if least < -0.3 else 0.0
    longest = max((float(blow.time[-1]) for blow in contents.blows), default=LEAST_S)
    seconds = float(np.clip(np.ceil(longest), LEAST_S, LONGEST_S))
    litre = next(
        (
            mm
            for mm in MM_A_LITRE
            if (top - bottom) / FLOW_A_LITRE * mm <= height
            and (litres - left) * mm <= min(height * 1.2, width / 2)
            and litres * mm <= height
        ),
        MM_A_LITRE[-1],
    )
    rest = width - (litres - left) * litre
    second = next((mm for mm in MM_A_SECOND if (seconds + BEFORE_S) * mm <= rest), MM_A_SECOND[-1])
    return Scales((left, litres), (bottom, top), (0.0, litres), (-BEFORE_S, seconds), litre, second)


def _greatest(values: Sequence[Floats | float], least: float) -> float:
    """The next whole number above all values."""
    largest = max((float(np.nanmax(v, initial=0.0)) for v in map(np.asarray, values)), default=0.0)
    return max(least, float(np.ceil(largest + 0.1)))


def _limits(row: Values | None) -> list[float]:
    return [value for value in (row.predicted, row.lln) if value is not None] if row else []


def _completed(contents: Contents) -> list[Floats]:
    return [blow.completed.high for blow in contents.blows if blow.completed]


def draw_loop(ax: Axes, contents: Contents, scale: Scales, texts: dict[str, str]) -> None:
    """Plot flow against volume of all blows, with the predicted FVC, PEF and FEF25-75."""
    for blow in _from_behind(contents):
        if blow.completed:
            volume = np.maximum.accumulate(blow.completed.median)
            ax.plot(volume, smooth(blow.completed.flow), color=style.ALERT, lw=0.9, ls="-.", zorder=2)
        ax.plot(blow.volume, smooth(blow.flow), **_line(blow))
    ax.axhline(0, color=style.INK, lw=0.6, zorder=1)
    _frame(ax, scale.litres, scale.flow, (texts["volume"], texts["flow"]), (1.0, FLOW_A_LITRE))
    rows = {row.name: row for row in contents.rows}
    if row := rows.get("pef"):
        _mark(ax, row, "y", 0.0)
    if row := rows.get("fvc"):
        _mark(ax, row, "x", 0.0)
        middle = rows.get("fef2575")
        if middle and middle.predicted and row.predicted:
            quarter = np.array([0.25, 0.75]) * row.predicted
            ax.plot(quarter, [middle.predicted] * 2, color=PREDICTED, lw=0.9, ls=(0, (4, 2)), zorder=6)
            if middle.lln:
                ax.plot(quarter, [middle.lln] * 2, color=PREDICTED, lw=0.9, ls=(0, (1, 1.5)), zorder=6)


def draw_spirogram(ax: Axes, contents: Contents, scale: Scales, texts: dict[str, str]) -> None:
    """Plot volume against time of all blows, with the predicted FEV1 and FVC."""
    for blow in _from_behind(contents):
        plotted = blow.time >= -BEFORE_S
        if blow.completed:
            completed = blow.completed
            ax.fill_between(
                completed.time, completed.low, completed.high, color=style.ALERT, alpha=0.18, lw=0, zorder=1
            )
            ax.plot(completed.time, completed.median, color=style.ALERT, lw=0.9, ls="-.", zorder=2)
        ax.plot(blow.time[plotted], blow.volume[plotted], **_line(blow))
    _frame(ax, scale.seconds, scale.volume, (texts["time"], texts["volume"]), (1.0, 1.0))
    rows = {row.name: row for row in contents.rows}
    if row := rows.get("fev1"):
        ax.axvline(1.0, color=style.GRID, lw=0.6, zorder=0)
        _mark(ax, row, "y", 1.0)
    if row := rows.get("fvc"):
        _mark(ax, row, "y", scale.seconds[1])


def _from_behind(contents: Contents) -> list[PageBlow]:
    """The blows in drawing order: those that do not count first, the best last."""
    best = {found.blow for row in contents.rows for found in row.best.values()}
    return sorted(contents.blows, key=lambda s: (s.blow.counts, s.blow.number in best, s.blow.phase == "pre"))


def _line(blow: PageBlow) -> dict[str, Any]:
    """Line style of a blow: dashed after the bronchodilator, thin and dotted if it does not count."""
    if not blow.blow.counts:
        return {"color": REJECTED, "lw": 1.0, "ls": ":", "zorder": 3}
    return {"color": COLOURS[blow.blow.phase], "lw": 0.9, "ls": DASHES[blow.blow.phase], "zorder": 4}


def _mark(ax: Axes, row: Values, axis: str, at: float) -> None:
    """A bracket from the lower limit of normal (a bar) to the predicted value (a triangle)."""
    if row.predicted is None:
        return
    ends = [row.predicted if row.lln is None else row.lln, row.predicted]
    line, marks = ([at, at], ends), (("_", ">") if axis == "y" else ("|", "^"))
    if axis == "x":
        line = line[1], line[0]
    ax.plot(*line, color=PREDICTED, lw=1.1, zorder=6, clip_on=False)
    for place, marker, size in ((0, marks[0], 7.0), (1, marks[1], 4.5)):
        if place or row.lln is not None:
            point = ([line[0][place]], [line[1][place]])
            ax.plot(*point, marker, color=PREDICTED, ms=size, mfc="white", zorder=7, clip_on=False)


def _frame(
    ax: Axes, x: tuple[float, float], y: tuple[float, float], names: tuple[str, str], steps: tuple[float, float]
) -> None:
    """Axes with a grid at whole steps."""
    ax.set(xlim=x, ylim=y)
    ax.set_xticks(np.arange(np.ceil(x[0]), x[1] + 1e-6, steps[0]))
    ax.set_yticks(np.arange(y[0], y[1] + 1e-6, steps[1]))
    ax.grid(color=style.GRID, lw=0.5, zorder=0)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=7, length=2, width=0.6, pad=2)
    ax.set_xlabel(names[0], fontsize=7.5, labelpad=2, parse_math=False)
    ax.set_ylabel(names[1], fontsize=7.5, labelpad=2, parse_math=False)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_linewidth(0.7)
