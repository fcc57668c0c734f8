"""Which efforts count, and the grades of sessions, as the standards' tables say."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from spiro_diffusion.physiology import ats_ers, spirometry
from spiro_diffusion.simulation import lung_shapes
from spiro_diffusion.simulation.expiration import Knots, best_effort, flow, lungs
from spiro_diffusion.simulation.simulator import simulate

GOOD = {
    "bev": 0.05,
    "fvc": 4.0,
    "pef": 8.0,
    "fet": 7.0,
    "t99": 5.0,
    "last_second": 0.01,
    "end_flow": 0.01,
    "cough": 0.1,
    "cough075": 0.1,
    "fev075": 2.5,
    "fev1": 3.0,
}


def effort(**changes: float) -> pd.DataFrame:
    return pd.DataFrame([GOOD | changes])


@pytest.mark.parametrize(
    ("changes", "fev1", "fvc", "usable_fev1", "usable_fvc"),
    [
        ({}, True, True, True, True),
        ({"bev": 0.21}, False, False, False, False),
        ({"bev": 0.19}, True, True, True, True),  # below 5 % of 4 L
        ({"bev": 0.09, "fvc": 1.0}, True, True, True, True),  # below 100 mL
        ({"cough": 3.0}, False, True, False, True),
        ({"last_second": 0.05}, True, False, True, True),
        ({"last_second": 0.05, "fet": 15.2}, True, True, True, True),
        ({"end_flow": 2.0, "t99": 0.8}, False, False, False, False),
        ({"end_flow": 2.0, "t99": 3.0}, True, False, True, True),
        ({"bev": np.nan}, False, False, False, False),
    ],
)
def test_efforts_are_judged_as_table_7_says(
    changes: dict, fev1: bool, fvc: bool, usable_fev1: bool, usable_fvc: bool
) -> None:
    judged = ats_ers.judge_2019(effort(**changes), [30.0])
    assert [bool(mask[0]) for mask in judged[:4]] == [fev1, fvc, usable_fev1, usable_fvc]


@pytest.mark.parametrize(
    ("seen", "fev1", "fvc", "usable_fev1", "usable_fvc"),
    [
        ({"fivc": 4.19}, True, True, True, True),  # of an FVC of 4 L
        ({"fivc": 4.21}, False, False, True, True),
        ({"fivc": np.nan}, True, True, True, True),
        ({"faulty_zero": True}, False, False, False, False),
        ({"leak": True}, False, False, True, True),
        ({"obstruction": True}, False, False, True, True),
    ],
)
def test_what_is_seen_besides_the_curve_counts(
    seen: dict, fev1: bool, fvc: bool, usable_fev1: bool, usable_fvc: bool
) -> None:
    judged = ats_ers.judge_2019(effort(), [30.0], None, ats_ers.Observed(**seen))
    assert [bool(mask[0]) for mask in judged[:4]] == [fev1, fvc, usable_fev1, usable_fvc]


def test_an_fvc_that_repeats_needs_no_plateau_and_a_first_one_is_provisional() -> None:
    def judged(*fvc: float, age: float = 30.0, sets: list | None = None) -> tuple[list, list]:
        efforts = pd.concat([effort(fvc=value, last_second=0.2) for value in fvc])
        found = ats_ers.judge_2019(efforts, np.full(len(fvc), age), sets or [0] * len(fvc))
        return found.fvc.tolist(), found.provisional_fvc.tolist()

    assert judged(4.0) == ([False], [True])
    assert judged(4.0, 3.98, 4.01) == ([True, True, True], [False] * 3)
    assert judged(4.0, 3.5) == ([False, False], [True, False])  # nothing repeats the first
    assert judged(3.0, 4.0, 3.9) == ([False, True, True], [True, False, False])
    assert judged(4.0, 3.98, sets=["before", "after"]) == ([False, False], [True, True])
    assert judged(1.0, 0.92, age=5) == ([True, True], [False, False])  # 0.1 L or 10 % up to six years
    assert judged(1.0, 0.88, age=5)[0] == [False, False]


def test_a_session_of_a_child_without_plateaus_has_a_grade() -> None:
    efforts = pd.concat([effort(fvc=v, fev1=v - 0.2, last_second=0.15, fet=2.0) for v in (1.92, 1.90, 1.89)])
    table = ats_ers.judge_sessions(efforts, [7.0] * 3, [0] * 3)
    assert table["acceptable_fvc"].all()
    assert table[["session_fev1", "session_fvc"]].iloc[0].tolist() == ["A", "A"]


def test_up_to_six_years_the_first_volume_is_that_of_three_quarters_of_a_second() -> None:
    efforts = pd.concat([effort(), effort()])
    assert ats_ers.first_volume(efforts, [6.0, 7.0]).tolist() == [2.5, 3.0]
    late_cough = effort(cough=3.0)  # between 0.75 and 1 s
    assert [ats_ers.judge_2019(late_cough, [age]).fev1[0] for age in (6.0, 7.0)] == [True, False]


def test_the_best_effort_has_the_largest_sum_and_of_equals_is_the_first() -> None:
    best = ats_ers.best_efforts([3, 3, 2, 9], [4, 4, 2, 9], [1, 1, 2, 2], [True, True, True, False])
    assert best.tolist() == [True, False, True, False]


def test_small_children_need_three_quarters_of_a_second() -> None:
    cut = effort(end_flow=2.0, t99=0.8)
    assert ats_ers.judge_2019(cut, [6.0]).usable_fev1[0]
    assert not ats_ers.judge_2019(cut, [7.0]).usable_fev1[0]


@pytest.mark.parametrize(
    ("changes", "age", "accepted"),
    [
        ({}, 30, True),
        ({"bev": 0.19, "fvc": 3.0}, 30, False),
        ({"bev": 0.14, "fvc": 1.0}, 30, True),
        ({"fet": 4.0}, 30, True),  # short, with a plateau
        ({"fet": 4.0, "last_second": 0.1}, 30, False),
        ({"fet": 4.0, "last_second": 0.1}, 9, True),
        ({"cough": 2.0}, 30, False),
    ],
)
def test_the_rules_of_2005(changes: dict, age: float, accepted: bool) -> None:
    assert ats_ers.judge_2005(effort(**changes), [age])[0] == accepted


@pytest.mark.parametrize(
    ("values", "acceptable", "age", "grade"),
    [
        ([3.00, 2.90, 2.86], [1, 1, 1], 30, "A"),
        ([3.00, 2.85, 2.0], [1, 1, 1], 30, "A"),
        ([3.00, 2.90], [1, 1], 30, "B"),
        ([3.00, 2.82, 2.8], [1, 1, 1], 30, "C"),
        ([3.00, 2.76, 2.7], [1, 1, 1], 30, "D"),
        ([3.00, 2.60, 2.6], [1, 1, 1], 30, "E"),
        ([3.00, 2.99, 2.98], [1, 0, 0], 30, "E"),
        ([3.00, 2.99], [0, 0], 30, "U"),
        ([1.00, 0.91, 0.9], [1, 1, 1], 6, "A"),  # 10 % or 100 mL up to six years
        ([1.00, 0.88, 0.8], [1, 1, 1], 6, "C"),
        ([1.00, 0.88, 0.8], [1, 1, 1], 7, "A"),
    ],
)
def test_sessions_are_graded_as_table_10_says(values: list, acceptable: list, age: float, grade: str) -> None:
    n = len(values)
    grades = ats_ers.session_grades_2019(values, acceptable, np.ones(n), np.full(n, 5), np.full(n, age))
    assert grades.to_dict() == {5: grade}


def test_a_session_without_a_usable_effort_fails() -> None:
    assert ats_ers.session_grades_2019([3.0], [False], [False], [5], [30]).to_dict() == {5: "F"}


def test_many_sessions_at_once_and_nhanes_grades() -> None:
    values = [3.0, 2.95, 2.9, 4.0, 3.88, 3.8, 2.0, 1.85, 5.0, 1.0]
    person = [9, 9, 9, 2, 2, 2, 3, 3, 4, 8]
    acceptable = [True] * 9 + [False]
    grades = ats_ers.session_grades_nhanes(values, acceptable, person)
    assert grades.to_dict() == {2: "B", 3: "C", 4: "D", 8: "F", 9: "A"}


def test_smooth_full_expirations_are_accepted_and_spoiled_ones_are_not() -> None:
    knots = Knots(*(np.array([v]) for v in (2.1, 0.63, 0.82, 0.95, 0.985, 9.0, 0.018)))
    shape = lung_shapes.load().drawn(knots, np.random.default_rng(0))
    curve = 4 * flow(lungs(knots, shape), best_effort(knots.pef, knots.bev, shape.onset), 900)
    whole = spirometry.indices(curve, np.array([900]))
    assert all(mask[0] for mask in ats_ers.judge_2019(whole, [40.0])[:4])
    coughed, closed = curve.copy(), curve.copy()
    coughed[:, 50:58] *= 0.1
    closed[:, 60:] = 0
    assert not ats_ers.judge_2019(spirometry.indices(coughed), [40.0]).fev1[0]
    assert not ats_ers.judge_2019(spirometry.indices(closed), [40.0]).usable_fev1[0]
    late = np.concatenate([np.full((1, 100), 0.6), curve], axis=1)
    assert not ats_ers.judge_2019(spirometry.indices(late), [40.0]).fvc[0]


def test_simulated_grades_mean_what_they_say() -> None:
    raw: Any = simulate("G", 150, 11)["SPXRAW"]
    raw = raw[raw["SPXPTS"] > 100].reset_index(drop=True)
    flow_10ms = np.zeros((len(raw), 2044))
    for row, curve, factor in zip(flow_10ms, raw["SPXRAW"], raw["SPAFACT"], strict=True):
        row[: len(curve)] = curve * 0.1 * factor
    found = spirometry.indices(flow_10ms, raw["SPXPTS"].to_numpy(int))
    judged = ats_ers.judge_2019(found, np.full(len(raw), 30.0))
    accepted = pd.Series(judged.fev1).groupby(raw["SPAQEFF"]).mean()
    assert accepted["A"] > 0.97
    assert accepted["D"] < 0.75  # a weak effort looks like any other
    assert pd.Series(judged.fvc).groupby(raw["SPAQEFF"]).mean()["C"] < 0.6
