"""How a figure is written down: a value with its interval, or null with the reason."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Figure = dict[str, Any]  # JSON: {"value": …} or {"value", "low", "high"} or {"value": None, "reason": …}

MIN_PEOPLE = 5  # participants: a figure of fewer says more about them than about the candidate
INTERVAL = (2.5, 97.5)  # percentiles of the bootstrap: 95 % intervals
MIN_FINITE = 0.9  # share of the resamples that must give a number for the interval to be given
DIGITS = 6  # significant digits kept: finer ones differ between processors and mean nothing


def missing(reason: str) -> Figure:
    """A figure that cannot be computed."""
    return {"value": None, "reason": reason}


def figure(value: float, low: float | None = None, high: float | None = None) -> Figure:
    """A figure, with its 95 % interval where there is one; null with a reason where it is not finite."""
    if not math.isfinite(value):
        return missing("not defined on these curves")
    result: Figure = {"value": rounded(value)}
    if low is not None and high is not None and math.isfinite(low) and math.isfinite(high):
        result |= {"low": rounded(low), "high": rounded(high)}
    return result


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


def curve(values: ArrayLike) -> Figure:
    """A figure that is a list of numbers, for a plot."""
    return {"value": [rounded(float(v)) for v in np.asarray(values).ravel()]}
