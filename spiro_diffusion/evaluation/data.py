"""The real curves the judge needs, from the files of the pipeline."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spiro_diffusion.errors import SpiroError
from spiro_diffusion.evaluation import measured
from spiro_diffusion.evaluation.figures import MIN_PEOPLE
from spiro_diffusion.evaluation.judge import Real
from spiro_diffusion.evaluation.measured import INDICES, Measured


def load_real(signals: Path, curves: Path, repaired: Path, split: str, seed: int) -> Real:
    """Held-out participants of one split, two samples of as many training ones, and all training curves.

    Args:
        signals: `signals_L512.npy`; curves: `curves.parquet`, rows alike; repaired: the folder with
            `SPXRAW_<cycle>.parquet`.

    Raises:
        SpiroError: a file is missing, the files do not fit each other, or a split has too few participants.
    """
    table = read_table(curves)
    held = table[table["split"] == split]
    train = table[table["split"] == "train"]
    people = held["seqn"].nunique()
    pool = train["seqn"].unique()
    if people < MIN_PEOPLE or len(pool) < 2 * people:
        raise SpiroError(
            f"{curves}: {people} participants in the {split} split and {len(pool)} in train; the judge needs at "
            f"least {MIN_PEOPLE} and twice as many in train: use more participants"
        )
    chosen = np.random.default_rng(seed).permutation(pool)
    samples = [train[train["seqn"].isin(chosen[i * people : (i + 1) * people])] for i in range(2)]
    shapes = np.load(signals, mmap_mode="r", allow_pickle=False)
    if shapes.shape != (len(table), 512):
        raise SpiroError(f"{signals}: shape {shapes.shape} does not fit the {len(table)} rows of {curves}")
    return Real(
        held=measure(held, repaired),
        members=measure(samples[0], repaired),
        others=measure(samples[1], repaired),
        train=train.reset_index(drop=True),
        train_indices={name: train[name].to_numpy(float) for name in INDICES}
        | {"ratio": (train["fev1"] / train["fvc"]).to_numpy(float)},
        train_signals=shapes[train.index.to_numpy()],
    )


def read_table(curves: Path) -> pd.DataFrame:
    """`curves.parquet`; SpiroError where it is missing."""
    try:
        return pd.read_parquet(curves)
    except FileNotFoundError:
        raise SpiroError(f"{curves}: no such file; make it with `dvc repro`") from None


def measure(table: pd.DataFrame, repaired: Path) -> Measured:
    """The raw curves of these rows of `curves.parquet`, cut to the judge's window.

    Raises:
        SpiroError: the raw table of a cycle is missing or too short.
    """
    parts = []
    for cycle, rows in table.groupby("cycle", sort=True):
        counts = raw_counts(repaired / f"SPXRAW_{cycle}.parquet", rows["raw_row"].to_numpy())
        parts.append(measured.real(rows, counts))
    joined = measured.join(parts)
    return joined.take(np.argsort(np.concatenate([rows.index for _, rows in table.groupby("cycle", sort=True)])))


def raw_counts(path: Path, rows: NDArray) -> list[NDArray[np.int16]]:
    """Curves (mL per 10 ms) of these rows of a repaired SPXRAW table."""
    try:
        column = pq.read_table(path, columns=["SPXRAW"]).column(0).combine_chunks()
    except FileNotFoundError:
        raise SpiroError(f"{path}: no such file; make it with `dvc repro`") from None
    if rows.max(initial=-1) >= len(column):
        raise SpiroError(f"{path}: {len(column)} curves, but row {rows.max()} is asked for; run `dvc repro`")
    offsets, values = column.offsets.to_numpy(), column.values.to_numpy()
    return [values[offsets[row] : offsets[row + 1]] for row in rows]
