"""What a stage imports, found by reading its source: DVC does not follow imports."""

import ast
from pathlib import Path


def direct(root: Path, file: Path) -> set[Path]:
    """Files of this project that `file` imports, packages' `__init__.py` included, and data beside them."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    found = set()
    for name in names:
        parts = name.split(".")
        if parts[0] not in ("spiro_diffusion", "stages"):
            continue
        for length in range(1, len(parts) + 1):
            place = root.joinpath(*parts[:length])
            found |= {f for f in (place.with_suffix(".py"), place / "__init__.py") if f.is_file()}
    return found


def closure(root: Path, stage: str) -> list[str]:
    """Every file of this project that running `stage` imports, itself included, as sorted relative paths."""
    seen, waiting = {root / stage}, [root / stage]
    while waiting:
        for file in direct(root, waiting.pop()) - seen:
            seen.add(file)
            waiting.append(file)
    return sorted(file.relative_to(root).as_posix() for file in seen)
