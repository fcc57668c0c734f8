"""Building blocks of the panels: inputs, the person's data, cards, framed plots, notes."""

from collections.abc import Mapping, Sequence
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from spiro_diffusion.app import requests
from spiro_diffusion.app.requests import Request
from spiro_diffusion.core.vocabulary import SEX_CODES
from spiro_diffusion.generation.intended_use import trained_on

GRAPH: Any = {
    "displaylogo": False,
    "modeBarButtons": [["zoom2d", "pan2d", "resetScale2d"]],
    "doubleClick": "reset",
}
PERSON = {name: f"person-{name}" for name in ("age", "height", "sex")}  # ids of what all panels go by


def labelled(title: str, control: Component) -> Component:
    """A control under its label, which the page's script assigns to its focusable elements."""
    return html.Div([html.Div(title, className="label"), control], className="control")


def slider(key: str, title: str, ends: tuple[float, float], value: float, step: float) -> Component:
    """A slider with the id `key`, with marks at its ends."""
    marks = {end: f"{end:g}" for end in ends}
    return labelled(title, dcc.Slider(*ends, step, value=value, marks=marks, id=key))


def person(made_from: Mapping[str, Any]) -> Component:
    """Age, height and sex, within the range of the training data."""
    ends, first = requests.whole(made_from), Request.first(made_from)
    sexes = {sex: sex for sex in SEX_CODES}
    controls = [
        slider(PERSON["age"], "Age (years)", ends["age"], first.age, 1),
        slider(PERSON["height"], "Height (cm)", ends["height"], first.height, 1),
        labelled("Sex", dcc.RadioItems(sexes, first.sex, id=PERSON["sex"], inline=True)),
    ]
    return card([html.H2("Person"), html.Div(controls, className="abreast")], id="person")


def card(items: Sequence[Component], **properties: Any) -> Component:
    """A section with a frame."""
    return html.Section(items, className="card", **properties)


def headed(title: str | Component, *beside: Component) -> Component:
    """A title, and the components beside it."""
    return html.Div([html.H3(title) if isinstance(title, str) else title, *beside], className="over")


def plot(title: str, **graph: Any) -> Component:
    """A plot under its title; `graph` is passed to dcc.Graph."""
    chart = html.Div(dcc.Graph(config=GRAPH, responsive=True, **graph), className="chart")
    return html.Figure([html.Figcaption(title), chart])


def legend(entries: Mapping[str, str]) -> Component:
    """The legend of a plot, by the class of each swatch."""
    items = [
        html.Li([html.Span(className=f"swatch {key}"), text], className=f"of-{key}") for key, text in entries.items()
    ]
    return html.Ul(items, className="legend")


def downloads(key: str, titles: Mapping[str, str]) -> Component:
    """A button for each file, with the ids `key`-save-NAME."""
    buttons = [html.Button(title, id=f"{key}-save-{name}") for name, title in titles.items()]
    return html.Div(buttons, className="together saves")


def source(made_from: Mapping[str, Any]) -> str:
    """The training data of a model, for the page's head and below its pictures."""
    return f"Trained on {trained_on(made_from)}"


def note(text: str) -> Component:
    """A remark."""
    return html.P(f"{text[:1].upper()}{text[1:]}.", className="note")


def alert(text: str) -> Component:
    """An error in one line."""
    return html.P(text, className="alert", role="alert")
