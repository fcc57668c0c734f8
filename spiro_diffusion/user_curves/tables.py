"""Tables of user efforts: indices, z-scores, acceptability and session grades."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.columns import INSPIRED, indices_table
from spiro_diffusion.generation.subjects import check_range, conditioned, unmet_heights
from spiro_diffusion.physiology import ats_ers
from spiro_diffusion.user_curves.efforts import UserCurves

GLI_RANGE = {"age": (3.0, 95.0), "height": (60.0, 230.0)}  # years (Bowerman 2023); cm: only to catch another unit


class Person(NamedTuple):
    """The person of the efforts."""

    age: float  # years
    height: float  # cm
    sex: str | int


def person_table(curves: UserCurves, person: Person | None, phases: Sequence[str] | None = None) -> pd.DataFrame:
    """Indices of one person's efforts, each computed at the rate of its record, and FIVC and PIF where a record has
    them; with `person` also z-scores, the result of `ats_ers.judge_sessions` for each effort, and session grades.

    `phases` distinguishes the efforts before a bronchodilator from those after it, which are graded as two sessions;
    without it all efforts are one session.

    Raises SpiroError where GLI Global has no values for such a person.
    """
    if person is None:
        return _with_inspired(indices_table(curves.record), curves.record)
    people = pd.DataFrame([person]).iloc[np.zeros(len(curves.names), int)]
    session = np.zeros(len(people), int) if phases is None else pd.factorize(np.array(phases))[0]
    return _judged_table(curves.record, people, session)


def people_table(curves: UserCurves, person: Person | None) -> pd.DataFrame:
    """As `person_table`, for efforts of NHANES, whose `about` has seqn and test_type, and age, height and sex if they
    are known. The efforts of a participant before the bronchodilator, and those after it, are a session each.

    Raises SpiroError if one person is given for several participants.
    """
    about, record = curves.about, curves.record
    assert about is not None  # NHANES's
    if person is not None:
        if about["seqn"].nunique() > 1:
            raise SpiroError(
                f"{about['seqn'].nunique()} participants are not one of {person.age:g} years; choose by --seqn"
            )
        about = about.assign(**person._asdict())
    table = indices_table(record)
    if "age" not in about:
        return table
    people = about[list(Person._fields)]
    complete = people.notna().all(axis=1).to_numpy()
    if complete.any():
        session = about.groupby(["seqn", "test_type"], sort=False).ngroup().to_numpy()
        judged = _judged_table(record[complete], people[complete], session[complete])
        table = table.join(judged.drop(columns=list(table)).set_index(table.index[complete]))
    return table


def doubts(person: Person) -> list[str]:
    """Remarks on a height that is implausible for the age, as when months were given for years."""
    return [f"check age and height: {remark}" for remark in unmet_heights(conditioned(pd.DataFrame([person])))]


def _judged_table(record: pd.DataFrame, people: pd.DataFrame, session: NDArray) -> pd.DataFrame:
    """Indices, z-scores, acceptability and session grades of n efforts of `people` (n rows) in sessions (n,)."""
    record = record.reset_index(drop=True)
    people = conditioned(people)
    check_range(people.drop_duplicates(), GLI_RANGE, "z-scores are given for")
    age = people["age"].to_numpy(np.float64)
    table = indices_table(record, age, people["height"].to_numpy(), people["sex"].to_numpy())
    observed = ats_ers.Observed(record.get("fivc", np.nan), record.get("faulty_zero", False), record.get("leak", False))
    return _with_inspired(table, record).join(ats_ers.judge_sessions(record, age, session, observed))


def _with_inspired(table: pd.DataFrame, record: pd.DataFrame) -> pd.DataFrame:
    """The table with the columns of INSPIRED that a record has."""
    there = [name for name in INSPIRED if name in record and record[name].notna().any()]
    return table.join(record[there])
