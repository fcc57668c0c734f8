"""The stage `repair`: each raw file, whatever its state, into one verified table."""

from dataclasses import dataclass
from pathlib import Path

from spiro_diffusion import nhanes
from spiro_diffusion.artifacts import read_json, write_json
from spiro_diffusion.repair import repair_file
from spiro_diffusion.stage import run_stage


@dataclass(frozen=True)
class Params:
    """Section `repair` of params.yaml."""


def repair(params: Params, *, raw: Path, repaired: Path, metrics: Path) -> None:
    """Turn the raw files into Parquet tables under their NHANES column names."""
    report = {}
    for filename in read_json(raw / "manifest.json")["files"]:
        file = nhanes.FILES[filename.split(".")[0].upper()]
        report[file.name] = repair_file(raw / filename, file, repaired / f"{file.name}.parquet")
    write_json(metrics, report)


if __name__ == "__main__":
    run_stage(repair, Params)
