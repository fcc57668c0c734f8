"""Run the scripts of docs/examples/ cell by cell and write each as a page, with what it printed and drew.

    python docs/render.py            # from the repository's root, after `make repro`

A script has cells as editors know them: `# %%` before code, `# %% [markdown]` before text in comments. It runs in an
empty folder that has `models` and `data`; PNG files that it leaves there go beside its page. The picture of README.md,
docs/curves.png, is the evaluation's own.
"""

import argparse
import contextlib
import io
import os
import re
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

EXAMPLES = Path(__file__).parent / "examples"


class Cell(NamedTuple):
    text: bool  # Markdown, or else code
    source: str


def cells(script: str) -> list[Cell]:
    """The cells of a script, in order."""
    found = []
    for part in re.split(r"^# %%", script, flags=re.M)[1:]:
        head, _, body = part.partition("\n")
        if "[markdown]" in head:
            found.append(Cell(True, re.sub(r"^# ?", "", body.strip(), flags=re.M)))
        else:
            found.append(Cell(False, body.strip()))
    return found


def page(script: Path) -> str:
    """Run a script in the current folder; its page as Markdown."""
    names: dict[str, Any] = {"__name__": "__main__"}
    parts = []
    for cell in cells(script.read_text(encoding="utf-8")):
        if cell.text:
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(cell.source, script.name, "exec"), names)
        if printed.getvalue().strip():
            parts.append(f"```text\n{printed.getvalue().rstrip()}\n```")
    title, _, rest = "\n\n".join(parts).partition("\n")
    note = f"*Written by `docs/render.py` from [{script.name}]({script.name}), run on the default simulated data.*"
    return f"{title}\n\n{note}\n{rest}\n"


def render(script: Path, out: Path, models: Path, data: Path) -> None:
    """Write the page of a script and its pictures to the folder `out`."""
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        for name, target in (("models", models), ("data", data)):
            (Path(folder) / name).symlink_to(target.resolve())
        script, out = script.resolve(), out.resolve()
        os.chdir(folder)
        try:
            text = page(script)
        finally:
            os.chdir(home)
        (out / f"{script.stem}.md").write_text(text, encoding="utf-8")
        for picture in sorted(Path(folder).glob("*.png")):
            shrink(picture, out / picture.name)


def shrink(picture: Path, out: Path) -> None:
    """A picture in at most 64 colours: lines on white look the same in a third of the bytes."""
    Image.open(picture).convert("RGB").quantize(64).save(out, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--plots", type=Path, default=Path("metrics/evaluate/plots"))
    options = parser.parse_args()
    for script in sorted(EXAMPLES.glob("*.py")):
        render(script, EXAMPLES, options.models, options.data)
    shrink(options.plots / "flow_volume.png", EXAMPLES.parent / "curves.png")


if __name__ == "__main__":
    main()
