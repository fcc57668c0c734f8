"""The control that uploads user curves and lets the user select one of several.

`KEY-user` contains the result of `user_effort.to_store`, `KEY-user-effort` the selected one: see `user_effort.effort`.
"""

from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html
from dash.development.base_component import Component

from spiro_diffusion.app import requests, user_effort
from spiro_diffusion.app.controls import alert, labelled, note
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.user_curves.efforts import BTPS_RANGE


def layout(key: str) -> list[Component]:
    """The button, remarks on the file, the choice among its efforts, and the factor to BTPS."""
    low, high = BTPS_RANGE
    factor: Any = {"min": low, "max": high, "step": "any", "placeholder": "as the file says", "debounce": True}
    return [
        dcc.Upload(html.Button("Choose a file", className="wide-button"), id=f"{key}-upload"),
        html.P(
            "Columns of time and flow or volume, with or without the breaths in around the blow, or a spirometer's "
            "export: CSV, Excel, XML, UK Biobank, ATS/ERS, FHIR. It stays on this computer.",
            className="hint",
        ),
        html.Div(id=f"{key}-user-said", className="user-said", role="status"),
        html.Div(id=f"{key}-file-refused", role="status"),
        html.Div(
            labelled("Effort", dcc.Dropdown([], id=f"{key}-user-effort", clearable=False, searchable=False)),
            id=f"{key}-user-choice",
            className="absent",
        ),
        labelled("Factor to BTPS", dcc.Input(type="number", id=f"{key}-btps", **factor)),
        html.P(
            "If the file does not state it: 1 if at BTPS, else about 1.1, as the spirometer noted.", className="hint"
        ),
        html.Button("Remove", id=f"{key}-user-remove", className="user-remove"),
        dcc.Store(id=f"{key}-file"),
        dcc.Store(id=f"{key}-user"),
        dcc.Store(id=f"{key}-most-bytes", data=user_effort.MOST_BYTES),
    ]


def connect(app: Dash, key: str) -> None:
    """Register the callbacks by which a file is read, refused and removed."""
    receive(app, f"{key}-upload", f"{key}-file", f"{key}-file-refused", f"{key}-most-bytes")

    @app.callback(
        Output(f"{key}-user", "data"),
        Output(f"{key}-user-effort", "options"),
        Output(f"{key}-user-effort", "value"),
        Output(f"{key}-user-choice", "className"),
        Output(f"{key}-user-said", "children"),
        Input(f"{key}-file", "data"),
        Input(f"{key}-btps", "value"),
        prevent_initial_call=True,
    )
    def show(file: dict[str, str] | None, btps: Any) -> tuple:
        return read(file, btps)

    app.clientside_callback(
        ClientsideFunction("spiro", "clear"),
        Output(f"{key}-upload", "contents"),
        Input(f"{key}-user-remove", "n_clicks"),
        prevent_initial_call=True,
    )


def receive(app: Dash, upload: str, store: str, refused: str, most: str) -> None:
    """Register, by the names of its parts, that a chosen file is stored, or why it is refused; one of more bytes than
    `most` is never sent by the browser."""
    app.clientside_callback(
        ClientsideFunction("spiro", "upload"),
        Output(store, "data"),
        Output(refused, "children"),
        Input(upload, "contents"),
        State(upload, "filename"),
        State(most, "data"),
        prevent_initial_call=True,
    )


def read(file: dict[str, str] | None, btps: Any) -> tuple[list | None, list, int | None, str, list[Component]]:
    """From the data of a browser: efforts to keep, those to choose from, the best, the class of the choice, and
    remarks."""
    if not file:
        return None, [], None, "absent", []
    try:
        found = user_effort.read_upload(file["contents"], file["name"], requests.btps(btps))
    except SpiroError as error:
        return None, [], None, "absent", [alert(str(error))]
    options = [{"label": name[: user_effort.MOST_NAME_LENGTH], "value": i} for i, name in enumerate(found.names)]
    summary = (
        f"{file['name'][: user_effort.MOST_NAME_LENGTH]}: {len(found.names)} curve{'s' if len(found.names) > 1 else ''}"
    )
    notes = [html.P(summary), *(note(text) for text in found.notes)]
    visibility = "control" if len(options) > 1 else "absent"
    return user_effort.to_store(found), options, user_effort.best(found), visibility, notes
