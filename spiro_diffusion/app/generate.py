"""The panel that draws curves for a person, and the user's own among them."""

from collections.abc import Mapping
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from spiro_diffusion.app import controls, figures, picture, requests, upload, user_effort
from spiro_diffusion.app.controls import alert, labelled, note, slider
from spiro_diffusion.app.panel import Panel
from spiro_diffusion.app.requests import Asked, Drawn, Draws
from spiro_diffusion.app.table import NOTE, table
from spiro_diffusion.app.view import View, view
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.intended_use import trained_on

CONTROLS = {name: f"generate-{name}" for name in ("age", "height", "sex", "n", "guidance", "seed", "effort")}
DOWNLOADS = {"curves": "Curves CSV", "indices": "Indices CSV", "picture": "Picture PNG"}
LEGEND = {
    "line": "one curve",
    "narrow": "25–75 %",
    "wide": "5–95 %",
    "median": "median",
    "lln": "GLI Global LLN",
    "own": "your curve",
}


def layout(draws: Draws) -> Component:
    """Controls beside plots and table; on a phone one under the other."""
    return html.Div([_controls(draws.generator.made_from), _results()], className="columns")


def connect(app: Dash, draws: Draws) -> None:
    """Register what the controls do."""
    inputs = {name: Input(key, "value") for name, key in CONTROLS.items()}
    kept = {name: State(key, "value") for name, key in CONTROLS.items()}
    mine, effort = "generate-own", "generate-own-effort"

    @app.callback(
        output={
            "loop": Output("generate-loop", "figure"),
            "spirogram": Output("generate-spirogram", "figure"),
            "table": Output("generate-table", "children"),
            "who": Output("generate-who", "children"),
            "notes": Output("generate-notes", "children"),
        },
        inputs={"controls": inputs, "stored": Input(mine, "data"), "number": Input(effort, "value")},
    )
    def show(controls: dict[str, Any], stored: Any, number: Any) -> dict[str, Any]:
        try:
            drawn, seen = _seen(draws, controls, stored, number)
        except SpiroError as error:
            return dict.fromkeys(("loop", "spirogram", "table", "who"), no_update) | {"notes": [alert(str(error))]}
        return {
            "loop": figures.flow_volume(seen),
            "spirogram": figures.volume_time(seen),
            "table": table(seen),
            "who": f"{seen.n} curves: {seen.who}",
            "notes": [note(warning) for warning in drawn.warnings] + _judged(seen),
        }

    upload.connect(app, "generate")
    app.clientside_callback(
        ClientsideFunction("spiro", "next"),
        Output(CONTROLS["seed"], "value"),
        Input("generate-again", "n_clicks"),
        State(CONTROLS["seed"], "value"),
        prevent_initial_call=True,
    )

    @app.callback(
        output=(Output("generate-download", "data"), Output("generate-download-said", "children")),
        inputs={
            "clicks": [Input(f"generate-save-{name}", "n_clicks") for name in DOWNLOADS],
            "controls": kept,
            "stored": State(mine, "data"),
            "number": State(effort, "value"),
        },
        prevent_initial_call=True,
    )
    def save(clicks: Any, controls: dict[str, Any], stored: Any, number: Any) -> tuple[Any, list]:
        del clicks  # which button it was, `ctx` says
        try:
            drawn, seen = _seen(draws, controls, stored, number)
        except SpiroError as error:
            return no_update, [alert(str(error))]
        name = Asked.checked(**controls).name
        if ctx.triggered_id == "generate-save-picture":
            source = f"Trained on {trained_on(draws.generator.made_from)}"
            return dcc.send_bytes(picture.png(seen, source), f"curves_{name}.png"), []
        what = "indices" if ctx.triggered_id == "generate-save-indices" else "curves"
        rows = drawn.curves.indices().round(4) if what == "indices" else drawn.curves.to_pandas()
        return dcc.send_string(rows.to_csv(index=False, lineterminator="\n"), f"{what}_{name}.csv"), []


PANEL = Panel("generate", "Curves for a person", layout, connect)


def _seen(draws: Draws, controls: dict[str, Any], stored: Any, number: Any) -> tuple[Drawn, View]:
    drawn = draws(Asked.checked(**controls))
    return drawn, view(drawn.curves, user_effort.effort(stored, number))


def _controls(made_from: Mapping[str, Any]) -> Component:
    first = Asked.first(made_from)
    curves = [
        slider(CONTROLS["n"], "Number of curves", requests.N, first.n, 8),
        slider(CONTROLS["guidance"], "Guidance", requests.GUIDANCE, first.guidance, 0.25),
        html.P("1 keeps the spread of the population; more overstates what age, height and sex say.", className="hint"),
        labelled(
            "Kind of effort",
            dcc.Dropdown(
                {key: name for key, (name, _) in requests.EFFORTS.items()},
                first.effort,
                id=CONTROLS["effort"],
                clearable=False,
                searchable=False,
            ),
        ),
        labelled(
            "Seed",
            html.Div(
                [
                    dcc.Input(
                        first.seed,
                        type="number",
                        id=CONTROLS["seed"],
                        min=requests.SEEDS[0],
                        max=requests.SEEDS[1],
                        step=1,
                        debounce=True,
                    ),
                    html.Button("Draw others", id="generate-again"),
                ],
                className="together",
            ),
        ),
    ]
    groups = {
        "Person": controls.person("generate", made_from),
        "Curves": curves,
        "Your own curve": upload.layout("generate"),
    }
    return html.Aside([html.Section([html.H3(title), *items], className="card") for title, items in groups.items()])


def _results() -> Component:
    plots = [
        controls.plot("Flow–volume", id="generate-loop"),
        controls.plot("Volume–time", id="generate-spirogram"),
    ]
    saves = [html.Button(label, id=f"generate-save-{name}") for name, label in DOWNLOADS.items()]
    return html.Div(
        [
            html.Section(
                [
                    html.Div([html.H3(id="generate-who"), controls.legend(LEGEND)], className="over"),
                    html.Div(id="generate-notes", role="status"),
                    html.Div(plots, className="plots"),
                ],
                className="card",
            ),
            html.Section(
                [
                    html.Div([html.H3("Indices"), html.Div(saves, className="together saves")], className="over"),
                    html.Div(id="generate-download-said", role="status"),
                    html.Div(id="generate-table", className="scroll"),
                    html.P(NOTE, className="hint"),
                    dcc.Download(id="generate-download"),
                ],
                className="card",
            ),
        ],
        className="results",
    )


def _judged(seen: View) -> list[Component]:
    if seen.acceptable is None:
        return []
    fev1, fvc = ("acceptable" if good else "not acceptable" for good in seen.acceptable)
    words = f"Your effort by ATS/ERS 2019, as far as a curve tells: FEV₁ {fev1}, FVC {fvc}."
    return [html.P(words, className="said" if all(seen.acceptable) else "note")]
