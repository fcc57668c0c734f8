"""Sessions of one lung as a user gets them: each curve with its place in the session, its grade, and the best one."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from spiro_diffusion.generation.drawn_curves import OF_EFFORT, Curves
from spiro_diffusion.generation.generator import Generator
from spiro_diffusion.generation.sessions import draw_sessions

PERSONAL = ("age", "height", "sex", "weight", "ethnicity", "cycle")


class Size(NamedTuple):
    """How much is drawn for each person."""

    lungs: int
    before: int  # efforts of each lung, up to PLACES
    after: int  # likewise after the bronchodilator


def curves_of(generator: Generator, people: pd.DataFrame, given: pd.DataFrame, size: Size, seed: int) -> Curves:
    """Sessions of people, each of as many lungs as are asked for.

    Args:
        people: age, height, sex and what else is known, a row a person; given: their columns as a user gave them.
    """
    rows = [("Pre", place + 1) for place in range(size.before)] + [("Bron", place + 1) for place in range(size.after)]
    person = np.repeat(np.arange(len(people)), size.lungs * len(rows))
    lung = np.tile(np.repeat(np.arange(size.lungs), len(rows)), len(people))
    efforts = people[[name for name in PERSONAL if name in people]].iloc[person].reset_index(drop=True)
    kinds = pd.DataFrame(rows * (len(people) * size.lungs), columns=["test_type", "place"])
    efforts = efforts.assign(person=person * size.lungs + lung).join(kinds)
    drawn = draw_sessions(generator, efforts, seed)
    table = drawn.table.rename(columns={"place": "effort"})[list(OF_EFFORT)]
    return Curves(people, person, lung, drawn.signals, given.reset_index(drop=True), table)
