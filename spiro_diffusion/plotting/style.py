"""The style of every plot: colours, fonts, and how a picture is written.

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


def save(path: Path, draw: Callable[[], Figure]) -> None:
    """Draw a picture in the common style and write it as a PNG, whole or not at all."""
    with mpl.rc_context(STYLE):
        canvas = draw()
        with atomic(path) as part:
            canvas.savefig(part, format="png", metadata={"Software": None}, facecolor="white")
