"""The page: a frame with the panels one below the other."""

from collections.abc import Sequence

from dash import Dash, html
from dash.development.base_component import Component

from spiro_diffusion.app import controls, generate, reconstruct, session
from spiro_diffusion.app.panel import Panel
from spiro_diffusion.app.requests import Drawer
from spiro_diffusion.core.version import VERSION
from spiro_diffusion.generation.intended_use import LIMITS
from spiro_diffusion.plotting import style

PANELS = (generate.PANEL, reconstruct.PANEL, session.PANEL)
INDEX = f"""<!DOCTYPE html>
<html lang="en">
  <head>{{%metas%}}<title>{{%title%}}</title>{{%favicon%}}<style>{style.css()}</style>{{%css%}}</head>
  <body>{{%app_entry%}}{{%config%}}{{%scripts%}}{{%renderer%}}</body>
</html>"""


def make(drawer: Drawer, panels: Sequence[Panel] = PANELS) -> Dash:
    """The page as a Dash application; it loads nothing from other hosts."""
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
    app.layout = _frame(drawer, panels)
    for panel in panels:
        panel.connect(app, drawer)
    return app


def _frame(drawer: Drawer, panels: Sequence[Panel]) -> Component:
    links = [html.A(panel.title, href=f"#{panel.key}") for panel in panels] if len(panels) > 1 else []
    sections = [
        html.Section([*([html.H2(panel.title)] if links else []), panel.layout(drawer)], id=panel.key)
        for panel in panels
    ]
    head = [
        html.H1("Spiro-Diffusion"),
        html.P("Forced expirations of a trained generator", className="what"),
        html.P("Not for diagnosis", className="badge"),
        html.P(f"{controls.source(drawer.generator.made_from)}.", className="source"),
        *([html.Nav(links)] if links else []),
        *(controls.note(warning) for warning in drawer.generator.warnings),
    ]
    foot = [html.Ul([html.Li(limit) for limit in LIMITS]), html.P(f"spiro {VERSION}")]
    return html.Div(
        [
            html.Header(head),
            html.Main([controls.person(drawer.generator.made_from), *sections]),
            html.Footer(foot, className="colophon"),
            html.P("Drawing …", className="busy", role="status"),  # shown by the style sheet while Dash waits
        ],
        className="page",
    )
