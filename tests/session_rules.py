"""The rules of a session counted anew, one blow after another, to hold the library's reading against.

Nothing of `physiology.ats_ers` or of `sessions` is used: limits are written here as ATS/ERS 2019 (doi
10.1164/rccm.201908-1590ST, tables 7 and 10) and ERS/ATS 2022 (doi 10.1183/13993003.01499-2021) give them.
"""

import math
from typing import NamedTuple, TypedDict


class Record(TypedDict):
    """What is read off one blow: volumes in L, flows in L/s, times in s."""

    fev1: float
    fev075: float
    fvc: float
    pef: float
    fef2575: float
    bev: float
    fet: float
    t99: float
    last_second: float
    end_flow: float
    cough: float
    cough075: float
    fivc: float
    faulty_zero: bool
    leak: bool


class Found(NamedTuple):
    """Of one blow: whether it is acceptable, and usable, for FEV1 and for FVC."""

    fev1: bool
    fvc: bool
    usable_fev1: bool
    usable_fvc: bool


class Best(NamedTuple):
    """Values of a phase; NaN where nothing counts."""

    fev1: float
    fvc: float
    pef: float
    fef2575: float


def repeats_within(larger: float, age: float) -> float:
    """L."""
    if age <= 6:
        return max(0.100, 0.10 * larger)
    return 0.150


def acceptable(blows: list[Record], age: float) -> list[Found]:
    """Table 7, of the blows of one phase in order."""
    small = age <= 6
    found = []
    fvc_so_far: list[float] = []  # of the blows before, where they could be used
    for place, blow in enumerate(blows):
        if not blow["fvc"] >= 0.1:  # L, less is no blow
            found.append(Found(False, False, False, False))
            continue
        slow = blow["bev"] > max(0.05 * blow["fvc"], 0.100)
        cough = (blow["cough075"] if small else blow["cough"]) > max(0.10 * blow["pef"], 0.5)
        cut = blow["end_flow"] > max(0.10 * blow["pef"], 0.3)
        early_cut = cut and blow["t99"] < (0.75 if small else 1.0)
        late_cut = cut and not early_cut
        inspired = blow["fivc"] - blow["fvc"] > max(0.100, 0.05 * blow["fvc"])
        useless = slow or blow["faulty_zero"] or early_cut
        lost = useless or blow["leak"] or inspired
        ended = blow["last_second"] <= 0.025 or blow["fet"] >= 15
        if not ended and fvc_so_far:
            largest = max(fvc_so_far)
            ended = blow["fvc"] >= largest - repeats_within(largest, age) - 1e-9
        elif not ended:
            ended = _repeated_later(blows[place + 1 :], blow["fvc"], age) and not useless
        if not useless:
            fvc_so_far.append(blow["fvc"])
        found.append(
            Found(not lost and not cough, not lost and not late_cut and ended, not (useless or cough), not useless)
        )
    return found


def _repeated_later(later: list[Record], first: float, age: float) -> bool:
    """Whether a later blow that can be used comes as near as repeatability asks."""
    small = age <= 6
    for blow in later:
        if not blow["fvc"] >= 0.1:
            continue
        slow = blow["bev"] > max(0.05 * blow["fvc"], 0.100)
        cut = blow["end_flow"] > max(0.10 * blow["pef"], 0.3) and blow["t99"] < (0.75 if small else 1.0)
        if slow or cut or blow["faulty_zero"]:
            continue
        if abs(blow["fvc"] - first) <= repeats_within(max(first, blow["fvc"]), age) + 1e-9:
            return True
    return False


def grade(values: list[float], good: list[bool], usable: list[bool], age: float) -> str:
    """Table 10, of FEV1 or of FVC."""
    kept = sorted((value for value, there in zip(values, good, strict=True) if there), reverse=True)
    if not kept:
        return "U" if any(usable) else "F"
    if len(kept) == 1:
        return "E"
    gap = kept[0] - kept[1]

    def within(adult: float, child: float) -> bool:
        limit = max(child, 0.10 * kept[0]) if age <= 6 else adult
        return gap <= limit + 1e-9

    if within(0.150, 0.100):
        return "A" if len(kept) >= 3 else "B"
    if within(0.200, 0.150):
        return "C"
    return "D" if within(0.250, 0.200) else "E"


def best(blows: list[Record], found: list[Found]) -> Best:
    """Largest FEV1 and largest FVC of acceptable blows, of usable ones where none is acceptable; PEF of those that
    count for FEV1; FEF25-75 of the blow with the largest sum among those that count for both."""
    for_fev1 = [b for b, f in zip(blows, found, strict=True) if f.fev1] or [
        b for b, f in zip(blows, found, strict=True) if f.usable_fev1
    ]
    for_fvc = [b for b, f in zip(blows, found, strict=True) if f.fvc] or [
        b for b, f in zip(blows, found, strict=True) if f.usable_fvc
    ]
    largest, fef = -math.inf, math.nan
    for blow in blows:
        in_both = any(blow is one for one in for_fev1) and any(blow is one for one in for_fvc)
        if in_both and blow["fev1"] + blow["fvc"] > largest:
            largest, fef = blow["fev1"] + blow["fvc"], blow["fef2575"]
    return Best(
        max((b["fev1"] for b in for_fev1), default=math.nan),
        max((b["fvc"] for b in for_fvc), default=math.nan),
        max((b["pef"] for b in for_fev1), default=math.nan),
        fef,
    )


def pattern(z_fev1: float, z_fvc: float, z_ratio: float, grade_fvc: str) -> str:
    """The pattern of ERS/ATS 2022, by lower limits of normal at z = -1.645.

    None where a value is missing, and (a choice of this project) where FVC is low and no acceptable blow gave it,
    grade U or F: a longer expiration might not have been low.
    """
    if any(math.isnan(z) for z in (z_fev1, z_fvc, z_ratio)):
        return "none"
    low_fev1, low_fvc, low_ratio = z_fev1 < -1.645, z_fvc < -1.645, z_ratio < -1.645
    if low_fvc and grade_fvc in ("U", "F"):
        return "none"
    if low_ratio and low_fvc:
        return "mixed"
    if low_ratio:
        return "obstruction" if low_fev1 else "low ratio alone"
    if low_fvc:
        return "restriction"
    return "low fev1 alone" if low_fev1 else "normal"


def severity(z: float) -> str:
    """Of a z-score."""
    if z >= -1.645:
        return "none"
    if z >= -2.5:
        return "mild"
    return "moderate" if z >= -4 else "severe"


def responds_2022(before: float, after: float, predicted: float) -> bool:
    """More than 10 % of the predicted value."""
    return 100 * (after - before) / predicted > 10


def responds_2005(before: float, after: float) -> bool:
    """12 % of the value before, and 200 mL."""
    return after - before >= 0.200 and 100 * (after - before) / before >= 12


def change_score(z_before: float, z_after: float, age_before: float, years: float) -> float:
    """Conditional change score of FEV1 in the young."""
    r = 0.642 - 0.04 * years + 0.020 * age_before
    return (z_after - r * z_before) / math.sqrt(1 - r * r)


def fev1q(fev1: float, sex: str) -> float:
    """FEV1 over the first percentile of men (0.5 L) or women (0.4 L) with lung disease."""
    return fev1 / (0.5 if sex == "male" else 0.4)
