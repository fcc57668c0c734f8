"""The page of a session: every number on it, one sheet, three languages, nothing from outside."""

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import session_contents
from browser import browser
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from session_contents import completion, contents

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.subjects import conditioned
from spiro_diffusion.physiology import reference, time_grid
from spiro_diffusion.reconstruction.completion import Recovered
from spiro_diffusion.sessions import interpret, page, page_html, page_pdf, page_plots, page_words, read_session
from spiro_diffusion.sessions.page_contents import Contents, Floats
from spiro_diffusion.sessions.sentences import LANGUAGES, Language

SIZES: tuple[page_pdf.PaperSize, ...] = ("a4", "letter")
LLN = {"fvc": reference.gli_global("fvc", 52.0, 174.0, 1).lln}
HOSTILE = r"<script>alert(1)</script> $\frac{1}{2}$ & 'x' " + "long " * 60


@pytest.fixture
def any_font(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chinese is set, in boxes, where no font has it: what is tested are the places and the words."""
    monkeypatch.setattr(page_pdf, "CHINESE", (*page_pdf.CHINESE, page_pdf.LATIN))


def texts(page_contents: Contents, size: page_pdf.PaperSize = "a4") -> list[str]:
    paper = page_pdf.drawn(page_contents, size, page_pdf.family(page_contents.language))
    return [text.get_text() for text in paper.ax.texts]


def numbers(page_contents: Contents) -> list[str]:
    """What the table of best values, the head and the blows have to show."""
    found = [value for _, value in page_contents.head]
    for row in page_contents.rows:
        found += [page_contents.number(row.lln, 2)] if row.lln else []
        for best in row.best.values():
            found += [
                page_contents.number(best.value, 2),
                page_contents.number(best.z, 2),
                page_contents.number(best.percent, 0),
            ]
        if row.change:
            found += [page_contents.number(value, d, True) for value, d in zip(row.change, (2, 0, 0), strict=True)]
    for one in page_contents.blows:
        found += [page_contents.number(one.blow.indices[name], 2) for name in ("fev1", "fvc", "pef")]
    return found


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.usefixtures("any_font")
def test_the_page_holds_each_number_in_each_language(language: Language) -> None:
    page_contents = contents(language, note="A remark.")
    on_paper, page = texts(page_contents), page_html.render(page_contents)
    in_page = re.sub(r"<[^>]+>", "|", page)
    for number in numbers(page_contents):
        assert number in on_paper
        assert re.search(rf"[|\s]{re.escape(number)}↓?\*?[|\s]", in_page)
    whole = " ".join(on_paper)
    for word in ("not for diagnosis", "best values", "blows", "method", "pattern", "grades"):
        title = page_words.words(language)[word]
        assert title in whole
        assert title in page
    for sentence in (
        "A remark.",
        "Dr. Example: cough heard",
        page_contents.number(3.55, 2),
        page_contents.pattern[0][:12],
    ):
        assert sentence in whole
        assert sentence in page


@pytest.mark.parametrize(("language", "size"), [("en", "letter"), ("de", "a4"), ("zh", "letter")])
@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.usefixtures("any_font")
def test_no_text_of_the_sheet_is_cut_or_lies_over_another(language: Language, size: page_pdf.PaperSize) -> None:
    paper = page_pdf.drawn(contents(language, more=8, note=HOSTILE), size, page_pdf.family(language))
    renderer = FigureCanvasAgg(paper.figure).get_renderer()
    names = [text.get_text() for text in paper.ax.texts if text.get_text()]
    boxes = [text.get_window_extent(renderer).extents for text in paper.ax.texts if text.get_text()]
    for ax in paper.figure.axes[1:]:
        box = ax.get_tightbbox(renderer)
        assert box
        boxes.append(box.extents)
        names.append(ax.get_xlabel())
    left, low, right, high = np.array(boxes).T
    width, height = paper.figure.get_size_inches() * paper.figure.dpi
    outside = (left < 0) | (low < 0) | (right > width) | (high > height)
    assert [name for name, out in zip(names, outside, strict=True) if out] == []
    across = np.minimum.outer(right, right) - np.maximum.outer(left, left)  # pixels that two share
    along = np.minimum.outer(high, high) - np.maximum.outer(low, low)
    over = np.argwhere(np.triu((across >= 1) & (along >= 3), 1))
    assert [(names[i], names[j]) for i, j in over] == []


@pytest.mark.parametrize("size", SIZES)
def test_a_pdf_is_one_sheet_the_same_each_time_and_links_nowhere(size: page_pdf.PaperSize, tmp_path: Path) -> None:
    page_contents = contents(more=4)
    page_pdf.write(tmp_path / "a.pdf", page_contents, size)
    data = (tmp_path / "a.pdf").read_bytes()
    if size == "a4":
        assert data == page_pdf.render(page_contents, size)
    assert len(re.findall(rb"/Type /Page\b", data)) == 1
    assert b"/URI" not in data
    width, height = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", data).groups()  # type: ignore[union-attr]
    assert [float(width), float(height)] == pytest.approx([mm / 25.4 * 72 for mm in page_pdf.SIZES[size]], abs=0.1)


def test_a_litre_is_as_long_as_two_litres_a_second() -> None:
    page_contents = contents()
    paper = page_pdf.drawn(page_contents, "a4", [page_pdf.LATIN])
    loop, spirogram = paper.figure.axes[1:]
    for ax, of_y in ((loop, 2.0), (spirogram, 1.0)):
        box = ax.get_window_extent()
        litre = box.width / np.ptp(ax.get_xlim()) if ax is loop else box.height / np.ptp(ax.get_ylim())
        assert box.height / np.ptp(ax.get_ylim()) * of_y == pytest.approx(litre, rel=1e-6)
    assert loop.get_window_extent().width / np.ptp(loop.get_xlim()) == pytest.approx(
        spirogram.get_window_extent().height / np.ptp(spirogram.get_ylim())
    )
    scales = [text.get_text() for text in paper.ax.texts if "mm = 1 L" in text.get_text()]
    litre_mm = loop.get_window_extent().width / np.ptp(loop.get_xlim()) / paper.figure.dpi * 25.4
    assert scales[0].startswith(f"{litre_mm:g} mm = 1 L = 2 L/s")


def test_every_blow_is_drawn_and_a_completed_one_with_its_interval() -> None:
    page_contents, figure = contents(), Figure()
    loop, spirogram = figure.subplots(1, 2)
    scale = page_plots.scales(page_contents, 160, 80)
    page_texts = page_words.words("en")
    page_plots.draw_loop(loop, page_contents, scale, page_texts)
    page_plots.draw_spirogram(spirogram, page_contents, scale, page_texts)
    for ax in (loop, spirogram):
        styles = [line.get_linestyle() for line in ax.lines if len(line.get_xdata()) > 100]
        assert sorted(styles) == sorted(["-"] * 3 + ["--"] * 3 + [":", "-."])
    assert len(spirogram.collections) == 1
    assert scale.volume[1] > completion().high.max()


def whole(flow: Floats, others: list[Floats] | None = None, **_: object) -> Recovered:
    """Three completions of a blow, of 3.7, 3.8 and 3.9 L, as `SpiroGenerator.reconstruct` gives them."""
    if others:
        raise SpiroError("the other effort is the same curve")
    draws = np.zeros((3, time_grid.N_10MS))
    for draw, fvc in zip(draws, (3.7, 3.8, 3.9), strict=True):
        made = session_contents.flow(fvc, 0.9, None)
        draw[30 : 30 + len(made)] = made
    time = np.linspace(-0.5, 19.97, time_grid.N_10MS)
    person = conditioned(pd.DataFrame([{"age": 52, "height": 174, "sex": "male"}]))
    trusted = np.arange(time_grid.N_10MS) < len(flow)
    return Recovered(person, [], time, draws[0], trusted, False, draws, [])


def test_a_stopped_blow_is_completed_and_never_counts() -> None:
    session = session_contents.session()
    reasons: list[str] = []
    made = page.complete(session, whole, reasons.append)
    assert list(made) == [session_contents.STOPPED]  # the third has no end either, but a person rejected it
    assert reasons == []
    assert made[4].fvc == pytest.approx((3.71, 3.8, 3.89), abs=0.01)
    assert (np.diff([made[4].low, made[4].median, made[4].high], axis=0) >= 0).all()
    read = interpret(session)
    assert read.values["fvc"].best["pre"].value == pytest.approx(3.9, abs=0.01)
    page_contents = page.contents_of(read, "en", made)
    assert "completed: FVC 3.80 L (3.71 to 3.89), not counted" in " ".join(texts(page_contents))

    def fails(*_: object, **__: object) -> Recovered:
        raise SpiroError("too little is trusted")

    assert page.complete(session, fails, reasons.append) == {}
    assert reasons == ["blow 4 is not completed: too little is trusted"]


@pytest.mark.parametrize(
    ("file", "language", "paper", "message"),
    [
        ("a.docx", "en", "a4", "a page is written as .pdf or .html"),
        ("a.pdf", "fr", "a4", "choose one of en, zh, de"),
        ("a.pdf", "en", "a5", "expected a4 or letter"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is(
    file: str, language: str, paper: str, message: str
) -> None:
    with pytest.raises(SpiroError, match=re.escape(message)):
        page.checked(Path(file), language, paper)


@pytest.mark.parametrize("blows", [[(3.9, 0.9, None)], [(3.9, 0.9, 0.8), (3.6, 0.9, 0.7)]])
def test_one_blow_and_none_that_can_be_used_have_a_page_that_says_so(blows: list[tuple]) -> None:
    rows = [
        f"{name},{0.01 * i:.2f},{value:.5f}"
        for name, spec in enumerate(blows, 1)
        for i, value in enumerate(session_contents.flow(*spec))
    ]
    data = io.BytesIO("\n".join(["curve,time_s,flow_l_s", *rows]).encode())
    page_contents = page.contents_of(interpret(read_session(data, session_contents.PERSON)))
    printed = " ".join(texts(page_contents))
    assert ("read it with care" in printed) == (len(blows) == 1)
    assert ("nothing is interpreted" in printed) == (len(blows) == 2)
    assert page_contents.number(float(LLN["fvc"]), 2) in printed
    assert "nothing is interpreted" in page_html.render(page_contents) or len(blows) == 1


def test_what_users_wrote_is_text_on_the_page(tmp_path: Path) -> None:
    page_contents = contents(note=HOSTILE)
    page_html.write(tmp_path / "a.html", page_contents)
    page = (tmp_path / "a.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    without = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert not re.search(r"(https?:)?//\w|url\((?!#)|@import|\bsrc=", without)
    assert len([text for text in texts(page_contents) if text.startswith("<script>")]) == 1


def test_another_language_and_a_missing_font_are_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpiroError, match="choose one of en, zh, de"):
        page_words.words("xx")
    monkeypatch.setattr(page_pdf, "CHINESE", ())
    with pytest.raises(SpiroError, match=r"fonts-noto-cjk.*or make the page as \.html"):
        page_pdf.render(contents("zh"))
    assert "肺量测定报告" in page_html.render(contents("zh"))


def test_a_page_prints_on_one_sheet_and_fits_a_phone(tmp_path: Path) -> None:
    with browser() as started:
        for size, page_contents in zip(SIZES, (contents("de"), contents("zh", more=6)), strict=True):
            page_html.write(tmp_path / "a.html", page_contents, size)
            page = started.new_page(viewport={"width": 390, "height": 800})
            page.goto((tmp_path / "a.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            printed = page.pdf(prefer_css_page_size=True)
            assert len(re.findall(rb"/Type /Page\b", printed)) == 1
            page.close()
