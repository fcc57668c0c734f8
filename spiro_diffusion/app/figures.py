"""Interactive plots of a view. User text never enters them, because Plotly renders HTML in texts."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from spiro_diffusion.app.drawn_session import DrawnSession, Plot
from spiro_diffusion.app.view import CurvePlot, Limit, Line, View
from spiro_diffusion.plotting import style
from spiro_diffusion.plotting.style import ALERT, GENERATED, GRID, INK, PAPER, SOFT
from spiro_diffusion.sessions.records import Phase

WIDE, NARROW, THIN = (style.transparent(GENERATED, opacity) for opacity in style.OPACITIES)
PHASES: dict[Phase, str] = {"pre": GENERATED, "post": ALERT}
OTHERS, BEST = (0.4, 1.0), (1.0, 2.4)  # opacity and width of the efforts of a session
LOOP_HOVER, TIME_HOVER = "%{x:.2f} L, %{y:.1f} L/s", "%{x:.2f} s, %{y:.2f} L"
BELOW_BUTTONS = 0.87  # of the height of a plot on a phone: above are the buttons to zoom
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def flow_volume(view: View) -> go.Figure:
    """Flow (L/s) against volume (L), with GLI Global's limit."""
    return _with_fvc(loop(view.loop), view.loop)


def volume_time(view: View) -> go.Figure:
    """Volume (L) against time (s), with GLI Global's limits."""
    return _with_both(spirogram(view.spirogram), view.spirogram)


def session_flow_volume(session: DrawnSession) -> go.Figure:
    """Flow (L/s) against volume (L) of the efforts of one lung, with GLI Global's limit."""
    return _with_fvc(_loop(_efforts(session.loop, LOOP_HOVER), session.loop), session.loop)


def session_volume_time(session: DrawnSession) -> go.Figure:
    """Volume (L) against time (s) of the efforts of one lung, with GLI Global's limits."""
    plot = session.spirogram
    return _with_both(_spirogram(_efforts(plot, TIME_HOVER), plot), plot)


def loop(plot: CurvePlot) -> go.Figure:
    """Flow (L/s) against volume (L), 1 L as long as 2 L/s, as ATS/ERS requires."""
    return _loop(_figure(plot, LOOP_HOVER), plot)


def spirogram(plot: CurvePlot) -> go.Figure:
    """Volume (L) against time (s) from time zero, the first second marked."""
    return _spirogram(_figure(plot, TIME_HOVER), plot)


def _loop(figure: go.Figure, plot: CurvePlot | Plot) -> go.Figure:
    _finish(figure, plot, "Volume (L)", "Flow (L/s)")
    figure.update_xaxes(dtick=1, constrain="domain")
    figure.update_yaxes(dtick=2, scaleanchor="x", scaleratio=0.5, constrain="domain", constraintoward="bottom")
    return figure


def _spirogram(figure: go.Figure, plot: CurvePlot | Plot) -> go.Figure:
    _finish(figure, plot, "Time (s)", "Volume (L)")
    figure.update_xaxes(dtick=1)
    figure.update_yaxes(dtick=1)
    figure.add_vline(x=1, line={"color": SOFT, "width": 1, "dash": "dot"}, layer="below")
    return figure


def _with_fvc(figure: go.Figure, plot: CurvePlot | Plot) -> go.Figure:
    (fvc,) = plot.limits
    side = "left" if fvc.x[1] < 0.6 * plot.x[1] else "right"  # flow is low so late: there is room for words
    _name(figure, fvc, text=f" {fvc.words} ", y=BELOW_BUTTONS * fvc.y[1], xanchor=side, yanchor="top")
    return figure


def _with_both(figure: go.Figure, plot: CurvePlot | Plot) -> go.Figure:
    fev1, fvc = plot.limits
    leader = {"showarrow": True, "arrowhead": 0, "arrowwidth": 1, "arrowcolor": SOFT, "ax": 34, "ay": 60}
    _name(figure, fev1, x=1, xanchor="left", yanchor="middle", **leader)
    _name(figure, fvc, xanchor="right", yanchor="top")
    return figure


def _efforts(plot: Plot, hover: str) -> go.Figure:
    """A trace for each effort: the best of each phase strong, the others light."""
    figure = go.Figure()
    for stroke in plot.strokes:
        opacity, width = BEST if stroke.best else OTHERS
        figure.add_scatter(
            x=stroke.line.x.round(3),
            y=stroke.line.y.round(3),
            line={"color": style.transparent(PHASES[stroke.phase], opacity), "width": width},
            hovertemplate=f"{stroke.name}: {hover}<extra></extra>",
        )
    return figure


def _figure(plot: CurvePlot, hover: str) -> go.Figure:
    figure = go.Figure()
    low, quarter, middle, three_quarters, high = plot.band.percentiles
    for bottom, top, colour in ((low, high, WIDE), (quarter, three_quarters, NARROW)):
        area = _polygon(plot.band.x, bottom, top)
        figure.add_scatter(x=area.x, y=area.y, fill="toself", fillcolor=colour, line={"width": 0}, hoverinfo="skip")
    lines = _joined(plot.lines)
    figure.add_scatter(x=lines.x, y=lines.y, line={"color": THIN, "width": 0.8}, hoverinfo="skip")
    figure.add_scatter(
        x=plot.band.x,
        y=middle.round(3),
        line={"color": GENERATED, "width": 2.2},
        hovertemplate=f"median: {hover}<extra></extra>",
    )
    if plot.untrusted:
        figure.add_scatter(
            x=plot.untrusted.x.round(3),
            y=plot.untrusted.y.round(3),
            line={"color": SOFT, "width": 1.8, "dash": "2px,3px"},
            hovertemplate=f"not trusted: {hover}<extra></extra>",
        )
    if plot.user:
        figure.add_scatter(
            x=plot.user.x.round(3),
            y=plot.user.y.round(3),
            line={"color": style.ALERT, "width": 2.4},
            hovertemplate=f"your curve: {hover}<extra></extra>",
        )
    return figure


def _finish(figure: go.Figure, plot: CurvePlot | Plot, x: str, y: str) -> None:
    """Limits, axes and layout."""
    for limit in plot.limits:
        dashed = {"color": INK, "width": 1.5, "dash": "5px,3px"}
        figure.add_scatter(x=limit.x, y=limit.y, line=dashed, hoverinfo="skip")
    figure.update_traces(mode="lines", line_simplify=False)
    title = {"standoff": 8, "font": {"size": 13}}
    axis = {"gridcolor": GRID, "linecolor": SOFT, "ticks": "outside", "tickcolor": SOFT, "ticklen": 4}
    figure.update_layout(
        template=None,
        showlegend=False,
        dragmode=False,  # a finger scrolls the page; zooming is in the bar above a plot
        hovermode="closest",
        uirevision=type(plot).__name__,  # a zoom is kept, but not of single efforts for a session
        font={"family": FONT, "size": 13, "color": INK},
        margin={"l": 52, "r": 14, "t": 10, "b": 46},
        paper_bgcolor=style.transparent(PAPER, 0),
        plot_bgcolor=PAPER,
        xaxis={**axis, "title": {"text": x} | title, "range": plot.x, "zeroline": False},
        yaxis={**axis, "title": {"text": y} | title, "range": plot.y, "zerolinecolor": SOFT, "zeroline": True},
    )


def _polygon(x: Any, low: Any, high: Any) -> Line:
    return Line(np.concatenate([x, x[::-1]]).round(3), np.concatenate([low, high[::-1]]).round(3))


def _joined(lines: list[Line]) -> Line:
    """All lines as one with gaps: one trace draws faster than a hundred."""
    gap = [np.nan]
    x = np.concatenate([part for line in lines for part in (line.x, gap)]) if lines else np.empty(0)
    y = np.concatenate([part for line in lines for part in (line.y, gap)]) if lines else np.empty(0)
    return Line(x.astype(np.float32), y.astype(np.float32))


def _name(figure: go.Figure, limit: Limit, **options: Any) -> None:
    """The label of a limit at its end, or as in `options` of the annotation."""
    place = {"x": limit.x[1], "y": limit.y[1], "text": limit.words}
    look = {"showarrow": False, "font": {"size": 12, "color": INK}, "bgcolor": style.transparent(PAPER, 0.7)}
    figure.add_annotation(**place | look | options)
