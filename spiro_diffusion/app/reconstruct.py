"""The panel that makes a user's own spoiled effort whole, with how sure that is."""

from typing import Any

from dash import Dash, Input, Output, dcc, html
from dash.development.base_component import Component

from spiro_diffusion.app import completion_view, controls, figures, requests, upload, user_effort
from spiro_diffusion.app.controls import alert, labelled, note
from spiro_diffusion.app.panel import Panel
from spiro_diffusion.app.requests import Draws, Reconstruction
from spiro_diffusion.app.user_effort import Effort
from spiro_diffusion.core.errors import SpiroError

KEY = "reconstruct"
PERSON = ("age", "height", "sex")
LONGEST_MASK = 200  # characters
LEGEND = {
    "trusted": "recorded",
    "doubted": "recorded, not trusted",
    "median": "median",
    "narrow": "25–75 %",
    "wide": "5–95 %",
}
ABSENT = (
    "The reconstructor is not among the models: fetch it with dvc pull reconstruct, or make it with make repro; then "
    "start this page again."
)
FIRST = (
    "Choose a file with an effort that was cut short, coughed into or badly begun. Shown are what is wrong with it, "
    "the full efforts that fit what was measured well, and how sure they are. Not for diagnosis."
)


def layout(draws: Draws) -> Component:
    """Controls beside what was found; without a reconstructor, one line."""
    if draws.generator.reconstructor_file is None:
        return html.P(ABSENT, className="note")
    items = [
        html.H3("Your effort"),
        *upload.layout(KEY),
        labelled(
            "Trusted (s from time zero)",
            dcc.Input(
                type="text",
                id=f"{KEY}-mask",
                placeholder="0:2.0",
                maxLength=LONGEST_MASK,
                debounce=True,
                autoComplete="off",
            ),
        ),
        html.P("Empty: the faults that are found decide. Several spans: 0:0.6,1.1:2.0.", className="hint"),
        *controls.person(KEY, draws.generator.made_from),
    ]
    results = html.Div(id=f"{KEY}-results", className="results", role="status")
    return html.Div([html.Aside(html.Section(items, className="card")), results], className="columns")


def connect(app: Dash, draws: Draws) -> None:
    """Register what the controls do."""
    if draws.generator.reconstructor_file is None:
        return
    upload.connect(app, KEY)

    @app.callback(
        output=Output(f"{KEY}-results", "children"),
        inputs={
            "person": {name: Input(f"{KEY}-{name}", "value") for name in PERSON},
            "mask": Input(f"{KEY}-mask", "value"),
            "stored": Input(f"{KEY}-own", "data"),
            "number": Input(f"{KEY}-own-effort", "value"),
        },
    )
    def show(person: dict[str, Any], mask: Any, stored: Any, number: Any) -> list[Component]:
        effort = user_effort.effort(stored, number)
        return [_card([html.P(FIRST, className="hint")])] if effort is None else answer(draws, effort, person, mask)


def answer(draws: Draws, effort: Effort, person: dict[str, Any], mask: Any) -> list[Component]:
    """What is shown of an effort, for what a browser sent: why there is nothing, or faults, plots and table."""
    try:
        asked_mask = str(mask or "").strip()[:LONGEST_MASK] or None
        return _results(draws.reconstruct(effort, requests.person(person), asked_mask))
    except SpiroError as error:
        return [_card([alert(str(error))])]


PANEL = Panel(KEY, "Reconstruction of a spoiled effort", layout, connect)


def _results(reconstruction: Reconstruction) -> list[Component]:
    result, warnings = reconstruction
    plots = [
        controls.plot(
            "Volume–time", id=f"{KEY}-spirogram", figure=figures.spirogram(completion_view.shown_spirogram(result))
        ),
        controls.plot("Flow–volume", id=f"{KEY}-loop", figure=figures.loop(completion_view.shown_loop(result))),
    ]
    title = f"{len(result.flow)} full efforts for yours"
    return [
        _card(
            [
                html.Div([html.H3(title), controls.legend(LEGEND)], className="over"),
                *(note(text) for text in warnings),
                *(note(completion_view.found(fault)) for fault in result.faults),
                html.P(result.sentence, className="said"),
                html.Div(plots, className="plots"),
            ]
        ),
        _card(
            [
                html.H3("Recovered indices"),
                html.Div(completion_view.table(result), className="scroll"),
                html.P(completion_view.NOTE, className="hint"),
            ]
        ),
    ]


def _card(items: list[Component]) -> Component:
    return html.Section(items, className="card")
