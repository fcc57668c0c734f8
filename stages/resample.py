"""The stage `resample`: every curve as 512 samples of flow, and how well that and the raw curves agree."""

from dataclasses import dataclass
from pathlib import Path

from spiro_diffusion import agreement, cohort, data_plots, grid, resampling, schema
from spiro_diffusion.artifacts import npy_stream, write_json
from spiro_diffusion.curves import read_table, write_table
from spiro_diffusion.stage import run_stage


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
    with npy_stream(signals, (len(table), grid.N_SAMPLES)) as array:
        done = resampling.resample(repaired, table, array, params.grid)
        example = int((table["best"] & table["plateau"]).argmax())
        edges = resampling.edges(table, example, params.grid)
        figure = data_plots.round_trip(table, done.after, array[example], edges)
        data_plots.save(figure, plots / "grid_round_trip.png")
    table = table.assign(zero_sample=done.zero_sample, lead_volume=done.lead_volume)
    schema.check(table, schema.CURVES, curves)
    write_table(curves, table)

    published = agreement.published(repaired, list(table["cycle"].unique()))
    best = table[table["best"]].set_index("seqn")
    data_plots.save(data_plots.bland_altman(best, published.reindex(best.index)), plots / "bland_altman.png")
    content = {
        "curves": cohort.size(table),
        "best_efforts": len(best),
        "lead_volume_over_5_ml": int((table["lead_volume"].abs() > 0.005).sum()),
        "round_trip": agreement.round_trip(table, done.after),
        "published": agreement.with_published(table, published),
    }
    write_json(metrics, content)


if __name__ == "__main__":
    run_stage(resample, Params)
