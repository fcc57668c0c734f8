"""Reasons why a request cannot be met: contradictory values, and values that no lung has."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from spiro_diffusion.core.vocabulary import INDICES
from spiro_diffusion.generation.known_values import (
    EXACT_SHARE,
    LEAST_PERCENT,
    SEEN_Z,
    Box,
    KnownValue,
    expected,
    z_scores,
)
from spiro_diffusion.physiology.patterns import ADULT_AGE, DEFINITIONS, Label

Ends = Mapping[str, tuple[float, float]]  # by name, lowest and highest of one person, in L, L/s or as a ratio


def reason(
    known: Mapping[str, KnownValue], pattern: Label | None, person: pd.Series, ends: Ends, limits: Ends
) -> str | None:
    """Why a request for a person cannot be met, with the person's age and the first contradiction; None if it can.

    `ends` are those of the known values, `limits` what the pattern leaves of them.
    """
    if pattern is not None and DEFINITIONS[pattern].adults and person["age"] < ADULT_AGE:
        return f"{pattern} is defined for adults; at {person['age']:g} years give another pattern, obstruction say"
    return _order(known, ends) or _with_pattern(known, pattern, limits) or _ratio(ends, limits)


def _order(known: Mapping[str, KnownValue], ends: Ends) -> str | None:
    """Pairs of indices of which one is never above the other."""
    for small, large, why in (
        ("fev1", "fvc", "the first second is a part of it"),
        ("fef2575", "pef", "the peak is the highest flow"),
        ("fev1", "pef", "in a second at most the peak flow comes out"),
    ):
        if ends[small][0] > ends[large][1]:
            never = f"{INDICES[small].label} never exceeds {INDICES[large].label}"
            return f"{small} {known[small]} is above {large} {known[large]}; {never}: {why}"
    return None


def _with_pattern(known: Mapping[str, KnownValue], pattern: Label | None, limits: Ends) -> str | None:
    """An index whose known value is incompatible with the pattern."""
    for name, (low, high) in limits.items():
        if pattern is not None and low > high:
            return f"{name} {known[name]} is no {pattern} of this person; it has {DEFINITIONS[pattern].words}"
    return None


def _ratio(ends: Ends, limits: Ends) -> str | None:
    """FEV1, FVC and their ratio, two of which determine the third."""
    (fev1_low, fev1_high), (fvc_low, fvc_high) = limits["fev1"], limits["fvc"]
    low, high = limits["ratio"][0], min(limits["ratio"][1], 1.0)
    least = max(fev1_low, 0.0) / fvc_high if fvc_high > 0 else 0.0
    if least > 1:
        return f"fev1 is {fev1_low:.2f} L at least, fvc by the pattern {fvc_high:.2f} L at most; FEV1 is a part of it"
    most = fev1_high / fvc_low if fvc_low > 0 else np.inf
    if most < low * (1 - EXACT_SHARE) or least > high * (1 + EXACT_SHARE):
        of = "the pattern needs" if all(map(np.isinf, ends["ratio"])) else "asked for is"
        return f"fev1 and fvc give FEV1/FVC {_interval_text(least, min(most, 1.0))}; {of} {_interval_text(low, high)}"
    return None


def _interval_text(low: float, high: float) -> str:
    if high >= 1:
        return f"{low:.2f} or more"
    if high - low < 0.005:
        return f"{low:.2f}"
    return f"at most {high:.2f}" if low <= 0 else f"{low:.2f} to {high:.2f}"


def beyond_seen(
    known: Sequence[Mapping[str, KnownValue]], boxes: Mapping[str, Box], people: pd.DataFrame, invalid: dict[int, str]
) -> None:
    """Add to `invalid`, by row, values so far from the predicted ones that none was observed."""
    given = {name: box for name, box in boxes.items() if box.given.any()}
    for name, (low, high) in z_scores(given, people).items():
        least, most = SEEN_Z[name]
        for row in map(int, np.flatnonzero(given[name].given & ((high < least) | (low > most)))):
            z, person = (high if high[row] < least else low)[row], people.iloc[row]
            far = f"z {z:.1f}" if np.isfinite(z) else "beyond all z-scores"
            invalid.setdefault(
                row,
                f"{name} {known[row][name]} is {far} at {person['age']:g} years and {person['height']:g} cm; "
                f"z-scores of {INDICES[name].label} beyond {least:g} to {most:g} are not seen",
            )
    for name in given.keys() & LEAST_PERCENT.keys():
        percent = 100 * given[name].high / expected(name, people).m
        for row in map(int, np.flatnonzero(given[name].given & (percent < LEAST_PERCENT[name]))):
            invalid.setdefault(
                row,
                f"{name} {known[row][name]} is {percent[row]:.0f} % of predicted; less than {LEAST_PERCENT[name]:g} % "
                "is not seen",
            )
