"""A view as a downloadable picture: both plots, the lower limits of normal and the model."""

import io
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spiro_diffusion.app.drawn_session import DrawnSession, Plot
from spiro_diffusion.app.figures import BEST, OTHERS, PHASES
from spiro_diffusion.app.view import PERCENTILES, CurvePlot, View
from spiro_diffusion.plotting import style
from spiro_diffusion.reconstruction.completion import Recovered

DPI = 180


def generated(view: View, source: str) -> bytes:
    """A PNG of 1,980 by 990 pixels; `source`, the training data of the model, is printed below."""
    with mpl.rc_context(style.STYLE):
        canvas = Figure(figsize=(11, 5.5), layout="constrained")
        axes = canvas.subplots(1, 2)
        for ax, plot in zip(axes, (view.loop, view.spirogram), strict=True):
            _draw(ax, plot)
        _finish(axes, view.loop, view.spirogram)
        canvas.suptitle(f"{view.n} generated curves: {view.subject}", fontsize=12)
        return _png(canvas, source)


def session(drawn: DrawnSession, source: str) -> bytes:
    """A PNG of a drawn session; size and `source` as above."""
    with mpl.rc_context(style.STYLE):
        canvas = Figure(figsize=(11, 5.5), layout="constrained")
        axes = canvas.subplots(1, 2)
        for ax, plot in zip(axes, (drawn.loop, drawn.spirogram), strict=True):
            _draw_efforts(ax, plot)
        _finish(axes, drawn.loop, drawn.spirogram)
        canvas.suptitle(f"Simulated session of one lung: {drawn.subject}", fontsize=12)
        return _png(canvas, source)


def completed(recovered: Recovered, source: str) -> bytes:
    """A PNG of an effort and its completions; `source` as above."""
    return _png(recovered.plot(), source)


def _png(canvas: Figure, source: str) -> bytes:
    canvas.supxlabel(f"{source}. Not for diagnosis.", fontsize=8, color=style.SOFT)
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None}, facecolor="white")
    return buffer.getvalue()


def _draw(ax: Axes, plot: CurvePlot) -> None:
    low, quarter, middle, three_quarters, high = plot.band.percentiles
    wide, narrow = (f"{PERCENTILES[i]} to {PERCENTILES[-1 - i]} % of them" for i in (0, 1))
    ax.fill_between(plot.band.x, low, high, color=style.GENERATED, alpha=0.15, lw=0, label=wide)
    ax.fill_between(plot.band.x, quarter, three_quarters, color=style.GENERATED, alpha=0.25, lw=0, label=narrow)
    for line in plot.lines:
        ax.plot(line.x, line.y, color=style.GENERATED, lw=0.5, alpha=0.3)
    ax.plot(plot.band.x, middle, color=style.GENERATED, lw=1.8, label="median")
    if plot.user:
        ax.plot(plot.user.x, plot.user.y, color=style.ALERT, lw=1.8, label="your curve")


def _draw_efforts(ax: Axes, plot: Plot) -> None:
    several = len({stroke.phase for stroke in plot.strokes}) > 1
    for stroke in plot.strokes:
        opacity, width = BEST if stroke.best else OTHERS
        when = f", {stroke.name.partition(',')[0]}" if several else ""
        label = f"best effort{when}" if stroke.best else None
        ax.plot(*stroke.line, color=PHASES[stroke.phase], alpha=opacity, lw=0.8 * width, label=label)


def _finish(axes: Sequence[Axes], loop: CurvePlot | Plot, spirogram: CurvePlot | Plot) -> None:
    """Limits, labels and the aspect ratio of flow against volume."""
    labels = ("volume (L)", "flow (L/s)"), ("time (s)", "volume (L)")
    for ax, plot, (x, y) in zip(axes, (loop, spirogram), labels, strict=True):
        for limit in plot.limits:
            ax.plot(limit.x, limit.y, color=style.REAL, lw=1.2, ls="--", label=f"{limit.words} (GLI Global)")
        ax.axhline(0, color=style.ZERO, lw=0.6, zorder=0)
        ax.set(xlabel=x, ylabel=y, xlim=plot.x, ylim=plot.y)
    axes[0].set_aspect(0.5)  # 1 L as long as 2 L/s, as ATS/ERS requires
    axes[1].legend(loc="lower right")
