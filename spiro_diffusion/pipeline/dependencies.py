"""Write the code that each stage depends on into dvc.yaml, which does not follow imports.

python -m spiro_diffusion.pipeline.dependencies   # `make deps`
"""

import re
import textwrap
from pathlib import Path

from spiro_diffusion.core.artifacts import write_text
from spiro_diffusion.core.code_closure import PACKAGE, closure

PIPELINES = ("dvc.yaml", "baselines/dvc.yaml")
BY_FILE = ("physiology", "pipeline", "generation")  # packages of which a stage needs a part
WIDTH = 120
_STAGE = re.compile(r"^  (\w+):\n(?:(?:    .*)?\n)*", re.MULTILINE)
_DEPS = re.compile(r"^    deps: \[(.*?)\]\n", re.MULTILINE | re.DOTALL)


def code(root: Path, stage: str) -> list[str]:
    """Every file of the project that running `stage` can read, relative to `root`, sorted."""
    files = closure(root / "stages" / f"{stage}.py", root / PACKAGE / "pipeline" / f"{stage}.py")
    return [file.relative_to(root.resolve()).as_posix() for file in files]


def dependencies(files: list[str]) -> list[str]:
    """What dvc.yaml names for these files: whole packages, but single files of BY_FILE and of no package."""
    named = {file: file.split("/") for file in files}
    whole = {f: f if len(p) < 3 or p[1] in BY_FILE else "/".join(p[:2]) for f, p in named.items()}
    return list(dict.fromkeys(whole.values()))


def written(text: str, root: Path) -> str:
    """The text of a dvc.yaml with the code that its stages depend on."""

    def stage(found: re.Match) -> str:
        return _DEPS.sub(lambda deps: _listed(deps[1], dependencies(code(root, found[1]))), found[0])

    head, stages, rest = re.split(r"^(?=stages:\n|artifacts:\n)", text + "artifacts:\n", maxsplit=2, flags=re.MULTILINE)
    return (head + _STAGE.sub(stage, stages) + rest).removesuffix("artifacts:\n")


def _listed(present: str, code: list[str]) -> str:
    data = [name for name in re.findall(r"[^\s,]+", present) if not name.startswith((f"{PACKAGE}/", "stages/"))]
    lines = [textwrap.wrap(", ".join(part), WIDTH - 8, break_on_hyphens=False) for part in (data, code) if part]
    return "    deps: [\n" + ",\n".join("\n".join(f"      {line}" for line in part) for part in lines) + "]\n"


def main() -> None:
    """Rewrite both files from the root of the repository."""
    for file in map(Path, PIPELINES):
        write_text(file, written(file.read_text(encoding="utf-8"), Path()))


if __name__ == "__main__":
    main()
