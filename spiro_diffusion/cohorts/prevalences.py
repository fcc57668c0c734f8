"""Prevalence of patterns and means of indices: of a survey by its weights, of drawn subjects unweighted.

Everything is a weighted mean of figures, numbers per person, so that sums alone are kept.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.vocabulary import SEXES
from spiro_diffusion.models.effort_sets import ACCEPTED, BEST, EffortSets
from spiro_diffusion.physiology import ats_ers, patterns, reference

BANDS = ((6, 12), (12, 20), (20, 40), (40, 60), (60, 80))  # years, from the first and below the second
GRADED = {
    "grade_fev1": "FEV1, ATS/ERS 2019",
    "grade_fvc": "FVC, ATS/ERS 2019",
    "nhanes_fev1": "FEV1, NHANES's rule",
    "nhanes_fvc": "FVC, NHANES's rule",
}  # sessions before the bronchodilator
LETTERS = ("A", "B", "C", "D", "E", "U", "F")
Z_NAMES = ("fev1_z", "fvc_z", "ratio_z")


class Prevalence(NamedTuple):
    """A share of people."""

    words: str
    published: str = ""  # of NHANES 2011-2012 (G)


PREVALENCES: dict[str, Prevalence] = {
    "ratio_20_79": Prevalence("FEV1/FVC < 0.70, ages 20 to 79", "14.1 %"),
    "ratio_6_79": Prevalence("FEV1/FVC < 0.70, ages 6 to 79", "11.3 %"),
    "prism": Prevalence(f"PRISm, ages 18 and more: {patterns.DEFINITIONS['prism'].words} by GLI Global"),
}
PREVALENCES |= {
    label: Prevalence(f"{label}: {patterns.DEFINITIONS[label].words} (ERS/ATS 2022, GLI Global)")
    for label in patterns.PARTITION
}


def people_of(efforts: pd.DataFrame) -> pd.DataFrame:
    """A row for each person, in order of appearance: age (years), height (cm), sex, efforts before and after the
    bronchodilator; best values `effort_sets.BEST` (L, -, L/s; NaN if no effort counts) with z-scores (GLI Global)
    and their pattern ("" if unknown); and the GRADED of the session before the bronchodilator ("" if there is none).

    Args:
        efforts: one session for each person, a row for each effort: person, effort (its place), test_type, grade,
            age, height, sex and the indices that `ats_ers.judge_sessions` needs.
    """
    efforts = efforts.reset_index(drop=True)
    before = efforts["test_type"] == "Pre"
    by_person = efforts.assign(efforts_before=before, efforts_after=~before).groupby("person", sort=False)
    first = {name: "first" for name in ("age", "height", "sex")}
    people = by_person.agg({**first, "efforts_before": "sum", "efforts_after": "sum"}).reset_index()
    values = EffortSets.of(efforts.rename(columns={"effort": "place"}), "person").best(efforts)
    people = people.join(pd.DataFrame(values, columns=list(BEST)))
    for name in ("fev1", "fvc", "ratio"):
        lms = reference.gli_global(name, people["age"], people["height"], people["sex"])
        people[f"{name}_z"] = lms.z(people[name].to_numpy())
    people["pattern"] = patterns.pattern_of(*(people[name] for name in Z_NAMES))
    return people.join(_grades(efforts[before].reset_index(drop=True)), on="person").fillna(dict.fromkeys(GRADED, ""))


def _grades(efforts: pd.DataFrame) -> pd.DataFrame:
    """GRADED of sessions, by person."""
    person = efforts["person"]
    judged = ats_ers.judge_sessions(efforts, efforts["age"], person)
    table = judged[["session_fev1", "session_fvc"]].set_axis(["grade_fev1", "grade_fvc"], axis=1)
    table = table.groupby(person.to_numpy()).first()
    for name in ("fev1", "fvc"):
        accepted = efforts["grade"].isin(ACCEPTED)
        table[f"nhanes_{name}"] = ats_ers.session_grades_nhanes(efforts[name], accepted, person)
    return table


def figures(people: pd.DataFrame) -> pd.DataFrame:
    """Numbers whose means are reported, a row for each person of `people_of`, NaN where a figure does not apply to the
    person.

    Columns: those of PREVALENCES and `grade_fev1=A` and so on are 0 or 1; `fev1, female 20-39` and so on are values.
    """
    age, ratio = people["age"], people["ratio"]
    low = (ratio < patterns.GOLD_RATIO).astype(float).where(ratio.notna())
    prism = patterns.carries("prism", *(people[name] for name in ("fev1", "fvc", "age", "height", "sex")))
    found = {
        "ratio_20_79": low.where(age.between(20, 80, inclusive="left")),
        "ratio_6_79": low.where(age.between(6, 80, inclusive="left")),
        "prism": pd.Series(prism, people.index, float).where(ratio.notna() & (age >= patterns.ADULT_AGE)),
    }
    for label in patterns.PARTITION:
        found[label] = (people["pattern"] == label).astype(float).where(people["pattern"] != "")
    for name in GRADED:
        for letter in LETTERS:
            found[f"{name}={letter}"] = (people[name] == letter).astype(float).where(people[name] != "")
    for code, sex in SEXES.items():
        for low_age, high_age in BANDS:
            group = (people["sex"] == code) & age.between(low_age, high_age, inclusive="left")
            for name in ("height", *BEST):
                found[of_group(name, sex, (low_age, high_age))] = people[name].where(group)
    return pd.DataFrame(found)


def of_group(name: str, sex: str, band: tuple[int, int]) -> str:
    """The figure of an index in people of one sex and ages."""
    return f"{name}, {sex} {band[0]}-{band[1] - 1}"


class Means:
    """Weighted means of figures, of people that are added some at a time."""

    def __init__(self) -> None:
        self.people = 0
        self._sums = pd.DataFrame(columns=["n", "weight", "first", "second"], dtype=float)

    def add(self, table: pd.DataFrame, weights: NDArray | None = None) -> None:
        """Add people: a table of `figures`, and a weight each, 1 where none are given."""
        values = table.to_numpy(float)
        present = np.isfinite(values)
        weighted = present * (np.ones(len(table)) if weights is None else np.asarray(weights, float))[:, None]
        values = np.where(present, values, 0.0)
        sums = {
            "n": present.sum(0),
            "weight": weighted.sum(0),
            "first": (weighted * values).sum(0),
            "second": (weighted * values**2).sum(0),
        }
        self.people += len(table)
        self._sums = self._sums.add(pd.DataFrame(sums, index=table.columns, dtype=float), fill_value=0.0)

    def table(self) -> pd.DataFrame:
        """By figure: `n` people, `mean` and `sd`; NaN where there are no people."""
        weight = self._sums["weight"].where(self._sums["weight"] > 0)
        mean = self._sums["first"] / weight
        sd = np.sqrt((self._sums["second"] / weight - mean**2).clip(lower=0))
        return pd.DataFrame({"n": self._sums["n"].astype(int), "mean": mean, "sd": sd})


def of_participants(curves: pd.DataFrame) -> Means:
    """The figures of a survey's participants by survey weight, of their efforts (`populations.read_participants`)."""
    efforts = curves[curves["mec_weight"] > 0].rename(columns={"seqn": "person"})
    efforts["effort"] = efforts.groupby(["person", "test_type"]).cumcount() + 1
    people, means = people_of(efforts), Means()
    means.add(figures(people), efforts.groupby("person", sort=False)["mec_weight"].first().to_numpy())
    return means
