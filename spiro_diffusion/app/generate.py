"""The panel that draws curves for a person, and the user's own among them."""

from collections.abc import Mapping
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from spiro_diffusion.api import trained_on
from spiro_diffusion.app import asked, figures, own, picture
from spiro_diffusion.app.asked import Asked, Drawn, Draws
from spiro_diffusion.app.panel import Panel
from spiro_diffusion.app.table import NOTE, table
from spiro_diffusion.app.view import View, view
from spiro_diffusion.errors import SpiroError

CONTROLS = {name: f"generate-{name}" for name in ("age", "height", "sex", "n", "guidance", "seed", "effort")}
GRAPH: Any = {
    "displaylogo": False,
    "modeBarButtons": [["zoom2d", "pan2d", "resetScale2d"]],
    "doubleClick": "reset",
}
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
    controls = {name: Input(key, "value") for name, key in CONTROLS.items()}
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
        inputs={"controls": controls, "stored": Input(mine, "data"), "number": Input(effort, "value")},
    )
    def show(controls: dict[str, Any], stored: Any, number: Any) -> dict[str, Any]:
        try:
            drawn, seen = _seen(draws, controls, stored, number)
        except SpiroError as error:
            return dict.fromkeys(("loop", "spirogram", "table", "who"), no_update) | {"notes": [_alert(str(error))]}
        return {
            "loop": figures.flow_volume(seen),
            "spirogram": figures.volume_time(seen),
            "table": table(seen),
            "who": f"{seen.n} curves: {seen.who}",
            "notes": [_note(warning) for warning in drawn.warnings] + _judged(seen),
        }

    app.clientside_callback(
        ClientsideFunction("spiro", "upload"),
        Output("generate-file", "data"),
        Output("generate-file-refused", "children"),
        Input("generate-upload", "contents"),
        State("generate-upload", "filename"),
        State("generate-most-bytes", "data"),
        prevent_initial_call=True,
    )

    @app.callback(
        Output(mine, "data"),
        Output(effort, "options"),
        Output(effort, "value"),
        Output("generate-own-choice", "className"),
        Output("generate-own-said", "children"),
        Input("generate-file", "data"),
        prevent_initial_call=True,
    )
    def read(file: dict[str, str] | None) -> tuple:
        if not file:
            return None, [], None, "absent", []
        try:
            found = own.read_upload(file["contents"], file["name"])
        except SpiroError as error:
            return None, [], None, "absent", [_alert(str(error))]
        options = [{"label": name[: own.NAME_SHOWN], "value": i} for i, name in enumerate(found.names)]
        said = f"{file['name'][: own.NAME_SHOWN]}: {len(found.names)} curve{'s' if len(found.names) > 1 else ''}"
        notes = [html.P(said), *(_note(note) for note in found.notes)]
        return own.to_store(found), options, own.best(found), "control" if len(options) > 1 else "absent", notes

    app.clientside_callback(
        ClientsideFunction("spiro", "clear"),
        Output("generate-upload", "contents"),
        Input("generate-own-remove", "n_clicks"),
        prevent_initial_call=True,
    )
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
            return no_update, [_alert(str(error))]
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
    return drawn, view(drawn.curves, own.effort(stored, number))


def _controls(made_from: Mapping[str, Any]) -> Component:
    ends, first = asked.whole(made_from), Asked.first(made_from)
    person = [
        _slider("age", "Age (years)", ends["age"], first.age, 1),
        _slider("height", "Height (cm)", ends["height"], first.height, 1),
        _labelled(
            "Sex",
            dcc.RadioItems({"male": "male", "female": "female"}, first.sex, id=CONTROLS["sex"], inline=True),
        ),
    ]
    curves = [
        _slider("n", "Number of curves", asked.N, first.n, 8),
        _slider("guidance", "Guidance", asked.GUIDANCE, first.guidance, 0.25),
        html.P("1 keeps the spread of the population; more overstates what age, height and sex say.", className="hint"),
        _labelled(
            "Kind of effort",
            dcc.Dropdown(
                {key: name for key, (name, _) in asked.EFFORTS.items()},
                first.effort,
                id=CONTROLS["effort"],
                clearable=False,
                searchable=False,
            ),
        ),
        _labelled(
            "Seed",
            html.Div(
                [
                    dcc.Input(
                        first.seed,
                        type="number",
                        id=CONTROLS["seed"],
                        min=asked.SEEDS[0],
                        max=asked.SEEDS[1],
                        step=1,
                        debounce=True,
                    ),
                    html.Button("Draw others", id="generate-again"),
                ],
                className="together",
            ),
        ),
    ]
    mine = [
        dcc.Upload(
            html.Button("Choose a CSV file", className="wide-button"),
            id="generate-upload",
            accept=".csv,.txt,text/csv,text/plain",
        ),
        html.P(
            "time_s (s) and flow_l_s (L/s) or volume_l (L), at BTPS, expiration positive; several efforts told apart "
            "by a column curve. It stays on this computer.",
            className="hint",
        ),
        html.Div(id="generate-own-said", role="status"),
        html.Div(id="generate-file-refused", role="status"),
        html.Div(
            _labelled("Effort", dcc.Dropdown([], id="generate-own-effort", clearable=False, searchable=False)),
            id="generate-own-choice",
            className="absent",
        ),
        html.Button("Remove", id="generate-own-remove"),
        dcc.Store(id="generate-file"),
        dcc.Store(id="generate-own"),
        dcc.Store(id="generate-most-bytes", data=own.MOST_BYTES),
    ]
    groups = {"Person": person, "Curves": curves, "Your own curve": mine}
    return html.Aside([html.Section([html.H3(title), *items], className="card") for title, items in groups.items()])


def _results() -> Component:
    legend = [
        html.Li([html.Span(className=f"swatch {key}"), text], className=f"of-{key}") for key, text in LEGEND.items()
    ]
    plots = [
        html.Figure(
            [html.Figcaption(title), html.Div(dcc.Graph(id=key, config=GRAPH, responsive=True), className="chart")]
        )
        for key, title in (("generate-loop", "Flow–volume"), ("generate-spirogram", "Volume–time"))
    ]
    saves = [html.Button(label, id=f"generate-save-{name}") for name, label in DOWNLOADS.items()]
    return html.Div(
        [
            html.Section(
                [
                    html.Div([html.H3(id="generate-who"), html.Ul(legend, className="legend")], className="over"),
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


def _slider(name: str, title: str, ends: tuple[float, float], value: float, step: float) -> Component:
    marks = {end: f"{end:g}" for end in ends}
    return _labelled(title, dcc.Slider(*ends, step, value=value, marks=marks, id=CONTROLS[name]))


def _labelled(title: str, control: Component) -> Component:
    return html.Div([html.Label(title, htmlFor=getattr(control, "id", None)), control], className="control")


def _judged(seen: View) -> list[Component]:
    if seen.acceptable is None:
        return []
    fev1, fvc = ("acceptable" if good else "not acceptable" for good in seen.acceptable)
    words = f"Your effort by ATS/ERS 2019, as far as a curve tells: FEV₁ {fev1}, FVC {fvc}."
    return [html.P(words, className="said" if all(seen.acceptable) else "note")]


def _note(text: str) -> Component:
    return html.P(f"{text[:1].upper()}{text[1:]}.", className="note")


def _alert(text: str) -> Component:
    return html.P(text, className="alert", role="alert")
