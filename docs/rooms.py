"""Draw the rooms of the library, and which imports which, as docs/rooms.svg; from the imports themselves.

python docs/rooms.py      # from the repository's root; `make docs` does it too
"""

import ast
from collections.abc import Set
from html import escape
from pathlib import Path

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
)  # a room imports from itself and from those before it
LEFT, TOP, ROW, STEP, ARCS = 12, 24, 26, 9, 640  # px


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
    """The rooms that each room imports."""
    rooms: dict[str, set[str]] = {room: set() for room in ROOMS}
    for name, others in modules.items():
        room = name.partition(".")[0]
        if room in rooms:
            rooms[room] |= {other.partition(".")[0] for other in others} - {room}
    return rooms


def arrows(rooms: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Importing and imported room, without what follows from the other arrows."""
    reached: dict[str, set[str]] = {}
    for room in ROOMS:
        reached[room] = rooms[room].union(*(reached[other] for other in rooms[room]))
    return [
        (room, other)
        for room in ROOMS
        for other in ROOMS
        if other in rooms[room] and not any(other in reached[between] for between in rooms[room])
    ]


def picture(root: Path) -> str:
    """The rooms from top to bottom with what they hold, and an arc from each to those that it builds on, as SVG."""
    y = {room: TOP + ROW * number for number, room in enumerate(ROOMS)}
    width, height = ARCS + STEP * len(ROOMS) + 30, TOP + ROW * len(ROOMS)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12">',
        "<title>Rooms of spiro_diffusion; an arc leads from a room up to one that it imports</title>",
        '<defs><marker id="tip" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0L6 3L0 6z" fill="#4a6fa5"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for room in ROOMS:
        file = root / PACKAGE / room / "__init__.py"
        text = ast.get_docstring(ast.parse((file if file.is_file() else file.parent.with_suffix(".py")).read_text()))
        said = escape((text or "").splitlines()[0].rstrip("."))
        squeezed = ' textLength="520" lengthAdjust="spacingAndGlyphs"' if len(said) > 84 else ""
        lines += [
            f'<text x="{LEFT}" y="{y[room] + 4}" font-weight="bold">{room}</text>',
            f'<text x="{LEFT + 100}" y="{y[room] + 4}" fill="#444"{squeezed}>{said}</text>',
        ]
    for room, other in arrows(room_imports(module_imports(root))):
        begin, end = y[room] - 4, y[other] + 4
        out = ARCS + STEP * (ROOMS.index(room) - ROOMS.index(other)) + 10
        path = f"M{ARCS} {begin}C{out} {begin} {out} {end} {ARCS} {end}"
        lines.append(f'<path d="{path}" fill="none" stroke="#4a6fa5" marker-end="url(#tip)"/>')
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    Path("docs/rooms.svg").write_text(picture(Path()), encoding="utf-8")
