"""The site of docs/ builds without a network, strictly, and no page of it loads anything from one."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from browser import browser
from repository import ROOT

from benchmarks import loops_page
from spiro_diffusion.core.artifacts import read_json

pytest.importorskip("mkdocs", reason="mkdocs is not installed; pip install -r requirements.lock")

LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href", "use": "href"}
CODE = ("spiro_diffusion", "stages", "benchmarks", "tests", "docs", ".ci")
HISTORY = {"CHANGELOG.md", "experiments.md"}  # they tell what was
IGNORED_RELATIONS = {"canonical", "prev", "next"}  # of <link>: named, not loaded


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # an address that answers nothing in place of every proxy: a fetch would fail
    nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | nowhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


class Loaded(HTMLParser):
    """What a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag in LOADS and attributes.get("rel") not in IGNORED_RELATIONS:
            self.found.append(attributes.get(LOADS[tag]) or "")


def loaded(page: Path) -> list[str]:
    parser = Loaded()
    parser.feed(page.read_text(encoding="utf-8"))
    return [address for address in parser.found if address]


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        addresses = loaded(page)
        assert any(address.endswith(".js") for address in addresses), page
        for address in addresses:
            assert not re.match(r"(https?:)?//", address), (page.name, address)
            if not address.startswith(("data:", "#")):
                base = site if address.startswith("/") else page.parent
                assert (base / re.split(r"[?#]", address.lstrip("/"))[0]).exists(), (page.name, address)
        text = page.read_text(encoding="utf-8")
        assert 'class="mermaid"' not in text  # the theme would fetch the drawing program
        assert 'data-md-component="source"' not in text  # and ask GitHub for the stars of a repository


def test_no_page_shows_a_line_that_should_have_been_replaced(site: Path) -> None:
    """Includes, macros and references that the builder did not know: ruff once formatted an include away."""
    for page in sorted(site.rglob("*.html")):
        text = re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))  # the highlighter's marks
        raw = re.search(r"^.*(-{1,}8\s*(<|&lt;)|\{\{|\{%|^:::? |\[\]\().*$", text, flags=re.M)
        assert raw is None, f"{page.relative_to(site)}: {raw and raw[0]}"
    sampler = re.sub(r"<[^>]+>", "", (site / "export.html").read_text(encoding="utf-8"))
    assert "class Sampler" in sampler


def test_the_search_works_from_the_disk(site: Path) -> None:
    with browser() as started, started.new_context() as context, context.new_page() as page:
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        page.goto((site / "examples" / "generate_a_population.html").as_uri())
        page.click("input.md-search__input")
        page.keyboard.type("codebook")
        found = page.locator("a.md-search-result__link").first
        found.wait_for()
        assert (found.get_attribute("href") or "").startswith("file://")
        found.click()
        page.wait_for_url(re.compile(r"^file://(?!.*generate_a_population)"))
        assert {address.split(":")[0] for address in requested} <= {"file", "about", "blob", "data"}


def test_every_file_that_a_page_names_is_there() -> None:
    """`spirometry.py` or `physiology/spirometry.py`: pages follow when files move."""
    kept = {"sample.py", "NAME.py"}  # written by `spiro export`; any name
    files = [f.relative_to(ROOT).as_posix() for top in CODE for f in (ROOT / top).rglob("*.py")]
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for page in (p for p in pages if p.name not in HISTORY):
        for name in re.findall(r"`([\w/.-]+\.py)`", page.read_text()):
            if Path(name).name not in kept:
                assert any(f"/{file}".endswith(f"/{name}") for file in files), (page.name, name)


def test_no_style_loads_anything_from_another_host(site: Path) -> None:
    styles = sorted(site.rglob("*.css"))
    assert styles
    for style in styles:
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"(url\(\s*['\"]?|@import\s*['\"])(https?:)?//", text), style.name


def test_every_page_is_in_the_navigation(site: Path) -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    listed = set(re.findall(r"[\w/-]+\.md", str(nav)))
    assert {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")} == listed


def test_the_navigation_has_four_groups_by_what_a_reader_wants() -> None:
    home, *groups = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert list(home) == ["Spiro-Diffusion"]
    assert [next(iter(group)) for group in groups] == ["Tutorials", "How-to guides", "Reference", "Explanation"]


GENERATED = {"selftest.md"}  # by `spiro selftest --page`: a report, which begins with what was tested


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_a_page_begins_with_its_question(page: Path) -> None:
    if page.name in GENERATED:
        return
    _, _, text = re.sub(r"\A---\n.*?---\n", "", page.read_text(encoding="utf-8"), flags=re.S).partition("# ")
    parts = [part for part in text.split("\n\n")[1:] if not part.startswith("*Written by")]
    assert "?" in parts[0], f"{page.name} begins with {parts[0][:60]!r}"


def test_the_reference_has_what_users_import(site: Path) -> None:
    text = (site / "reference" / "api.html").read_text(encoding="utf-8")
    names = ("api.SpiroGenerator.generate", "api.load_curves", "drawn_curves.Curves.indices", "tables.person_table")
    for name in names:
        assert re.search(rf'id="spiro_diffusion\.([\w.]+\.)?{re.escape(name)}"', text), name
    assert "Raises SpiroError" in text


def test_the_citation_is_valid_enough_to_cite() -> None:
    """The keys that CFF 1.2.0 requires; tests/test_release.py compares the version."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["cff-version"] == "1.2.0"
    assert cited["authors"] == [{"name": "Spiro-Diffusion contributors"}]
    assert cited["license"] == "Apache-2.0"


def test_every_command_has_a_line_in_the_page_of_the_command_line() -> None:
    sources = [file.read_text() for file in (ROOT / "spiro_diffusion" / "cli").glob("*.py")]
    commands = set(re.findall(r'^@command\("spiro (\w+)', "\n".join(sources), flags=re.M))
    assert len(commands) > 8
    documented = set(re.findall(r"^\| `spiro (\w+)` ", (ROOT / "docs" / "command_line.md").read_text(), flags=re.M))
    assert commands <= documented


def test_the_section_on_recorded_efforts_shows_the_stored_figures() -> None:
    page = (ROOT / loops_page.PAGE).read_text(encoding="utf-8")
    assert loops_page.with_section(page, read_json(ROOT / loops_page.FIGURES)) == page
    assert loops_page.TITLE in page
