"""The files that a module depends on: its imports, their imports, and the data files that they name."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "spiro_diffusion"
_NAMED = re.compile(r"""["']([\w./-]*\.\w+)["']""")  # what may be a file, in a module or a template


def closure(*files: Path) -> list[Path]:
    """Every file of this package that running `files` can read, themselves included, sorted.

    Imports inside functions count; a package's `__init__.py` only where it does more than say what the package holds.
    A data file (a template, a table) counts where a module or another data file of its package names it.
    """
    seen: set[Path] = set()
    waiting = {file.resolve() for file in files}
    while waiting:
        file = waiting.pop()
        seen.add(file)
        waiting |= _read_by(file) - seen
    return sorted(file for file in seen if file.name != "__init__.py" or _does_something(file))


def imported(source: str) -> Iterator[str]:
    """Dotted names that a module imports, at any depth; of `from a import b` both `a` and `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def _read_by(file: Path) -> set[Path]:
    if file.suffix not in (".py", ".j2"):
        return set()
    package = next(folder / PACKAGE for folder in file.parents if (folder / PACKAGE / "__init__.py").is_file())
    text, found = file.read_text(encoding="utf-8"), set()
    for name in imported(text) if file.suffix == ".py" else ():
        top, *parts = name.split(".")
        for length in range(len(parts) + 1) if top == PACKAGE else ():
            place = package.joinpath(*parts[:length])
            found |= {f for f in (place.with_suffix(".py"), place / "__init__.py") if f.is_file()}
    if package in file.parent.parents:
        folder = package / file.relative_to(package).parts[0]
        named = {name.rpartition("/")[2] for name in _NAMED.findall(text)}
        found |= {f for f in folder.rglob("*.*") if f.name in named and f.suffix not in (".py", ".pyc")}
    return found


def _does_something(file: Path) -> bool:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)
