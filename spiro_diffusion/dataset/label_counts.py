"""Counts of training participants by pattern and kind of effort, by which rare requests are marked as extrapolation.

Patterns are of a person's best values, the largest FEV1 and FVC of efforts of grade A, B or C: before the
bronchodilator, and of a GOLD grade after it. A participant counts for a kind of effort with one such effort.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.physiology import effort_kinds, patterns
from spiro_diffusion.physiology.patterns import ADULT_AGE, DEFINITIONS

GROUPS = {(1, True): "men", (2, True): "women", (1, False): "boys", (2, False): "girls"}  # adults: True
FEWEST = 20  # training people of the same group; where fewer carry a label, drawing it is extrapolation
COUNTED = ("A", "B", "C")
PERSON = ["age", "height", "sex"]

OF_EFFORT = ("bev", "pef", "fet", "t99", "last_second", "end_flow", "cough", "cough075")  # by `effort_kinds`
COLUMNS = ("seqn", "test_type", "grade", *PERSON, "fev1", "fvc", *OF_EFFORT)

LabelCounts = Mapping[str, Mapping[str, int]]  # by label, by group


def label_counts(curves: pd.DataFrame) -> dict[str, dict[str, int]]:
    """People of each group who carry each label, of efforts with COLUMNS."""
    counts = {}
    for label, definition in DEFINITIONS.items():
        phase = "Bron" if definition.after else "Pre"
        efforts = curves[(curves["test_type"] == phase) & curves["grade"].isin(COUNTED)]
        best = efforts.groupby("seqn").agg({"fev1": "max", "fvc": "max", **dict.fromkeys(PERSON, "first")})
        of = (best[name].to_numpy(float) for name in ("fev1", "fvc", *PERSON))
        counts[str(label)] = _by_group(best[patterns.carries(label, *of)])
    for kind in effort_kinds.KINDS:
        carried = curves[effort_kinds.carries(kind, curves, curves["age"].to_numpy(float))]
        counts[str(kind)] = _by_group(carried.groupby("seqn")[PERSON].first())
    return counts


def groups(age: NDArray, sex: NDArray) -> list[str]:
    """The group of each of n people, by age (years) and sex (1 or 2)."""
    return [GROUPS[int(code), bool(years >= ADULT_AGE)] for years, code in zip(age, sex, strict=True)]


def _by_group(people: pd.DataFrame) -> dict[str, int]:
    counts = pd.Series(groups(people["age"].to_numpy(float), people["sex"].to_numpy(int)), dtype=object).value_counts()
    return {group: int(counts.get(group, 0)) for group in GROUPS.values()}


def extrapolated(counts: LabelCounts | None, labels: list[str], group: str) -> bool | None:
    """Whether fewer than FEWEST people of a group carry one of the labels; None where the counts are not known."""
    if counts is None or any(label not in counts for label in labels):
        return None
    return bool(np.any([counts[label].get(group, 0) < FEWEST for label in labels]))
