"""Columns of a table of indices: name, label, unit, decimals, and how each is computed.

A column added to COLUMNS appears in `spiro indices`, `spiro generate`, their files and the app.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.vocabulary import INDICES, Index
from spiro_diffusion.physiology import reference
from spiro_diffusion.physiology.spirometry import Indices

Z_SCORES = ("fev1", "fvc", "ratio")  # GLI Global has no others


class Column(NamedTuple):
    """An index of a table; `on_screen`: also in the short table of the command line."""

    name: str
    written: Index
    on_screen: bool
    compute: Callable[[Any], NDArray[np.float64]]  # of n efforts: (n,), in the index's unit


def _column(name: str, compute: Callable[[Any], Any] | None = None, *, on_screen: bool = True) -> Column:
    return Column(name, INDICES[name], on_screen, compute or (lambda found: getattr(found, name)))


COLUMNS = (
    _column("fev1"),
    _column("fvc"),
    _column("ratio", lambda found: found.fev1 / found.fvc),
    _column("pef"),
    _column("fef2575"),
    _column("fev6", on_screen=False),
    _column("bev", on_screen=False),
    _column("fet", on_screen=False),
)
NAMES = tuple(column.name for column in COLUMNS)
Z_NAMES = tuple(f"{name}_z" for name in Z_SCORES)


INSPIRED = ("fivc", "pif", "inspired")  # of INDICES, where a record holds what was breathed in around the blow
INSPIRED_ON_SCREEN = INSPIRED[:2]


def indices_table(found: Indices | pd.DataFrame, age: Any = None, height: Any = None, sex: Any = None) -> pd.DataFrame:
    """COLUMNS of n efforts with these indices, a row an effort.

    With age (years), height (cm) and sex (1 or 2), one each or (n,), also GLI Global z-scores: fev1_z, fvc_z, ratio_z.
    """
    with np.errstate(invalid="ignore"):  # inspired volumes have no ratio and no z-score: NaN
        table = pd.DataFrame({column.name: np.asarray(column.compute(found)) for column in COLUMNS})
        if age is not None:
            for name in Z_SCORES:
                table[f"{name}_z"] = reference.gli_global(name, age, height, sex).z(table[name])
    return table
