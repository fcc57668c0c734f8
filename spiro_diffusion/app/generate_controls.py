"""Controls of the generation panel: kind of draw, patient, seed, user curve."""

from collections.abc import Mapping
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from spiro_diffusion.app import requests, upload
from spiro_diffusion.app.controls import PERSON, card, labelled, slider
from spiro_diffusion.app.drawn_session_table import PATTERNS
from spiro_diffusion.app.requests import EITHER, Request
from spiro_diffusion.app.view import label
from spiro_diffusion.core.vocabulary import INDICES
from spiro_diffusion.generation.conditions import DRUG
from spiro_diffusion.generation.known_values import NAMES

KEY = "generate"
CONTROL_NAMES = ("draw", "n", "guidance", "effort", "before", "after", "spoiled", "pattern", *NAMES, "seed")
CONTROLS = PERSON | {name: f"{KEY}-{name}" for name in CONTROL_NAMES}
OF_EFFORTS, OF_SESSION = "of-efforts", "of-session"  # classes of components for one kind of draw only


def choice() -> Component:
    """The choice between single efforts and a session."""
    draws = dcc.RadioItems(requests.DRAWS, "efforts", id=CONTROLS["draw"], inline=True)
    return card([labelled("Draw", draws)], id=f"{KEY}-choice")


def layout(made_from: Mapping[str, Any]) -> Component:
    """Cards of controls."""
    first = Request.first(made_from)
    low, high = requests.SEEDS
    seed = dcc.Input(first.seed, type="number", id=CONTROLS["seed"], min=low, max=high, step=1, debounce=True)
    curves = [
        html.Div(_single(first), className=OF_EFFORTS),
        html.Div(_session(first), className=OF_SESSION),
        labelled("Seed", html.Div([seed, html.Button("Draw others", id=f"{KEY}-again")], className="together")),
    ]
    user_controls = [html.H3("Your own curve"), *upload.layout(KEY)]
    cards = [card([html.H3("Curves"), *curves]), card([html.H3("Patient"), *_patient()])]
    return html.Aside([*cards, html.Div(card(user_controls), className=OF_EFFORTS)])


def _single(first: Request) -> list[Component]:
    efforts = {key: words for key, (words, _) in requests.EFFORTS.items()}
    return [
        slider(CONTROLS["n"], "Number of curves", requests.N, first.n, 8),
        slider(CONTROLS["guidance"], "Guidance", requests.GUIDANCE, first.guidance, 0.25),
        html.P(
            "1 keeps the spread of the population; larger values exaggerate the effect of age, height and sex.",
            className="hint",
        ),
        _chosen("effort", "Kind of effort", efforts, first.effort),
    ]


def _session(first: Request) -> list[Component]:
    fault_choices = {EITHER: "as they come"} | {
        kind: f"at least one {words}" for kind, words in requests.FAULTY.items()
    }
    return [
        slider(CONTROLS["before"], "Efforts", requests.BEFORE, first.before, 1),
        slider(CONTROLS["after"], "Efforts after a bronchodilator", requests.AFTER, first.after, 1),
        html.P(f"{DRUG[:1].upper()}{DRUG[1:]}.", className="hint"),
        _chosen("spoiled", "Faulty efforts", fault_choices, EITHER),
    ]


def _patient() -> list[Component]:
    patterns = {EITHER: "as they come"} | {key: f"{words[:1].upper()}{words[1:]}" for key, words in PATTERNS.items()}
    fields = [
        labelled(
            f"{label(INDICES[name])}{f' ({INDICES[name].unit})' if INDICES[name].unit else ''}",
            dcc.Input("", type="text", id=CONTROLS[name], debounce=True, maxLength=requests.LONGEST_KNOWN),
        )
        for name in NAMES
    ]
    hint = "A value (2.5), a range (2.2:2.8), percent of predicted (80%) or a z-score (z-1.7). Empty: not fixed."
    return [
        _chosen("pattern", "Pattern", patterns, EITHER),
        html.Details(
            [html.Summary("Known values"), html.P(hint, className="hint"), html.Div(fields, className="known")]
        ),
        html.P("Rare combinations take longer.", className="hint"),
    ]


def _chosen(name: str, title: str, words: Mapping[str, str], value: str) -> Component:
    """A drop-down list, by its control's name."""
    return labelled(title, dcc.Dropdown(dict(words), value, id=CONTROLS[name], clearable=False, searchable=False))
