"""Requests of the page's controls: validation, and the curves drawn for them."""

import functools
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from spiro_diffusion.api import Recovered, SpiroGenerator
from spiro_diffusion.app.user_effort import Effort
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation import conditions, known_values
from spiro_diffusion.generation.drawn_curves import Curves
from spiro_diffusion.models.effort_sets import PLACES
from spiro_diffusion.physiology import patterns
from spiro_diffusion.sessions import Session, page
from spiro_diffusion.sessions.page_contents import Interval

START = {"age": 45, "height": 175}
DRAWS = {"efforts": "Single efforts, each of another lung", "session": "A session of one lung"}
BEFORE, AFTER = (1, PLACES), (0, PLACES)  # efforts of a session, before and after the bronchodilator
FAULTY = {"cough": "cough", "early-stop": "early stop", "slow-start": "slow start"}
EFFORTS: Mapping[str, tuple[str, dict[str, Any]]] = {  # of single ones: label, keywords of `generate`
    **conditions.EFFORTS,
    **{kind: (f"Faulty: {words}", {"effort": kind}) for kind, words in FAULTY.items()},
}
EITHER = "either"  # of a list: no request
LONGEST_KNOWN = 20  # characters of a known value: 70%:80%
N = (8, 128)  # curves: fewer have no percentiles, 128 take a second on one core
GUIDANCE = (1.0, 3.0)
SEEDS = (0, 999_999)
LINES = 32  # single curves that are drawn: more hide the bands
RECONSTRUCTIONS = 50  # of an interrupted effort: enough for its percentiles, and drawn in a second or two
KEPT = 8  # requests whose curves are remembered, at most 2.4 MB each


@dataclass(frozen=True)
class Request:
    """A person (age in years, height in cm, sex), and the request: `n` single efforts of a kind, or a session.

    A session has `before` and `after` efforts, one of them of the kind `spoiled` if one is named. `requested`: pattern
    and known values, keywords of `SpiroGenerator.generate`.
    """

    age: float
    height: float
    sex: str
    n: int = 32
    guidance: float = 1.0
    seed: int = 0
    effort: str = "best"
    draw: str = "efforts"
    before: int = PLACES
    after: int = 0
    spoiled: str = EITHER
    requested: tuple[tuple[str, str], ...] = ()

    @classmethod
    def checked(cls, **sent: Any) -> "Request":
        """Validate the data of a browser: the fields, `pattern`, and the known values by `known_values.NAMES`.

        Raises SpiroError if a value is invalid or out of range; age, height, sex and the request are checked when
        curves are drawn.
        """
        values = person(sent) | {"guidance": _within("guidance", sent.get("guidance"), GUIDANCE)}
        for name, ends in {"n": N, "seed": SEEDS, "before": BEFORE, "after": AFTER}.items():
            values[name] = int(_within(name, sent.get(name), ends))
        for name, words in {"effort": EFFORTS, "draw": DRAWS, "spoiled": (EITHER, *FAULTY)}.items():
            values[name] = str(sent.get(name))[:40]
            if values[name] not in words:
                raise SpiroError(f"{name} is {values[name]!r}; expected one of {', '.join(words)}")
        arguments = {name: str(sent.get(name) or "").strip() for name in ("pattern", *known_values.NAMES)}
        arguments["pattern"] = arguments["pattern"].removeprefix(EITHER)
        for name, text in arguments.items():
            if len(text) > LONGEST_KNOWN:
                raise SpiroError(f"{name} is longer than {LONGEST_KNOWN} characters; give a value or a range")
        request = cls(**values, requested=tuple((name, text) for name, text in arguments.items() if text))
        definition = patterns.DEFINITIONS.get(arguments["pattern"])  # type: ignore[call-overload]
        if request.draw == "session" and not request.after and definition and definition.after:
            raise SpiroError(f"{arguments['pattern']} is of values after a bronchodilator: draw efforts after it too")
        return request

    @classmethod
    def first(cls, made_from: Mapping[str, Any]) -> "Request":
        """The first request of the page: a man of 45 years and 175 cm, or the nearest within the training data."""
        nearest = {name: min(max(START[name], low), high) for name, (low, high) in whole(made_from).items()}
        return cls(nearest["age"], nearest["height"], "male")

    @property
    def name(self) -> str:
        """For files: `male_45y_175cm_best_seed0`."""
        what = self.effort if self.draw == "efforts" else "session"
        words = [what, *(text for name, text in self.requested if name == "pattern")]
        return f"{self.sex}_{self.age:g}y_{self.height:g}cm_{'_'.join(words)}_seed{self.seed}"


class Drawn(NamedTuple):
    """The curves, and warnings on the model and the person."""

    curves: Curves
    warnings: list[str]


class Reconstruction(NamedTuple):
    """The full efforts drawn for an interrupted one, and warnings on the model and the person."""

    recovered: Recovered
    warnings: list[str]


class Drawer:
    """Draws curves for requests, one at a time; the last results are cached."""

    def __init__(self, generator: SpiroGenerator) -> None:
        self.generator = generator
        self._lock = threading.Lock()
        self._kept = functools.lru_cache(KEPT)(self._draw)
        self._completed = functools.lru_cache(KEPT)(self._complete)

    def __call__(self, request: Request) -> Drawn:
        """Draw.

        Raises SpiroError if the person is beyond the model's training data.
        """
        with self._lock:
            return self._kept(request)

    def reconstruct(self, effort: Effort, subject: Mapping[str, Any], mask: str | None) -> Reconstruction:
        """Complete an interrupted effort of a person as of `person`; `mask` as in `completion.parse_mask`.

        Raises SpiroError as `SpiroGenerator.reconstruct` does.
        """
        with self._lock:
            return self._completed(effort.flow.tobytes(), mask, **subject)

    def completed(self, session: Session) -> dict[int, Interval]:
        """Completions of the interrupted blows of a session, by their number; those that fail are left out."""
        with self._lock:
            return page.complete(session, self.generator.reconstruct)

    def _complete(self, flow: bytes, mask: str | None, **subject: Any) -> Reconstruction:
        warnings: list[str] = []
        options: dict[str, Any] = {"mask": mask, "n": RECONSTRUCTIONS, "tell": warnings.append}
        recovered = self.generator.reconstruct(np.frombuffer(flow), **options, **subject)
        return Reconstruction(recovered, warnings)

    def _draw(self, request: Request) -> Drawn:
        warnings: list[str] = []
        arguments: dict[str, Any] = {name: getattr(request, name) for name in ("age", "height", "sex", "seed")}
        arguments |= {**dict(request.requested), "tell": warnings.append}
        if request.draw == "session":
            arguments |= {} if request.spoiled == EITHER else {"effort": request.spoiled}
            curves = self.generator.sessions(n=1, efforts=request.before, after=request.after, **arguments)
        else:
            kind = EFFORTS[request.effort][1]
            curves = self.generator.generate(n=request.n, guidance=request.guidance, **arguments, **kind)
        return Drawn(curves, warnings)


def person(values: Mapping[str, Any]) -> dict[str, Any]:
    """Age (years), height (cm) and sex from the data of a browser.

    Raises SpiroError if age or height is no number; their range is checked when curves are drawn.
    """
    return {name: _number(name, values.get(name)) for name in ("age", "height")} | {"sex": str(values.get("sex"))}


def btps(value: Any) -> float | None:
    """The factor to BTPS from the data of a browser, None if it is empty.

    Raises SpiroError if it is no number; its range is checked where it is used.
    """
    return None if value is None else _number("the factor to BTPS", value)


def whole(made_from: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """The ages (years) and heights (cm) of the training data in whole numbers: lowest and highest."""
    return {name: (math.ceil(made_from[name][0]), math.floor(made_from[name][1])) for name in START}


def _within(name: str, value: Any, ends: tuple[float, float]) -> float:
    number, (low, high) = _number(name, value), ends
    if not low <= number <= high:
        raise SpiroError(f"{name} is {number:g}; expected {low:g} to {high:g}")
    return number


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SpiroError(f"{name} is {str(value)[:40]}; expected a number")
    return float(value)
