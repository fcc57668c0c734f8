"""The panel that completes an interrupted or faulty user effort, with prediction intervals."""

from typing import Any

from dash import Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from spiro_diffusion.app import completion_view, controls, figures, picture, requests, upload, user_effort
from spiro_diffusion.app.controls import PERSON, alert, card, headed, labelled, note
from spiro_diffusion.app.panel import Panel
from spiro_diffusion.app.requests import Drawer, Reconstruction
from spiro_diffusion.app.user_effort import Effort
from spiro_diffusion.core.errors import SpiroError

KEY = "reconstruct"
LONGEST_MASK = 200  # characters
DOWNLOADS = {"bands": "Curves CSV", "indices": "Indices CSV", "picture": "Picture PNG"}
LEGEND = {
    "trusted": "recorded",
    "untrusted": "recorded, not trusted",
    "median": "median",
    "narrow": "25–75 %",
    "wide": "5–95 %",
}
ABSENT = (
    "The reconstructor is not among the models: fetch it with dvc pull train_reconstructor, or make it with make "
    "repro; then start this page again."
)
FIRST = (
    "Choose a file with an effort that was cut short, interrupted by a cough or badly started. The page shows its "
    "faults, the full efforts that fit what was measured well, and their prediction intervals. Not for diagnosis."
)


def layout(drawer: Drawer) -> Component:
    """Controls beside the results; one line if there is no reconstructor."""
    if drawer.generator.reconstructor_file is None:
        return html.P(ABSENT, className="note")
    mask: Any = {"placeholder": "0:2.0", "maxLength": LONGEST_MASK, "debounce": True, "autoComplete": "off"}
    items = [
        html.H3("Your effort"),
        *upload.layout(KEY),
        labelled("Trusted (s from time zero)", dcc.Input(type="text", id=f"{KEY}-mask", **mask)),
        html.P("Empty: the faults that are found decide. Several spans: 0:0.6,1.1:2.0.", className="hint"),
    ]
    results = [
        html.Div(id=f"{KEY}-results", className="results", role="status"),
        controls.downloads(KEY, DOWNLOADS),
        html.Div(id=f"{KEY}-download-said", role="status"),
        dcc.Download(id=f"{KEY}-download"),
    ]
    return html.Div([html.Aside(card(items)), html.Div(results)], className="columns")


def connect(app: Dash, drawer: Drawer) -> None:
    """Register the callbacks of the controls."""
    if drawer.generator.reconstructor_file is None:
        return
    upload.connect(app, KEY)

    def sent(kind: type[Input | State]) -> dict[str, Any]:
        return {
            "person": {name: kind(key, "value") for name, key in PERSON.items()},
            "mask": kind(f"{KEY}-mask", "value"),
            "stored": kind(f"{KEY}-user", "data"),
            "number": kind(f"{KEY}-user-effort", "value"),
        }

    @app.callback(output=Output(f"{KEY}-results", "children"), inputs=sent(Input))
    def show(person: dict[str, Any], mask: Any, stored: Any, number: Any) -> list[Component]:
        effort = user_effort.effort(stored, number)
        return (
            [card([html.P(FIRST, className="hint")])]
            if effort is None
            else completion_cards(drawer, effort, person, mask)
        )

    @app.callback(
        output=(Output(f"{KEY}-download", "data"), Output(f"{KEY}-download-said", "children")),
        inputs={"clicks": [Input(f"{KEY}-save-{name}", "n_clicks") for name in DOWNLOADS], **sent(State)},
        prevent_initial_call=True,
    )
    def save(clicks: Any, person: dict[str, Any], mask: Any, stored: Any, number: Any) -> tuple[Any, list]:
        effort = user_effort.effort(stored, number)
        del clicks  # `ctx` names the button
        if effort is None:
            return no_update, []
        try:
            return _file(drawer, _reconstruction(drawer, effort, person, mask), str(ctx.triggered_id)), []
        except SpiroError as error:
            return no_update, [alert(str(error))]


def completion_cards(drawer: Drawer, effort: Effort, person: dict[str, Any], mask: Any) -> list[Component]:
    """The results for an effort: the faults, plots and table, or the reason why there are none."""
    try:
        return _results(_reconstruction(drawer, effort, person, mask))
    except SpiroError as error:
        return [card([alert(str(error))])]


PANEL = Panel(KEY, "Completion of an interrupted effort", layout, connect)


def _reconstruction(drawer: Drawer, effort: Effort, person: dict[str, Any], mask: Any) -> Reconstruction:
    text = str(mask or "").strip()[:LONGEST_MASK] or None
    return drawer.reconstruct(effort, requests.person(person), text)


def _file(drawer: Drawer, reconstruction: Reconstruction, button: str) -> Any:
    """The download: bands by time, indices, or the picture."""
    result = reconstruction.recovered
    if button.endswith("picture"):
        return dcc.send_bytes(
            picture.completed(result, controls.source(drawer.generator.made_from)), "reconstruction.png"
        )
    if button.endswith("indices"):
        return dcc.send_string(result.summary().round(4).to_csv(index_label="index"), "reconstruction_indices.csv")
    return dcc.send_string(result.bands().round(4).to_csv(index=False), "reconstruction.csv")


def _results(reconstruction: Reconstruction) -> list[Component]:
    result, warnings = reconstruction
    loop, spirogram = completion_view.loop_plot(result), completion_view.spirogram_plot(result)
    plots = [
        controls.plot("Flow–volume", id=f"{KEY}-loop", figure=figures.loop(loop)),
        controls.plot("Volume–time", id=f"{KEY}-spirogram", figure=figures.spirogram(spirogram)),
    ]
    plot_parts = [
        headed(f"{len(result.flow)} full efforts that fit yours", controls.legend(LEGEND)),
        *(note(text) for text in warnings),
        *(note(completion_view.found(fault)) for fault in result.faults),
        html.P(result.sentence, className="said"),
        html.Div(plots, className="plots"),
    ]
    indices = [
        html.H3("Indices of the full effort"),
        html.Div(completion_view.table(result), className="scroll"),
        html.P(completion_view.NOTE, className="hint"),
    ]
    return [card(plot_parts), card(indices)]
