"""The panel of a session in the browser: blows dropped, chosen, and their page downloaded."""

import base64
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import session_contents
from browser import browser, watched

from spiro_diffusion.api import SpiroGenerator
from spiro_diffusion.app import session
from spiro_diffusion.app.requests import Drawer
from spiro_diffusion.app.server import open_server

PERSON = {"age": 52, "height": 174, "sex": "male"}
CHOICES: dict[str, Any] = {"why": "", "head": {}, "language": "en", "paper": "a4", "complete": []}
LONGEST_S = 60


def uploaded(data: bytes, name: str = "blows.csv") -> dict[str, str]:
    return {"contents": f"data:text/csv;base64,{base64.b64encode(data).decode()}", "name": name}


def sent(data: bytes | None = None, post: bytes | None = None, **other: Any) -> session.Sent:
    files = {"file": uploaded(data) if data else None, "post": uploaded(post) if post else None}
    return session.Sent(files, other.get("btps"), PERSON | other.get("person", {}), other.get("group"))


def report(drawer: Drawer, given: session.Sent, choices: dict[str, Any]) -> str:
    """The page in its frame."""
    (frame,) = session.report_frame(drawer, given, choices)
    return str(frame.to_plotly_json()["props"]["srcDoc"])


@pytest.fixture(scope="module")
def drawer(models: Path) -> Drawer:
    return Drawer(SpiroGenerator.from_checkpoint(models))


def test_the_rules_choose_and_what_was_decided_outlives_a_change_of_the_person() -> None:
    given = sent(session_contents.csv())
    options, value, rules, look, alerts = session.offered(given, [], None)
    names = [option["value"] for option in options]
    assert names == ["pre 1", "pre 2", "pre 3", "pre 4", "post 1", "post 2", "post 3"]
    assert "no end of expiration" in options[3]["label"]
    assert value == names  # the stopped blow counts for FEV1
    assert look != "absent"
    assert alerts == []
    decided = [name for name in value if name != "pre 1"]
    older = given._replace(person={"age": 60, "height": 174, "sex": "male"})
    assert session.offered(older, decided, rules)[1] == decided
    assert session.offered(sent(), [], None)[3] == "absent"


def test_the_page_shows_who_decided_and_why(drawer: Drawer) -> None:
    given = sent(session_contents.csv(), group="caucasian")
    _, value, *_ = session.offered(given, [], None)
    head = {"operator": "Dr. Example", "device": "<b>2001</b>"}
    choices = CHOICES | {"counting": [n for n in value if n != "pre 2"], "why": "cough heard", "head": head}
    page = report(drawer, given, choices)
    assert "decided by Dr. Example: cough heard" in page
    assert page.count("decided by") == 1
    assert "&lt;b&gt;2001&lt;/b&gt;" in page
    assert "Hankinson 1999 (Caucasian)" in page
    assert "entschieden von Dr. Example" in report(drawer, given, choices | {"language": "de"})


@pytest.mark.parametrize(
    ("data", "choices", "message"),
    [
        (b"no curve", {}, "no line names columns"),
        (session_contents.csv(), {"language": "xx"}, "choose one of en, zh, de"),
        (session_contents.csv(), {"paper": "a5"}, "expected a4 or letter"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_line(drawer: Drawer, data: bytes, choices: dict, message: str) -> None:
    frame = session.report_frame(drawer, sent(data), CHOICES | {"counting": []} | choices)
    assert message in str(frame)
    nothing, alerts = session.saved(drawer, sent(data), CHOICES | {"counting": []} | choices, "pdf")
    assert message in str(alerts)
    assert "filename" not in str(nothing)


def test_blows_after_the_drug_need_those_before() -> None:
    assert "choose those before it too" in str(session.offered(sent(post=session_contents.csv()), [], None)[4])


@pytest.fixture
def address(drawer: Drawer) -> Iterator[str]:
    server = open_server(drawer, 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_session_is_dropped_chosen_and_downloaded_on_a_phone(address: str, tmp_path: Path) -> None:
    (tmp_path / "blows.csv").write_bytes(session_contents.csv())
    with browser() as started:
        context = started.new_context(viewport={"width": 390, "height": 800})
        context.set_default_timeout(1000 * LONGEST_S)
        with watched(context) as page:
            page.goto(address)
            page.set_input_files("#session-file-upload input[type=file]", tmp_path / "blows.csv")
            report = page.frame_locator("#session-report iframe")
            first = report.locator("table.blows tbody tr").first
            assert first.locator("td.for").inner_text() == "FEV1, FVC"
            page.get_by_label("1 before").uncheck()
            report.locator("table.blows tbody tr:first-child >> text=decided by a person").wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            assert (
                page.locator("#session input:not([type=file]):not([aria-hidden=true])").evaluate_all(
                    "inputs => inputs.filter(one => !one.labels.length && !one.getAttribute('aria-label')).length"
                )
                == 0
            )
            with page.expect_download() as kept:
                page.click("#session-save-pdf")
            data = Path(kept.value.path()).read_bytes()
            assert len(re.findall(rb"/Type /Page\b", data)) == 1
