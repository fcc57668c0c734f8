"""Style of all plots and of the page: palette, fonts, and saving of pictures.

Real is dark grey, generated blue, the floor light grey, everywhere. The bytes of a PNG depend on what is
drawn and on the version of matplotlib alone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from spiro_diffusion.core.artifacts import atomic

REAL, GENERATED, FLOOR, ALERT = "#3b3b3b", "#0072b2", "#b5b5b5", "#d55e00"
SERIES = (GENERATED, FLOOR, "#8a8a8a", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#f0e442")
SUBJECTS = (GENERATED, ALERT, *SERIES[4:])  # safe for the colour blind
INK, SOFT, ZERO, GRID, PAPER = "#20262c", "#5c6670", "#cccccc", "#e6eaee", "#ffffff"
OPACITIES = 0.13, 0.20, 0.30  # of the 5-95 % band, of the 25-75 % band over it, of a single curve
PAGE = {  # custom properties of the page's style sheet, by name
    "ink": INK,
    "soft": SOFT,
    "grid": GRID,
    "paper": PAPER,
    "line": "#d9dee3",
    "ground": "#f4f6f8",
    "edge": "#8b959e",  # of what can be pressed: 3:1 against the paper (WCAG 2.1, 1.4.11)
    "generated": GENERATED,
    "user": ALERT,
    "user-text": "#b84f00",  # 4.5:1 against the paper
    "badge-text": "#8a3c00",
    "badge-edge": "#d9b48f",
    "badge-ground": "#fdf4ef",
    "note-edge": "#c9a227",
    "note-ground": "#fcf8e8",
    "said-edge": "#9db4c6",
    "said-ground": "#eef4f8",
    "alert-edge": "#b3261e",
    "alert-ground": "#fcefee",
}
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "legend.frameon": False,
}
REPORT = {  # custom properties of the reports' style sheet, by name
    **{name: PAGE[name] for name in ("ink", "soft", "line", "paper", "edge")},
    "link": GENERATED,
    "met": "#0b6b4f",
    "within-noise": "#7a5b00",
    "missed": "#a83a00",
    "notice": PAGE["badge-ground"],
}


def transparent(colour: str, opacity: float) -> str:
    """A colour of the palette as CSS and Plotly write it with an opacity."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def css() -> str:
    """The palette as custom properties of a style sheet; the bands as they look, one over the other."""
    wide, narrow, line = OPACITIES
    looks = {"wide": wide, "narrow": wide + (1 - wide) * narrow, "single": line + 0.2}
    colours = PAGE | {name: transparent(GENERATED, opacity) for name, opacity in looks.items()}
    return ":root{" + "".join(f"--{name}:{colour};" for name, colour in colours.items()) + "}"


def save(path: Path, draw: Callable[[], Figure]) -> None:
    """Draw a picture in the common style and write it as a PNG, whole or not at all."""
    with mpl.rc_context(STYLE):
        canvas = draw()
        canvas.draw_without_rendering()  # lays it out: once, where `savefig` would do it twice
        canvas.set_layout_engine("none")
        with atomic(path) as part:
            canvas.savefig(part, format="png", metadata={"Software": None}, facecolor="white")


def figure(draw: Callable[[], Figure], path: str | Path | None = None) -> Figure:
    """Draw a picture in the common style; with `path` it is also written there as PNG."""
    with mpl.rc_context(STYLE):
        canvas = draw()
    if path is not None:
        save(Path(path), lambda: canvas)
    return canvas
