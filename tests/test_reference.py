"""Reference values agree with the published figures and, everywhere, with the package they come from."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyspiro
import pytest

from spiro_diffusion.physiology import reference


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    n = 2000
    return pd.DataFrame(
        {
            "age": rng.uniform(2, 97, n).round(2),
            "height": rng.uniform(100, 200, n).round(1),
            "sex": rng.integers(1, 3, n),
            "group": rng.integers(0, 5, n),
            "value": rng.uniform(0.5, 6, n),
        }
    )


def test_a_man_of_40_years_has_the_published_values() -> None:
    forty = (40, 175, 1)
    world = reference.gli_global("fev1", *forty)
    assert world.m == pytest.approx(3.835460, abs=1e-6)
    assert world.z(3.0) == pytest.approx(-1.535978, abs=1e-6)
    caucasian = reference.gli_2012("fev1", *forty, group=0)
    assert caucasian.m == pytest.approx(4.077969, abs=1e-6)
    assert caucasian.lln == pytest.approx(3.231296, abs=1e-6)
    assert caucasian.z(3.0) == pytest.approx(-2.080400, abs=1e-6)


def _pyspiro(equations: Any, name: str, people: pd.DataFrame, group_column: str | None) -> pd.DataFrame:
    frame = people.assign(sex=2 - people["sex"], ethnicity=people["group"] + 1)  # pyspiro: 0 female, groups from 1
    columns = {"ethnicity_col": group_column} if group_column else {}
    parameter = equations.Parameters[name]
    result = equations.compute(frame, parameter, value_col="value", metrics=("zscore", "lln"), **columns)
    return result.apply(pd.to_numeric, errors="coerce")


@pytest.mark.parametrize("name", ["fev1", "fvc", "ratio"])
def test_gli_global_agrees_with_pyspiro_at_every_age(people: pd.DataFrame, name: str) -> None:
    expected = _pyspiro(pyspiro.BOWERMAN_2022(), reference.GLI_NAMES[name], people, None)
    ours = reference.gli_global(name, people["age"], people["height"], people["sex"])
    np.testing.assert_allclose(ours.z(people["value"]), expected["zscore"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours.lln, expected["lln"], rtol=1e-9, atol=1e-9)
    assert np.isnan(ours.m[people["age"] < 3]).all()


@pytest.mark.parametrize("name", ["fev1", "fvc", "ratio", "fef2575"])
def test_gli_2012_agrees_with_pyspiro_in_every_group(people: pd.DataFrame, name: str) -> None:
    expected = _pyspiro(pyspiro.GLI_2012(), reference.GLI_NAMES[name], people, "ethnicity")
    ours = reference.gli_2012(name, people["age"], people["height"], people["sex"], people["group"])
    np.testing.assert_allclose(ours.z(people["value"]), expected["zscore"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours.lln, expected["lln"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["fev1", "fvc", "fev6", "pef", "fef2575"])
def test_hankinson_agrees_with_pyspiro_in_completed_years(people: pd.DataFrame, name: str) -> None:
    people = people.assign(group=people["group"] % 3, age=np.floor(people["age"]))
    expected = _pyspiro(pyspiro.HANKINSON_1999(), reference.HANKINSON_NAMES[name], people, "ethnicity")
    ours = reference.hankinson(name, people["age"] + 0.99, people["height"], people["sex"], people["group"])
    np.testing.assert_allclose(ours.z(people["value"]), expected["zscore"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours.lln, expected["lln"], rtol=1e-9, atol=1e-9)
    assert np.isfinite(ours.m).sum() > 500


def test_a_value_and_its_z_score_are_inverse() -> None:
    lms = reference.gli_global("fvc", [8, 30, 70], [130, 180, 160], [1, 2, 1])
    np.testing.assert_allclose(lms.z(lms.value([-2, 0, 1.5])), [-2, 0, 1.5], atol=1e-12)
    np.testing.assert_allclose(lms.percent(lms.m), 100)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reference.gli_global("pef", 40, 170, 1), "no equation for 'pef'; it has fev1, fvc, ratio"),
        (lambda: reference.gli_global("fev1", 40, 170, 0), "sex is 0; expected 1"),
        (lambda: reference.gli_2012("fev1", 40, 170, 1, 5), "group is 5; expected 0 to 4"),
    ],
)
def test_a_wrong_argument_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_missing_height_gives_nan_not_a_guess() -> None:
    assert np.isnan(reference.gli_global("fev1", 40, np.nan, 1).m)
    assert np.isnan(reference.hankinson("pef", 40, np.nan, 1, 0).m)
