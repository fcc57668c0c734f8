"""Feed damaged and hostile files to the three readers that users feed: curves CSV, people CSV, checkpoint.

    python benchmarks/fuzz_readers.py --seconds 180 --seed 0 --processes 2
    python benchmarks/fuzz_readers.py --seed 0 --case 1 4711        # one case again: process 1, number 4711

A case fails where a reader raises anything but a SpiroError of one short line, gives a wrong result (tests/mutation.py
says what is right), takes longer than LIMIT_S, ends the process, or takes more than MOST_MB beyond what the program
has when it starts. Ends with status 1 where one failed. Needs PyTorch, safetensors, NumPy, pandas and pyarrow; no DVC.
"""

import argparse
import faulthandler
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # others reserve memory that they do not use
os.environ.setdefault("OMP_NUM_THREADS", "1")

LIMIT_S = 20.0  # a case; most take milliseconds
MOST_MB = 512  # beyond the program's own, for files of up to 100,000 rows
CASES = 10_000  # a process: safetensors keeps some 4 KB of each file of ours that it reads, until the process ends


def work(seed: int, process: int, first: int, ends: float, folder: Path) -> None:
    """Cases of a process from number `first` until `ends` (s of the system's clock); notes in `folder`."""
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from mutation import damaged, judge, samples  # noqa: PLC0415

    torch.set_num_threads(1)
    files = samples(folder / f"sound{process}")
    for sample in files:  # what readers load once is the program's own
        judge(sample, sample.data, folder / f"case{process}")
    resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + (MOST_MB << 20), resource.RLIM_INFINITY))
    outcomes: Counter[str] = Counter()
    number = first
    with (folder / f"at{process}").open("w") as at:
        while time.time() < ends and number < first + CASES:
            at.seek(0)
            at.write(f"{number:012d}")
            at.flush()
            rng = np.random.default_rng([seed, process, number])
            sample = files[number % len(files)]
            faulthandler.dump_traceback_later(LIMIT_S, exit=True)
            try:
                outcome = judge(sample, damaged(sample, rng), folder / f"case{process}")
            except Exception as error:  # what is looked for
                outcome = "failed"
                place = traceback.extract_tb(error.__traceback__)[-1]
                note = {
                    "case": [process, number],
                    "reader": sample.reader,
                    "error": f"{type(error).__name__}: {error}"[:300],
                }
                _append(folder / "failures", note | {"place": f"{Path(place.filename).name}:{place.lineno}"})
            faulthandler.cancel_dump_traceback_later()
            outcomes[f"{sample.reader} {outcome}"] += 1
            number += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    _append(folder / "outcomes", {"counts": outcomes, "peak_mb": peak})


def _data_bytes() -> int:
    """Private memory that this process has asked for."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData")]
    return int(line.split()[1]) << 10


def _append(path: Path, note: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(note) + "\n")


def run(seconds: float, seed: int, processes: int) -> tuple[Counter[str], list[dict[str, Any]], int]:
    """Outcomes, failures, and the largest resident size (MB) of a process."""
    ends = time.time() + seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def start(process: int, first: int) -> subprocess.Popen:
            command = [sys.executable, __file__, "--work", str(process), str(first), str(ends), str(folder)]
            return subprocess.Popen([*command, "--seed", str(seed)], stderr=(folder / f"stderr{process}").open("w"))

        running = {process: start(process, 0) for process in range(processes)}
        while running:
            time.sleep(0.2)
            for process, popen in list(running.items()):
                status = popen.poll()
                if status is None:
                    continue
                del running[process]
                said = (folder / f"stderr{process}").read_text()
                if not (folder / f"at{process}").is_file():
                    raise SystemExit(said)
                number = int((folder / f"at{process}").read_text())
                if status:  # it hung, or died of what no `except` sees
                    note = {"case": [process, number], "error": f"status {status}", "said": said[-2000:]}
                    _append(folder / "failures", note)
                if time.time() < ends:
                    running[process] = start(process, number + 1)
        notes = {kind: _lines(folder / kind) for kind in ("outcomes", "failures")}
    counts: Counter[str] = Counter()
    for note in notes["outcomes"]:
        counts.update(note["counts"])
    return counts, notes["failures"], max((note["peak_mb"] for note in notes["outcomes"]), default=0)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def one(seed: int, process: int, number: int) -> None:
    """One case again, with its traceback; the file is left in the working folder as `case`."""
    import numpy as np  # noqa: PLC0415
    from mutation import damaged, judge, samples  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as name:
        files = samples(Path(name))
        sample = files[number % len(files)]
        print(
            sample.reader, judge(sample, damaged(sample, np.random.default_rng([seed, process, number])), Path("case"))
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--case", type=int, nargs=2, metavar=("PROCESS", "NUMBER"))
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        process, first, ends, folder = asked.work
        return work(asked.seed, int(process), int(first), float(ends), Path(folder))
    if asked.case:
        return one(asked.seed, *asked.case)
    counts, failures, peak = run(asked.seconds, asked.seed, asked.processes)
    print("| reader | files | read | refused | failed |\n| --- | ---: | ---: | ---: | ---: |")
    for reader in ("curves", "people", "vqvae", "cldm"):
        by = [counts[f"{reader} {outcome}"] for outcome in ("read", "refused", "failed")]
        print(f"| {reader} | {sum(by):,} | " + " | ".join(f"{n:,}" for n in by) + " |")
    print(f"\n{sum(counts.values()):,} files, {len(failures)} failed, largest resident size {peak} MB")
    kinds = Counter((f.get("reader"), f.get("place"), f["error"].partition(":")[0]) for f in failures)
    for (reader, place, error), n in kinds.most_common(40):
        first = next(f for f in failures if (f.get("reader"), f.get("place")) == (reader, place))
        print(f"{n:6d} x {reader} {place} {error}, first {first}")
    return sys.exit(bool(failures))


if __name__ == "__main__":
    main()
