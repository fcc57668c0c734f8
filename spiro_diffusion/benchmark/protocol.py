"""Tasks of the benchmark, made from a pipeline's `data` folder: conditions of curves and sessions, interrupted efforts.

Both follow the stages `evaluate` and `reconstruct`, so that their figures stand beside a submission's.
"""

import dataclasses
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.artifacts import read_json
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.dataset.raw_curves import read_table
from spiro_diffusion.dataset.signals import load_rows
from spiro_diffusion.dataset.splits import Part, judged_part, rows_of_part
from spiro_diffusion.evaluation.candidates import REQUESTED_GRADE
from spiro_diffusion.evaluation.figures import MIN_PEOPLE
from spiro_diffusion.evaluation.interruptions import JUDGED, Case, interrupted
from spiro_diffusion.evaluation.session_candidates import efforts_of
from spiro_diffusion.physiology.time_grid import N_SAMPLES
from spiro_diffusion.reconstruction import examples

Task = Literal["generation", "sessions", "completion"]
# of each row, at least; the stages draw as many. One value repeated is outside an interval only where draws are enough
DRAWS: dict[Task, int] = {"generation": 10, "sessions": 1, "completion": 20}
RESAMPLES = 500  # of the participants, for the 95 % intervals
SEED = 1  # places coughs, draws resamples, chooses the training participants of the floor
CONDITIONS = ("age", "height", "sex", "grade", "test_type", "best")  # what is said of an effort
SESSION_CONDITIONS = ("person", "test_type", "place", "age", "height", "sex")  # grades are drawn
ID_DIGITS = 12


@dataclasses.dataclass(frozen=True)
class Source:
    """The folder `data` of a pipeline, where its curves come from, and whose participants judge."""

    folder: Path
    source: str
    part: Part

    @classmethod
    def of(cls, folder: Path) -> "Source":
        """The data of a folder.

        Raises SpiroError where it has no manifest.
        """
        source = read_json(folder / "raw" / "manifest.json")["source"]
        return cls(folder, source, judged_part("auto", source))

    @property
    def signals(self) -> Path:
        return self.folder / "signals_L512.npy"

    @property
    def curves(self) -> Path:
        return self.folder / "curves.parquet"

    @property
    def repaired(self) -> Path:
        return self.folder / "repaired"


def generation(source: Source) -> pd.DataFrame:
    """The rows that curves are drawn for: `id` and the columns CONDITIONS, beside those of `curves.parquet`.

    First every held-out effort in the order of the judge, then the best ones whose grade is not A once more, requested
    as grade A (`again`): so the judge holds them against the published distributions.
    """
    table = read_table(source.curves)
    held_out = table.iloc[rows_of_part(table, source.part)]
    again = held_out[held_out["best"] & (held_out["grade"] != REQUESTED_GRADE)].assign(grade=REQUESTED_GRADE)
    rows = pd.concat([held_out.assign(again=False), again.assign(again=True)], ignore_index=True)
    return rows.assign(id=row_ids(rows))


def sessions(source: Source) -> pd.DataFrame:
    """The efforts that sessions are drawn for, in the order of the judge: `id`, SESSION_CONDITIONS and the columns of
    `curves.parquet`. A session is the efforts of one `person` of one `test_type`, in the order of `place`, from 1."""
    table = read_table(source.curves)
    held_out = table.iloc[rows_of_part(table, source.part)].reset_index(drop=True)
    rows = efforts_of(held_out).assign(person=pd.factorize(held_out["seqn"])[0])
    return rows.assign(id=_ids(rows, ["session"] * len(rows)))


def completion(source: Source) -> list[Case]:
    """The best full efforts of held-out participants, interrupted in each way that the judge interrupts them.

    Raises SpiroError where they are too few.
    """
    table = read_table(source.curves)
    flow = load_rows(source.signals, len(table), (N_SAMPLES,))
    part_rows = rows_of_part(table, source.part)
    judged = part_rows[examples.full(table, flow)[part_rows] & table["best"].to_numpy(bool)[part_rows]]
    efforts, people = np.asarray(flow[judged]), table.iloc[judged].reset_index(drop=True)
    cases = [interrupted(how, efforts, people, SEED) for how in JUDGED]
    enough = [case for case in cases if len(case.rows) >= MIN_PEOPLE]
    if not enough:
        raise SpiroError(
            f"{source.curves}: {len(judged)} full efforts of the {source.part} participants; at least {MIN_PEOPLE} are "
            "needed: use more participants"
        )
    return enough


def row_ids(rows: pd.DataFrame) -> NDArray[np.str_]:
    """The id (n,) of each effort of the generation task, with the requested grade."""
    return _ids(rows, rows["grade"])


def case_ids(case: Case) -> NDArray[np.str_]:
    """The id (n,) of each effort of a case; of the same effort in another case it is another."""
    return _ids(case.people, [case.how.name] * len(case.people))


def _ids(people: pd.DataFrame, requested: Iterable[str]) -> NDArray[np.str_]:
    """Ids (n,) that another data set does not have, and that say nothing of the curve."""
    columns = (people[name] for name in ("seqn", "cycle", "raw_row", "age", "height"))
    texts = ("/".join(map(str, values)) for values in zip(requested, *columns, strict=True))
    return np.array([hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS] for text in texts])
