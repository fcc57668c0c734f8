"""The form of a figure: a value with its interval, or null with the reason; and trees of figures."""

import dataclasses
import math
from typing import Any, Union

import numpy as np
from numpy.typing import ArrayLike

MIN_PEOPLE = 5  # participants: a figure of fewer says more about them than about the candidate
INTERVAL = (2.5, 97.5)  # percentiles of the bootstrap: 95 % intervals
MIN_FINITE = 0.9  # share of the resamples that must give a number for the interval to be given
DIGITS = 6  # significant digits kept: finer ones differ between processors and mean nothing


@dataclasses.dataclass(frozen=True)
class Figure:
    """A number with its 95 % interval where there is one, or None with the reason."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    baseline: str | None = None  # the baseline that it is compared with

    @property
    def interval(self) -> tuple[float, float] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclasses.dataclass(frozen=True)
class Series:
    """Numbers for a plot."""

    value: tuple[float, ...]


# Question → level → … → figure. A figure in the place of a branch says why nothing below it could be computed.
Node = Union["Tree", Figure, Series]
Tree = dict[str, Node]


def missing(reason: str) -> Figure:
    """A figure that cannot be computed."""
    return Figure(None, reason=reason)


def too_few(people: int) -> Figure:
    """A figure that so few participants cannot give."""
    return missing(f"{people} participants, fewer than {MIN_PEOPLE}")


def figure(value: float, low: float | None = None, high: float | None = None) -> Figure:
    """A figure, with its 95 % interval where there is one; null with a reason where it is not finite."""
    if not math.isfinite(value):
        return missing("not defined on these curves")
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return Figure(rounded(value))
    return Figure(rounded(value), rounded(low), rounded(high))


def from_resamples(values: ArrayLike) -> Figure:
    """A figure from its values (1 + B,): the sample's own first, then those of the bootstrap resamples."""
    values = np.asarray(values, dtype=np.float64)
    finite = values[1:][np.isfinite(values[1:])]
    if len(finite) < MIN_FINITE * (len(values) - 1) or not len(finite):
        return figure(values[0])
    low, high = np.percentile(finite, INTERVAL)
    return figure(values[0], low, high)


def rounded(value: float) -> float:
    """`value` with six significant digits."""
    return float(f"{value:.{DIGITS}g}")


def series(values: ArrayLike) -> Series:
    """The numbers of an array in order."""
    return Series(tuple(rounded(float(v)) for v in np.asarray(values).ravel()))


def to_json(content: Any) -> Any:
    """Trees, and dictionaries and lists that hold some, as plain JSON; a figure is `{"value": …, "low": …, …}`."""
    if isinstance(content, Figure):
        fields = {k: v for k, v in vars(content).items() if v is not None}
        return {"value": None} | fields
    if isinstance(content, Series):
        return {"value": list(content.value)}
    if isinstance(content, dict):
        return {k: to_json(v) for k, v in content.items()}
    return [to_json(v) for v in content] if isinstance(content, list | tuple) else content


def from_json(content: dict[str, Any]) -> Tree:
    """The tree that `to_json` wrote."""
    return {k: _node(v) for k, v in content.items()}


def _node(content: dict[str, Any]) -> Node:
    if "value" not in content:
        return from_json(content)
    if isinstance(content["value"], list):
        return Series(tuple(content["value"]))
    return Figure(**content)
