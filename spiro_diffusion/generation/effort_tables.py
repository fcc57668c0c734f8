"""Tables of drawn efforts: their indices and grades, and which is the person's best."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.vocabulary import GRADES
from spiro_diffusion.models.effort_facts import INDICES, NAMES
from spiro_diffusion.models.effort_sets import ACCEPTED, Floats
from spiro_diffusion.physiology import ats_ers


class Drawn(NamedTuple):
    """n efforts and their curves."""

    table: pd.DataFrame  # the requested efforts, with what was drawn of them: grade, best, INDICES
    signals: NDArray[np.float32]  # (n, 512) L/s, before any counter


class Facts(NamedTuple):
    """n efforts and their facts."""

    table: pd.DataFrame
    logs: Floats  # (n, 9), `effort_facts.NAMES`


def drawn_table(efforts: pd.DataFrame, logs: Floats, grades: NDArray) -> pd.DataFrame:
    """The efforts with their drawn facts."""
    table = graded(efforts, grades)
    for name in INDICES:
        table[name] = np.exp(logs[:, NAMES.index(name)])
    allowed = table["grade"].isin(ACCEPTED).to_numpy() & (table["test_type"] == "Pre").to_numpy()
    table["best"] = ats_ers.best_efforts(table["fev1"], table["fvc"], table["person"], allowed)
    return table


def graded(efforts: pd.DataFrame, grades: NDArray) -> pd.DataFrame:
    """The efforts with drawn grades (n,), positions in GRADES, where none is given."""
    drawn = pd.Series(np.array(GRADES, dtype=object)[grades], index=efforts.index)
    if "grade" not in efforts:
        return efforts.assign(grade=drawn)
    given_grades = efforts["grade"].astype(object)
    return efforts.assign(grade=given_grades.where(given_grades.notna(), drawn))
