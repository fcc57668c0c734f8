"""The page of a session as self-contained HTML that prints on one sheet and reads on a phone."""

import functools
import io
import re
import warnings
from pathlib import Path
from typing import NamedTuple

import jinja2
import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from spiro_diffusion.core.artifacts import write_text
from spiro_diffusion.core.vocabulary import INDICES
from spiro_diffusion.plotting import style
from spiro_diffusion.sessions import page_plots
from spiro_diffusion.sessions.best_values import Values
from spiro_diffusion.sessions.page_contents import Z_ENDS, Z_ZONES, Contents, z_place
from spiro_diffusion.sessions.page_pdf import (
    GREYS,
    LOW,
    MM_AN_INCH,
    PaperSize,
    cell,
    columns,
    counted,
    is_derived,
    is_low,
    joined,
    legend,
    reasons,
    scale_text,
)
from spiro_diffusion.sessions.page_words import words

PLOTS_MM = (145.0, 75.0)  # of both plots beside each other, without their numbers
LOW_MM = 55.0  # the same height where many blows are listed below
AROUND_MM = (12.0, 3.0, 9.0, 3.0)  # left, right, below and above the axes, for their numbers
TAGS = {"zh": "zh-Hans"}
SCALE_WIDTH, SCALE_HEIGHT = 200, 14  # of the z-score scale's drawing
MARKS = {
    "pre": f'<circle cx="{{x:.1f}}" cy="7" r="4" fill="{style.INK}" stroke="#fff"/>',
    "post": f'<path d="M{{x:.1f}} 2.2l4.8 4.8l-4.8 4.8l-4.8-4.8z" fill="#fff" stroke="{style.INK}"/>',
}
EDGE = f'stroke="{style.INK}" stroke-width=".7"'
MANY, VERY_MANY = 9, 15  # blows: more are printed smaller
FONT_PX = (12.5, 11.5, 10.5)  # of a rem in print, by how many blows there are: text of 8.2 to 6.9 points


class _Cell(NamedTuple):
    text: str
    low: bool = False
    scale: bool = False


class _Row(NamedTuple):
    label: str
    unit: str
    main: bool
    cells: list[_Cell]


class _Blow(NamedTuple):
    name: str
    numbers: list[str]
    counts: str
    why: str


def write(path: Path, contents: Contents, size: PaperSize = "a4") -> None:
    """Write the report as HTML; no file is left on failure; `size` is the paper size for printing."""
    write_text(path, render(contents, size))


def render(contents: Contents, size: PaperSize = "a4") -> str:
    """The page as HTML."""
    texts, post = words(contents.language), "post" in contents.phases
    heads = [column.head for column in columns(contents, texts)]
    return _template().render(
        lang=TAGS.get(contents.language, contents.language),
        paper={"a4": "A4", "letter": "letter"}[size],
        size=FONT_PX[(len(contents.blows) > MANY) + (len(contents.blows) > VERY_MANY)],
        ink=style.INK,
        soft=style.SOFT,
        texts=texts,
        low=LOW,
        contents=contents,
        post=post,
        columns=[*heads[:4], None, *heads[4:]],
        ticks=_ticks(contents),
        rows=[_row(contents, row, texts) for row in contents.rows],
        zones=_zones(contents, texts),
        derived=any(is_derived(row) for row in contents.rows),
        grades=joined(contents.grades, contents.language),
        pattern=joined(contents.pattern, contents.language),
        plots=_plots(contents, texts),
        legend=_legend(contents, texts),
        scale=scale_text(contents, _scales(contents), texts),
        blows=_blows(contents, texts),
        method=joined([*contents.method, *contents.notes], contents.language),
    )


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spiro_diffusion.sessions"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("session.html.j2")


def _row(contents: Contents, row: Values, texts: dict[str, str]) -> _Row:
    cells = []
    for column in columns(contents, texts):
        best = row.best.get("post" if column.cell == "post z" else "pre")
        low = column.cell.endswith("z") and is_low(best)
        marks = (LOW if low else "") + ("*" if is_derived(row) and column.cell.endswith("z") else "")
        cells.append(_Cell(cell(contents, row, column.cell) + marks, low))
    cells.insert(4, _Cell(_scale(row, contents, texts), scale=True))
    index = INDICES[row.name]
    return _Row(index.label, index.unit, row.name in ("fev1", "fvc", "ratio"), cells)


def _x(z: float) -> float:
    return 6 + z_place(z) * (SCALE_WIDTH - 12)


def _svg(body: str, width: int, label: str = "", kind: str = "zscale") -> Markup:
    name = f'role="img" aria-label="{Markup.escape(label)}"' if label else 'aria-hidden="true"'
    return Markup(
        f'<svg class="{kind}" viewBox="0 0 {width} {SCALE_HEIGHT}" {name} xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )


def _scale(row: Values, contents: Contents, texts: dict[str, str]) -> Markup:
    """The z-score scale of an index as a drawing; empty without a z-score."""
    marks = [
        (phase, best.z)
        for phase, best in ((phase, row.best.get(phase)) for phase in ("post", "pre"))
        if best is not None and best.z is not None and np.isfinite(best.z)
    ]
    if not marks:
        return Markup()
    ends = [_x(z) for z in (Z_ENDS[0], *Z_ZONES, Z_ENDS[1])]
    parts = [
        f'<rect x="{begin:.1f}" y="1" width="{end - begin:.1f}" height="12" fill="{grey}" {EDGE}/>'
        for grey, begin, end in zip(GREYS, ends[:-1], ends[1:], strict=True)
    ]
    parts.append(f'<path d="M{ends[-2]:.1f} 0v14" stroke="{style.INK}" stroke-width="1.6"/>')
    parts.append(f'<path d="M{_x(0):.1f} 1v12" stroke="{style.SOFT}" stroke-dasharray="1 1.5" stroke-width=".8"/>')
    parts += [MARKS[phase].format(x=_x(z)) for phase, z in marks]
    label = ", ".join(
        f"{texts['before' if phase == 'pre' else 'after']} {contents.number(z, 2)}" for phase, z in reversed(marks)
    )
    return _svg("".join(parts), SCALE_WIDTH, f"{INDICES[row.name].label} {texts['z scale']}: {label}")


def _ticks(contents: Contents) -> Markup:
    """The z-scores of the zones' limits; -2.5 and -1.645 are close together."""
    texts = [
        f'<text x="{_x(z):.1f}" y="11" text-anchor="{anchor}">{contents.number(z, decimals)}</text>'
        for z, decimals, anchor in ((-4.0, 0, "middle"), (-2.5, 1, "middle"), (-1.645, 3, "start"))
    ]
    group = f'<g font-size="10" fill="{style.SOFT}">{"".join(texts)}</g>'
    return _svg(group, SCALE_WIDTH)


def _zones(contents: Contents, texts: dict[str, str]) -> Markup:
    """Explanation of the zones and the marks."""
    names = ("severe", "moderate", "mild", "normal")
    marks = [
        (f'<rect x="1" y="2" width="14" height="10" fill="{grey}" {EDGE}/>', texts[name])
        for grey, name in zip(GREYS, names, strict=True)
    ]
    marks += [(MARKS[phase].format(x=8), texts["before" if phase == "pre" else "after"]) for phase in contents.phases]
    return _explained(marks, 16)


def _legend(contents: Contents, texts: dict[str, str]) -> Markup:
    """Legend of the plots."""
    lines = {
        "pre": f'stroke="{page_plots.COLOURS["pre"]}"',
        "post": f'stroke="{page_plots.COLOURS["post"]}" stroke-dasharray="6 2"',
        "rejected": f'stroke="{page_plots.REJECTED}" stroke-dasharray="1.5 2.5"',
        "completed": f'stroke="{style.ALERT}" stroke-dasharray="7 2 1.5 2"',
        "lln": f'stroke="{page_plots.PREDICTED}"',
    }
    triangle = f'<path d="M9 3l8 4l-8 4z" fill="#fff" stroke="{page_plots.PREDICTED}" stroke-width="1.2"/>'
    drawn = {
        kind: f'<path d="M{9 if kind == "lln" else 1} 7h{8 if kind == "lln" else 24}" {look} stroke-width="1.6"/>'
        for kind, look in lines.items()
    }
    return _explained([({**drawn, "predicted": triangle}[kind], text) for kind, text in legend(contents, texts)], 26)


def _explained(explained: list[tuple[str, str]], width: int) -> Markup:
    pieces = [
        Markup('<span><svg width="{0}" height="14" viewBox="0 0 {0} 14" aria-hidden="true">').format(width)
        + Markup(drawing)
        + Markup("</svg>{}</span>").format(text)
        for drawing, text in explained
    ]
    return Markup().join(pieces)


def _blows(contents: Contents, texts: dict[str, str]) -> list[_Blow]:
    blows = []
    for one in contents.blows:
        name = f"{one.blow.number} {texts['before' if one.blow.phase == 'pre' else 'after']}"
        decimals = {"fev1": 2, "fvc": 2, "pef": 2, "fet": 1}
        numbers = [contents.number(one.blow.indices.get(index), digits) for index, digits in decimals.items()]
        blows.append(_Blow(name, numbers, counted(one), reasons(contents, one, texts)))
    return blows


def _scales(contents: Contents) -> page_plots.Scales:
    width, height = PLOTS_MM
    return page_plots.scales(contents, width, LOW_MM if len(contents.blows) > MANY else height)


def _plots(contents: Contents, texts: dict[str, str]) -> list[Markup]:
    """Both plots as inline drawings, at the scales of the printed page."""
    scale = _scales(contents)
    drawings = (
        (page_plots.draw_loop, scale.loop, (texts["flow"], texts["volume"])),
        (page_plots.draw_spirogram, scale.spirogram, (texts["volume"], texts["time"])),
    )
    left, right, below, above = AROUND_MM
    plots = []
    for draw, (width, height), names in drawings:
        whole = width + left + right, height + below + above
        figure = Figure(figsize=(whole[0] / MM_AN_INCH, whole[1] / MM_AN_INCH))
        place = (left / whole[0], below / whole[1], width / whole[0], height / whole[1])
        buffer = io.StringIO()
        looks = {**style.STYLE, "svg.fonttype": "none", "svg.hashsalt": names[0], "font.family": ["sans-serif"]}
        with mpl.rc_context(looks), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of letters that only the browser's fonts have
            draw(figure.add_axes(place), contents, scale, texts)
            figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
        plots.append(_inlined(buffer.getvalue(), " / ".join(names)))
    return plots


def _inlined(svg: str, label: str) -> Markup:
    """A Matplotlib SVG for inclusion in HTML, without declarations and namespace addresses."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace("xlink:href", "href").replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{Markup.escape(label)}" ', 1)
    return Markup(svg)
