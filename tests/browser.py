"""A real browser for the tests of the page: Debian's Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn
from urllib.parse import urlsplit

import pytest

try:
    from playwright.sync_api import Browser, BrowserContext, Dialog, Page, sync_playwright
except ModuleNotFoundError:
    sync_playwright = None  # type: ignore[assignment]

NAMES = ("chromium", "chromium-browser", "google-chrome")
REQUIRED = "SPIRO_REQUIRE_ALL"  # .ci/run sets it: there nothing may be skipped


def absent(what: str) -> NoReturn:
    """Skip, or fail where the browser is required."""
    if os.environ.get(REQUIRED):
        pytest.fail(f"{what}, and {REQUIRED} is set")
    pytest.skip(what)


@contextmanager
def browser() -> "Iterator[Browser]":
    """A headless Chromium."""
    if sync_playwright is None:
        absent("Playwright is not installed: pip install playwright")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        absent(f"no {', '.join(NAMES)} on the PATH: apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def watched(context: "BrowserContext") -> "Iterator[Page]":
    """A page. When it is left, every request it made went to 127.0.0.1, and no script had complained."""
    page = context.new_page()
    requested: list[str] = []
    errors: list[str] = []

    def dismissed(dialog: Dialog) -> None:
        errors.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("request", lambda request: requested.append(request.url))
    page.on("websocket", lambda socket: requested.append(socket.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("dialog", dismissed)
    yield page
    page.close()
    network = [url for url in requested if urlsplit(url).scheme not in ("data", "blob")]
    assert len(network) > 5, "the page asked for next to nothing: was it watched?"
    assert {urlsplit(url).hostname for url in network} == {"127.0.0.1"}
    assert errors == []
