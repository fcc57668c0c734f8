"""Curves of drawn sessions: each with its position in the session, its grade, and whether it is the best."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.drawn_curves import OF_EFFORT, Curves
from spiro_diffusion.generation.engine import Engine, draw_sessions
from spiro_diffusion.generation.requests import Requirements

PERSONAL = ("age", "height", "sex", "weight", "ethnicity", "cycle")


class Size(NamedTuple):
    """The number of lungs and efforts for each person."""

    lungs: int
    before: int  # efforts of each lung, up to PLACES
    after: int  # likewise after the bronchodilator

    def efforts(self, people: pd.DataFrame) -> pd.DataFrame:
        """The efforts of one lung of each person, as `sessions.draw_facts` takes them: person, place, test_type, and
        what is known of the person."""
        rows = [("Pre", place + 1) for place in range(self.before)] + [("Bron", p + 1) for p in range(self.after)]
        person = np.repeat(np.arange(len(people)), len(rows))
        efforts = people[[name for name in PERSONAL if name in people]].iloc[person].reset_index(drop=True)
        kinds = pd.DataFrame(rows * len(people), columns=["test_type", "place"])
        return efforts.assign(person=person).join(kinds)


def curves_of(engine: Engine, people: pd.DataFrame, given: pd.DataFrame, size: Size, seed: int) -> Curves:
    """Draw sessions of people, each of the requested number of lungs.

    Args:
        people: age, height, sex and other known conditions, a row for each person.
        given: the columns as the user gave them.
    """
    lungs = np.repeat(np.arange(len(people)), size.lungs)
    drawn = draw_sessions(engine, size.efforts(people.iloc[lungs].reset_index(drop=True)), seed)
    lung = drawn.table["person"].to_numpy(np.int64)
    table = of_effort(drawn.table)
    return Curves(people, lungs[lung], lung % size.lungs, drawn.signals, given.reset_index(drop=True), table)


def of_effort(drawn: pd.DataFrame) -> pd.DataFrame:
    """Properties of each drawn effort: OF_EFFORT."""
    return drawn.rename(columns={"place": "effort"})[list(OF_EFFORT)].reset_index(drop=True)


def check(required: Requirements, size: Size) -> None:
    """Raises SpiroError if a session of this size cannot meet the request."""
    graded = [str(request.pattern) for request in required.requests if request.after]
    if graded and not size.after:
        raise SpiroError(f"{graded[0]} is of values after a bronchodilator: draw efforts after it too, as --after 4")
