"""Tables of a user's own efforts: indices, z-scores, acceptability and the grades of their sessions."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.columns import indices_table
from spiro_diffusion.generation.subjects import check_range, conditioned
from spiro_diffusion.physiology import ats_ers, spirometry

GLI_RANGE = {"age": (3.0, 95.0), "height": (60.0, 230.0)}  # years (Bowerman 2023); cm: only to catch another unit


class Person(NamedTuple):
    """Whose efforts they are."""

    age: float  # years
    height: float  # cm
    sex: str | int


def person_table(flow: NDArray, points: NDArray, person: Person | None) -> pd.DataFrame:
    """Indices of one person's own efforts, flow (n, T) in L/s of which `points` (n,) are the record; of a known person
    also z-scores, acceptability and the grades of the session (ATS/ERS 2019).

    Raises SpiroError where GLI Global has no values for such a person.
    """
    if person is None:
        return indices_table(flow, points)
    people = pd.DataFrame([person]).iloc[np.zeros(len(flow), int)]
    return _judged_table(flow, points, people, np.zeros(len(flow), int))


def people_table(flow: NDArray, points: NDArray, about: pd.DataFrame, person: Person | None) -> pd.DataFrame:
    """As `person_table`, of NHANES's efforts: `about` (n rows) has seqn and test_type, and age, height and sex where
    they are known. The efforts of a participant before, and those after the bronchodilator, are a session each.

    Raises SpiroError where a person is given for several participants.
    """
    if person is not None:
        if about["seqn"].nunique() > 1:
            raise SpiroError(
                f"{about['seqn'].nunique()} participants are not one of {person.age:g} years; choose by --seqn"
            )
        about = about.assign(**person._asdict())
    table = indices_table(flow, points)
    if "age" not in about:
        return table
    people = about[list(Person._fields)]
    known = people.notna().all(axis=1).to_numpy()
    if known.any():
        session = about.groupby(["seqn", "test_type"], sort=False).ngroup().to_numpy()
        judged = _judged_table(flow[known], points[known], people[known], session[known])
        table = table.join(judged.drop(columns=list(table)).set_index(table.index[known]))
    return table


def _judged_table(flow: NDArray, points: NDArray, people: pd.DataFrame, session: NDArray) -> pd.DataFrame:
    """Indices, z-scores, acceptability and session grades of n efforts of `people` (n rows) in sessions (n,)."""
    people = conditioned(people)
    check_range(people, GLI_RANGE, "z-scores are given for")
    age = people["age"].to_numpy(np.float64)
    table = indices_table(flow, points, age, people["height"].to_numpy(), people["sex"].to_numpy())
    judged = ats_ers.judge_sessions(spirometry.indices(flow, points), age, session)
    return table.join(judged.drop(columns=["usable_fev1", "usable_fvc"]))
