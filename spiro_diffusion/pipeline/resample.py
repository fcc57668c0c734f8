"""Stage resample: resample every curve to 512 samples, and measure agreement with raw curves and published values."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spiro_diffusion.core.artifacts import npy_stream, write_json, write_npz
from spiro_diffusion.core.vocabulary import JUDGED
from spiro_diffusion.dataset import agreement, cohort, resampling, schema
from spiro_diffusion.dataset.raw_curves import read_table, write_table
from spiro_diffusion.physiology import time_grid


@dataclass(frozen=True)
class Params:
    """Section `resample` of params.yaml."""

    grid: resampling.GridName  # time zero aligned, or each whole curve stretched as the origin did


def resample(
    params: Params, *, repaired: Path, filtered: Path, signals: Path, curves: Path, metrics: Path, plot_data: Path
) -> None:
    """Put each curve on the grid; report what the grid keeps and how the best efforts agree with SPX.

    `metrics` takes the figures, `plot_data` the arrays of their plots.
    """
    table = read_table(filtered)
    schema.check(table, schema.FILTERED, filtered)
    published = agreement.published(repaired, list(table["cycle"].unique()))
    with npy_stream(signals, (len(table), time_grid.N_SAMPLES)) as array:
        done = resampling.resample(repaired, table, array, params.grid)
        example = int((table["best"] & table["plateau"]).argmax())
        signal = array[example].copy()
    arrays = {"signal": signal, "edges": resampling.edges(table, example, params.grid), "curves": np.array(len(table))}
    best = table[table["best"]].set_index("seqn")
    for name, values in (("best", best), ("published", published.reindex(best.index))):
        arrays |= {f"{name}_{index}": values[index].to_numpy(float) for index in JUDGED}
    write_npz(plot_data, arrays)
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
