"""The stage `resample`: every curve as 512 samples of flow, and how well that and the raw curves agree."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.artifacts import npy_stream, write_json
from spiro_diffusion.dataset import agreement, cohort, resampling, schema
from spiro_diffusion.dataset.raw_curves import read_table, write_table
from spiro_diffusion.physiology import time_grid


@dataclass(frozen=True)
class Params:
    """Section `resample` of params.yaml."""

    grid: resampling.GridName  # time zero aligned, or each whole curve stretched as the origin did


def resample(
    params: Params, *, repaired: Path, filtered: Path, signals: Path, curves: Path, metrics: Path, plots: Path
) -> None:
    """Put each curve on the grid; report what the grid keeps and how the best efforts agree with SPX."""
    table = read_table(filtered)
    schema.check(table, schema.FILTERED, filtered)
    published = agreement.published(repaired, list(table["cycle"].unique()))
    with ThreadPoolExecutor(1) as beside:  # drawing takes half as long as the arithmetic, on another core
        drawing = beside.submit(_draw_agreement, table, published, plots)
        with npy_stream(signals, (len(table), time_grid.N_SAMPLES)) as array:
            done = resampling.resample(repaired, table, array, params.grid)
            example = int((table["best"] & table["plateau"]).argmax())
            signal = array[example].copy()
        drawing.result()  # one drawing at a time: matplotlib's style is the whole program's
    _draw_round_trip(table, done.after, signal, resampling.edges(table, example, params.grid), plots)
    table = table.assign(zero_sample=done.zero_sample, lead_volume=done.lead_volume)
    schema.check(table, schema.CURVES, curves)
    write_table(curves, table)
    content = {
        "curves": cohort.size(table),
        "best_efforts": int(table["best"].sum()),
        "lead_volume_over_5_ml": int((table["lead_volume"].abs() > 0.005).sum()),
        "round_trip": agreement.round_trip(table, done.after),
        "published": agreement.with_published(table, published),
    }
    write_json(metrics, content)


def _draw_agreement(table: pd.DataFrame, published: pd.DataFrame, plots: Path) -> None:
    from spiro_diffusion.reporting import data_plots  # noqa: PLC0415, matplotlib loads beside the arithmetic

    best = table[table["best"]].set_index("seqn")
    data_plots.save(data_plots.bland_altman(best, published.reindex(best.index)), plots / "bland_altman.png")


def _draw_round_trip(before: pd.DataFrame, after: pd.DataFrame, signal: NDArray, edges: NDArray, plots: Path) -> None:
    from spiro_diffusion.reporting import data_plots  # noqa: PLC0415

    data_plots.save(data_plots.round_trip(before, after, signal, edges), plots / "grid_round_trip.png")
