"""The page that draws in the reader's browser (docs/demo.md) draws the curves of `spiro generate`, without a server."""

import importlib.util
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from browser import browser, watched
from repository import ROOT

from spiro_diffusion.api import SpiroGenerator
from spiro_diffusion.physiology import time_grid

pytest.importorskip("onnx", reason="onnx is not installed; pip install -r requirements.lock")
vendored = importlib.util.spec_from_file_location("vendor", ROOT / "docs" / "demo" / "vendor.py")
assert vendored
assert vendored.loader
vendor = importlib.util.module_from_spec(vendored)
vendored.loader.exec_module(vendor)

MAN = {"age": 45, "height": 175, "sex": 1}
OPEN = """async () => {
    const [{ open }, { BEST_EFFORT }] = [await import("/demo/open.js"), await import("/demo/sampler.js")]
    const sampler = await open()
    window.demo = {
        draw: async (person, n, seed) =>
            (await sampler.draw([{ ...BEST_EFFORT, ...person }], n, seed)).map((signal) => [...signal]),
        sessions: async (person, n, efforts, after, seed) =>
            (await sampler.sessions([person], n, efforts, after, seed)).map((e) => ({ ...e, signal: [...e.signal] })),
    }
}"""


@pytest.fixture(scope="module")
def generator(models: Path) -> SpiroGenerator:
    return tiny.lively(SpiroGenerator.from_checkpoint(models, device="cpu"))


@pytest.fixture(scope="module")
def site(generator: SpiroGenerator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page and its scripts as in the built site, with a tiny model."""
    if not (vendor.RUNTIME / "ort.wasm").exists():
        pytest.skip("onnxruntime-web is not there: `make test-demo` fetches it from npm")  # tests need no network
    folder = without_model(tmp_path_factory.mktemp("site"))
    (folder / "demo" / "onnxruntime").symlink_to(vendor.RUNTIME)
    generator.export(folder / "onnx")
    vendor.model(folder / "onnx", folder / "demo" / "model")
    return folder


def without_model(folder: Path) -> Path:
    """The page as it is where no model was at hand."""
    (folder / "demo").mkdir()
    for file in (ROOT / "docs" / "demo").glob("*.*s"):  # .js, .css
        shutil.copyfile(file, folder / "demo" / file.name)
    head = "<!doctype html><meta charset=utf-8><meta name=viewport content=width=device-width>"
    icon = "<link rel=icon href=data:,>"  # else the browser asks for one
    (folder / "demo.html").write_text(head + icon + (ROOT / "docs" / "demo.md").read_text())
    return folder


class Quiet(SimpleHTTPRequestHandler):
    """A plain web server: no headers but the type and the length."""

    def log_message(self, *given: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/demo.html"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    with browser() as started:
        context = started.new_context(viewport={"width": 390, "height": 844})
        context.set_default_timeout(30_000)
        yield context
        context.close()


@pytest.fixture(scope="module")
def page(context: Any, site: Path) -> Iterator[Any]:
    """The page, which has loaded from nowhere but here when the stories end."""
    with served(site) as address, watched(context) as page:
        page.goto(address)
        page.get_by_role("button", name="Draw another").wait_for()
        page.evaluate(OPEN)
        yield page


@pytest.mark.parametrize(("n", "seed"), [(20, 5), (70, 2**33 + 1)])  # within a block of noise, and beyond one
def test_a_seed_gives_the_curves_of_spiro_generate(page: Any, generator: SpiroGenerator, n: int, seed: int) -> None:
    drawn = np.array(page.evaluate("([...asked]) => demo.draw(...asked)", [MAN, n, seed]))
    generated = generator.generate(age=45, height=175, sex="male", n=n, seed=seed).signals
    assert np.abs(generated).max() > 0.1
    np.testing.assert_allclose(drawn, generated, atol=1e-3, rtol=0)


def test_a_seed_gives_the_sessions_of_spiro_generate(page: Any, generator: SpiroGenerator) -> None:
    woman = {"age": 61, "height": 163, "sex": 2}
    drawn = page.evaluate("([...asked]) => demo.sessions(...asked)", [woman, 3, 6, 2, 7])
    generated = generator.sessions(age=61, height=163, sex="female", n=3, efforts=6, after=2, seed=7, tell=str)
    keys = generated.keys
    assert [effort["lung"] for effort in drawn] == list(keys["draw"])
    assert [effort["place"] for effort in drawn] == list(keys["effort"])
    assert ["Bron" if effort["after"] else "Pre" for effort in drawn] == list(keys["test_type"])
    assert ["ABCD"[effort["grade"]] for effort in drawn] == list(keys["grade"])
    np.testing.assert_allclose([effort["signal"] for effort in drawn], generated.signals, atol=1e-3, rtol=0)


def test_who_is_beyond_the_trained_ages_is_refused(page: Any) -> None:
    draw = "([...asked]) => demo.draw(...asked).catch((error) => error.message)"
    assert page.evaluate(draw, [MAN | {"age": 80}, 1, 0]) == "age beyond 6 to 79, on which the model was trained"


def test_indices_are_those_of_the_ruler(page: Any, data: Path) -> None:
    """Of simulated efforts, whose late starts, coughs and early ends are among them, and of one with a breath in."""
    signals = np.load(data / "signals_L512.npy")[:120]
    gasp = signals[0].copy()
    gasp[90:100] = -3.0
    signals = np.vstack([signals, gasp, -gasp, 0 * gasp])
    measured = page.evaluate(
        """async ([signals, edges]) => {
            const { indices, to10ms } = await import("/demo/indices.js")
            return signals.map((signal) => indices(to10ms(Float32Array.from(signal), edges)))
        }""",
        [signals.tolist(), time_grid.EDGES_S.tolist()],
    )
    expected = time_grid.indices_of_signals(signals)
    assert [found is None for found in measured] == list(np.isnan(expected.fvc))
    there = np.flatnonzero(np.isfinite(expected.fvc))
    assert len(there) > 100
    for name, within in {"fev1": 0.005, "fvc": 0.005, "pef": 0.02, "t0": 0.001}.items():
        found = [measured[row][name] for row in there]
        np.testing.assert_allclose(found, getattr(expected, name)[there], atol=within, rtol=0, err_msg=name)


def test_a_reader_draws_a_session_on_a_phone_and_on_a_desk(page: Any, generator: SpiroGenerator) -> None:
    page.get_by_role("button", name="Draw another").click()  # seed 1
    page.locator("#demo table").wait_for()
    generated = generator.sessions(age=45, height=175, sex="male", n=1, efforts=6, after=2, seed=1, tell=str)
    found = generated.indices()
    rows = [row.locator("td").all_inner_texts() for row in page.locator("tr[data-effort]").all()]
    assert [row[0] for row in rows] == list(found["grade"])
    for column, name, within in ((1, "fev1", 0.0051), (2, "fvc", 0.0051), (4, "pef", 0.051)):  # half a digit shown
        assert [float(row[column]) for row in rows] == pytest.approx(list(found[name]), abs=within)
    acceptable = found.query("grade != 'D' and test_type == 'Pre'")
    z = page.locator("tr:has-text('z-score') td").first.inner_text().replace("−", "-")
    assert float(z) == pytest.approx(acceptable["fev1_z"].max(), abs=0.0051)
    words = page.locator("#demo").inner_text()
    for message in ("not for diagnosis", "9 curves of 3 participants", "every curve was simulated", "ten minutes"):
        assert message in words
    assert "--sex male -n 1 --session 6 --after 2 --seed 1" in words
    for width, height in ((390, 844), (1440, 900)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") == width
        loop, spirogram = (box.bounding_box() for box in page.locator(".charts svg").all())
        assert min(loop["width"], loop["height"]) > 250
        assert (loop["y"] == spirogram["y"]) == (width > 1000)  # side by side where there is room
    assert page.locator(".charts path.effort").count() == 2 * 8


def test_a_reader_draws_many_lungs_and_is_told_of_an_unusual_height(page: Any) -> None:
    age = page.get_by_role("slider", name="Age")
    assert not page.get_by_text("hardly anyone").is_visible()
    age.fill("8")
    page.get_by_text("At 8 years hardly anyone is 175 cm tall").wait_for()
    age.fill("50")
    assert not page.get_by_text("hardly anyone").is_visible()
    page.get_by_text("20 such lungs").click()
    page.get_by_role("button", name="Draw", exact=True).click()
    page.get_by_role("rowheader", name="Median").wait_for()
    assert page.locator(".charts path.effort").count() == 2 * 20
    assert not page.get_by_role("slider", name="Efforts").first.is_visible()


def test_a_site_without_a_model_says_so(context: Any, tmp_path: Path) -> None:
    with served(without_model(tmp_path)) as address, context.new_page() as page:
        page.goto(address)
        page.get_by_text("built without a model").wait_for()
        assert page.get_by_role("button").count() == 0


def test_what_did_not_come_is_told_and_asked_for_again(context: Any, site: Path) -> None:
    lost = site / "demo" / "model" / "decoder.onnx"
    kept = lost.rename(site / "decoder.onnx")
    with served(site) as address, context.new_page() as page:
        page.goto(address)
        page.get_by_role("button", name="Draw", exact=True).click()
        page.get_by_text("It could not be drawn: decoder.onnx: 404").wait_for()
        kept.rename(lost)
        page.get_by_role("button", name="Draw", exact=True).click()
        page.locator("#demo table").wait_for()


def test_another_package_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.tgz"
    other.write_bytes(b"not onnxruntime")
    expected = rf"other\.tgz has the SHA-256 \w+; expected {vendor.SHA256}"
    with pytest.raises(ValueError, match=expected):
        vendor.runtime(other)
