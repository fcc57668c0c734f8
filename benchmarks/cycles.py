"""Whether curves drawn for a cycle have the mean indices of that cycle's people.

    python -m spiro_diffusion.pipeline.run --folder runs/cycles --set "download.cycles=[E, F, G]" --last train_cldm
    python -m benchmarks.cycles --models runs/cycles/models --data runs/cycles/data [--draws 4]

For the best effort of every person several curves are drawn with each cycle, the own one among them, and with none
said. Printed in % with 95 % intervals (bootstrap of the people): the mean of log drawn minus log blown, of the people
trained on and of all others; and what one cycle instead of another changes for the same people and seeds.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.compute import runtime
from spiro_diffusion.core.vocabulary import CYCLES, JUDGED
from spiro_diffusion.generation.generator import Generator
from spiro_diffusion.models import conditioning
from spiro_diffusion.physiology import time_grid

SEED, RESAMPLES = 1, 1000


def mean(values: NDArray[np.float64]) -> str:
    """The mean of (n,) in %, with its interval."""
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return f"{100 * values.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def main() -> None:
    """Print a table, a row a cycle and an index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--draws", type=int, default=4)
    options = parser.parse_args()
    vqvae, cldm = (options.models / f"{name}.safetensors" for name in ("vqvae", "cldm"))
    generator = Generator.from_checkpoints(vqvae, cldm, runtime.configure(runtime.RuntimeParams(threads=1)))
    table = pd.read_parquet(options.data / "curves.parquet")
    people = table[table["best"] & table[[*JUDGED]].gt(0).all(axis=1)].reset_index(drop=True)
    requested = people[[*conditioning.USUAL]]

    def logs(cycle: str | None) -> dict[str, NDArray[np.float64]]:
        """Mean over the draws (people,) of the logarithm of each index."""
        of_cycle = requested if cycle is None else requested.assign(cycle=cycle)
        flow = generator.sample(of_cycle, options.draws, SEED, progress=False)
        found = time_grid.indices_of_signals(flow.reshape(-1, flow.shape[-1]))
        values = {name: getattr(found, name).reshape(len(people), -1) for name in JUDGED}
        return {name: np.nanmean(np.log(np.where(one > 0, one, np.nan)), axis=1) for name, one in values.items()}

    drawn = {cycle: logs(cycle) for cycle in (None, *CYCLES)}
    print("| cycle | people | index | blown | own cycle: trained on | own cycle: others | no cycle said: all |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    train = (people["split"] == "train").to_numpy()
    for cycle in CYCLES:
        rows = (people["cycle"] == cycle).to_numpy()
        for name in JUDGED:
            real = np.log(people[name].to_numpy(float))
            of_cycle, mixed = drawn[cycle][name] - real, drawn[None][name] - real
            cells = [mean(of_cycle[rows & train]), mean(of_cycle[rows & ~train]), mean(mixed[rows])]
            many = f"{(rows & train).sum()} + {(rows & ~train).sum()}"
            print(f"| {cycle} | {many} | {name} | {people[name][rows].mean():.2f} | {' | '.join(cells)} |")
    for first, second in (("E", "G"), ("F", "G")):
        for name in JUDGED:
            print(f"{name}, {first} instead of {second}: {mean(drawn[first][name] - drawn[second][name])} %")


if __name__ == "__main__":
    main()
