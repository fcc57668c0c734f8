"""Stage align: join raw curves to participants and compute their indices."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from spiro_diffusion.core.artifacts import write_json, write_text
from spiro_diffusion.dataset import cohort, schema
from spiro_diffusion.dataset.raw_curves import write_table
from spiro_diffusion.physiology import ats_ers


@dataclass(frozen=True)
class Params:
    """Section `align` of params.yaml."""

    min_points: int  # samples of 10 ms; a curve must have more

    def __post_init__(self) -> None:
        if self.min_points < 0:
            raise ValueError(f"min_points is {self.min_points}; expected 0 or more")


def align(params: Params, *, repaired: Path, aligned: Path, metadata: Path, metrics: Path) -> None:
    """Join SPXRAW, DEMO and BMX on SEQN, one row a curve, and read the indices off each curve."""
    names = cohort.cycles(repaired)
    raw = pd.concat([cohort.raw_curves(repaired, name) for name in names], ignore_index=True)
    reasons = {
        "not_in_demo": ~raw["in_demo"],
        "not_in_bmx": ~raw["in_bmx"],
        "too_short": raw["points"] <= params.min_points,
    }
    table, dropped = cohort.drop(raw, reasons)
    table = cohort.measured(repaired, table.drop(columns=["in_demo", "in_bmx"]).astype({"ethnicity": "int64"}))
    schema.check(table, schema.ALIGNED, aligned)
    by_cycle = {
        name: {"raw": cohort.size(raw[raw["cycle"] == name]), "aligned": cohort.size(table[table["cycle"] == name])}
        for name in names
    }
    write_table(aligned, table)
    write_text(metadata, cohort.metadata(table))
    flow = {"raw": cohort.size(raw), "dropped": dropped, "aligned": cohort.size(table)}
    write_json(metrics, {"flow": flow, "cycles": by_cycle, "accepted_by_grade": ats_ers.summary(table)})
