"""The panel that draws curves for a person, and the user's own among them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from spiro_diffusion.app import controls, figures, picture, requests, upload, user_effort
from spiro_diffusion.app.controls import PERSON, alert, card, headed, labelled, note, slider
from spiro_diffusion.app.panel import Panel
from spiro_diffusion.app.requests import Drawer, Drawn, Request
from spiro_diffusion.app.table import NOTE, table
from spiro_diffusion.app.view import View, view
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.vocabulary import INDICES
from spiro_diffusion.generation.columns import INSPIRED
from spiro_diffusion.generation.conditions import EFFORTS

KEY = "generate"
CONTROLS = PERSON | {name: f"{KEY}-{name}" for name in ("n", "guidance", "seed", "effort")}
DOWNLOADS = {"curves": "Curves CSV", "indices": "Indices CSV", "picture": "Picture PNG"}
LEGEND = {
    "line": f"single curves (at most {requests.LINES})",
    "narrow": "25–75 %",
    "wide": "5–95 %",
    "median": "median",
    "lln": "GLI Global LLN",
    "user": "your curve",
}


def layout(drawer: Drawer) -> Component:
    """Controls beside plots and table; on a phone one under the other."""
    return html.Div([_controls(drawer.generator.made_from), _results()], className="columns")


def connect(app: Dash, drawer: Drawer) -> None:
    """Register what the controls do."""
    stored, effort = f"{KEY}-user", f"{KEY}-user-effort"
    kept = {
        "controls": {name: State(key, "value") for name, key in CONTROLS.items()},
        "stored": State(stored, "data"),
        "number": State(effort, "value"),
    }
    changed = {
        "controls": {name: Input(key, "value") for name, key in CONTROLS.items()},
        "stored": Input(stored, "data"),
        "number": Input(effort, "value"),
    }

    @app.callback(
        output={
            "loop": Output(f"{KEY}-loop", "figure"),
            "spirogram": Output(f"{KEY}-spirogram", "figure"),
            "table": Output(f"{KEY}-table", "children"),
            "subject": Output(f"{KEY}-subject", "children"),
            "notes": Output(f"{KEY}-notes", "children"),
        },
        inputs=changed,
    )
    def show(**sent: Any) -> dict[str, Any]:
        try:
            drawn, seen = _seen(drawer, **sent)
        except SpiroError as error:
            return dict.fromkeys(("loop", "spirogram", "table", "subject"), no_update) | {"notes": [alert(str(error))]}
        return {
            "loop": figures.flow_volume(seen),
            "spirogram": figures.volume_time(seen),
            "table": table(seen),
            "subject": f"{seen.n} curves: {seen.subject}",
            "notes": [note(warning) for warning in drawn.warnings] + judged(seen),
        }

    upload.connect(app, KEY)
    app.clientside_callback(
        ClientsideFunction("spiro", "next"),
        Output(CONTROLS["seed"], "value"),
        Input(f"{KEY}-again", "n_clicks"),
        State(CONTROLS["seed"], "value"),
        prevent_initial_call=True,
    )

    @app.callback(
        output=(Output(f"{KEY}-download", "data"), Output(f"{KEY}-download-said", "children")),
        inputs={"clicks": [Input(f"{KEY}-save-{name}", "n_clicks") for name in DOWNLOADS], **kept},
        prevent_initial_call=True,
    )
    def save(clicks: Any, **sent: Any) -> tuple[Any, list]:
        del clicks  # which button it was, `ctx` says
        try:
            return _file(drawer, str(ctx.triggered_id).removeprefix(f"{KEY}-save-"), sent), []
        except SpiroError as error:
            return no_update, [alert(str(error))]


PANEL = Panel(KEY, "Curves for a person", layout, connect)


def _seen(drawer: Drawer, controls: dict[str, Any], stored: Any, number: Any) -> tuple[Drawn, View]:
    drawn = drawer(Request.checked(**controls))
    return drawn, view(drawn.curves, user_effort.effort(stored, number))


def _file(drawer: Drawer, what: str, sent: dict[str, Any]) -> Any:
    """What is downloaded: curves, indices or the picture."""
    drawn, seen = _seen(drawer, **sent)
    name = Request.checked(**sent["controls"]).name
    if what == "picture":
        source = controls.source(drawer.generator.made_from)
        return dcc.send_bytes(picture.generated(seen, source), f"curves_{name}.png")
    rows = drawn.curves.indices().round(4) if what == "indices" else drawn.curves.to_pandas()
    return dcc.send_string(rows.to_csv(index=False, lineterminator="\n"), f"{what}_{name}.csv")


def _controls(made_from: Mapping[str, Any]) -> Component:
    first = Request.first(made_from)
    efforts = {key: label for key, (label, _) in EFFORTS.items()}
    low, high = requests.SEEDS
    seed = dcc.Input(first.seed, type="number", id=CONTROLS["seed"], min=low, max=high, step=1, debounce=True)
    curves = [
        slider(CONTROLS["n"], "Number of curves", requests.N, first.n, 8),
        slider(CONTROLS["guidance"], "Guidance", requests.GUIDANCE, first.guidance, 0.25),
        html.P("1 keeps the spread of the population; more overstates what age, height and sex say.", className="hint"),
        labelled(
            "Kind of effort",
            dcc.Dropdown(efforts, first.effort, id=CONTROLS["effort"], clearable=False, searchable=False),
        ),
        labelled("Seed", html.Div([seed, html.Button("Draw others", id=f"{KEY}-again")], className="together")),
    ]
    groups = {"Curves": curves, "Your own curve": upload.layout(KEY)}
    return html.Aside([card([html.H3(title), *items]) for title, items in groups.items()])


def _results() -> Component:
    plots = [controls.plot("Flow–volume", id=f"{KEY}-loop"), controls.plot("Volume–time", id=f"{KEY}-spirogram")]
    shown = [
        headed(html.H3(id=f"{KEY}-subject"), controls.legend(LEGEND)),
        html.Div(id=f"{KEY}-notes", role="status"),
        html.Div(plots, className="plots"),
    ]
    indices = [
        headed("Indices", controls.downloads(KEY, DOWNLOADS)),
        html.Div(id=f"{KEY}-download-said", role="status"),
        html.Div(id=f"{KEY}-table", className="scroll"),
        html.P(NOTE, className="hint"),
        dcc.Download(id=f"{KEY}-download"),
    ]
    return html.Div([card(shown), card(indices)], className="results")


def judged(seen: View) -> list[Component]:
    """Whether the user's effort is acceptable, and what was breathed in around it."""
    found = seen.user
    if found is None:
        return []
    fev1, fvc = ("acceptable" if found[f"acceptable_{name}"] else "not acceptable" for name in ("fev1", "fvc"))
    if found["provisional_fvc"]:
        fvc = "provisional until another effort repeats it, since it has no plateau"
    words = f"Your effort by ATS/ERS 2019, as far as a curve tells: FEV₁ {fev1}, FVC {fvc}."
    inspired = [
        f"{INDICES[name].label} {found[name]:.2f} {INDICES[name].unit}"
        for name in INSPIRED
        if name in found and np.isfinite(found[name])
    ]
    words += f" {', '.join(inspired)}." if inspired else ""
    good = found["acceptable_fev1"] and found["acceptable_fvc"]
    return [html.P(words, className="said" if good else "note")]
