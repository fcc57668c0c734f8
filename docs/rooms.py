"""Draw the packages of the library and the stages of the pipeline, as docs/rooms.svg and docs/stages.svg.

    python docs/rooms.py      # from the repository's root; `make docs` does it too

The arcs are the imports themselves, and the files that `dvc.yaml` names.
"""

import ast
from collections.abc import Mapping, Sequence, Set
from html import escape
from pathlib import Path

import yaml

from spiro_diffusion.core.code_closure import PACKAGE

ROOMS = (
    *("core", "formats", "nhanes", "physiology", "simulation", "dataset", "compute", "models", "training", "plotting"),
    *(
        "generation",
        "user_curves",
        "reconstruction",
        "engines",
        "sessions",
        "evaluation",
        "reporting",
        "benchmark",
        "cohorts",
        "pipeline",
        "api",
        "app",
        "cli",
    ),
)  # a package imports from itself and from those before it
LEFT, TEXT, TOP, ROW, STEP, ARCS = 12, 130, 24, 26, 9, 670  # px


def module_imports(root: Path) -> dict[str, set[str]]:
    """The modules of the library that each module imports, inside functions too, by dotted names within it."""
    files = {".".join(f.relative_to(root / PACKAGE).with_suffix("").parts): f for f in (root / PACKAGE).rglob("*.py")}
    names = {name.removesuffix(".__init__"): file for name, file in files.items()}
    return {name: (_imported(file.read_text(), names.keys()) & names.keys()) - {name} for name, file in names.items()}


def _imported(source: str, names: Set[str]) -> set[str]:
    """What a module imports, by dotted names within the library; of `from a import b` the module b where it is one."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.removeprefix(f"{PACKAGE}.") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            within = node.module.removeprefix(f"{PACKAGE}.")
            inner = [alias.name if node.module == PACKAGE else f"{within}.{alias.name}" for alias in node.names]
            found |= {name if name in names else within for name in inner}
    return found


def room_imports(modules: dict[str, set[str]]) -> dict[str, set[str]]:
    """The packages that each package imports."""
    rooms: dict[str, set[str]] = {room: set() for room in ROOMS}
    for name, others in modules.items():
        room = name.partition(".")[0]
        if room in rooms:
            rooms[room] |= {other.partition(".")[0] for other in others} - {room}
    return rooms


def arrows(names: Sequence[str], needs: Mapping[str, Set[str]]) -> list[tuple[str, str]]:
    """Each name with what it needs, `names` in an order that has that first, without what follows from other arrows."""
    reached: dict[str, set[str]] = {}
    for name in names:
        reached[name] = set(needs[name]).union(*(reached[other] for other in needs[name]))
    return [
        (name, other)
        for name in names
        for other in names
        if other in needs[name] and not any(other in reached[between] for between in needs[name])
    ]


def picture(root: Path) -> str:
    """The packages from top to bottom with what they hold, and an arc from each to those that it builds on, as SVG."""
    descriptions = {}
    for room in ROOMS:
        file = root / PACKAGE / room / "__init__.py"
        descriptions[room] = _first_line(file if file.is_file() else file.parent.with_suffix(".py"))
    title = "Packages of spiro_diffusion; an arc leads from a package up to one that it imports"
    return _drawn(title, descriptions, room_imports(module_imports(root)))


def stage_inputs(root: Path) -> dict[str, set[str]]:
    """The stages whose files each stage of dvc.yaml reads, in the order of the file."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    made_by: dict[Path, str] = {}
    for name, stage in stages.items():
        kept = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
        made_by |= {Path(next(iter(out)) if isinstance(out, dict) else out): name for out in kept}
    return {
        name: {made_by[out] for dep in stage.get("deps", []) for out in made_by if _within(Path(dep), out)} - {name}
        for name, stage in stages.items()
    }


def _within(one: Path, other: Path) -> bool:
    return one == other or one in other.parents or other in one.parents


def stages_picture(root: Path) -> str:
    """The stages from top to bottom with what they do, and an arc from each to those whose files it reads, as SVG."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    descriptions = {name: str(stage["desc"]) for name, stage in stages.items()}
    title = "Stages of the pipeline; an arc leads from a stage up to one whose files it reads"
    return _drawn(title, descriptions, stage_inputs(root))


def _first_line(file: Path) -> str:
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".")


def _drawn(title: str, descriptions: Mapping[str, str], needs: Mapping[str, Set[str]]) -> str:
    names = list(descriptions)
    y = {name: TOP + ROW * number for number, name in enumerate(names)}
    width, height = ARCS + STEP * len(names) + 30, TOP + ROW * len(names)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12">',
        f"<title>{title}</title>",
        '<defs><marker id="tip" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0L6 3L0 6z" fill="#4a6fa5"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for name, words in descriptions.items():
        text = escape(words)
        squeezed = ' textLength="510" lengthAdjust="spacingAndGlyphs"' if len(text) > 88 else ""
        lines += [
            f'<text x="{LEFT}" y="{y[name] + 4}" font-weight="bold">{name}</text>',
            f'<text x="{LEFT + TEXT}" y="{y[name] + 4}" fill="#444"{squeezed}>{text}</text>',
        ]
    for name, other in arrows(names, needs):
        begin, end = y[name] - 4, y[other] + 4
        out = ARCS + STEP * (names.index(name) - names.index(other)) + 10
        path = f"M{ARCS} {begin}C{out} {begin} {out} {end} {ARCS} {end}"
        lines.append(f'<path d="{path}" fill="none" stroke="#4a6fa5" marker-end="url(#tip)"/>')
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    for file, drawn in (("rooms", picture(Path())), ("stages", stages_picture(Path()))):
        Path(f"docs/{file}.svg").write_text(drawn, encoding="utf-8")
