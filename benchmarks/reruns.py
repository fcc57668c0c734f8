"""How often stages would have rerun over the last commits: with the code that dvc.yaml names, and with exact lists.

    python benchmarks/reruns.py --commits 100 --before HEAD     # from the repository's root

Files are followed through renames to where they are today; code that went from a stage's door into the library counts
as the module that holds it now.
"""

import argparse
import re
import subprocess
from pathlib import Path

from spiro_diffusion.core.code_closure import PACKAGE
from spiro_diffusion.pipeline.dependencies import code, dependencies
from spiro_diffusion.pipeline.stage import BASELINES, MAIN


def changes(before: str, commits: int) -> list[set[str]]:
    """The files that each of the last commits changed, under today's names."""
    command = ["git", "log", "-M30", "--no-merges", "--name-status", "--format=@%h", before]
    today: dict[str, str] = {}
    found: list[set[str]] = []
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        if line.startswith("@"):
            found.append(set())
        elif line:
            kind, *paths = line.split("\t")
            now = today.setdefault(paths[0], today.get(paths[-1], paths[-1]))
            if kind != "R100":  # moved, not changed
                found[-1] |= {now, re.sub(r"^stages/", f"{PACKAGE}/pipeline/", now)}
    return [files for files in found if files][:commits]


def reruns(named: list[str], changed: list[set[str]]) -> int:
    """Commits that change one of the files or rooms."""
    return sum(any(f == name or f.startswith(f"{name}/") for f in files for name in named) for files in changed)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=100)
    parser.add_argument("--before", default="HEAD", help="the last commit that counts")
    options = parser.parse_args()
    changed = changes(options.before, options.commits)
    print(
        f"| stage, over {len(changed)} commits | exact lists | as dvc.yaml names them | entries |\n| --- "
        + "| ---: " * 3
        + "|"
    )
    for stage in MAIN + BASELINES:
        exact = code(Path(), stage)
        named = dependencies(exact)
        print(f"| {stage} | {reruns(exact, changed)} | {reruns(named, changed)} | {len(named)} of {len(exact)} |")


if __name__ == "__main__":
    main()
