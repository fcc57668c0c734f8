"""Pieces that the panels are made of: controls, the person, a plot in its frame, a line that tells something."""

from collections.abc import Mapping
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from spiro_diffusion.app import requests
from spiro_diffusion.app.requests import Asked

GRAPH: Any = {
    "displaylogo": False,
    "modeBarButtons": [["zoom2d", "pan2d", "resetScale2d"]],
    "doubleClick": "reset",
}


def labelled(title: str, control: Component) -> Component:
    """A control under its name."""
    return html.Div([html.Label(title, htmlFor=getattr(control, "id", None)), control], className="control")


def slider(key: str, title: str, ends: tuple[float, float], value: float, step: float) -> Component:
    """A slider with the id `key`, marked at its ends."""
    marks = {end: f"{end:g}" for end in ends}
    return labelled(title, dcc.Slider(*ends, step, value=value, marks=marks, id=key))


def person(key: str, made_from: Mapping[str, Any]) -> list[Component]:
    """Age, height and sex: `key`-age, `key`-height, `key`-sex; what the model was trained on is their range."""
    ends, first = requests.whole(made_from), Asked.first(made_from)
    return [
        slider(f"{key}-age", "Age (years)", ends["age"], first.age, 1),
        slider(f"{key}-height", "Height (cm)", ends["height"], first.height, 1),
        labelled("Sex", dcc.RadioItems({"male": "male", "female": "female"}, first.sex, id=f"{key}-sex", inline=True)),
    ]


def plot(title: str, **graph: Any) -> Component:
    """A plot under its title; `graph` is what dcc.Graph takes."""
    chart = html.Div(dcc.Graph(config=GRAPH, responsive=True, **graph), className="chart")
    return html.Figure([html.Figcaption(title), chart])


def legend(entries: Mapping[str, str]) -> Component:
    """What the marks of a plot stand for, by the class of their swatch."""
    items = [
        html.Li([html.Span(className=f"swatch {key}"), text], className=f"of-{key}") for key, text in entries.items()
    ]
    return html.Ul(items, className="legend")


def note(text: str) -> Component:
    """A sentence to be heeded."""
    return html.P(f"{text[:1].upper()}{text[1:]}.", className="note")


def alert(text: str) -> Component:
    """Why nothing is shown, in one line."""
    return html.P(text, className="alert", role="alert")
