"""Show how recorded efforts are completed: writes the section of docs/results.md from metrics/loops.json.

    python -m benchmarks.loops_page [--add "what completed them" FIGURES.json]

FIGURES.json: what `spiro validate FOLDER --json` prints, or a table of `benchmarks.completion_by_folds --figures`.
Figures of all efforts alone: no curve and no person is in the file.
"""

import argparse
import re
from pathlib import Path
from typing import Any

from spiro_diffusion.core import artifacts

FIGURES, PAGE = Path("metrics/loops.json"), Path("docs/results.md")
TITLE = "## Recorded efforts"
COLUMNS = ("error_ml", "bias_ml", "interval_score_ml")


def section(loops: dict[str, Any]) -> str:
    """The section as Markdown."""
    cuts = [f"{cut['cut_s']:g}" for cut in next(iter(loops["tables"].values()))]
    head = ["completed by", *(f"cut at {at} s" for at in cuts)]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for words, table in loops["tables"].items():
        lines.append("| " + " | ".join([words, *(_cell(cut) for cut in table)]) + " |")
    summary = (
        "Median error and its bias (mL) of the volume where the record ends; share of the 90 % intervals that hold it, "
        "with the exact 95 % interval; mean interval score (mL)."
    )
    return "\n".join([TITLE, "", *loops["about"], "", summary, "", *lines, "", *loops["limits"], ""])


def with_section(page: str, loops: dict[str, Any]) -> str:
    """A page with this section, in its old place or at its end."""
    found = re.search(rf"{re.escape(TITLE)}\n.*?(?=\n## |\Z)", page, re.DOTALL)
    new = section(loops)
    if found is None:
        return page.rstrip("\n") + "\n\n" + new
    return page[: found.start()] + new + page[found.end() :]


def _cell(cut: dict[str, Any]) -> str:
    error, bias, score = (cut[name] for name in COLUMNS)
    holds = " to ".join(f"{100 * cut[name]:.0f}" for name in ("holds_from", "holds_to"))
    return f"{error:.0f}, {bias:+.0f}; {100 * cut['holds']:.0f} % ({holds}); {score:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--add", nargs=2, metavar=("WORDS", "FIGURES"))
    options = parser.parse_args()
    loops = artifacts.read_json(FIGURES)
    if options.add:
        words, source = options.add
        loops["tables"][words] = artifacts.read_json(Path(source))["cuts"]
        artifacts.write_json(FIGURES, loops)
    artifacts.write_text(PAGE, with_section(PAGE.read_text(encoding="utf-8"), loops))


if __name__ == "__main__":
    main()
