"""How long `spiro` takes from its call to its end, command by command, each in a process of its own.

    python benchmarks/startup.py --models models

Wall and processor seconds, the median of some calls after one that warms the disk's cache. On two quiet cores
`spiro generate` takes at most 1.5 s of wall; `--help`, `info` and `indices` do without PyTorch.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PERSON = ["--age", "45", "--height", "175", "--sex", "male"]
CALLS = 5


def seconds(command: list[str]) -> tuple[float, float]:
    """Wall and processor time of one call."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "spiro_diffusion.cli", *command], check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="models")
    models = ["--models", parser.parse_args().models]
    with tempfile.TemporaryDirectory() as folder:
        curves = str(Path(folder) / "c.csv")
        commands = {
            "generate, 20 curves": ["generate", *PERSON, *models],
            "generate, to a file": ["generate", *PERSON, *models, "-n", "1", "--out", curves, "--force"],
            "indices": ["indices", curves, *PERSON],
            "info": ["info", *models],
            "--help": ["--help"],
        }
        print(f"{'command':<24}{'wall s':>8}{'CPU s':>8}")
        for name, command in commands.items():
            seconds(command)
            walls, processors = zip(*(seconds(command) for _ in range(CALLS)), strict=True)
            print(f"{name:<24}{statistics.median(walls):>8.2f}{statistics.median(processors):>8.2f}")


if __name__ == "__main__":
    main()
