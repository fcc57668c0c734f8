"""What the controls of the page ask for, checked, and the curves drawn for it."""

import functools
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from spiro_diffusion.api import Recovered, SpiroGenerator
from spiro_diffusion.app.user_effort import Effort
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.drawn_curves import Curves
from spiro_diffusion.simulation.population import POPULATION

START = {"age": 45, "height": 175}
N = (8, 128)  # curves: fewer have no percentiles, 128 take a second on one core
GUIDANCE = (1.0, 3.0)
SEEDS = (0, 999_999)
EFFORTS: Mapping[str, tuple[str, dict[str, Any]]] = {  # what it is called, and how `SpiroGenerator.generate` is told
    "best": ("Best acceptable effort", {}),
    "any": ("Any effort", {"any_effort": True}),
    "poor": ("Poor effort (grade D)", {"grade": "D"}),
    "bron": ("After a bronchodilator", {"test_type": "Bron"}),
}
RECONSTRUCTIONS = 50  # of a spoiled effort: enough for its percentiles, and an answer in a second or two
KEPT = 8  # askings whose curves are remembered, at most 2.4 MB each


@dataclass(frozen=True)
class Asked:
    """A person (age in years, height in cm, sex) and the curves wanted of them."""

    age: float
    height: float
    sex: str
    n: int = 32
    guidance: float = 1.0
    seed: int = 0
    effort: str = "best"

    @classmethod
    def checked(cls, **values: Any) -> "Asked":
        """From what a browser sent.

        Raises SpiroError where a value is none or out of range; age, height and sex are checked when curves are drawn.
        """
        for name, (low, high) in {"n": N, "guidance": GUIDANCE, "seed": SEEDS}.items():
            value = _number(name, values.get(name))
            if not low <= value <= high:
                raise SpiroError(f"{name} is {value:g}; expected {low:g} to {high:g}")
            values[name] = value if name == "guidance" else int(value)
        values |= person(values)
        if values.get("effort") not in EFFORTS:
            raise SpiroError(f"effort is {str(values.get('effort'))[:40]!r}; expected one of {', '.join(EFFORTS)}")
        return cls(**values)

    @classmethod
    def first(cls, made_from: Mapping[str, Any]) -> "Asked":
        """What the page begins with: a man of 45 years and 175 cm, or the nearest that the model was trained on."""
        nearest = {name: min(max(START[name], low), high) for name, (low, high) in whole(made_from).items()}
        return cls(nearest["age"], nearest["height"], "male")

    @property
    def name(self) -> str:
        """For files: `male_45y_175cm_best_seed0`."""
        return f"{self.sex}_{self.age:g}y_{self.height:g}cm_{self.effort}_seed{self.seed}"


class Drawn(NamedTuple):
    """The curves, and what is to be said about whom they were drawn for."""

    curves: Curves
    warnings: list[str]


class Reconstruction(NamedTuple):
    """The full efforts drawn for a spoiled one, and what is to be said about the person."""

    recovered: Recovered
    warnings: list[str]


class Draws:
    """Curves for what is asked; one draw at a time, and the last ones remembered."""

    def __init__(self, generator: SpiroGenerator) -> None:
        self.generator = generator
        self._lock = threading.Lock()
        self._kept = functools.lru_cache(KEPT)(self._draw)

    def __call__(self, asked: Asked) -> Drawn:
        """Draw.

        Raises SpiroError where the model knows no such person.
        """
        with self._lock:
            return self._kept(asked)

    def reconstruct(self, effort: Effort, who: Mapping[str, Any], mask: str | None) -> Reconstruction:
        """Full efforts for a spoiled one of a person as `person` makes it; `mask` as in `recovery.parse_mask`.

        Raises SpiroError as `SpiroGenerator.reconstruct` does.
        """
        warnings: list[str] = []
        with self._lock:
            recovered = self.generator.reconstruct(
                effort.flow, **who, mask=mask, n=RECONSTRUCTIONS, tell=warnings.append
            )
        return Reconstruction(recovered, warnings)

    def _draw(self, asked: Asked) -> Drawn:
        warnings: list[str] = []
        curves = self.generator.generate(
            age=asked.age,
            height=asked.height,
            sex=asked.sex,
            n=asked.n,
            seed=asked.seed,
            guidance=asked.guidance,
            tell=warnings.append,
            **EFFORTS[asked.effort][1],
        )
        person = curves.people.iloc[0]
        low, high = met_heights(person["age"], int(person["sex"]))
        if not low <= person["height"] <= high:
            warnings.append(
                f"at {person['age']:g} years NHANES 2011-2012 met heights of about {low:.0f} to {high:.0f} cm: these "
                f"curves, for {person['height']:g} cm, are of a person such as the model never saw"
            )
        return Drawn(curves, warnings)


def person(values: Mapping[str, Any]) -> dict[str, Any]:
    """Age (years), height (cm) and sex of what a browser sent.

    Raises SpiroError where age or height is no number; their range is checked when curves are drawn.
    """
    return {name: _number(name, values.get(name)) for name in ("age", "height")} | {"sex": str(values.get("sex"))}


def whole(made_from: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """The ages (years) and heights (cm), in whole numbers, that a model was trained on: lowest and highest."""
    return {name: (math.ceil(made_from[name][0]), math.floor(made_from[name][1])) for name in START}


def met_heights(age: float, sex: int) -> tuple[float, float]:
    """Heights (cm) that all but a thousandth of a population of this age (years) and sex (1 or 2) are between."""
    low, high = POPULATION.usual_heights(age, sex)
    return float(low), float(high)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SpiroError(f"{name} is {str(value)[:40]}; expected a number")
    return float(value)
