"""View of a completed effort: plots, detected faults, and the rows of its indices."""

import math

import numpy as np
from dash import html
from numpy.typing import NDArray

from spiro_diffusion.app.table import number
from spiro_diffusion.app.view import BEFORE_S, Band, CurvePlot, Line, beyond, label, loop, loop_band, thinned
from spiro_diffusion.core.vocabulary import INDICES
from spiro_diffusion.physiology import spirometry
from spiro_diffusion.physiology.faults import Fault
from spiro_diffusion.reconstruction.completion import PERCENTILES, Recovered

AXIS_END_S = (4.0, 12.0)  # the time axis ends a second after the longest draw, between these
COLUMNS = {"As recorded": "recorded", "Median": "median"}
INTERVALS = (50, 90)  # %
NOTE = (
    "As recorded: the effort with its faults. Median, 50 % and 90 % interval: of the reconstructed full "
    "efforts. Volumes and flows at BTPS."
)


def loop_plot(recovered: Recovered) -> CurvePlot:
    """Flow against volume: percentiles of the draws, and the recorded curve with its untrusted parts."""
    ends = spirometry.end_of_flow(recovered.flow)
    loops = [loop(flow[:end]) for flow, end in zip(recovered.flow, ends, strict=True) if end]
    end = _end(recovered)
    line = loop(recovered.measured[:end])
    right, top = (max(float(values.max()) for values in part) for part in zip(*loops, line, strict=True))
    bottom = math.floor(min(0.0, float(line.y.min())))
    trusted = recovered.trusted[:end]
    return CurvePlot(
        lines=[],
        band=loop_band(loops, right),
        user=_where(line, trusted),
        limits=[],
        x=(0.0, beyond(right, 0.5)),
        y=(float(bottom), beyond(top, 1.0)),
        untrusted=_where(line, _joined(~trusted)),
    )


def spirogram_plot(recovered: Recovered) -> CurvePlot:
    """Volume against time: percentiles of the draws, and the recorded curve with its untrusted parts."""
    longest = float(np.nanmax(recovered.indices["fet"], initial=0.0))
    last = min(max(math.ceil(longest + 1), AXIS_END_S[0]), AXIS_END_S[1])
    end = _end(recovered)
    kept = thinned(recovered.time)
    kept = kept[recovered.time[kept] <= last]
    volume = spirometry.volume(recovered.measured[None])[0, :end]
    line = Line(recovered.time[:end], volume)
    trusted = recovered.trusted[:end]
    return CurvePlot(
        lines=[],
        band=Band(recovered.time[kept], np.percentile(recovered.volume[:, kept], PERCENTILES, axis=0)),
        user=_where(line, trusted),
        limits=[],
        x=(-BEFORE_S, last),
        y=(0.0, beyond(max(float(recovered.volume.max()), float(volume.max())), 0.5)),
        untrusted=_where(line, _joined(~trusted)),
    )


def found(fault: Fault) -> str:
    """A fault in words: kind, begin and end, reason."""
    begin = "" if math.isinf(fault.begin) else f"from {max(fault.begin, 0.0):.2f} s"
    end = "" if math.isinf(fault.end) else f"to {fault.end:.2f} s"
    when = " ".join(filter(None, (begin, end)))
    return f"{fault.kind}{f', {when}' if when else ''}: {fault.reason}"


def table(recovered: Recovered) -> html.Table:
    """A row for each index: as recorded, median of the draws, their intervals."""
    names = ["Index", *COLUMNS, *(f"{share} % interval" for share in INTERVALS)]
    head = html.Thead(html.Tr([html.Th(name, scope="col") for name in names]))
    rows = []
    for name, row in recovered.summary().iterrows():
        index = INDICES[str(name)]
        values = [number(row[column], index.decimals) for column in COLUMNS.values()]
        ends = [[number(row[f"{end}_{s}"], index.decimals) for end in ("low", "high")] for s in INTERVALS]
        spans = [" to ".join(pair) for pair in ends]
        cells = [html.Td(text) for text in (*values, *spans)]
        rows.append(html.Tr([html.Th([label(index), " ", html.Small(index.unit)], scope="row"), *cells]))
    return html.Table([head, html.Tbody(rows)], className="indices recovered")


def _end(recovered: Recovered) -> int:
    return max(int(spirometry.end_of_flow(recovered.measured[None])[0]), 2)


def _where(line: Line, there: NDArray[np.bool_]) -> Line:
    """A line with gaps outside a mask."""
    return Line(np.where(there, line.x, np.nan), np.where(there, line.y, np.nan))


def _joined(there: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """One sample more at each side, so that the line joins its neighbour."""
    wide = there.copy()
    wide[:-1] |= there[1:]
    wide[1:] |= there[:-1]
    return wide
