"""The page: its frame, and in it the panels, one under the other."""

from collections.abc import Sequence

from dash import Dash, html
from dash.development.base_component import Component

from spiro_diffusion.app import generate, reconstruct
from spiro_diffusion.app.panel import Panel
from spiro_diffusion.app.requests import Draws
from spiro_diffusion.core.version import VERSION
from spiro_diffusion.generation.intended_use import LIMITS, trained_on

PANELS = (generate.PANEL, reconstruct.PANEL)
INDEX = """<!DOCTYPE html>
<html lang="en">
  <head>{%metas%}<title>{%title%}</title>{%favicon%}{%css%}</head>
  <body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>"""


def make(draws: Draws, panels: Sequence[Panel] = PANELS) -> Dash:
    """The page as a Dash application; everything it shows comes from this computer."""
    app = Dash(
        "spiro_diffusion.app",
        title="Spiro-Diffusion",
        update_title="",
        index_string=INDEX,
        serve_locally=True,
        enable_mcp=False,
        add_log_handler=False,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    app.layout = _frame(draws, panels)
    for panel in panels:
        panel.connect(app, draws)
    return app


def _frame(draws: Draws, panels: Sequence[Panel]) -> Component:
    links = [html.A(panel.title, href=f"#{panel.key}") for panel in panels] if len(panels) > 1 else []
    sections = [
        html.Section([*([html.H2(panel.title)] if links else []), panel.layout(draws)], id=panel.key)
        for panel in panels
    ]
    return html.Div(
        [
            html.Header(
                [
                    html.H1("Spiro-Diffusion"),
                    html.P("Forced expirations of a trained generator", className="what"),
                    html.P("Not for diagnosis", className="badge"),
                    html.P(f"Trained on {trained_on(draws.generator.made_from)}.", className="source"),
                    html.Nav(links),
                ]
            ),
            html.Main(sections),
            html.Div(
                [
                    html.Ul([html.Li(limit) for limit in LIMITS]),
                    html.P(f"spiro {VERSION}"),
                ],
                className="colophon",
            ),
        ],
        className="page",
    )
