"""How far the headline figures of the default run move with the seed of its trainings: metrics/spread.json.

    python -m benchmarks.seed_spread 1 2 3          # a default run each, in .scratch/seeds; minutes

What a seed's folder holds already is not made again. Figures of fewer than two runs have no SD and are left out.
"""

import statistics
import subprocess
import sys
from pathlib import Path

from spiro_diffusion.core import artifacts
from spiro_diffusion.pipeline.verify_figures import MAIN, SPREAD

FOLDER = artifacts.SCRATCH / "seeds"


def figures(seed: int) -> dict[str, float | None]:
    """The headline figures of the default run with this seed for all trainings."""
    folder = FOLDER / str(seed)
    trainings = [f"{stage}.seed={seed}" for stage in ("train_vqvae", "train_cldm", "train_reconstructor")]
    if not (folder / MAIN).exists():
        sets = [word for setting in trainings for word in ("--set", setting)]
        subprocess.run(
            [sys.executable, "-m", "spiro_diffusion.pipeline.run", *sets, "--folder", str(folder)], check=True
        )
    found: dict[str, float | None] = artifacts.read_json(folder / MAIN)
    return found


def main(seeds: list[int]) -> None:
    """Run the seeds and write the file."""
    runs = [figures(seed) for seed in seeds]
    sds = {}
    for name in runs[0]:
        values = [value for found in runs if (value := found[name]) is not None]
        if len(values) > 1 and len(values) == len(runs):
            sds[name] = statistics.stdev(values)
    text = f"default run, seeds {', '.join(map(str, seeds))} of all trainings"
    artifacts.write_json(Path(SPREAD), {"seeds": len(seeds), "runs": text, "sd": sds})


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]])
