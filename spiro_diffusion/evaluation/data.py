"""Load the curves that the judge needs from the pipeline's files."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.vocabulary import JUDGED
from spiro_diffusion.dataset import raw_curves
from spiro_diffusion.dataset.signals import load_rows
from spiro_diffusion.dataset.splits import Part, rows_of_part
from spiro_diffusion.evaluation import measured
from spiro_diffusion.evaluation.figures import MIN_PEOPLE
from spiro_diffusion.evaluation.measured import Measured
from spiro_diffusion.evaluation.real import Real
from spiro_diffusion.physiology import time_grid

SAME_L_S = 0.002  # largest difference of flow that rounding makes, in either the signals or the window's first sample


def load_real(signals: Path, table_path: Path, repaired: Path, part: Part, seed: int) -> Real:
    """Held-out participants of one part of the splits, two samples of as many training ones, and all training curves.

    Args:
        signals: `signals_L512.npy`; table_path: `curves.parquet`, rows alike; repaired: the folder with
            `SPXRAW_<cycle>.parquet`. seed: chooses the training participants of the samples.

    Raises:
        SpiroError: a file is missing, the files do not fit each other, or a part has too few participants.
    """
    table = raw_curves.read_table(table_path)
    held_out, train = (table.iloc[rows_of_part(table, p)] for p in (part, "train"))
    people = held_out["seqn"].nunique()
    pool = train["seqn"].unique()
    if people < MIN_PEOPLE or len(pool) < 2 * people:
        raise SpiroError(
            f"{table_path}: {people} {part} participants and {len(pool)} in train; the judge needs at "
            f"least {MIN_PEOPLE} and twice as many in train: use more participants"
        )
    chosen = np.random.default_rng(seed).permutation(pool)
    samples = [train[train["seqn"].isin(chosen[i * people : (i + 1) * people])] for i in range(2)]
    shapes = load_rows(signals, len(table), (time_grid.N_SAMPLES,))
    judges = measure(held_out, repaired, f"{part} curves")
    if not np.allclose(shapes[held_out.index.to_numpy()], judges.signals(), atol=SAME_L_S):
        raise SpiroError(
            f"{signals}: is not what the raw curves give on the grid aligned at time zero; only that grid can be "
            "judged: set resample.grid to it and run `dvc repro`"
        )
    return Real(
        held_out=judges,
        members=measure(samples[0], repaired, "floor"),
        others=measure(samples[1], repaired, "training sample"),
        train=train.reset_index(drop=True),
        train_indices={name: train[name].to_numpy(float) for name in JUDGED}
        | {"ratio": (train["fev1"] / train["fvc"]).to_numpy(float)},
        train_signals=np.asarray(shapes[train.index.to_numpy()]),
    )


def about(real: Real, source: str, part: Part, params: dict[str, Any]) -> dict[str, Any]:
    """What was judged, on whom, and how, for the record."""
    people = real.held_out.people
    return {
        **params,
        "source": source,
        "split": "test" if part == "test" else "validation",
        "part": part,
        "participants": int(people["seqn"].nunique()),
        "curves": len(people),
        "best": int(people["best"].sum()),
        "training_participants": int(real.train["seqn"].nunique()),
        "training_curves": len(real.train),
    }


def measure(table: pd.DataFrame, repaired: Path, label: str = "raw curves") -> Measured:
    """The raw curves of these rows of `curves.parquet`, in their order, cut to the judge's window.

    Raises:
        SpiroError: the raw table of a cycle is missing or does not fit.
    """
    table = table.reset_index(drop=True)
    parts = [measured.real(table.iloc[b.rows], b.counts) for b in raw_curves.batches(repaired, table, label)]
    return measured.join(parts)
