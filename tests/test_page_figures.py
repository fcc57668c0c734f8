"""Every figure that a page shows is that of a committed file.

A comment before a paragraph, a list or a table names the file and the keys of its figures, in the order in which they
are shown:

    <!-- figures: metrics/full/reconstruct.json cut_{1,2}_fvc_error_ml cut_{1,2}_fvc_coverage_90% -->

A key may hold many figures, then all of them are shown. Each is rounded as the page shows it, `%` after its key means
times 100. A measurement of one day and machine is a record of benchmarks/measured.json. Other figures of the same block
(a limit, the time of a cut) may stand between. A block that a benchmark writes between two marks counts as one.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT

from benchmarks import speed_tables
from spiro_diffusion.core.artifacts import read_json
from spiro_diffusion.core.params import read_params

MEASURED = Path("benchmarks/measured.json")
PAGES = [*ROOT.glob("README*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
WRITTEN = {"experiments.md", "results.md", "selftest.md"}  # the log; written by code, with tests of their own
NUMBER = re.compile(r"(?:(?<![\w.])[-+])?(?<![\w.])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\d_])")
MARKER = re.compile(
    r"<!-- figures: (\S+\.(?:json|yaml)) ([^>]+) -->\n\n?(<!-- \w+: begin -->[\s\S]*?<!-- \w+: end -->\n|(?:.+\n)+)"
)
GENERATED = re.compile(r"<!-- figures: python.*?<!-- end of figures -->", re.S)
MEASUREMENT = re.compile(r"\d ± \d|\([-+]?\d[\d.]* to [-+]?\d[\d.]*\)")  # an SD, an interval


def texts(page: str) -> list[str]:
    """The numbers of a text as they are written, without commas."""
    return [number.replace(",", "") for number in NUMBER.findall(page)]


def expanded(key: str) -> list[str]:
    """`a_{1,2}_b` as `a_1_b` and `a_2_b`."""
    head, brace, rest = key.partition("{")
    if not brace:
        return [key]
    choices, _, tail = rest.partition("}")
    return [found for choice in choices.split(",") for found in expanded(head + choice + tail)]


def figures(value: Any) -> Iterator[float]:
    """All numbers of a value of a file, those in its texts among them, in order."""
    if isinstance(value, list):
        for part in value:
            yield from figures(part)
    elif isinstance(value, str):
        yield from map(float, texts(value))
    elif value is not None:
        yield float(value)


def at(file: Path, key: str) -> list[float]:
    """The figures under a key: names joined by points, a number for a place in a list."""
    found: Any = read_params(file) if file.suffix == ".yaml" else read_json(file)
    factor = 100 if key.endswith("%") else 1
    for name in key.removesuffix("%").split("."):
        found = found[int(name)] if isinstance(found, list) else found[name]
    return [factor * value for value in figures(found)]


def missing(block: str, wanted: list[float]) -> float | None:
    """The first of the figures that a block does not show, in their order, rounded as it shows them."""
    numbers = iter(texts(block))
    for value in wanted:
        if not any(abs(float(text) - value) <= 0.5001 * 10 ** -len(text.partition(".")[2]) for text in numbers):
            return value
    return None


def unmarked(page: str) -> list[str]:
    """The tables of numbers and the paragraphs with intervals that no comment holds."""
    rest = re.sub(r"```.*?```", "", GENERATED.sub("", MARKER.sub("", page)), flags=re.S)
    return [block for block in re.split(r"\n\s*\n", rest) if MEASUREMENT.search(block) or table_of_numbers(block)]


def table_of_numbers(block: str) -> bool:
    """Whether most cells of a table, its first column and its head aside, are numbers."""
    rows = [line.strip().strip("|").split("|")[1:] for line in block.splitlines() if line.lstrip().startswith("|")]
    cells = [cell.strip(" *+-±") for row in rows[2:] for cell in row if cell.strip()]
    return len(cells) > 3 and 2 * sum(cell[:1].isdigit() for cell in cells) > len(cells)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_the_figures_of_the_files(page: Path) -> None:
    for file, keys, block in MARKER.findall(page.read_text(encoding="utf-8")):
        for key in keys.split():
            wanted = [value for each in expanded(key) for value in at(ROOT / file, each)]
            assert wanted, f"{file} {key}: no figure"
        wanted = [value for key in keys.split() for each in expanded(key) for value in at(ROOT / file, each)]
        lacks = missing(block, wanted)
        assert lacks is None, f"{page.name}: {lacks} of {file} {keys} is not shown, or not in its place, in\n{block}"


@pytest.mark.parametrize("page", [p for p in PAGES if p.name not in WRITTEN], ids=lambda page: page.stem)
def test_no_table_or_interval_is_without_a_file(page: Path) -> None:
    assert unmarked(page.read_text(encoding="utf-8")) == []


def test_every_measurement_has_its_date_and_machine_and_is_shown() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name, record in read_json(ROOT / MEASURED).items():
        assert {"date", "machine", "data", "command", "figures"} == set(record), name
        assert re.search(rf"<!-- figures: {re.escape(str(MEASURED))} [^>]*\b{name}\.figures", pages), name


def test_tables_that_a_benchmark_writes_are_stored_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("benchmarks").mkdir()
    MEASURED.write_text("{}")
    page = Path("page.md")
    marks = "<!-- CPU: begin -->\n<!-- CPU: end -->\n"
    page.write_text("<!-- figures: benchmarks/measured.json speed_cpu.figures -->\n" + marks)
    machine = {"device": "CPU", "cpu": "Z", "cores": 2, "load": 0.1, "torch": "2.0", "commit": "0", "graphs": False}
    check = {"path": "U-Net", "difference": 0.031, "allowed": 0.15}
    parts: dict[str, Any] = {"ceilings": {}, "rows": [], "ratios": {}, "targets": [], "growth": {}}
    speed_tables.insert(page, parts | {"machine": machine, "agreement": [check]})
    (found,) = MARKER.findall(page.read_text())
    assert missing(found[2], at(MEASURED, "speed_cpu.figures")) is None
    assert at(MEASURED, "speed_cpu.figures")[-1] == 0.15


def test_a_figure_that_changes_is_noticed() -> None:
    page = "<!-- figures: f.json a -->\n| cut | 1 s | 2 s |\n| error | 95 mL | 1,040.5 mL (-0.3 to +2) |\n\n"
    (found,) = MARKER.findall(page)
    assert missing(found[2], [94.9, 1040.52, -0.3, 2]) is None
    assert missing(found[2], [95.6, 1040.5]) == 95.6
    assert missing(found[2], [1040.5, 95]) == 95
    assert unmarked(page) == []
    assert len(unmarked(page.replace("<!--", "<-"))) == 1
    assert expanded("a_{1,2}_{x,y}") == ["a_1_x", "a_1_y", "a_2_x", "a_2_y"]
    assert list(figures(["FEV1, 80 % of 1,200: 3 to -4", None, 0.5])) == [80, 1200, 3, -4, 0.5]
