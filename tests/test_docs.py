"""The site of docs/ builds without a network, strictly, and no page of it loads anything from one."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from repository import ROOT

pytest.importorskip("mkdocs", reason="mkdocs is not installed; pip install -r requirements.lock")

LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href", "use": "href"}
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
        said = dict(attrs)
        if tag in LOADS and said.get("rel") not in IGNORED_RELATIONS:
            self.found.append(said.get(LOADS[tag]) or "")


def loaded(page: Path) -> list[str]:
    parser = Loaded()
    parser.feed(page.read_text(encoding="utf-8"))
    return [address for address in parser.found if address]


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        own = loaded(page)
        assert any(address.endswith(".js") for address in own), page
        for address in own:
            assert not re.match(r"(https?:)?//", address), (page.name, address)
            if not address.startswith(("data:", "#")):
                base = site if address.startswith("/") else page.parent
                assert (base / re.split(r"[?#]", address.lstrip("/"))[0]).exists(), (page.name, address)
        text = page.read_text(encoding="utf-8")
        assert 'class="mermaid"' not in text  # the theme would fetch the drawing program
        assert 'data-md-component="source"' not in text  # and ask GitHub for the stars of a repository


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


def test_the_reference_has_what_users_import(site: Path) -> None:
    text = (site / "reference" / "api.html").read_text(encoding="utf-8")
    for name in (
        "api.SpiroGenerator.generate",
        "api.load_curves",
        "generation.drawn_curves.Curves.indices",
        "user_curves.tables.person_table",
    ):
        assert f'id="spiro_diffusion.{name}"' in text, name
    assert "Raises SpiroError" in text


def test_the_citation_is_valid_enough_to_cite() -> None:
    """The keys that CFF 1.2.0 requires, and the version of the package."""
    from spiro_diffusion.core.version import VERSION  # noqa: PLC0415

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["cff-version"] == "1.2.0"
    assert cited["version"] == VERSION
    assert cited["authors"] == [{"name": "Spiro-Diffusion contributors"}]
    assert cited["license"] == "Apache-2.0"


def test_every_command_has_a_line_in_the_page_of_the_command_line() -> None:
    sources = [file.read_text() for file in (ROOT / "spiro_diffusion" / "cli").glob("*.py")]
    commands = set(re.findall(r'^@command\("spiro (\w+)', "\n".join(sources), flags=re.M))
    assert len(commands) > 8
    said = set(re.findall(r"^\| `spiro (\w+)` ", (ROOT / "docs" / "command_line.md").read_text(), flags=re.M))
    assert commands <= said
