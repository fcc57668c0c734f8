"""Damages small files in the CDC's formats and counts what repair makes of them.

    python benchmarks/fuzz_repair.py --mutations 24000

The table it prints is the one in docs/repair.md. Ends with status 1 where a file became a wrong table, a
message of several lines or an exception that is no SpiroError.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from corruption import FAILED, KINDS, OUTCOMES, Sample, damaged, judge, samples


def fuzz(mutations: int, seed: int, known: bool) -> tuple[Counter, list[str]]:
    """Outcomes by kind of damage, and what failed."""
    files: list[Sample] = samples()
    outcomes: Counter[tuple[str, str]] = Counter()
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        for i in tqdm(range(mutations), desc="damaging", unit="file"):
            rng = np.random.default_rng([seed, i])
            sample, kind = files[i % len(files)], KINDS[i // len(files) % len(KINDS)]
            try:
                verdict = judge(sample, damaged(sample, kind, rng), Path(folder), known)
            except Exception as error:  # what is looked for
                failures.append(f"seed [{seed}, {i}] {sample.name} {kind}: {type(error).__name__}: {error}")
                outcomes[kind, FAILED] += 1
                continue
            outcomes[kind, verdict.outcome] += 1
            if verdict.outcome == FAILED:
                failures.append(f"seed [{seed}, {i}] {sample.name} {kind}: {verdict.detail}")
    return outcomes, failures


def table(outcomes: Counter[tuple[str, str]]) -> str:
    """The outcomes as a Markdown table."""
    lines = ["| damage | files | " + " | ".join(OUTCOMES) + " |", "| --- |" + " ---: |" * (len(OUTCOMES) + 1)]
    for kind in [*KINDS, "all"]:
        counts = [
            sum(n for (k, o), n in outcomes.items() if o == outcome and kind in (k, "all")) for outcome in OUTCOMES
        ]
        lines.append(f"| {kind} | {sum(counts):,} | " + " | ".join(f"{n:,}" for n in counts) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=24_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unknown", action="store_true", help="as if no rows and no SHA-256 were published")
    arguments = parser.parse_args()
    outcomes, failures = fuzz(arguments.mutations, arguments.seed, not arguments.unknown)
    print(table(outcomes))
    print("\n".join(failures[:50]))
    sys.exit(bool(failures))
