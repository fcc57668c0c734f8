"""The rows of indices of a view as a table of the page."""

import math

from dash import html

from spiro_diffusion.app.view import Row, View, label

ABSENT = "–"
NOTE = (
    "Generated: median of the curves, 5th to 95th percentile below. GLI Global (Bowerman 2023): lower limit of normal, "
    "the 5th percentile, median below; it has none for the indices without one. Volumes and flows at BTPS."
)


def table(view: View) -> html.Table:
    """A row for each index: generated values and z-scores, GLI Global's lower limit of normal, and the user's values if
    there are any."""
    user = view.user is not None
    names = ["Index", f"Generated (n = {view.n})", "z-score", "LLN"]
    head = [html.Th(name, scope="col") for name in names]
    head += [html.Th(name, scope="col", className="user") for name in ("Your curve", "z-score") if user]
    rows = html.Tbody([_row(row, user) for row in view.rows])
    return html.Table([html.Thead(html.Tr(head)), rows], className="indices with-user" if user else "indices")


def number(value: float | None, decimals: int) -> str:
    """A number with a minus sign as wide as a digit; a dash if it is missing."""
    if value is None or not math.isfinite(value):
        return ABSENT
    text = f"{value:.{decimals}f}"
    return text.replace("-", "−") if float(text) else text.removeprefix("-")


def _row(row: Row, user: bool) -> html.Tr:
    decimals = row.index.decimals
    lln, median = (number(value, decimals) for value in (row.lln, row.median))
    cells = [
        html.Th([label(row.index), " ", html.Small(row.index.unit)], scope="row"),
        _spread(row.generated, decimals),
        _spread(row.z, 2),
        html.Td([lln, *_below(f"median {median}", row.lln)]),
    ]
    if user:
        warned = [html.Br(), html.Small("below LLN")] if row.below else []
        cells += [
            html.Td([number(row.user, decimals), *warned], className="user"),
            html.Td(number(row.user_z, 2), className="user"),
        ]
    return html.Tr(cells)


def _spread(values: tuple[float, float, float] | None, decimals: int) -> html.Td:
    low, middle, high = (number(value, decimals) for value in values or (None, None, None))
    return html.Td([middle, *_below(f"{low} to {high}", values)])


def _below(text: str, there: object) -> list:
    return [html.Br(), html.Small(text)] if there is not None else []
