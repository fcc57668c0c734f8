"""Reference values: GLI Global (Bowerman 2022), GLI-2012 (Quanjer 2012) and Hankinson 1999.

Coefficients and look-up tables are those of the package `pyspiro`; they are evaluated here on whole
arrays, without importing it (0.8 s), and agree with it to 1e-9 (tests/test_reference.py).

Ages are in years, heights in cm, sex is 1 male and 2 female as in NHANES, volumes are in L, flows in L/s.
Outside an equation's ages and heights, and where one is missing, every result is NaN.
"""

import dataclasses
import functools
import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from spiro_diffusion.core.vocabulary import SEX_CODES, SEXES, Sex

Floats = NDArray[np.float64]

Z_LLN = 1.645  # the lower limit of normal is the 5th percentile (ATS/ERS 2021)
GLI_NAMES = {"fev1": "FEV1", "fvc": "FVC", "ratio": "FEV1FVC", "fef2575": "FEF25_75"}
GLI_GROUPS = ("caucasian", "african_american", "northeast_asian", "southeast_asian", "other")
HANKINSON_NAMES = {"fev1": "FEV1", "fvc": "FVC", "fev6": "FEV6", "pef": "PEF", "fef2575": "FEF25_75"}
HANKINSON_GROUPS = ("caucasian", "african_american", "mexican_american")
HANKINSON_AGES = (8, 80)  # completed years of NHANES III
HANKINSON_CHILD: dict[Sex, int] = {
    "male": 19,
    "female": 17,
}  # the equations for children end with it (table 4)
# cm, the heights the equations were made from, by sex, group and age (Hankinson 1999, table 2)
HANKINSON_HEIGHTS: dict[tuple[Sex, str, str], tuple[int, int]] = {
    ("male", "caucasian", "child"): (122, 192),
    ("male", "african_american", "child"): (122, 194),
    ("male", "mexican_american", "child"): (120, 180),
    ("male", "caucasian", "adult"): (158, 194),
    ("male", "african_american", "adult"): (158, 196),
    ("male", "mexican_american", "adult"): (156, 192),
    ("female", "caucasian", "child"): (118, 178),
    ("female", "african_american", "child"): (118, 184),
    ("female", "mexican_american", "child"): (114, 172),
    ("female", "caucasian", "adult"): (145, 180),
    ("female", "african_american", "adult"): (146, 180),
    ("female", "mexican_american", "adult"): (136, 172),
}

# Groups for RIDRETH1 1 to 5: Mexican American, other Hispanic, non-Hispanic white, non-Hispanic black, other.
# GLI-2012 counted Hispanic people with "caucasian"; Hankinson has no equation for the rest.
GLI_GROUP_OF_RIDRETH1 = np.array([0, 0, 0, 1, 4])
HANKINSON_GROUP_OF_RIDRETH1 = np.array([2, 2, 0, 1, 0])


@dataclasses.dataclass(frozen=True)
class LMS:
    """A reference distribution for each of n people, by its skewness L, median M and variation S."""

    l: Floats  # noqa: E741 (its name in the field)
    m: Floats
    s: Floats

    def z(self, measured: ArrayLike) -> Floats:
        """z-scores (n,) of measured values."""
        return ((np.asarray(measured) / self.m) ** self.l - 1) / (self.l * self.s)

    def percent(self, measured: ArrayLike) -> Floats:
        """Measured values in percent of the median."""
        return 100 * np.asarray(measured) / self.m

    def value(self, z: ArrayLike) -> Floats:
        """The values at z-scores; NaN where the distribution does not reach so far."""
        with np.errstate(invalid="ignore"):
            return self.m * (1 + np.asarray(z) * self.l * self.s) ** (1 / self.l)

    @property
    def lln(self) -> Floats:
        """Lower limit of normal, the 5th percentile."""
        return self.value(-Z_LLN)


def gli_global(name: str, age: ArrayLike, height: ArrayLike, sex: ArrayLike) -> LMS:
    """GLI Global, race-neutral, 3 to 95 years: Bowerman et al. 2023, doi 10.1164/rccm.202205-0963OC.

    Args:
        name: `fev1`, `fvc` or `ratio` (FEV1/FVC as a fraction).
        age, height, sex: (n,) or one number each.

    Raises:
        ValueError: an unknown name or sex.
    """
    return _gli("bowerman_2022", name, age, height, sex, 0)


def gli_2012(name: str, age: ArrayLike, height: ArrayLike, sex: ArrayLike, group: ArrayLike) -> LMS:
    """GLI-2012, 3 to 95 years (FEF25-75 to 90): Quanjer et al. 2012, doi 10.1183/09031936.00080312.

    Args:
        name: `fev1`, `fvc`, `ratio` or `fef2575`.
        age, height, sex: (n,) or one number each.
        group: places in GLI_GROUPS (0 caucasian), as `GLI_GROUP_OF_RIDRETH1[ethnicity - 1]` gives them.

    Raises:
        ValueError: an unknown name, sex or group.
    """
    return _gli("gli_2012", name, age, height, sex, group)


def hankinson(
    name: str, age: ArrayLike, height: ArrayLike, sex: ArrayLike, group: ArrayLike, extend: bool = False
) -> LMS:
    """NHANES III, 8 to 80 years: Hankinson et al. 1999, doi 10.1164/ajrccm.159.1.9712108.

    A normal distribution (L is 1); ages are counted in completed years, as the equations were made.

    Args:
        name: `fev1`, `fvc`, `fev6`, `pef` or `fef2575`.
        age, height, sex: (n,) or one number each.
        group: places in HANKINSON_GROUPS, as `HANKINSON_GROUP_OF_RIDRETH1[ethnicity - 1]` gives them.
        extend: carry the equations beyond the heights they were made from, and hold the ages at 8 and 80.

    Raises:
        ValueError: an unknown name, sex or group.
    """
    equation = _named(name, HANKINSON_NAMES, "Hankinson 1999")
    people = _people(age, height, sex, group, HANKINSON_GROUPS)
    years, height = np.floor(people.age), people.height
    if extend:
        years = np.clip(years, *HANKINSON_AGES)
    in_range = (years >= HANKINSON_AGES[0]) & (years <= HANKINSON_AGES[1])
    table = _table("hankinson_1999_coefficients_t4_t5", "parameter", "sex", "ethnicity", "age_group")
    predicted, lower = np.full(years.shape, np.nan), np.full(years.shape, np.nan)
    for (sex_name, group_name, stage), (low, high) in HANKINSON_HEIGHTS.items():
        rows = in_range & (people.sex == SEX_CODES[sex_name])
        rows &= people.group == HANKINSON_GROUPS.index(group_name)
        rows &= (years <= HANKINSON_CHILD[sex_name]) == (stage == "child")
        if not extend:
            rows &= (height >= low) & (height <= high)
        c = table.loc[[(equation, sex_name, group_name, stage)]].iloc[0]
        base = c["a0_pred"] + c["a1_age"] * years[rows] + c["a2_age2"] * years[rows] ** 2
        predicted[rows] = base + c["a3_ht2_pred"] * height[rows] ** 2
        lower[rows] = base + c["a3_ht2_lln"] * height[rows] ** 2
    return LMS(np.ones(years.shape), predicted, (predicted - lower) / Z_LLN / predicted)


def _gli(tables: str, name: str, age: ArrayLike, height: ArrayLike, sex: ArrayLike, group: ArrayLike) -> LMS:
    """L = q0 + q1 ln(age) + spline; M, S = exp(a0 + a1 ln(height) + a2 ln(age) + group + spline)."""
    coefficients, splines = _table(f"{tables}_coefficients", "var"), _table(f"{tables}_splines", "age")
    names = {k: v for k, v in GLI_NAMES.items() if f"{v}_males" in coefficients}
    equation = _named(name, names, tables)
    people = _people(age, height, sex, group, GLI_GROUPS)
    lms = LMS(*(np.full(people.age.shape, np.nan) for _ in range(3)))
    for code, sex_name in SEXES.items():
        rows = people.sex == code
        column = f"{equation}_{sex_name}s"
        c = coefficients[column].dropna()  # an equation without a term has an empty cell
        log_age, of_group = np.log(people.age[rows]), people.group[rows]
        of_m = np.array([0.0, *(c.get(f"a{i}", 0.0) for i in (3, 4, 5, 6))])  # by GLI_GROUPS
        of_s = np.array([0.0, *(c.get(f"p{i}", 0.0) for i in (2, 3, 4, 5))])
        at = [splines[f"{column}_{kind}spline"].dropna() for kind in "LMS"]
        spline = [np.interp(people.age[rows], t.index, t, left=np.nan, right=np.nan) for t in at]
        lms.l[rows] = c["q0"] + c.get("q1", 0.0) * log_age + spline[0]
        size = c["a0"] + c["a1"] * np.log(people.height[rows]) + c["a2"] * log_age
        lms.m[rows] = np.exp(size + of_m[of_group] + spline[1])
        lms.s[rows] = np.exp(c["p0"] + c["p1"] * log_age + of_s[of_group] + spline[2])
    return lms


class _People(NamedTuple):
    """Arrays of one shape."""

    age: Floats
    height: Floats
    sex: NDArray
    group: NDArray[np.int64]


def _people(age: ArrayLike, height: ArrayLike, sex: ArrayLike, group: ArrayLike, groups: tuple[str, ...]) -> _People:
    """The arguments in one shape; ValueError for a sex or group that is none."""
    arrays = (np.asarray(age, dtype=float), np.asarray(height, dtype=float), np.asarray(sex), np.asarray(group))
    people = _People(*np.broadcast_arrays(*arrays))
    unknown = people.sex[~np.isin(people.sex, list(SEXES))]
    if unknown.size:
        raise ValueError(f"sex is {unknown.flat[0]}; expected 1 (male) or 2 (female)")
    unknown = people.group[~np.isin(people.group, range(len(groups)))]
    if unknown.size:
        raise ValueError(f"group is {unknown.flat[0]}; expected 0 to {len(groups) - 1}: {', '.join(groups)}")
    return people._replace(group=people.group.astype(np.int64))


def _named(name: str, names: dict[str, str], where: str) -> str:
    if name not in names:
        raise ValueError(f"{where} has no equation for {name!r}; it has {', '.join(names)}")
    return names[name]


@functools.cache
def _table(name: str, *index: str) -> pd.DataFrame:
    """A table of the installed pyspiro by these columns, found without importing it."""
    package = importlib.util.find_spec("pyspiro")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("pyspiro holds the reference equations: pip install pyspiro")
    table = pd.read_csv(Path(package.origin).parent / "data" / f"{name}.csv", sep=";")
    return table.set_index(list(index) if len(index) > 1 else index[0])
