"""The packages of the library import one way, without cycles; functions are short; names and pages use plain words."""

import ast
import graphlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from repository import ROOT


@pytest.fixture(scope="module")
def rooms() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rooms", ROOT / "docs" / "rooms.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def modules(rooms: ModuleType) -> dict[str, set[str]]:
    return rooms.module_imports(ROOT)


def test_every_module_has_a_room(rooms: ModuleType, modules: dict[str, set[str]]) -> None:
    assert {name.partition(".")[0] for name in modules} - {"__init__", "__main__", "bare"} <= {
        *rooms.ROOMS,
        "spiro_diffusion",
    }


def test_a_room_imports_only_from_those_before_it(rooms: ModuleType, modules: dict[str, set[str]]) -> None:
    order = {room: number for number, room in enumerate(rooms.ROOMS)}
    wrong = [
        f"{name} imports {other}"
        for name, others in modules.items()
        for other in others
        if (here := order.get(name.partition(".")[0])) is not None and order[other.partition(".")[0]] > here
    ]
    assert wrong == []


def test_no_module_imports_itself_by_way_of_others(modules: dict[str, set[str]]) -> None:
    list(graphlib.TopologicalSorter(modules).static_order())  # CycleError names the circle


def test_an_import_inside_a_function_counts(rooms: ModuleType, tmp_path: Path) -> None:
    package = tmp_path / "spiro_diffusion"
    for name, text in {
        "__init__.py": "",
        "core/__init__.py": "",
        "core/a.py": "def f():\n    from spiro_diffusion.cli import main\n",
        "cli.py": "import spiro_diffusion.core.a\n",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    found = rooms.module_imports(tmp_path)
    assert found["core.a"] == {"cli"}
    assert found["cli"] == {"core.a"}
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(found).prepare()


def test_the_picture_is_of_the_imports(rooms: ModuleType) -> None:
    """`make docs` draws it."""
    assert (ROOT / "docs/rooms.svg").read_text() == rooms.picture(ROOT)


def test_the_picture_of_the_stages_is_of_dvc_yaml(rooms: ModuleType) -> None:
    """`make docs` draws it."""
    assert (ROOT / "docs/stages.svg").read_text() == rooms.stages_picture(ROOT)


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """All functions of the library, Triton's kernels aside: they take pointers, strides and sizes one by one."""
    for file in sorted((ROOT / "spiro_diffusion").rglob("*.py")):
        if file.name != "triton_kernels.py":
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.FunctionDef):
                    yield f"{file.relative_to(ROOT)}:{node.lineno} {node.name}", node


def test_a_function_has_at_most_60_lines_and_8_parameters() -> None:
    long = [name for name, node in functions() if (node.end_lineno or 0) - node.lineno + 1 > 60]
    assert long == []
    implicit = {"self", "cls"}
    wide = [
        name
        for name, node in functions()
        if len({a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)} - implicit) > 8
    ]
    assert wide == []


PUBLISHED = {  # names that are keys of files or of the page's controls, or that users type
    ("app/requests.py", "spoiled"),
    ("sessions/records.py", "who"),
    *((file, "mended") for file in ("formats/repair_log.py", "nhanes/repair.py", "nhanes/xport_repair.py")),
}


def words(bold: bool = False) -> set[str]:
    """The words that CONTRIBUTING.md excludes, or those that it excludes from pages too."""
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## Words\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| ")][1:]
    listed = [word.strip() for cell in cells if "(" not in cell and "---" not in cell for word in cell.split(",")]
    return {word.strip("*") for word in listed if word.startswith("**") or not bold}


def named(source: str) -> Iterator[str]:
    """Every name that a module defines: functions, classes, parameters, variables, attributes, import aliases."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname


def parts(name: str) -> set[str]:
    """The words of an identifier: snake case, camel case or capitals."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def prose(page: str) -> str:
    """The text of a page without its code and its addresses."""
    without = re.sub(r"```.*?```|`[^`]*`|<!--.*?-->", "", page, flags=re.DOTALL)
    return re.sub(r"\]\([^)]*\)", "]", without).lower()


def test_names_have_none_of_the_excluded_words() -> None:
    assert {"told", "asked", "rival", "who", "said", "seat", "own", "shown"} <= words()
    found = set()
    for folder in ("spiro_diffusion", "stages"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            at = file.relative_to(ROOT / folder).as_posix()
            names = {*named(file.read_text()), file.stem}
            found |= {(at, name) for name in names if parts(name) & words()}
    assert found == PUBLISHED


def test_pages_have_none_of_the_excluded_words() -> None:
    assert {"told", "rivals", "nobody"} <= words(bold=True)
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = {
        (page.name, word)
        for page in pages
        if page.name not in ("experiments.md", "results.md")  # a log; and what a program writes from stored figures
        for word in words(bold=True) & set(re.findall(r"[a-z]+", prose(page.read_text())))
    }
    assert found == set()


@pytest.mark.parametrize("name", ["told", "_told", "Rival", "WHO_ELSE", "asked_effort"])
def test_an_excluded_word_is_found_in_any_form_of_a_name(name: str) -> None:
    assert parts(name) & words()
    assert set(named(f"def f({name}): pass")) == {"f", name}
