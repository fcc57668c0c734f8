"""Splits of the participants by a stable hash of SEQN: the same in every run, sample and program.

Of 100 hash values `u`, 0-79 train, 80-89 validate, 90-99 test. The validation participants have two parts, so that
nothing is reported on people on whom it was chosen: 80-84 to choose and calibrate on, 85-89 to report on.
"""

import hashlib
from collections.abc import Iterable
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError

Part = Literal["train", "choosing", "reporting", "test"]
PARTS: dict[Part, tuple[int, int]] = {"train": (0, 80), "choosing": (80, 85), "reporting": (85, 90), "test": (90, 100)}
JudgedSplit = Literal["auto", "validation", "test"]


def hash_value(seqn: Iterable[int]) -> NDArray[np.int64]:
    """The value `u` (n,) from 0 to 99 of each participant."""
    people, place = np.unique(np.asarray(list(seqn), dtype=np.int64), return_inverse=True)
    digests = [hashlib.sha256(str(int(person)).encode()).hexdigest() for person in people]
    return np.array([int(digest[:8], 16) % 100 for digest in digests], dtype=np.int64)[place]


def split(seqn: Iterable[int]) -> NDArray[np.str_]:
    """The split (n,) of each participant: train, validation or test."""
    return np.array(["train", "validation", "test"])[np.searchsorted([80, 90], hash_value(seqn), side="right")]


def rows_of_part(table: pd.DataFrame, part: Part) -> NDArray[np.int64]:
    """Positions of the rows of one part; the table needs `seqn`.

    Raises SpiroError where there is none.
    """
    low, high = PARTS[part]
    u = hash_value(table["seqn"])
    rows = np.flatnonzero((u >= low) & (u < high))
    if not len(rows):
        raise SpiroError(f"no curve is of the {part} participants (u {low}-{high - 1}); use more participants")
    return rows


def judged_part(setting: JudgedSplit, source: str) -> Part:
    """The participants that judge: `auto` takes test for simulated people, who can be made anew, else validation.

    Trials so cannot spend the test participants; of the validation participants those judge on whom nothing was chosen.
    """
    if setting == "auto":
        setting = "test" if source == "simulated" else "validation"
    return "test" if setting == "test" else "reporting"
