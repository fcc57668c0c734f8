"""Time what a command takes to start: wall-clock seconds of whole processes, and which of them load PyTorch.

    python benchmarks/startup.py --models models            # beside a trained model; times 5 runs of each
    python benchmarks/startup.py --most 1.5                 # status 1 where `spiro generate` takes longer

Run it on an otherwise idle machine: the median and the least of the runs are shown. `spiro generate` draws 20 curves.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PERSON = ["--age", "45", "--height", "175", "--sex", "male"]
PROGRAM = ["-c", "import sys; from spiro_diffusion.cli import main; sys.exit(main())"]
LIGHT = ("spiro --help", "spiro info", "spiro indices")  # commands that need no network: PyTorch stays unloaded


def commands(models: Path, folder: Path) -> dict[str, list[str]]:
    """Arguments of each command that is timed, by its name; curves go to `folder`."""
    curves = folder / "curves.csv"
    draw = ["generate", *PERSON, "-n", "20", "--seed", "0", "--models", str(models), "--force", "--out", str(curves)]
    return {
        "spiro --help": ["--help"],
        "spiro generate": draw,
        "spiro indices": ["indices", str(curves), *PERSON],
        "spiro info": ["info", "--models", str(models)],
    }


def seconds(arguments: list[str]) -> float:
    """Wall-clock seconds of one process."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *PROGRAM, *arguments], capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"spiro {' '.join(arguments)}: {done.stderr.decode().strip()}")
    return time.perf_counter() - began


def loads_torch(arguments: list[str]) -> bool:
    """Whether the command loads PyTorch, as Python's own list of imports tells."""
    command = [sys.executable, "-X", "importtime", *PROGRAM, *arguments]
    log = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return any(line.rpartition("|")[2].strip() == "torch" for line in log.splitlines())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--most", type=float, help="s, the longest median of `spiro generate`")
    options = parser.parse_args()
    failed = []
    print("| command | median, s | least, s | loads PyTorch |\n| --- | ---: | ---: | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in commands(options.models, Path(folder)).items():
            times = [seconds(arguments) for _ in range(options.runs)]
            torch = loads_torch(arguments)
            median = statistics.median(times)
            print(f"| `{name}` | {median:.2f} | {min(times):.2f} | {'yes' if torch else 'no'} |")
            if torch and name in LIGHT:
                failed.append(f"{name} loads PyTorch")
            if options.most and name == "spiro generate" and median > options.most:
                failed.append(f"{name} takes {median:.2f} s")
    if failed:
        sys.exit("; ".join(failed))


if __name__ == "__main__":
    main()
