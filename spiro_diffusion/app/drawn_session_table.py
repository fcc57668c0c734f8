"""Tables of a generated session: its efforts, its best values, and remarks on them."""

from typing import Any

from dash import html
from dash.development.base_component import Component

from spiro_diffusion.app.drawn_session import TABLE_INDICES, DrawnSession, Row
from spiro_diffusion.app.table import ABSENT, number
from spiro_diffusion.app.view import label
from spiro_diffusion.core.vocabulary import INDICES
from spiro_diffusion.generation.conditions import DRUG
from spiro_diffusion.physiology.patterns import Label
from spiro_diffusion.sessions.best_values import Best, Change
from spiro_diffusion.sessions.records import Phase

WHEN: dict[Phase, str] = {"pre": "before", "post": "after"}
TITLES: dict[Phase, str] = {"pre": "Before the bronchodilator", "post": f"After the bronchodilator ({DRUG})"}
PATTERNS: dict[Label, str] = {
    "normal": "normal",
    "obstruction": "obstruction",
    "possible-restriction": "possible restriction",
    "possible-mixed": "possible mixed disorder",
    "low-fev1": "low FEV₁ alone",
    "prism": "PRISm",
    "gold-1": "GOLD 1",
    "gold-2": "GOLD 2",
    "gold-3": "GOLD 3",
    "gold-4": "GOLD 4",
}
NOTE = (
    "Simulated: these efforts are drawn by a model; no person made them. Best values are the largest FEV₁, FVC and PEF "
    "of the efforts of grade A, B or C, possibly from different efforts; FEV₁/FVC is the ratio of the two largest. "
    "Efforts are graded as in NHANES. The best effort has the largest FEV₁ + FVC. Faults are by ATS/ERS 2019, as far "
    "as a curve alone shows them. LLN and z-scores by GLI Global 2022, pattern and response by ERS/ATS 2022. Volumes "
    "and flows at BTPS. Not for diagnosis."
)


def tables(session: DrawnSession) -> list[Component]:
    """The best values, and below them the efforts."""
    return [_best_values(session), html.H3("Efforts"), _efforts(session)]


def sentences(session: DrawnSession) -> list[Component]:
    """The patterns of the best values, and the response to the bronchodilator."""
    several = (session.efforts["phase"] == "post").any()
    remarks = []
    for phase in session.efforts["phase"].unique():
        when = f"{WHEN[phase].capitalize()} the bronchodilator: " if several else "Pattern of the best values: "
        found = session.patterns.get(phase)
        none = "no effort of grade A, B or C, so there are no best values"
        remarks.append(f"{when}{', '.join(PATTERNS[name] for name in found) if found else none}.")
    if any(row.change for row in session.rows):
        which = " and ".join(label(INDICES[name]) for name in session.responded)
        begin = f"A response in {which}" if which else "No response"
        remarks.append(f"{begin} by ERS/ATS 2022 (up by more than 10 % of predicted).")
    return [html.P(" ".join(remarks), className="said")]


def _best_values(session: DrawnSession) -> html.Table:
    """A column for each index, as in the table of the efforts."""
    rows, phases = session.rows, list(session.efforts["phase"].unique())
    several = len(phases) > 1
    body = [_line("Lower limit of normal", [_cell(number(row.lln, row.index.decimals)) for row in rows])]
    for phase in phases:
        when = f" {WHEN[phase]}" if several else ""
        body.append(_line(f"Best{when}", [_value(row, row.best.get(phase)) for row in rows]))
        body.append(_line("Best less second best", [_gap(row, row.gap.get(phase)) for row in rows]))
    if several:
        body.append(_line("Change", [_change(row, row.change) for row in rows]))
    return html.Table([_head(["Session"]), html.Tbody(body)], className="indices session-best")


def _line(title: str, cells: list[html.Td]) -> html.Tr:
    return html.Tr([html.Th(title, scope="row"), *cells])


def _cell(text: str, *small: str, look: str = "") -> html.Td:
    """A value, with a small remark below it."""
    below = [part for words in small for part in (html.Br(), html.Small(words))]
    return html.Td([text, *below], className=look)


def _value(row: Row, best: Best | None) -> html.Td:
    if best is None:
        return _cell(ABSENT)
    low = row.lln is not None and best.value < row.lln
    z = [] if best.z is None else [f"z {number(best.z, 2)}"]
    return _cell(number(best.value, row.index.decimals), *z, look="below" if low else "value")


def _gap(row: Row, gap: float | None) -> html.Td:
    if gap is None:
        return _cell(ABSENT)
    within = "within" if gap <= row.limit + 1e-9 else "beyond"
    return _cell(f"{1000 * gap:.0f} mL", f"{within} {1000 * row.limit:.0f} mL")


def _change(row: Row, change: Change | None) -> html.Td:
    if change is None:
        return _cell(ABSENT)
    if row.name == "ratio":
        return _cell(_signed(change.absolute, 2))
    litres = row.index.unit == "L"
    text = f"{_signed(1000 * change.absolute, 0)} mL" if litres else f"{_signed(change.absolute, 2)} {row.index.unit}"
    predicted = [] if change.percent_predicted is None else [f"{_signed(change.percent_predicted, 1)} % pred."]
    return _cell(text, f"{_signed(change.percent, 1)} %", *predicted)


def _efforts(session: DrawnSession) -> html.Table:
    several, body = (session.efforts["phase"] == "post").any(), []
    for phase, some in session.efforts.groupby("phase", sort=False):
        if several:
            title = html.Th(TITLES[phase], colSpan=2 + len(TABLE_INDICES), scope="rowgroup")  # type: ignore[index]
            body.append(html.Tr(title, className="group"))
        for _, effort in some.iterrows():
            best = bool(effort["best"])
            words = [*(["best"] if best else []), *([str(effort["faults"])] if effort["faults"] else [])]
            head = html.Th([f"{effort['number']} ", html.Small("; ".join(words))], scope="row")
            values = [html.Td(number(effort[name], INDICES[name].decimals)) for name in TABLE_INDICES]
            look = f"{phase} best" if best else str(phase)
            body.append(html.Tr([head, html.Td(str(effort["grade"])), *values], className=look))
    return html.Table([_head(["Effort", "Grade"]), html.Tbody(body)], className="indices session-efforts")


def _head(first: list[str]) -> html.Thead:
    titles: list[Any] = [
        *first,
        *([label(INDICES[name]), " ", html.Small(INDICES[name].unit)] for name in TABLE_INDICES),
    ]
    return html.Thead(html.Tr([html.Th(title, scope="col") for title in titles]))


def _signed(value: float, decimals: int) -> str:
    text = number(value, decimals)
    return text if text.startswith("−") or not float(text) else f"+{text}"
