"""A synthetic population: people drawn as NHANES weighs its participants, and a session of efforts for each.

A smoothed bootstrap: a participant by survey weight, age and height moved a little, sex and the kinds of that
participant's efforts (grade, test type, which is the best) as they are.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from spiro_diffusion.core.artifacts import atomic
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.dataset.raw_curves import read_table
from spiro_diffusion.generation import drawn_curves
from spiro_diffusion.generation.columns import indices_table
from spiro_diffusion.generation.curve_files import write_parquet
from spiro_diffusion.generation.generator import Generator
from spiro_diffusion.physiology import spirometry

JITTER = {"age": 0.5, "height": 1.0}  # SD, years and cm: nobody is a participant, and the population hardly wider
DECIMALS = 1  # of age and height, as height is measured
EFFORTS = ["grade", "test_type", "best"]
COMPARED = ("fev1", "fvc", "ratio", "pef", "fef2575")  # with the participants' own: L, L, -, L/s, L/s
PIECE = 1024  # efforts at once: 18 MB


def draw_people(curves: pd.DataFrame, n: int, trained: dict[str, Any], rng: np.random.Generator) -> pd.DataFrame:
    """Efforts of `n` people: person, effort (from 1), age (years), height (cm), sex, grade, test_type, best.

    Args:
        curves: efforts of participants (seqn, age, height, sex, mec_weight and EFFORTS), as data/curves.parquet has.
        trained: `age` and `height`, lowest and highest each: nobody lies beyond them.

    Raises SpiroError where no participant with a weight lies within them.
    """
    known = np.all([curves[name].between(*trained[name]) for name in JITTER], axis=0)
    efforts = curves[known & (curves["mec_weight"] > 0)].sort_values("seqn", kind="stable", ignore_index=True)
    if efforts.empty:
        raise SpiroError("no participant with a survey weight is within the ages and heights that the model knows")
    participants = efforts.groupby("seqn", sort=True).agg({"mec_weight": "first", "age": "size"})
    counts = participants["age"].to_numpy()
    first = np.cumsum(counts) - counts
    weights = participants["mec_weight"].to_numpy()
    chosen = rng.choice(len(participants), size=n, p=weights / weights.sum())
    person = np.repeat(np.arange(n), counts[chosen])
    effort = np.arange(len(person)) - np.repeat(np.cumsum(counts[chosen]) - counts[chosen], counts[chosen])
    rows = efforts.iloc[np.repeat(first[chosen], counts[chosen]) + effort].reset_index(drop=True)
    out = pd.DataFrame({"person": person, "effort": effort + 1})
    for name, sd in JITTER.items():
        moved = np.round(efforts[name].to_numpy()[first[chosen]] + rng.normal(0, sd, n), DECIMALS)
        out[name] = np.clip(moved, *trained[name])[person]
    return out.join(rows[["sex", *EFFORTS]])


def write_cohort(
    path: Path, generator: Generator, curves: pd.DataFrame, people: int, seed: int, progress: bool = False
) -> pd.DataFrame:
    """Draw a population after the participants of `curves`, and write its efforts as Parquet, a row an effort.

    Columns: those of `draw_people`, the indices and z-scores of `columns.indices_table`, and `flow_l_s`: a list of
    float32, L/s at BTPS, mean of each 10 ms from -0.50 s to the last with flow.

    Returns the table without the curves.
    """
    efforts = draw_people(curves, people, generator.made_from, np.random.default_rng(seed))
    tables = []

    def pieces() -> Iterator[pd.DataFrame]:
        starts = range(0, len(efforts), PIECE)
        for i, start in enumerate(tqdm(starts, desc="cohort", unit="piece", disable=not progress)):
            some = efforts.iloc[start : start + PIECE].reset_index(drop=True)
            piece_seed = int(np.random.SeedSequence([seed, i]).generate_state(1)[0])
            drawn = drawn_curves.from_signals(generator.sample(some, 1, piece_seed, progress=False), some)
            points = spirometry.end_of_flow(drawn.flow)
            tables.append(
                some.join(
                    indices_table(spirometry.indices(drawn.flow, points), some["age"], some["height"], some["sex"])
                )
            )
            yield tables[-1].assign(flow_l_s=[flow[:end] for flow, end in zip(drawn.flow, points, strict=True)])

    with atomic(path) as part:
        write_parquet(part, pieces())
    return pd.concat(tables, ignore_index=True)


def read_participants(data: Path) -> pd.DataFrame:
    """The efforts that a population is drawn after and compared with, of the pipeline's folder `data`.

    Raises SpiroError where it has no curves.parquet.
    """
    wanted = ["seqn", "age", "height", "sex", "mec_weight", *EFFORTS, *(n for n in COMPARED if n != "ratio")]
    return read_table(data / "curves.parquet", wanted)
