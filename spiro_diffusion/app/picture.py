"""The view as a picture to keep: both plots, the lower limits of normal, what drew it."""

import io

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spiro_diffusion.app.view import PERCENTILES, Shown, View
from spiro_diffusion.plotting import style
from spiro_diffusion.reconstruction.completion import Recovered

DPI = 180


def generated(view: View, source: str) -> bytes:
    """A PNG of 1,980 by 990 pixels; `source` says below what the model was trained on."""
    with mpl.rc_context(style.STYLE):
        canvas = Figure(figsize=(11, 5.5), layout="constrained")
        loop, spirogram = canvas.subplots(1, 2)
        _draw(loop, view.loop, "volume (L)", "flow (L/s)")
        loop.set_aspect(0.5)  # 1 L as long as 2 L/s, as ATS/ERS asks
        _draw(spirogram, view.spirogram, "time (s)", "volume (L)")
        spirogram.legend(loc="lower right")
        canvas.suptitle(f"{view.n} generated curves: {view.subject}", fontsize=12)
        return _png(canvas, source)


def completed(recovered: Recovered, source: str) -> bytes:
    """A PNG of an effort and its completions; `source` as above."""
    return _png(recovered.plot(), source)


def _png(canvas: Figure, source: str) -> bytes:
    canvas.supxlabel(f"{source}. Not for diagnosis.", fontsize=8, color=style.SOFT)
    held = io.BytesIO()
    canvas.savefig(held, format="png", dpi=DPI, metadata={"Software": None}, facecolor="white")
    return held.getvalue()


def _draw(ax: Axes, shown: Shown, x: str, y: str) -> None:
    low, quarter, middle, three_quarters, high = shown.band.percentiles
    wide, narrow = (f"{PERCENTILES[i]} to {PERCENTILES[-1 - i]} % of them" for i in (0, 1))
    ax.fill_between(shown.band.x, low, high, color=style.GENERATED, alpha=0.15, lw=0, label=wide)
    ax.fill_between(shown.band.x, quarter, three_quarters, color=style.GENERATED, alpha=0.25, lw=0, label=narrow)
    for line in shown.lines:
        ax.plot(line.x, line.y, color=style.GENERATED, lw=0.5, alpha=0.3)
    ax.plot(shown.band.x, middle, color=style.GENERATED, lw=1.8, label="median")
    for limit in shown.limits:
        ax.plot(limit.x, limit.y, color=style.REAL, lw=1.2, ls="--", label=f"{limit.words} (GLI Global)")
    if shown.user:
        ax.plot(shown.user.x, shown.user.y, color=style.ALERT, lw=1.8, label="your curve")
    ax.axhline(0, color=style.ZERO, lw=0.6, zorder=0)
    ax.set(xlabel=x, ylabel=y, xlim=shown.x, ylim=shown.y)
