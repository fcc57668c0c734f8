"""The page as a person meets it: in a real Chromium, on a desk and on a phone."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import held_files
import numpy as np
import pandas as pd
import pytest
from browser import browser, watched
from test_cli import blow

from spiro_diffusion.api import SpiroGenerator
from spiro_diffusion.app import user_effort
from spiro_diffusion.app.requests import Drawer, Drawn, Request
from spiro_diffusion.app.server import open_server

FIRST = Request(45, 175, "male")
HTML = "<img src=x onerror=alert(1)>"


class Noting(Drawer):
    """A drawer that notes what the page asked for."""

    def __init__(self, generator: SpiroGenerator) -> None:
        super().__init__(generator)
        self.asked: list[Request] = []

    def __call__(self, requested: Request) -> Drawn:
        self.asked.append(requested)
        return super().__call__(requested)


@pytest.fixture(scope="module")
def drawer(reconstructing: Path) -> Noting:
    return Noting(SpiroGenerator.from_checkpoint(reconstructing))


@pytest.fixture(scope="module")
def address(drawer: Noting) -> Iterator[str]:
    server = open_server(drawer, 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def context(address: str) -> Iterator[Any]:
    with browser() as started:
        context = started.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(30_000)
        yield context
        context.close()


@pytest.fixture
def page(context: Any, address: str) -> Iterator[Any]:
    """The page with its first curves drawn."""
    with watched(context) as page:
        page.goto(address)
        page.wait_for_selector("#generate-spirogram .scatterlayer .trace")
        page.wait_for_selector("#generate-table td")
        yield page


def files(folder: Path, **tables: pd.DataFrame | bytes) -> dict[str, str]:
    """Paths of files of these contents, by name."""
    for name, content in tables.items():
        data = content if isinstance(content, bytes) else content.to_csv(index=False).encode()
        (folder / f"{name}.csv").write_bytes(data)
    return {name: str(folder / f"{name}.csv") for name in tables}


def give(page: Any, path: str, panel: str = "generate") -> None:
    page.set_input_files(f"#{panel}-upload input[type=file]", path)


def cell(page: Any, row: str, column: int) -> str:
    return page.locator(f"#generate-table tbody tr:has(th:text('{row}')) td").nth(column).inner_text().split("\n")[0]


def test_each_control_asks_for_what_it_says(page: Any, drawer: Noting) -> None:
    assert drawer.asked[-1] == FIRST
    assert page.locator("#generate-subject").inner_text() == "32 curves: male, 45 y, 175 cm"
    lln = cell(page, "FVC", 2)

    requested = FIRST

    def asks(**change: Any) -> None:
        """The page soon asks for what it asked for before, with a change."""
        nonlocal requested
        requested = replace(requested, **change)
        for _ in range(100):
            if drawer.asked[-1] == requested:
                break
            page.wait_for_timeout(50)
        assert drawer.asked[-1] == requested

    names = {"age": "Age (years)", "height": "Height (cm)", "n": "Number of curves", "guidance": "Guidance"}
    for name, value in (("age", 60), ("height", 180), ("n", 16), ("guidance", 2.0)):
        box = page.get_by_role("spinbutton", name=names[name])
        box.fill(str(value))
        box.press("Enter")
        asks(**{name: value})
    page.get_by_role("slider", name="Age (years)").press("ArrowRight")
    asks(age=61)
    page.get_by_role("radio", name="female").check()
    asks(sex="female")
    page.get_by_role("spinbutton", name="Seed").fill("7")
    page.get_by_role("spinbutton", name="Seed").press("Enter")
    asks(seed=7)
    page.get_by_role("button", name="Draw others").click()
    asks(seed=8)
    page.locator("#generate-effort").click()
    page.get_by_role("option", name="Poor effort (grade D)").click()
    asks(effort="poor")
    page.get_by_text("16 curves: female, 61 y, 180 cm").wait_for()
    assert cell(page, "FVC", 2) != lln


def test_a_session_of_one_lung_is_drawn_before_and_after_and_fits_a_phone(page: Any, drawer: Noting) -> None:
    assert not page.get_by_role("spinbutton", name="Efforts", exact=True).is_visible()
    page.get_by_role("radio", name="A session of one lung").check()
    page.wait_for_selector("#generate-table .session-efforts td")
    assert drawer.asked[-1] == replace(FIRST, draw="session")
    assert page.locator(".session-efforts tbody tr").count() == 8
    assert not page.get_by_role("spinbutton", name="Number of curves").is_visible()
    assert not page.locator("#generate-upload").is_visible()
    for name, value in (("Efforts", "5"), ("Efforts after a bronchodilator", "3")):
        box = page.get_by_role("spinbutton", name=name, exact=True)
        box.fill(value)
        box.press("Enter")
    page.get_by_text("Simulated session of 8 efforts: male, 45 y, 175 cm").wait_for()
    page.wait_for_selector(".session-efforts .group:has-text('two puffs, at least ten minutes')")
    assert page.locator("#generate-loop .scatterlayer .trace").count() == 5 + 3 + 1  # and the limit of FVC
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    table = page.locator("#generate .scroll").evaluate("box => [box.scrollWidth, box.clientWidth]")
    assert table[0] <= table[1]
    page.set_viewport_size({"width": 1280, "height": 900})
    page.locator("#generate-pattern").click()
    page.get_by_role("option", name="GOLD 2").click()
    box = page.get_by_role("spinbutton", name="Efforts after a bronchodilator")
    box.fill("0")
    box.press("Enter")
    page.wait_for_selector("#generate .alert:has-text('draw efforts after it too')")
    page.get_by_role("radio", name="Single efforts").check()
    page.locator("#generate-pattern").click()
    page.get_by_role("option", name="as they come").click()
    page.get_by_text("32 curves: male, 45 y, 175 cm").wait_for()


def test_a_users_curve_is_drawn_and_tabled_until_it_is_removed(page: Any, tmp_path: Path) -> None:
    lines = page.locator("#generate-loop .scatterlayer .trace")
    without = lines.count()
    both = pd.concat([blow(fvc=3.0).assign(curve="small"), blow().assign(curve=HTML)])
    give(page, files(tmp_path, both=both)["both"])
    page.wait_for_selector("#generate-table td.user")
    assert cell(page, "FVC", 3) == "4.00"  # the larger of the two
    assert float(cell(page, "FEV₁", 3)) == pytest.approx(4 * (1 - np.exp(-2)), abs=0.02)
    assert lines.count() == without + 1
    assert "FEV₁ acceptable, FVC acceptable" in page.locator("#generate-notes").inner_text()
    assert HTML in page.locator("#generate-user-effort").inner_text()
    page.locator("#generate-user-effort").click()
    page.get_by_role("option", name="small").click()
    page.wait_for_selector("#generate-table td.user:has-text('below LLN')")
    assert cell(page, "FVC", 3) == "3.00"
    page.locator("#generate").get_by_role("button", name="Remove").click()
    page.wait_for_selector("#generate-table td.user", state="detached")
    assert lines.count() == without


def test_a_file_that_holds_no_curve_is_refused_in_words(page: Any, tmp_path: Path) -> None:
    bad = files(
        tmp_path,
        columns=pd.DataFrame({"pressure": [1], HTML: [2]}),
        units=blow().assign(volume_l=lambda t: 1000 * t["volume_l"]),
        sampling=blow().iloc[::10],
        picture=b"\x89PNG\r\n\x1a\n\x00\xff\xfe",
        large=b"0" * (user_effort.MOST_BYTES + 10),
        good=blow(),
    )
    messages = {
        "columns": f"columns are pressure, {HTML}; expected time_s",
        "units": "volume_l is in L, not mL or L/min",
        "sampling": "a sample each 0.1 s is too few",
        "picture": "not a readable CSV table",
        "large": "large.csv: is larger than 4 MB",
    }
    for name, words in messages.items():
        give(page, bad[name])
        page.wait_for_selector(f"aside .alert:has-text({words!r})")
        # the one before may still be there for a moment, on a machine that is busy
        page.locator("aside .alert").nth(1).wait_for(state="detached")
        assert page.locator("aside .alert").count() == 1
        assert page.locator("#generate-table td.user").count() == 0
    assert page.locator("img[src=x]").count() == 0
    give(page, bad["good"])
    page.wait_for_selector("#generate-table td.user")
    assert page.locator(".alert").count() == 0


def test_the_factor_that_a_file_lacks_is_asked_for_and_taken(page: Any, tmp_path: Path) -> None:
    give(page, files(tmp_path, blow=held_files.made("uk_biobank"))["blow"])
    page.wait_for_selector("#generate .alert:has-text('does not state whether it is at BTPS')")
    box = page.locator("#generate").get_by_role("spinbutton", name="Factor to BTPS")
    fvc = []
    for factor in ("1", "1.1"):
        box.fill(factor)
        box.press("Enter")
        page.wait_for_selector(f"#generate-table td.user:has-text('{float(factor) * held_files.VOLUME[-1]:.2f}')")
        fvc.append(float(cell(page, "FVC", 3)))
    assert fvc[1] == pytest.approx(1.1 * fvc[0], abs=0.01)
    assert page.locator("#generate .alert").count() == 0


def test_curves_indices_and_picture_are_saved(page: Any, drawer: Noting, tmp_path: Path) -> None:
    saved = {}
    for what in ("Curves CSV", "Indices CSV", "Picture PNG"):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=what).click()
        saved[what] = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(saved[what])
    assert [path.name for path in saved.values()] == [
        "curves_male_45y_175cm_best_seed0.csv",
        "indices_male_45y_175cm_best_seed0.csv",
        "curves_male_45y_175cm_best_seed0.png",
    ]
    curves = drawer(FIRST).curves
    pd.testing.assert_frame_equal(pd.read_csv(saved["Curves CSV"]), curves.to_pandas(), check_dtype=False)
    indices = pd.read_csv(saved["Indices CSV"])
    np.testing.assert_allclose(indices["fvc"], curves.indices()["fvc"], atol=1e-4)
    assert saved["Picture PNG"].read_bytes().startswith(b"\x89PNG")


def test_a_spoiled_effort_is_made_whole_and_a_bad_mask_is_told_in_a_line(page: Any, tmp_path: Path) -> None:
    panel = page.locator("#reconstruct")
    assert "Choose a file" in panel.inner_text()
    give(page, stopped(tmp_path), "reconstruct")
    panel.locator(".note:has-text('Early end, from')").wait_for()
    for name in ("spirogram", "loop"):
        page.wait_for_selector(f"#reconstruct-{name} .scatterlayer .trace")
        assert panel.locator(f"#reconstruct-{name} .scatterlayer .trace").count() >= 5  # bands, median, recorded twice
    fvc = panel.locator(".recovered tbody tr:nth-child(2) td").all_inner_texts()
    assert float(fvc[0]) == pytest.approx(4 * (1 - np.exp(-0.59 / 0.5)), abs=0.02)
    assert float(fvc[1]) > float(fvc[0])
    sentence = panel.locator(".said").inner_text()
    assert "90 % probability" in sentence
    assert "Not for diagnosis" in sentence

    def trusts(mask: str) -> None:
        page.locator("#reconstruct-mask").fill(mask)
        page.locator("#reconstruct-mask").press("Enter")

    trusts(HTML)
    panel.locator(".alert").wait_for()
    assert panel.locator(".alert").all_inner_texts() == [
        f"mask: {HTML!r} is no span; give begin:end in s from time zero, as 0:2.0 or 0:0.6,1.1:2.0"
    ]
    assert panel.locator("table").count() == page.locator("img[src=x]").count() == 0
    trusts("0:0.4")
    panel.get_by_text("Part of the effort is not trusted, as requested").wait_for()
    assert panel.locator(".alert").count() == panel.locator(".note").count() == 0
    panel.get_by_role("button", name="Remove").click()
    panel.get_by_text("Choose a file with").wait_for()
    assert panel.locator("table").count() == 0


def stopped(folder: Path) -> str:
    """A file with an effort that stopped 0.6 s after it began."""
    return files(folder, stopped=blow().iloc[:80])["stopped"]


def test_it_fits_a_phone_and_a_desk(page: Any, tmp_path: Path) -> None:
    give(page, files(tmp_path, mine=blow())["mine"])
    page.wait_for_selector("#generate-table td.user")
    give(page, stopped(tmp_path), "reconstruct")
    page.wait_for_selector("#reconstruct-loop .scatterlayer .trace")
    for width, height in ((390, 844), (1280, 900)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(300)  # the plots take their new size
        page.wait_for_function("document.documentElement.scrollWidth == window.innerWidth")  # on a busy machine later
        assert page.evaluate("document.documentElement.scrollWidth") == width
        for panel in ("generate", "reconstruct"):
            table = page.locator(f"#{panel} .scroll").evaluate("box => [box.scrollWidth, box.clientWidth]")
            assert table[0] <= table[1]
            loop, spirogram = (page.locator(f"#{panel}-{name}").bounding_box() for name in ("loop", "spirogram"))
            for box in (loop, spirogram):
                assert min(box["width"], box["height"]) > 300
                assert 0 <= box["x"] <= box["x"] + box["width"] <= width
            assert (loop["y"] == spirogram["y"]) == (width > 1000)  # side by side where there is room
        assert len(page.screenshot(path=str(tmp_path / f"{width}.png"), full_page=True)) > 50_000
    words = page.locator("body").inner_text()
    assert "Not for diagnosis" in words
    assert "Trained on 9 curves of 3 participants" in words


def test_every_control_has_a_role_and_a_name(page: Any) -> None:
    """What axe asks of controls (label, aria-input-field-name, nested-interactive, aria-hidden-focus), without axe."""
    page.wait_for_function("!document.querySelector('[role=slider]:not([aria-label])')")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("input, button, select, [role=slider], [role=combobox], [role=listbox]")]
            .filter(e => !e.matches("[aria-hidden=true]"))
            .filter(e => !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.innerText
                           || (e.labels && e.labels.length)))
            .map(e => e.outerHTML)"""
    )
    assert nameless == []
    assert page.locator("[aria-hidden=true][tabindex='0']").count() == 0
    assert page.locator("[role=option] input").count() == 0
    for name in ("Age (years)", "Height (cm)", "Number of curves", "Guidance"):
        assert page.get_by_role("slider", name=name).count() == page.get_by_role("spinbutton", name=name).count() == 1
    assert page.locator("#person").get_by_role("radio").count() == 2
    assert page.get_by_role("radiogroup", name="Sex").count() == 1


def test_one_person_is_of_both_panels_and_a_bad_file_is_forgotten_with_the_next(page: Any, tmp_path: Path) -> None:
    sheet = tmp_path / "book.xlsx"
    sheet.write_bytes(b"PK\x03\x04 a workbook")
    bad = files(tmp_path, columns=pd.DataFrame({"a": [1]}))["columns"]
    refusal = "columns are a"
    for path, words in ((bad, refusal), (str(sheet), "book.xlsx: is a damaged archive"), (bad, refusal)):
        give(page, path)
        page.wait_for_selector(f"#generate .alert:has-text({words!r})")
        assert page.locator("#generate .alert").count() == 1
    give(page, stopped(tmp_path), "reconstruct")
    page.wait_for_selector("#reconstruct .recovered")
    assert page.get_by_role("slider", name="Age (years)").count() == 1
    box = page.get_by_role("spinbutton", name="Age (years)")
    box.fill("7")
    box.press("Enter")
    for panel in ("generate", "reconstruct"):
        page.wait_for_selector(f"#{panel} .note:has-text('Age 7 is within 2 years')")
        page.wait_for_selector(f"#{panel} .note:has-text('not 175 cm')")


def test_a_reconstruction_is_saved_as_it_is_shown(page: Any, tmp_path: Path) -> None:
    panel = page.locator("#reconstruct")
    assert not panel.get_by_role("button", name="Curves CSV").is_visible()
    give(page, stopped(tmp_path), "reconstruct")
    page.wait_for_selector("#reconstruct .recovered")
    saved = {}
    for what in ("Curves CSV", "Indices CSV", "Picture PNG"):
        with page.expect_download() as waiting:
            panel.get_by_role("button", name=what).click()
        saved[what] = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(saved[what])
    assert {"time_s", "volume_l_p50", "trusted"} <= set(pd.read_csv(saved["Curves CSV"]))
    cell = panel.locator(".recovered tbody tr:nth-child(2) td").nth(1).inner_text()
    median = pd.read_csv(saved["Indices CSV"]).set_index("index")["median"]
    assert f"{median['fvc']:.2f}" == cell
    assert saved["Picture PNG"].read_bytes().startswith(b"\x89PNG")


def test_what_takes_long_says_so_after_a_moment(page: Any, drawer: Noting, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Event()
    draw = Drawer.__call__
    monkeypatch.setattr(Drawer, "__call__", lambda *args: (waiting.wait(8), draw(*args))[1])
    sign = page.get_by_text("Drawing …")
    assert not sign.is_visible()
    page.get_by_role("button", name="Draw others").click()
    page.wait_for_timeout(150)
    assert not sign.is_visible(), "nothing flickers where it is quick"
    sign.wait_for(state="visible")
    waiting.set()
    sign.wait_for(state="hidden")
