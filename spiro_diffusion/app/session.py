"""The session panel: all blows of a person, which of them count, and the printable report."""

import dataclasses
import functools
from pathlib import Path
from typing import Any, NamedTuple

from dash import Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from spiro_diffusion.app import controls, requests, upload, user_effort
from spiro_diffusion.app.controls import PERSON, alert, card, labelled, note
from spiro_diffusion.app.panel import Panel
from spiro_diffusion.app.requests import Drawer
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.sessions import (
    Decision,
    Header,
    Interpretation,
    Session,
    Visit,
    interpret,
    page,
    page_html,
    page_pdf,
)
from spiro_diffusion.sessions import Person as Subject
from spiro_diffusion.sessions.page_contents import Contents, Interval
from spiro_diffusion.sessions.page_words import words
from spiro_diffusion.sessions.reading import recounted, session_of
from spiro_diffusion.sessions.records import GROUPS, HEADER
from spiro_diffusion.user_curves import UserCurves
from spiro_diffusion.user_curves.efforts import BTPS_RANGE

KEY = "session"
FILES = {"file": "Blows (all, or those before the drug)", "post": "Blows after the drug"}
FIELDS = {name: words("en")[name] for name in HEADER}
LONGEST = {"comments": 400}  # characters
LONGEST_FIELD = 80
LONGEST_WHY = 120
LANGUAGES = {"en": "English", "zh": "中文", "de": "Deutsch"}
PAPERS = {"a4": "A4", "letter": "Letter"}
DOWNLOADS = {"pdf": "Report PDF", "html": "Report HTML"}
KEPT = 4  # files whose curves are remembered
FIRST = (
    "Choose the blows of a session: a file of several, or one before and one after the drug. Age, height and sex are "
    "those above. Not for diagnosis."
)


class Sent(NamedTuple):
    """The data sent by a browser."""

    files: dict[str, dict[str, str] | None]
    btps: Any
    person: dict[str, Any]
    group: Any


def layout(drawer: Drawer) -> Component:
    """Files, head and choices beside the report."""
    low, high = BTPS_RANGE
    factor: Any = {"min": low, "max": high, "step": "any", "placeholder": "as the file says", "debounce": True}
    groups = [{"label": group.replace("_", " ").capitalize(), "value": group} for group in GROUPS]
    files = [part for name, title in FILES.items() for part in _upload(name, title)]
    items = [
        html.H3("Blows"),
        *files,
        labelled("Factor to BTPS", dcc.Input(type="number", id=f"{KEY}-btps", **factor)),
        labelled("Group, for PEF and FEF25-75", dcc.Dropdown(groups, id=f"{KEY}-group", searchable=False)),
        html.Details([html.Summary("Head of the page"), *(_field(name, title) for name, title in FIELDS.items())]),
        labelled("Language", dcc.RadioItems(LANGUAGES, "en", id=f"{KEY}-language", inline=True)),
        labelled("Sheet", dcc.RadioItems(PAPERS, "a4", id=f"{KEY}-paper", inline=True)),
    ]
    if drawer.generator.reconstructor_file is not None:
        choice = dcc.Checklist({"yes": "Complete interrupted blows"}, [], id=f"{KEY}-complete")
        items.append(choice)
    else:
        items.append(dcc.Store(id=f"{KEY}-complete", data=[]))
    results = [
        html.Div(id=f"{KEY}-said", role="status"),
        html.Fieldset(
            [
                html.Legend("Blows that count"),
                dcc.Checklist([], [], id=f"{KEY}-counting", className="counting"),
                labelled(
                    "Why you decide otherwise than the rules",
                    dcc.Input(type="text", id=f"{KEY}-why", maxLength=LONGEST_WHY, debounce=True, autoComplete="off"),
                ),
            ],
            id=f"{KEY}-choice",
            className="absent",
        ),
        html.Div(id=f"{KEY}-report", className="report"),
        controls.downloads(KEY, DOWNLOADS),
        html.Div(id=f"{KEY}-download-said", role="status"),
        dcc.Download(id=f"{KEY}-download"),
        dcc.Store(id=f"{KEY}-rules"),
    ]
    return html.Div([html.Aside(card(items)), html.Div(results)], className="columns")


def _upload(name: str, title: str) -> list[Component]:
    return [
        dcc.Upload(html.Button(title, className="wide-button"), id=f"{KEY}-{name}-upload"),
        html.Div(id=f"{KEY}-{name}-refused", role="status"),
        dcc.Store(id=f"{KEY}-{name}"),
        dcc.Store(id=f"{KEY}-{name}-most", data=user_effort.MOST_BYTES),
    ]


def _field(name: str, title: str) -> Component:
    length = LONGEST.get(name, LONGEST_FIELD)
    box: Any = {"type": "text", "maxLength": length, "debounce": True, "autoComplete": "off"}
    return labelled(title, dcc.Input(id=f"{KEY}-head-{name}", **box))


def connect(app: Dash, drawer: Drawer) -> None:
    """Register the callbacks of the controls."""
    for name in FILES:
        control_id = f"{KEY}-{name}"
        upload.receive(app, f"{control_id}-upload", control_id, f"{control_id}-refused", f"{control_id}-most")

    @app.callback(
        output=(
            Output(f"{KEY}-counting", "options"),
            Output(f"{KEY}-counting", "value"),
            Output(f"{KEY}-rules", "data"),
            Output(f"{KEY}-choice", "className"),
            Output(f"{KEY}-said", "children"),
        ),
        inputs={**_sent(Input), "value": State(f"{KEY}-counting", "value"), "rules": State(f"{KEY}-rules", "data")},
    )
    def choose(value: Any, rules: Any, **given: Any) -> tuple:
        return offered(Sent(**given), value or [], rules)

    of_complete = "value" if drawer.generator.reconstructor_file is not None else "data"
    _connect_page(app, drawer, of_complete)


def _connect_page(app: Dash, drawer: Drawer, of_complete: str) -> None:
    """Register the display and download of the report; `of_complete` is the id of the choice to complete."""

    @app.callback(
        output=Output(f"{KEY}-report", "children"),
        inputs={"made": _sent(State), **_chosen(Input, of_complete)},
        prevent_initial_call=True,
    )
    def show(made: dict[str, Any], **choices: Any) -> Any:
        return report_frame(drawer, Sent(**made), choices)

    @app.callback(
        output=(Output(f"{KEY}-download", "data"), Output(f"{KEY}-download-said", "children")),
        inputs={
            "clicks": [Input(f"{KEY}-save-{name}", "n_clicks") for name in DOWNLOADS],
            "made": _sent(State),
            **_chosen(State, of_complete),
        },
        prevent_initial_call=True,
    )
    def save(clicks: Any, made: dict[str, Any], **choices: Any) -> tuple[Any, list]:
        del clicks  # `ctx` names the button
        return saved(drawer, Sent(**made), choices, str(ctx.triggered_id).rpartition("-")[2])


def _sent(kind: type[Input | State]) -> dict[str, Any]:
    return {
        "files": {name: kind(f"{KEY}-{name}", "data") for name in FILES},
        "btps": kind(f"{KEY}-btps", "value"),
        "person": {name: kind(key, "value") for name, key in PERSON.items()},
        "group": kind(f"{KEY}-group", "value"),
    }


def _chosen(kind: type[Input | State], of_complete: str) -> dict[str, Any]:
    return {
        "counting": kind(f"{KEY}-counting", "value"),
        "why": kind(f"{KEY}-why", "value"),
        "head": {name: kind(f"{KEY}-head-{name}", "value") for name in FIELDS},
        "language": kind(f"{KEY}-language", "value"),
        "paper": kind(f"{KEY}-paper", "value"),
        "complete": kind(f"{KEY}-complete", of_complete),
    }


PANEL = Panel(KEY, "A session and its page", layout, connect)


# --- results of the callbacks ---------------------------------------------------------------------------------------


def offered(sent: Sent, value: list[str], rules: dict[str, Any] | None) -> tuple[list, list, Any, str, list]:
    """The blows to choose from, those that count, those that count by the rules, the class of the choice, and remarks.

    Decisions on the same blows are kept when the person changes.
    """
    if not any(sent.files.values()):
        return [], [], None, "absent", [card([html.P(FIRST, className="hint")])]
    try:
        session = session_read(sent)
    except SpiroError as error:
        return [], [], None, "absent", [card([alert(str(error))])]
    names, counted = [blow.name for blow in session.blows], [blow.name for blow in session.blows if blow.counts]
    if rules and rules["names"] == names:
        decided = set(value) ^ set(rules["counted"])
        counted_now = [name for name in names if (name in counted) != (name in decided)]
    else:
        counted_now = counted
    options = [{"label": label, "value": name} for name, label in zip(names, _labels(session), strict=True)]
    lines: list[Component] = [note(text) for text in session.notes]
    return options, counted_now, {"names": names, "counted": counted}, "choice card", lines


def _labels(session: Session) -> list[str]:
    contents = page.contents_of(interpret(session))
    labels = []
    for one in contents.blows:
        blow = one.blow
        phase = "before" if blow.phase == "pre" else "after"
        values = ", ".join(f"{name.upper()} {contents.number(blow.indices[name], 2)} L" for name in ("fev1", "fvc"))
        labels.append(f"{blow.number} {phase}: {values}" + (f" · {'; '.join(one.words)}" if one.words else ""))
    return labels


def report_frame(drawer: Drawer, sent: Sent, choices: dict[str, Any]) -> list[Component]:
    """The report in a frame, or the error."""
    if not any(sent.files.values()):
        return []
    try:
        contents = _contents(drawer, sent, choices)
        text = page_html.render(contents, page.checked(Path("a.html"), contents.language, str(choices["paper"]))[0])
    except SpiroError as error:
        return [card([alert(str(error))])]
    return [html.Iframe(srcDoc=text, title="The page of the session", sandbox="", className="sheet")]


def saved(drawer: Drawer, sent: Sent, choices: dict[str, Any], kind: str) -> tuple[Any, list]:
    """The download, or the error."""
    if not any(sent.files.values()):
        return no_update, [alert("There is no session yet: choose its efforts")]
    try:
        contents = _contents(drawer, sent, choices)
        paper, _ = page.checked(Path(f"a.{kind}"), contents.language, str(choices["paper"]))
        if kind == "pdf":
            return dcc.send_bytes(page_pdf.render(contents, paper), "spirometry.pdf"), []
        return dcc.send_string(page_html.render(contents, paper), "spirometry.html"), []
    except SpiroError as error:
        return no_update, [alert(str(error))]


def session_read(sent: Sent) -> Session:
    """The session by the rules, without decisions of the user.

    Raises SpiroError as `session_of` does, and for files that cannot be read.
    """
    btps = requests.btps(sent.btps)
    parts = {name: _curves(file["contents"], file["name"], btps) for name, file in sent.files.items() if file}
    given = requests.person(sent.person)
    person = Subject(given["age"], given["height"], given["sex"], sent.group or None)
    if "file" not in parts:
        raise SpiroError("these are the blows after the drug; choose those before it too")
    return session_of(parts["file"], person, post=parts.get("post"))


@functools.lru_cache(KEPT)
def _curves(contents: str, name: str, btps: float | None) -> UserCurves:
    return user_effort.read_upload(contents, name, btps)


def _interpretation(sent: Sent, choices: dict[str, Any]) -> Interpretation:
    """The interpretation of the session with the user's decisions; the other blows are judged by the rules."""
    session = session_read(sent)
    head = {name: str(choices["head"].get(name) or "").strip()[: LONGEST.get(name, LONGEST_FIELD)] for name in FIELDS}
    counting, why = set(choices["counting"] or []), str(choices["why"] or "").strip()[:LONGEST_WHY]
    decisions = {
        blow.name: Decision(blow.name in counting, head["operator"], why)
        for blow in session.blows
        if (blow.name in counting) != blow.counts
    }
    decided = recounted(session, decisions) if decisions else session
    return interpret(dataclasses.replace(decided, visit=Visit(Header(**head), decisions=decisions)))


def _contents(drawer: Drawer, sent: Sent, choices: dict[str, Any]) -> Contents:
    _, language = page.checked(Path("a.html"), str(choices["language"]), str(choices["paper"]))
    read = _interpretation(sent, choices)
    completed: dict[int, Interval] = {}
    if choices["complete"]:
        completed = drawer.completed(read.session)
    return page.contents_of(read, language, completed)
