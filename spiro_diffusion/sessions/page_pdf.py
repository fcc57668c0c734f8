"""The page of a session as PDF: one sheet of A4 or Letter, drawn by Matplotlib as vectors."""

import io
import logging
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path

from spiro_diffusion.core.artifacts import atomic
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.vocabulary import INDICES
from spiro_diffusion.plotting import style
from spiro_diffusion.sessions import page_plots
from spiro_diffusion.sessions.best_values import Best, Values
from spiro_diffusion.sessions.page_contents import (
    Z_ENDS,
    Z_ZONES,
    Contents,
    PageBlow,
    z_place,
)
from spiro_diffusion.sessions.page_words import words
from spiro_diffusion.sessions.records import Phase

PaperSize = Literal["a4", "letter"]
SIZES: dict[PaperSize, tuple[float, float]] = {"a4": (210.0, 297.0), "letter": (215.9, 279.4)}  # mm, width and height
MM_AN_INCH = 25.4
MARGIN = 11.0  # mm
MOST_BLOWS = 32  # that are listed
LEAST_PLOTS = 78.0  # mm of height, with their numbers and legend; blows are set in two columns before it is less
MOST_FOOT = 6  # lines of how it was computed
LATIN = "DejaVu Sans"  # comes with Matplotlib
CHINESE = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Noto Sans CJK JP",
    "Droid Sans Fallback",
)
CHINESE_FILES = ("notosans", "sourcehan", "wqy", "msyh", "simhei", "pingfang", "hiragino", "droidsansfallback")
GREYS = ("#9d9d9d", "#c2c2c2", "#e3e3e3", "#ffffff")  # severe, moderate, mild, normal
BODY, SMALL, HEAD = 8.0, 7.0, 9.0  # points
LINE = 1.28  # heights of a line, of its letters


def family(language: str) -> list[str]:
    """Font families for a language.

    Raises SpiroError if there is none for Chinese.
    """
    if language != "zh":
        return [LATIN]
    found = next((name for name in CHINESE if name in _names()), None)
    if found is None:  # installed after Matplotlib first looked
        for path in font_manager.findSystemFonts():
            if any(part in Path(path).stem.lower().replace("-", "") for part in CHINESE_FILES):
                font_manager.fontManager.addfont(path)
        found = next((name for name in CHINESE if name in _names()), None)
    if found is None:
        raise SpiroError(
            "no Chinese font is installed for a PDF: install the package fonts-noto-cjk or fonts-wqy-zenhei, or make "
            "the page as .html"
        )
    return [found, LATIN]


def _names() -> set[str]:
    return {font.name for font in font_manager.fontManager.ttflist}


class Paper:
    """A sheet on which elements are placed in mm from its upper left corner, and its figure."""

    def __init__(self, size: PaperSize, families: list[str]) -> None:
        self.width, self.height = SIZES[size]
        self.families = families
        self._widths: dict[tuple[str, float, bool], float] = {}
        self.figure = Figure(figsize=(self.width / MM_AN_INCH, self.height / MM_AN_INCH))
        self.ax = self.figure.add_axes((0, 0, 1, 1))
        self.ax.set_axis_off()
        self.ax.set(xlim=(0, self.width), ylim=(self.height, 0))

    @property
    def right(self) -> float:
        """Of what is printed, mm."""
        return self.width - MARGIN

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = BODY,
        *,
        bold: bool = False,
        ha: str = "left",
        soft: bool = False,
    ) -> None:
        """A line of text whose foot stands at y."""
        colour = style.SOFT if soft else style.INK
        self.ax.text(
            x,
            y,
            text,
            fontsize=size,
            ha=ha,
            va="baseline",
            color=colour,
            fontproperties=self._font(size, bold),
            parse_math=False,
        )

    def width_of(self, text: str, size: float = BODY, bold: bool = False) -> float:
        """mm that a text takes."""
        key = text, size, bold
        if text and key not in self._widths:
            width, _, _ = text_to_path.get_text_width_height_descent(text, self._font(size, bold), ismath=False)
            self._widths[key] = float(width) / 72 * MM_AN_INCH
        return self._widths.get(key, 0.0)

    def lines(self, text: str, width: float, size: float = BODY) -> list[str]:
        """The text in lines of at most `width` mm; Chinese breaks anywhere, else at blanks, a longer word is cut."""
        found, line, taken = [], "", 0.0
        for part in self._breakable(text, width, size):
            wide = self.width_of(part, size)
            if line and taken + self.width_of(part.rstrip(), size) > width:
                found.append(line.rstrip())
                line, taken = part.lstrip(), wide
            else:
                line, taken = line + part, taken + wide
        return [*found, line.rstrip()] if line.strip() else found

    def _breakable(self, text: str, width: float, size: float) -> list[str]:
        """Pieces between which a line may be broken, none of them wider than `width`."""
        parts = _parts(text)
        return [piece for part in parts for piece in (part if self.width_of(part, size) > width else [part])]

    def cut(self, text: str, width: float, size: float = BODY) -> str:
        """The text, its end left out where it is longer than `width` mm."""
        if self.width_of(text, size) <= width:
            return text
        while text and self.width_of(text + "…", size) > width:
            text = text[:-1]
        return text.rstrip() + "…"

    def rule(self, y: float, x: tuple[float, float] | None = None, weight: float = 0.5) -> None:
        """A line across the sheet."""
        self.ax.plot(x or (MARGIN, self.right), (y, y), color=style.INK, lw=weight, solid_capstyle="butt")

    def box(self, x: float, y: float, size: tuple[float, float], colour: str, edge: bool = False) -> None:
        """A filled rectangle from its upper left corner."""
        line = {"edgecolor": style.INK, "linewidth": 0.4} if edge else {"edgecolor": "none"}
        self.ax.add_patch(Rectangle((x, y), *size, facecolor=colour, **line))

    def axes(self, x: float, y: float, width: float, height: float) -> mpl.axes.Axes:
        """Axes whose upper left corner is at (x, y)."""
        place = (x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(place)

    def _font(self, size: float, bold: bool) -> FontProperties:
        return FontProperties(family=self.families, size=size, weight="bold" if bold else "normal")


def _parts(text: str) -> list[str]:
    """Pieces between which a line may be broken."""
    parts, word = [], ""
    for letter in text.replace(" %", "\u00a0%"):
        wide = ord(letter) > 0x2E7F
        if wide and word:
            parts.append(word)
            word = ""
        if wide:
            if parts and letter in "，。；：、）？！%":
                parts[-1] += letter
            else:
                parts.append(letter)
        else:
            word += letter
            if letter == " ":
                parts.append(word)
                word = ""
    return [*parts, word] if word else parts


def mm(points: float) -> float:
    """Height of a line of letters of so many points."""
    return points / 72 * MM_AN_INCH * LINE


def write(path: Path, contents: Contents, size: PaperSize = "a4") -> None:
    """Write the report as PDF; no file is left on failure; the same contents give the same bytes.

    Raises SpiroError if no font contains the characters of the language, or the file cannot be written.
    """
    data = render(contents, size)
    with atomic(path) as part:
        part.write_bytes(data)


def render(contents: Contents, size: PaperSize = "a4") -> bytes:
    """The report as PDF; raises errors as `write`."""
    families = family(contents.language)
    looks = {**style.STYLE, "pdf.fonttype": 3, "font.family": families, "axes.unicode_minus": True}
    buffer = io.BytesIO()
    fonts = logging.getLogger("matplotlib.font_manager")
    before = fonts.level
    fonts.setLevel(logging.ERROR)  # a Chinese font without a bold one is no news to a user
    try:
        with mpl.rc_context(looks):
            paper = drawn(contents, size, families)
            title = words(contents.language)["title"]
            paper.figure.savefig(
                buffer, format="pdf", metadata={"CreationDate": None, "Producer": None, "Title": title}
            )
    finally:
        fonts.setLevel(before)
    return buffer.getvalue()


def drawn(contents: Contents, size: PaperSize, families: list[str]) -> Paper:
    """The sheet with all elements."""
    paper, texts = Paper(size, families), words(contents.language)
    y = _head(paper, contents, texts)
    y = _table(paper, contents, texts, y)
    y = _pattern(paper, contents, texts, y)
    below = _foot_height(paper, contents)
    room = paper.height - MARGIN - below - y - 2.0
    blows = _listed(paper, contents, texts, 1)
    if room - _blows_height(blows) < LEAST_PLOTS:
        blows = _listed(paper, contents, texts, 2)
    high = _blows_height(blows)
    y = _plots(paper, contents, texts, (y, paper.height - MARGIN - below - high - 2.0))
    _blows(paper, contents, texts, y + 3.0, blows)
    _foot(paper, contents, texts, paper.height - MARGIN - below)
    return paper


# --- the parts of the sheet, from above; each takes where it begins and gives where it ends ---------------------------


def _head(paper: Paper, contents: Contents, texts: dict[str, str]) -> float:
    y = MARGIN + 4.5
    paper.text(MARGIN, y, texts["title"], 14, bold=True)
    badge = texts["not for diagnosis"]
    wide = paper.width_of(badge, HEAD, True) + 5
    paper.ax.add_patch(
        Rectangle((paper.right - wide, y - 4.6), wide, 6.2, facecolor="none", edgecolor=style.INK, lw=0.8)
    )
    paper.text(paper.right - wide / 2, y, badge, HEAD, bold=True, ha="center")
    y += 3.2
    paper.rule(y, weight=1.0)
    y = _placed(paper, contents.head, y + mm(SMALL) + 0.9)
    if contents.comments:
        y += HEAD_ROW
        paper.text(MARGIN, y, texts["comments"], SMALL, soft=True)
        start = paper.width_of(texts["comments"], SMALL) + 1.5
        for i, line in enumerate(_at_most(paper, contents.comments, paper.right - MARGIN - start, 2)):
            y += 3.6 if i else 0
            paper.text(MARGIN + start, y, line)
    return y + 2.2


HEAD_COLUMNS, HEAD_GAP, HEAD_ROW = 4, 3.0, 4.0  # the last two in mm


def _placed(paper: Paper, items: list[tuple[str, str]], y: float) -> float:
    """Names and values in columns; a value wider than a column takes two, or the full width."""
    column = (paper.right - MARGIN + HEAD_GAP) / HEAD_COLUMNS
    place = 0
    for name, value in items:
        start = paper.width_of(name, SMALL) + 1.5
        needed = start + paper.width_of(value) + HEAD_GAP
        span = min(1 if needed <= column else 2 if needed <= 2 * column else HEAD_COLUMNS, HEAD_COLUMNS)
        if place % HEAD_COLUMNS + span > HEAD_COLUMNS:
            place += HEAD_COLUMNS - place % HEAD_COLUMNS
        x, foot = MARGIN + place % HEAD_COLUMNS * column, y + place // HEAD_COLUMNS * HEAD_ROW
        paper.text(x, foot, name, SMALL, soft=True)
        paper.text(x + start, foot, paper.cut(value, span * column - HEAD_GAP - start))
        place += span
    return y + max(-(-place // HEAD_COLUMNS) - 1, 0) * HEAD_ROW


def _at_most(paper: Paper, text: str, width: float, lines: int, size: float = BODY) -> list[str]:
    """The first lines of a text, the last of them cut where there are more."""
    found = paper.lines(text, width, size)
    if len(found) <= lines:
        return found
    return [*found[: lines - 1], paper.cut(" ".join(found[lines - 1 :]), width, size)]


class _Column(NamedTuple):
    """A column of the table of best values: its head, its right end (mm from the margin), and its cell."""

    head: str
    right: float
    cell: str


def columns(contents: Contents, texts: dict[str, str]) -> list[_Column]:
    before = [
        _Column(texts["best"], 36, "pre"),
        _Column(texts["lln"], 47, "lln"),
        _Column(texts["z"], 58.5, "pre z"),
        _Column(texts["pred"], END_BEFORE, "pre percent"),
    ]
    after = [
        _Column(texts["best"], 125, "post"),
        _Column(texts["z"], 136.5, "post z"),
        _Column(texts["pred"], END_AFTER, "post percent"),
        _Column(texts["absolute"], 160, "change"),
        _Column(texts["of first"], 173.5, "change first"),
        _Column(texts["of pred"], END_CHANGE, "change percent"),
    ]
    return before + (after if "post" in contents.phases else [])


END_BEFORE, END_AFTER, END_CHANGE = 71.0, 148.5, 187.5  # mm from the margin, right ends of groups of columns
SCALE = (75.0, 113.0)  # likewise, of the z-score scale
TABLE_ROW = 5.0
LOW = "↓"  # behind a z-score below the lower limit of normal


def _table(paper: Paper, contents: Contents, texts: dict[str, str], y: float) -> float:
    table_columns = columns(contents, texts)
    paper.rule(y, weight=0.8)
    top = y + mm(SMALL) + 0.6
    paper.text(MARGIN, top, texts["best values"], BODY, bold=True)
    groups = [("before", END_BEFORE), ("after", END_AFTER), ("change", END_CHANGE)]
    for group, right in groups if "post" in contents.phases else groups[:1]:
        paper.text(MARGIN + right, top, texts[group], SMALL, bold=True, ha="right")
    foot = top + 3.6
    for column in table_columns:
        paper.text(MARGIN + column.right, foot, column.head, SMALL - 0.5, soft=True, ha="right")
    _scale_head(paper, contents, top, foot)
    y = foot + 1.2
    paper.rule(y)
    for row in contents.rows:
        index = INDICES[row.name]
        label = index.label + (f" ({index.unit})" if index.unit else "")
        foot = y + 3.6
        paper.text(MARGIN, foot, label, BODY, bold=row.name in ("fev1", "fvc", "ratio"))
        for column in table_columns:
            low = column.cell.endswith("z") and is_low(
                row.best.get("post") if column.cell == "post z" else row.best.get("pre")
            )
            paper.text(MARGIN + column.right, foot, cell(contents, row, column.cell), BODY, ha="right", bold=low)
            if column.cell.endswith("z"):
                paper.text(MARGIN + column.right, foot, (LOW if low else "") + ("*" if is_derived(row) else ""), BODY)
        _scale(paper, row, y + 0.5, TABLE_ROW - 1.0)
        y += TABLE_ROW
    paper.rule(y + 0.4, weight=0.8)
    y += 0.4 + mm(SMALL) + 0.3
    _zones(paper, contents, texts, y)
    if any(is_derived(row) for row in contents.rows):
        y += mm(SMALL)
        paper.text(MARGIN, y, texts["derived"], SMALL - 0.5, soft=True)
    return y + 1.5


def is_derived(row: Values) -> bool:
    """Whether the z-score is computed from a distribution that its source does not give in this form."""
    return row.reference is not None and row.reference.derived


def is_low(best: Best | None) -> bool:
    """Whether the value is below the lower limit of normal."""
    return best is not None and best.z is not None and best.z < Z_ZONES[-1]


def _zones(paper: Paper, contents: Contents, texts: dict[str, str], y: float) -> None:
    """Explanation of the zones and marks of the scale."""
    x = MARGIN
    size = SMALL - 0.5
    paper.text(x, y, texts["z scale"], size, soft=True)
    x += paper.width_of(texts["z scale"], size) + 3
    for grey, name in zip(GREYS, ("severe", "moderate", "mild", "normal"), strict=True):
        paper.box(x, y - 2.1, (3.6, 2.4), grey, edge=True)
        paper.text(x + 4.6, y, texts[name], size)
        x += 4.6 + paper.width_of(texts[name], size) + 3
    for phase in contents.phases:
        shape, fill = MARKS[phase]
        paper.ax.plot([x + 1.2], [y - 0.9], shape, mfc=fill, mec=style.INK, mew=0.8, ms=4.4)
        word = texts["before" if phase == "pre" else "after"]
        paper.text(x + 3.2, y, word, size)
        x += 3.2 + paper.width_of(word, size) + 3
    paper.text(paper.right, y, f"{LOW} {texts['low']}", size, ha="right", soft=True)


MARKS: dict[Phase, tuple[str, str]] = {"pre": ("o", style.INK), "post": ("D", "white")}


def cell(contents: Contents, row: Values, cell: str) -> str:
    decimals = INDICES[row.name].decimals
    best: Best | None = row.best.get("post") if cell.startswith("post") else row.best.get("pre")
    change, number = row.change, contents.number
    texts = {
        "pre": lambda: number(best.value if best else None, decimals),
        "lln": lambda: number(row.lln, decimals),
        "z": lambda: number(best.z if best else None, 2),
        "percent": lambda: number(best.percent if best else None, 0),
        "change": lambda: number(change.absolute if change else None, decimals, sign=True),
        "change first": lambda: number(change.percent if change else None, 0, sign=True),
        "change percent": lambda: number(change.percent_predicted if change else None, 0, sign=True),
    }
    key = cell if cell.startswith("change") or cell == "lln" else cell.removeprefix("post").removeprefix("pre").strip()
    return texts[key or "pre"]()


def _scale_head(paper: Paper, contents: Contents, top: float, foot: float) -> None:
    """The z-scores that part the zones, in two rows since two of them lie close together."""
    left, right = (MARGIN + end for end in SCALE)
    for z, y in ((-4.0, foot), (-2.5, top), (-1.645, foot), (0.0, foot), (2.0, foot)):
        place = left + z_place(z) * (right - left)
        paper.text(place, y, contents.number(z, {-2.5: 1, -1.645: 3}.get(z, 0)), SMALL - 1, ha="center", soft=True)


def _scale(paper: Paper, row: Values, y: float, high: float) -> None:
    """The scale of one index: zones in greys, a disc before and a diamond after the drug, arrows beyond the ends."""
    left, right = (MARGIN + end for end in SCALE)
    ends = [Z_ENDS[0], *Z_ZONES, Z_ENDS[1]]
    places = [left + z_place(z) * (right - left) for z in ends]
    if not any(best and best.z is not None for best in (row.best.get("pre"), row.best.get("post"))):
        return
    for grey, begin, end in zip(GREYS, places[:-1], places[1:], strict=True):
        paper.box(begin, y, (end - begin, high), grey)
    for place in (left, *places[1:-1], right):
        weight = 1.0 if place == places[-2] else 0.4
        paper.ax.plot((place, place), (y, y + high), color=style.INK, lw=weight, solid_capstyle="butt")
    paper.rule(y, (left, right), 0.4)
    paper.rule(y + high, (left, right), 0.4)
    zero = left + z_place(0) * (right - left)
    paper.ax.plot((zero, zero), (y, y + high), color=style.SOFT, lw=0.4, ls=":")
    for best, (marker, fill) in ((row.best.get("post"), MARKS["post"]), (row.best.get("pre"), MARKS["pre"])):
        if best is None or best.z is None or not np.isfinite(best.z):
            continue
        shape = "<" if best.z < Z_ENDS[0] else ">" if best.z > Z_ENDS[1] else marker
        place = left + z_place(best.z) * (right - left)
        look: dict[str, Any] = {"mfc": fill, "mec": style.INK if fill == "white" else "white", "mew": 0.8, "ms": 5.2}
        paper.ax.plot([place], [y + high / 2], shape, clip_on=False, zorder=5, **look)


def _pattern(paper: Paper, contents: Contents, texts: dict[str, str], y: float) -> float:
    start = MARGIN + max(paper.width_of(texts[name], BODY, True) for name in ("pattern", "grades")) + 3
    for name, sentences in (("grades", contents.grades), ("pattern", contents.pattern)):
        lines = paper.lines(joined(sentences, contents.language), paper.right - start)
        for i, line in enumerate(lines or [texts["nothing"]]):
            y += mm(BODY)
            if not i:
                paper.text(MARGIN, y, texts[name], BODY, bold=True)
            paper.text(start, y, line)
    return y + 2.5


def joined(sentences: list[str], language: str) -> str:
    return ("" if language == "zh" else " ").join(sentences)


def _plots(paper: Paper, contents: Contents, texts: dict[str, str], between: tuple[float, float]) -> float:
    """Both plots at the height that is available, and their legend."""
    top, bottom = between
    paper.rule(top, weight=0.5)
    axis_left, axis_below, gap, below_them = 10.0, 8.0, 16.0, 5.0
    width = paper.right - MARGIN - axis_left - gap
    height = bottom - top - axis_below - below_them - 4.0
    scale = page_plots.scales(contents, width, height)
    (loop_wide, loop_high), (time_wide, time_high) = scale.loop, scale.spirogram
    foot = top + 3.0 + max(loop_high, time_high)
    loop = paper.axes(MARGIN + axis_left, foot - loop_high, loop_wide, loop_high)
    page_plots.draw_loop(loop, contents, scale, texts)
    left = MARGIN + axis_left + loop_wide + gap
    spirogram = paper.axes(left, foot - time_high, time_wide, time_high)
    page_plots.draw_spirogram(spirogram, contents, scale, texts)
    y = foot + axis_below + 3.2
    x = MARGIN
    for kind, text in legend(contents, texts):
        x = _sample(paper, kind, x, y, text)
    text = scale_text(contents, scale, texts)
    paper.text(paper.right, y, text, SMALL - 0.5, ha="right", soft=True)
    return y


def scale_text(contents: Contents, scale: page_plots.Scales, texts: dict[str, str]) -> str:
    """The scales of the plots, in mm per litre and per second."""
    litre, second = (f"{mm:g}".replace(".", contents.number(0.5, 1)[1]) for mm in (scale.mm_a_litre, scale.mm_a_second))
    return texts["scale"].format(mm=litre, time=second)


def legend(contents: Contents, texts: dict[str, str]) -> list[tuple[str, str]]:
    kinds: list[tuple[str, str]] = [
        (phase, texts[{"pre": "before", "post": "after"}[phase]]) for phase in contents.phases
    ]
    if any(not listed.blow.counts for listed in contents.blows):
        kinds.append(("rejected", texts["rejected"]))
    if any(blow.completed for blow in contents.blows):
        kinds.append(("completed", texts["completed"]))
    return [*kinds, ("lln", texts["lln"]), ("predicted", texts["predicted"])]


def _sample(paper: Paper, kind: str, x: float, y: float, text: str) -> float:
    """A line or mark of the plots with its explanation; returns the position of the next."""
    high, wide = y - 0.9, 6.0
    if kind in ("lln", "predicted"):
        wide = 2.4
        marker, size = ("_", 7.0) if kind == "lln" else (">", 4.5)
        paper.ax.plot([x + 1.2], [high], marker, color=page_plots.PREDICTED, ms=size, mfc="white")
    elif kind == "rejected":
        paper.ax.plot([x, x + wide], [high] * 2, color=page_plots.REJECTED, lw=0.9, ls=":")
    elif kind == "completed":
        paper.ax.plot([x, x + wide], [high] * 2, color=style.ALERT, lw=0.9, ls="-.")
    else:
        phase = "pre" if kind == "pre" else "post"
        paper.ax.plot([x, x + wide], [high] * 2, color=page_plots.COLOURS[phase], lw=1.1, ls=page_plots.DASHES[phase])
    paper.text(x + wide + 1, y, text, SMALL)
    return x + wide + 1 + paper.width_of(text, SMALL) + 4


ROW = 3.5  # mm, of a blow


class _Listed(NamedTuple):
    """A blow as it is listed, and its reasons in lines."""

    entry: PageBlow
    why: list[str]


def _listed(paper: Paper, contents: Contents, texts: dict[str, str], halves: int) -> list[list[_Listed]]:
    """The blows in one column or two; reasons take two lines of one column, and one of two."""
    width = _half(paper, halves) - _places(halves).why
    listed = [
        _Listed(one, _at_most(paper, reasons(contents, one, texts), width, 3 - halves, SMALL) or [""])
        for one in contents.blows[:MOST_BLOWS]
    ]
    size = -(-len(listed) // halves) if listed else 0
    return [listed[half * size : (half + 1) * size] for half in range(halves)]


def _half(paper: Paper, halves: int) -> float:
    """Width of a column of blows, mm."""
    return (paper.right - MARGIN - (halves - 1) * 4) / halves


def _places(halves: int) -> "_BlowColumns":
    return BLOW if halves == 1 else NARROW


def _blows_height(columns_: list[list[_Listed]]) -> float:
    """Of all blows, with what stands above them."""
    return 6.5 + ROW * (1 + max(sum(len(one.why) for one in column) for column in columns_))


def _blows(paper: Paper, contents: Contents, texts: dict[str, str], y: float, columns_: list[list[_Listed]]) -> None:
    """All blows in order, in one column or two."""
    paper.rule(y, weight=0.5)
    y += mm(BODY) + 0.3
    paper.text(MARGIN, y, texts["blows"], BODY, bold=True)
    if len(contents.blows) > MOST_BLOWS:
        rest = texts["more blows"].format(n=len(contents.blows) - MOST_BLOWS)
        paper.text(paper.right, y, rest, SMALL, ha="right", soft=True)
    wide, places = _half(paper, len(columns_)), _places(len(columns_))
    for half, column in enumerate(columns_):
        x = MARGIN + half * (wide + 4)
        _blow_head(paper, texts, (x, y + ROW, wide), places)
        foot = y + 2 * ROW
        for one in column:
            _blow(paper, (contents, one), texts, (x, foot), places)
            foot += ROW * len(one.why)


class _BlowColumns(NamedTuple):
    """Right ends of a blow's numbers, and left ends of what it counts for and of the reasons, mm."""

    numbers: dict[str, float]
    counts: float
    why: float


BLOW = _BlowColumns({"fev1": 24.0, "fvc": 33.0, "pef": 42.0, "fet": 51.0}, 54.0, 71.0)
NARROW = _BlowColumns({"fev1": 22.0, "fvc": 30.0}, 32.0, 47.0)  # of two columns of blows beside each other


def _blow_head(paper: Paper, texts: dict[str, str], at: tuple[float, float, float], columns: _BlowColumns) -> None:
    x, y, wide = at
    size = SMALL - 0.5
    for name, right in columns.numbers.items():
        paper.text(x + right, y, INDICES[name].label, size, ha="right", soft=True)
    paper.text(
        x + columns.counts, y, paper.cut(texts["counts"], columns.why - columns.counts - 0.5, size), size, soft=True
    )
    paper.text(x + columns.why, y, paper.cut(texts["reason"], wide - columns.why, size), size, soft=True)


def _blow(
    paper: Paper,
    listed: tuple[Contents, _Listed],
    texts: dict[str, str],
    at: tuple[float, float],
    places: _BlowColumns,
) -> None:
    (contents, one), (x, y) = listed, at
    blow = one.entry.blow
    phase = texts["before" if blow.phase == "pre" else "after"]
    paper.text(x, y, paper.cut(f"{blow.number} {phase}", 16.0, SMALL), SMALL)
    for name, right in places.numbers.items():
        paper.text(x + right, y, contents.number(blow.indices.get(name), 2 if name != "fet" else 1), SMALL, ha="right")
    paper.text(x + places.counts, y, counted(one.entry), SMALL)
    for line, text in enumerate(one.why):
        paper.text(x + places.why, y + ROW * line, text, SMALL)


def counted(blow: PageBlow) -> str:
    """The values for which a blow counts."""
    return (
        ", ".join(name for name, counts in (("FEV1", blow.blow.counts_fev1), ("FVC", blow.blow.counts_fvc)) if counts)
        or "–"
    )


def reasons(contents: Contents, blow: PageBlow, texts: dict[str, str]) -> str:
    """Why a blow does not count, who decided otherwise, and the result of its completion."""
    reasons_given = [*blow.words, *([texts["decided"].format(who=blow.decided)] if blow.decided else [])]
    if blow.completed:
        low, median, high = (contents.number(value, 2) for value in blow.completed.fvc)
        reasons_given.append(texts["would be"].format(low=low, median=median, high=high))
    return "; ".join(reasons_given)


def _foot_lines(paper: Paper, contents: Contents) -> list[str]:
    text = joined([*contents.method, *contents.notes], contents.language)
    return _at_most(paper, text, paper.right - MARGIN, MOST_FOOT, SMALL)


def _foot_height(paper: Paper, contents: Contents) -> float:
    return mm(BODY) + 1.0 + len(_foot_lines(paper, contents)) * mm(SMALL) + 0.5


def _foot(paper: Paper, contents: Contents, texts: dict[str, str], y: float) -> None:
    paper.rule(y, weight=0.5)
    y += mm(BODY) + 0.3
    paper.text(MARGIN, y, texts["method"], BODY, bold=True)
    for line in _foot_lines(paper, contents):
        y += mm(SMALL)
        paper.text(MARGIN, y, line, SMALL, soft=True)
