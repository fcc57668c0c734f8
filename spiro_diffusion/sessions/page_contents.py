"""Contents of a session's page: values, curves and sentences in one language, without layout."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.sessions.best_values import Values
from spiro_diffusion.sessions.records import PHASES, Blow, Phase

Floats = NDArray[np.floating]
DECIMALS = {"de": ","}
Z_ENDS = (-5.0, 3.0)  # of the z-score scale
Z_ZONES = (-4.0, -2.5, -1.645)  # severe, moderate and mild end here (ERS/ATS 2022)


@dataclass(frozen=True, eq=False)
class Interval:
    """A completion of a blow: volume (T,) in L at `time` (T,) s from time zero, median and ends of the 90 % interval;
    flow (T,) in L/s, the median; and the FVC that it gives, median and ends (L)."""

    time: Floats
    low: Floats
    median: Floats
    high: Floats
    flow: Floats
    fvc: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class PageBlow:
    """A blow of the report, in the order of the session.

    `words`: why it, or a part of it, does not count, in the language of the report; `decided`: by whom, and the reason.
    """

    blow: Blow
    words: tuple[str, ...] = ()
    decided: str = ""
    completed: Interval | None = None

    @property
    def flow(self) -> Floats:
        """(T,) L/s at BTPS of each 10 ms."""
        return self.blow.flow

    @property
    def volume(self) -> Floats:
        """(T,) L expired at the middle of each sample."""
        ends = np.concatenate([[0.0], np.cumsum(self.flow) * 0.01])
        return (ends[1:] + ends[:-1]) / 2

    @property
    def time(self) -> Floats:
        """(T,) s from time zero, of the same."""
        return (np.arange(len(self.flow)) + 0.5) * 0.01 - float(np.nan_to_num(self.blow.t0))


@dataclass(frozen=True)
class Contents:
    """Contents of the report. `head`: person, device and drug as given, (name, value) in order; `grades`: in a line;
    `pattern`: the sentences of the interpretation; `method`: how values were computed; `comments`: those of the
    user."""

    language: str
    head: list[tuple[str, str]]
    rows: list[Values]
    blows: list[PageBlow]
    pattern: list[str]
    grades: list[str]
    method: list[str]
    comments: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases with at least one blow."""
        return tuple(phase for phase in PHASES if any(listed.blow.phase == phase for listed in self.blows))

    def number(self, value: float | None, decimals: int, sign: bool = False) -> str:
        """A number in the format of the language, with a minus sign as wide as a digit; a dash if it is missing."""
        if value is None or not np.isfinite(value):
            return "–"
        text = f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"
        if float(text) == 0:
            text = text.lstrip("+-")
        return text.replace("-", "−").replace(".", DECIMALS.get(self.language, "."))


def z_place(z: float) -> float:
    """Position of a z-score on the scale, from 0 at its left end to 1 at its right."""
    low, high = Z_ENDS
    return float((np.clip(z, low, high) - low) / (high - low))
