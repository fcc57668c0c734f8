"""Kinds of faulty efforts by ATS/ERS 2019, table 7, detected on the curve alone.

An effort stands alone here: whether its FVC repeats another's is not considered.
"""

from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from spiro_diffusion.physiology import ats_ers
from spiro_diffusion.physiology.ats_ers import Failing
from spiro_diffusion.physiology.spirometry import Indices

Kind = Literal["poor", "cough", "early-stop", "slow-start"]
KINDS: tuple[Kind, ...] = get_args(Kind)
WORDS: dict[Kind, str] = {
    "poor": "acceptable neither for FEV1 nor for FVC",
    "cough": "flow comes back in the first second by more than 10 % of PEF and 0.5 L/s",
    "early-stop": "cut off by the glottis, or over before 15 s without a plateau (25 mL in the last second)",
    "slow-start": "back-extrapolated volume above 5 % of FVC and 100 mL",
}
FAULTS: dict[Kind, frozenset[Failing]] = {
    "cough": frozenset(["cough"]),
    "early-stop": frozenset(["early closure", "late closure", "no end"]),
    "slow-start": frozenset(["slow start"]),
}


def carries(kind: Kind, indices: Indices | pd.DataFrame, age: ArrayLike) -> NDArray[np.bool_]:
    """Whether each of n efforts is of a kind, by its indices and the age (years); False where it has none."""
    fvc = np.asarray(indices.fvc, dtype=np.float64)
    age = np.broadcast_to(np.asarray(age, dtype=np.float64), fvc.shape)
    judged, faults = ats_ers.read_2019(indices, age)
    if kind == "poor":
        found = ~judged.fev1 & ~judged.fvc
    else:
        found = np.array([not FAULTS[kind].isdisjoint(of_one) for of_one in faults], dtype=bool)
    return found & np.isfinite(fvc)
