"""Fit `physiology.flutter.FLUTTER` to the raw curves of training participants.

    python benchmarks/fit_flutter.py --folder runs/full

Real curves are put on the time grid, freed of the counter's rounding (`dequantise`), brought back to 10 ms and counted
again. The flutter is what makes the mean square of the second differences of their counts that of the real counts, at
0.7 to 4 mL per 10 ms, after the bins of 10 ms have ended.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.dataset import splits
from spiro_diffusion.dataset.raw_curves import read_table
from spiro_diffusion.evaluation import data
from spiro_diffusion.physiology import counter, dequantise, time_grid
from spiro_diffusion.physiology.flutter import add_flutter

BETWEEN = (0.7, 4.0)  # mL per 10 ms: more is over before the bins widen, less is decided by rounding
TRIED = 0.1  # the statistic grows with the square of the flutter: two points give it


def second_differences(counts: NDArray, mean_counts: NDArray) -> float:
    """Mean square of the counts' second differences where the mean count is `BETWEEN`, after the fine bins."""
    squares = np.diff(counts.astype(np.float64), 2, axis=1) ** 2
    middle = mean_counts[:, 1:-1]
    chosen = (middle > BETWEEN[0]) & (middle < BETWEEN[1])
    chosen[:, : time_grid.FINE_BINS] = False
    return float(squares[chosen].mean())


def main() -> None:
    """Print the fitted flutter."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--folder", type=Path, default=Path(), help="where data/ of the pipeline is")
    parser.add_argument("--curves", type=int, default=3000)
    options = parser.parse_args()
    table = read_table(options.folder / "data" / "curves.parquet")
    rows = np.random.default_rng(0).permutation(splits.rows_of_part(table, "train"))[: options.curves]
    real = data.measure(table.iloc[np.sort(rows)], options.folder / "data" / "repaired")
    btps = real.people["btps"].to_numpy()
    signals = time_grid.to_grid(real.flow(), np.full(len(real), time_grid.LEAD_S))
    smooth = time_grid.to_10ms(dequantise.before(signals, btps))
    mean_counts = smooth * counter.ML_PER_L * 0.01 / btps[:, None]
    found = []
    for size in (0.0, TRIED):
        flow = add_flutter(smooth, btps, np.random.default_rng(1), first=time_grid.FINE_BINS, size=size)
        found.append(second_differences(counter.count(flow, btps, np.random.default_rng(2)), mean_counts))
    wanted = second_differences(real.counts, mean_counts)
    print(f"real {wanted:.4f}, counted again {found[0]:.4f}, with {TRIED:g}: {found[1]:.4f}")
    print(f"FLUTTER = {TRIED * np.sqrt((wanted - found[0]) / (found[1] - found[0])):.4f}")


if __name__ == "__main__":
    main()
