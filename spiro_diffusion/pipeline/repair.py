"""Stage repair: turn each raw file into one verified table."""

import sys
from dataclasses import dataclass
from pathlib import Path

from spiro_diffusion.core.artifacts import write_json
from spiro_diffusion.nhanes.repair import repair_folder

GB = 10**9  # bytes


@dataclass(frozen=True)
class Params:
    """Section `repair` of params.yaml."""

    largest_gb: float  # most that an archive may unpack to; SPXRAW_G has 0.45 GB


def repair(params: Params, *, raw: Path, repaired: Path, metrics: Path) -> None:
    """Turn the raw files into Parquet tables under their NHANES column names, each value verified."""
    report = repair_folder(raw, repaired, round(params.largest_gb * GB))
    for name, found in report.items():
        for line in [*found["mended"], *found["warnings"]]:
            print(f"repair: {name}: {line}", file=sys.stderr)
    write_json(metrics, report)
