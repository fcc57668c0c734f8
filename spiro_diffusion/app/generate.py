"""The panel that draws curves for a person: single efforts, with user curves for comparison, or a whole session."""

from typing import Any, NamedTuple

import numpy as np
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from spiro_diffusion.app import (
    controls,
    drawn_session_table,
    figures,
    generate_controls,
    picture,
    requests,
    upload,
    user_effort,
)
from spiro_diffusion.app.controls import alert, card, headed, note
from spiro_diffusion.app.drawn_session import DrawnSession, as_recorded, drawn_session
from spiro_diffusion.app.generate_controls import CONTROLS, KEY
from spiro_diffusion.app.panel import Panel
from spiro_diffusion.app.requests import Drawer, Drawn, Request
from spiro_diffusion.app.table import NOTE, table
from spiro_diffusion.app.view import View, view
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.vocabulary import INDICES
from spiro_diffusion.generation.columns import INSPIRED
from spiro_diffusion.generation.drawn_curves import counted

DOWNLOADS = {"curves": "Curves CSV", "indices": "Indices CSV", "picture": "Picture PNG"}
OUTPUTS = ("loop", "spirogram", "table", "subject", "legend", "hint", "notes")  # with the property that is set
LEGEND = {
    "line": f"single curves (at most {requests.LINES})",
    "narrow": "25–75 %",
    "wide": "5–95 %",
    "median": "median",
    "lln": "GLI Global LLN",
    "user": "your curve",
}
BEFORE = {"median": "best effort", "line": "the others"}
AFTER = {
    "median": "best effort before",
    "line": "the others before",
    "user": "best effort after",
    "after-line": "the others after",
}


class Sent(NamedTuple):
    """The data sent by a browser: the controls' values, the user's efforts as it kept them, and the selected one."""

    controls: dict[str, Any]
    stored: Any
    number: Any


def layout(drawer: Drawer) -> Component:
    """Controls beside plots and table; stacked on a phone."""
    columns = html.Div([generate_controls.layout(drawer.generator.made_from), _results()], className="columns")
    return html.Div([generate_controls.choice(), columns], id=f"{KEY}-panel", className="draws-efforts")


def connect(app: Dash, drawer: Drawer) -> None:
    """Register the callbacks of the controls."""

    def sent(kind: type[Input | State]) -> dict[str, Any]:
        return {
            "controls": {name: kind(key, "value") for name, key in CONTROLS.items()},
            "stored": kind(f"{KEY}-user", "data"),
            "number": kind(f"{KEY}-user-effort", "value"),
        }

    @app.callback(
        output={
            name: Output(f"{KEY}-{name}", "figure" if name in ("loop", "spirogram") else "children") for name in OUTPUTS
        },
        inputs=sent(Input),
    )
    def show(**values: Any) -> dict[str, Any]:
        try:
            return outputs(drawer, Sent(**values))
        except SpiroError as error:
            return dict.fromkeys(OUTPUTS, no_update) | {"notes": [alert(str(error))]}

    upload.connect(app, KEY)
    app.clientside_callback(
        ClientsideFunction("spiro", "next"),
        Output(CONTROLS["seed"], "value"),
        Input(f"{KEY}-again", "n_clicks"),
        State(CONTROLS["seed"], "value"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("spiro", "draws"), Output(f"{KEY}-panel", "className"), Input(CONTROLS["draw"], "value")
    )

    @app.callback(
        output=(Output(f"{KEY}-download", "data"), Output(f"{KEY}-download-said", "children")),
        inputs={"clicks": [Input(f"{KEY}-save-{name}", "n_clicks") for name in DOWNLOADS], **sent(State)},
        prevent_initial_call=True,
    )
    def save(clicks: Any, **values: Any) -> tuple[Any, list]:
        del clicks  # `ctx` names the button
        try:
            return saved(drawer, Sent(**values), str(ctx.triggered_id).removeprefix(f"{KEY}-save-")), []
        except SpiroError as error:
            return no_update, [alert(str(error))]


PANEL = Panel(KEY, "Curves for a person", layout, connect)


def outputs(drawer: Drawer, sent: Sent) -> dict[str, Any]:
    """The plots, tables and texts of a request, by OUTPUTS.

    Raises SpiroError if it cannot be drawn.
    """
    drawn, seen = _seen(drawer, sent)
    warnings: list[Component] = [note(warning) for warning in drawn.warnings]
    if isinstance(seen, DrawnSession):
        after = (seen.efforts["phase"] == "post").any()
        return {
            "loop": figures.session_flow_volume(seen),
            "spirogram": figures.session_volume_time(seen),
            "table": drawn_session_table.tables(seen),
            "subject": f"Simulated session of {counted(len(seen.efforts), 'effort')}: {seen.subject}",
            "legend": controls.legend((AFTER if after else BEFORE) | {"lln": LEGEND["lln"]}),
            "hint": drawn_session_table.NOTE,
            "notes": warnings + drawn_session_table.sentences(seen),
        }
    return {
        "loop": figures.flow_volume(seen),
        "spirogram": figures.volume_time(seen),
        "table": table(seen),
        "subject": f"{seen.n} curves: {seen.subject}",
        "legend": controls.legend(LEGEND),
        "hint": NOTE,
        "notes": warnings + judged(seen),
    }


def saved(drawer: Drawer, sent: Sent, what: str) -> Any:
    """The download: curves, indices or the picture.

    Raises SpiroError as `outputs` does.
    """
    drawn, seen = _seen(drawer, sent)
    name = Request.checked(**sent.controls).name
    if what == "picture":
        source = controls.source(drawer.generator.made_from)
        content = picture.generated(seen, source) if isinstance(seen, View) else picture.session(seen, source)
        return dcc.send_bytes(content, f"curves_{name}.png")
    if what == "indices":
        rows = drawn.curves.indices().round(4)
    else:
        rows = as_recorded(drawn.curves) if isinstance(seen, DrawnSession) else drawn.curves.to_pandas()
    return dcc.send_string(rows.to_csv(index=False, lineterminator="\n"), f"{what}_{name}.csv")


def _seen(drawer: Drawer, sent: Sent) -> tuple[Drawn, View | DrawnSession]:
    request = Request.checked(**sent.controls)
    drawn = drawer(request)
    if request.draw == "session":
        return drawn, drawn_session(drawn.curves)
    return drawn, view(drawn.curves, user_effort.effort(sent.stored, sent.number))


def _results() -> Component:
    plots = [controls.plot("Flow–volume", id=f"{KEY}-loop"), controls.plot("Volume–time", id=f"{KEY}-spirogram")]
    plot_parts = [
        headed(html.H3(id=f"{KEY}-subject"), html.Div(id=f"{KEY}-legend")),
        html.Div(id=f"{KEY}-notes", role="status"),
        html.Div(plots, className="plots"),
    ]
    indices = [
        headed("Indices", controls.downloads(KEY, DOWNLOADS)),
        html.Div(id=f"{KEY}-download-said", role="status"),
        html.Div(id=f"{KEY}-table", className="scroll"),
        html.P(id=f"{KEY}-hint", className="hint"),
        dcc.Download(id=f"{KEY}-download"),
    ]
    return html.Div([card(plot_parts), card(indices)], className="results")


def judged(seen: View) -> list[Component]:
    """Whether the user's effort is acceptable, and the inspired volume around it."""
    found = seen.user
    if found is None:
        return []
    fev1, fvc = ("acceptable" if found[f"acceptable_{name}"] else "not acceptable" for name in ("fev1", "fvc"))
    if found["provisional_fvc"]:
        fvc = "provisional until another effort repeats it, since it has no plateau"
    words = f"Your effort by ATS/ERS 2019, as far as a curve alone shows it: FEV₁ {fev1}, FVC {fvc}."
    inspired = [
        f"{INDICES[name].label} {found[name]:.2f} {INDICES[name].unit}"
        for name in INSPIRED
        if name in found and np.isfinite(found[name])
    ]
    words += f" {', '.join(inspired)}." if inspired else ""
    good = found["acceptable_fev1"] and found["acceptable_fvc"]
    return [html.P(words, className="said" if good else "note")]
