"""Compare a run's figures with the committed ones, for runs whose bytes cannot be the same.

Another seed moves the figures as another order of sums does: by chance. Of that, `metrics/spread.json` holds the SD of
each headline figure over runs with n seeds. Two runs differ by less than t SD √2 in 95 of 100 cases, t being the
quantile of Student's distribution with n - 1 degrees of freedom: few seeds allow much.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spiro_diffusion.core.artifacts import read_json
from spiro_diffusion.core.errors import SpiroError

MAIN = "metrics/main.json"  # the headline figures: pipeline.headline
SPREAD = "metrics/spread.json"
PROBABILITY = 0.975  # two-sided 95 %


@dataclass(frozen=True)
class Compared:
    """A headline figure here and in the commit; None where it is not determined."""

    name: str
    committed: float | None
    here: float | None
    allowed: float | None  # largest difference; None where the spread has not been measured
    state: Literal["within", "beyond", "not measured"]


@dataclass(frozen=True)
class Agreement:
    """All headline figures, and the number of seeds that their spread is of."""

    figures: list[Compared]
    seeds: int

    def of(self, state: str) -> list[str]:
        """Names of the figures in this state."""
        return [figure.name for figure in self.figures if figure.state == state]

    @property
    def sentence(self) -> str:
        """What was found, in a line."""
        within, beyond, unknown = (self.of(state) for state in ("within", "beyond", "not measured"))
        measured = len(within) + len(beyond)
        verdict = f"{len(within)} of {measured} figures within the spread over {self.seeds} seeds of the committed ones"
        verdict += f"; beyond it: {', '.join(beyond)}" if beyond else ""
        return verdict + (f"; of unknown spread: {', '.join(unknown)}" if unknown else "")


def compare(folder: Path) -> Agreement:
    """The headline figures of a run in `folder`, a repository's root, beside those of its last commit.

    Raises SpiroError where one of the files is missing.
    """
    spread, here, committed = read_json(folder / SPREAD), read_json(folder / MAIN), _committed(folder)
    factor, sds = _factor(spread["seeds"]), spread["sd"]
    figures = [_compared(name, committed.get(name), here.get(name), sds.get(name), factor) for name in committed | here]
    return Agreement(figures, spread["seeds"])


def _compared(name: str, committed: float | None, here: float | None, sd: float | None, factor: float) -> Compared:
    if sd is None:
        return Compared(name, committed, here, None, "not measured")
    if committed is None or here is None:
        return Compared(name, committed, here, factor * sd, "within" if committed is here else "beyond")
    near = abs(here - committed) <= factor * sd
    return Compared(name, committed, here, factor * sd, "within" if near else "beyond")


def _factor(seeds: int) -> float:
    """By how many SDs two runs may differ."""
    from scipy.stats import t  # noqa: PLC0415 (loads slowly)

    return float(t.ppf(PROBABILITY, seeds - 1)) * 2**0.5


def _committed(folder: Path) -> dict[str, Any]:
    command = ["git", "show", f"HEAD:./{MAIN}"]
    try:
        committed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise SpiroError(f"{folder / MAIN}: no commit of it to compare with; this needs a git clone") from error
    return json.loads(committed)
