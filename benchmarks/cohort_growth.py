"""Time and memory of `spiro cohort` against the number of efforts, the networks left out.

python -m benchmarks.cohort_growth --data data [--efforts 10000 100000 1000000] [--to FOLDER]

The curves are taken from the pipeline's own in place of drawing them, so that what grows with the efforts is what this
project does with them: people, indices, Parquet, hashes, cards. Each size is a process of its own.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.cohorts.folder import write_cohort
from spiro_diffusion.cohorts.parts import Size
from spiro_diffusion.generation import effort_tables, populations
from spiro_diffusion.generation.effort_tables import Facts
from spiro_diffusion.models import effort_facts

EACH = 5.5  # efforts a person, about
BANK = 2000  # curves that stand for drawn ones


class Stored:
    """The engine's place: facts and curves of stored efforts, at random."""

    def __init__(self, data: Path, table: pd.DataFrame) -> None:
        logs = effort_facts.read(table)
        rows = np.flatnonzero(np.isfinite(logs).all(axis=1))[:BANK]
        self.logs = logs[rows]
        self.signals = np.load(data / "signals_L512.npy", mmap_mode="r", allow_pickle=False)[rows]
        self.made_from: dict[str, Any] = {"data": "stored", "participants": 0, "curves": len(rows)}
        self.made_from |= {"age": [6.0, 79.0], "height": [100.0, 210.0]}

    def session_facts(self, efforts: pd.DataFrame, seed: int, known_best: NDArray | None) -> Facts:
        """Facts of stored efforts; what is known is not asked."""
        rng = np.random.default_rng(seed)
        logs = self.logs[rng.integers(len(self.logs), size=len(efforts))]
        return Facts(effort_tables.drawn_table(efforts, logs, rng.integers(4, size=len(efforts))), logs)

    def sample_given(self, people: pd.DataFrame, logs: NDArray, seed: int, **options: Any) -> NDArray:
        """Stored curves."""
        return self.signals[np.random.default_rng(seed).integers(len(self.signals), size=len(people))]


def one(data: Path, efforts: int, to: Path) -> None:
    """Write a population and print its row."""
    curves = populations.read_participants(data)
    stored: Any = Stored(data, pd.read_parquet(data / "curves.parquet"))
    began = time.perf_counter()
    written = write_cohort(to / f"cohort-{efforts}", stored, curves, data, Size(round(efforts / EACH), 0), seed=1)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = sum(file.stat().st_size for file in written.files if file.is_file()) / 1e9
    print(f"| {written.drawn.efforts:,} | {seconds:.0f} | {peak:.0f} | {size:.2f} |", flush=True)


def main() -> None:
    """Print a table, a row a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--efforts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--to", type=Path, help="keep what is written")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.data, options.efforts[0], options.to)
        return
    print("| efforts | s | peak memory (MB) | GB |\n| --- | --- | --- | --- |", flush=True)
    for efforts in options.efforts:
        with tempfile.TemporaryDirectory() as folder:
            arguments = [
                "--data",
                str(options.data),
                "--efforts",
                str(efforts),
                "--to",
                str(options.to or folder),
                "--one",
            ]
            subprocess.run([sys.executable, "-m", "benchmarks.cohort_growth", *arguments], check=True)


if __name__ == "__main__":
    main()
