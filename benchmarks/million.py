"""A million simulated curves: the stages from download to encode, and an epoch of each training.

    python -m benchmarks.million --folder F                 # one stage after another, as `dvc repro` runs them
    python -m benchmarks.million --folder F --parts 27      # data in so many parts at once, then the epochs, on a GPU

Disk: 20 GB. The first form measures each stage's wall and processor seconds and its largest anonymous memory, in a
process of its own with params.yaml as it is, but for `download.participants`, `repair.largest_gb` and `encode.latents`;
encode runs with an untrained VQ-VAE of the default size. The second simulates each part as a cycle of its own seed,
gives it SEQN of its own, runs download to resample on all of them at once, joins their tables and signals, and runs one
epoch of train_vqvae and of train_cldm of presets/full.yaml, with encode between them. Prints a table; `F/million.json`
has it.
"""

import argparse
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmarks import growth
from benchmarks.growth import DATA, ONCE, ROOT, untrained
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.params import read_params
from spiro_diffusion.nhanes.codebook import SEQN_STEP
from spiro_diffusion.physiology.time_grid import N_SAMPLES

PARTICIPANTS = 180_000  # of 5.56 curves each
CHANGES: dict[str, dict[str, Any]] = {"repair": {"largest_gb": 12.0}, "encode": {"latents": "float16"}}
EPOCHS = ("train_vqvae", "encode", "train_cldm")


def measured(stage: str, folder: Path) -> dict[str, float]:
    """What a stage takes in `folder`, printed and rounded."""
    usage = growth.measured(stage, folder)
    found = {
        "wall_s": round(usage.wall_s, 1),
        "processor_s": round(usage.processor_s, 1),
        "anonymous_mb": round(usage.anonymous_mb),
    }
    print(f"{folder.name}: {stage}: {found}", flush=True)
    return found


def settled(folder: Path, changes: dict[str, dict[str, Any]]) -> None:
    """Give a folder its params.yaml."""
    params = read_params(ROOT / "params.yaml")
    for section, values in changes.items():
        params[section] = params[section] | values
    artifacts.write_text(folder / "params.yaml", yaml.safe_dump(params, sort_keys=False))


def whole(folder: Path, participants: int) -> dict[str, Any]:
    """The stages from download to encode, one after another."""
    settled(folder, CHANGES | {"download": {"source": "simulated", "participants": participants}})
    untrained(folder)
    return {stage: measured(stage, folder) for stage in (*DATA, "encode")}


def in_parts(folder: Path, participants: int, parts: int) -> dict[str, Any]:
    """The data in parts, all at once; then an epoch of each training, and encode."""
    began = time.perf_counter()

    def made(number: int) -> Path:
        part = folder / f"part{number:02d}"
        download = {"source": "simulated", "participants": participants // parts, "seed": number + 1}
        settled(part, {"download": download})
        for stage in DATA:
            measured(stage, part)
        return part

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        joined([*pool.map(made, range(parts))], folder / "data")
    found: dict[str, Any] = {"data": {"wall_s": round(time.perf_counter() - began, 1)}}
    preset = read_params(ROOT / "presets/full.yaml")
    once: dict[str, dict[str, Any]] = {name: preset[name] | ONCE[name] for name in ONCE} | {
        "runtime": {"portable": False}
    }
    once["train_cldm"]["student_epochs"] = 1
    settled(folder, CHANGES | once)
    return found | {stage: measured(stage, folder) for stage in EPOCHS}


def joined(parts: list[Path], data: Path) -> None:
    """One table and one array of the parts' curves, whose people get SEQN of their own."""
    tables = [pd.read_parquet(part / "data/curves.parquet") for part in parts]
    block = 0  # of SEQN_STEP numbers, the first that no part has
    for table in tables:
        table["seqn"] += block * SEQN_STEP
        block = int(table["seqn"].max()) // SEQN_STEP + 1
    table = pd.concat(tables, ignore_index=True)
    data.mkdir(parents=True, exist_ok=True)
    table.to_parquet(data / "curves.parquet", index=False)
    with artifacts.npy_rows(data / "signals_L512.npy", (len(table), N_SAMPLES), "float32") as append:
        for part in parts:
            append(np.load(part / "data/signals_L512.npy", mmap_mode="r", allow_pickle=False))
    manifest = artifacts.read_json(parts[0] / "data/raw/manifest.json")
    artifacts.write_json(data / "raw/manifest.json", manifest)  # of which the trainings read the kind of source


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--participants", type=int, default=PARTICIPANTS)
    parser.add_argument("--parts", type=int, help="at once, then the epochs")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    people = options.participants
    found = in_parts(options.folder, people, options.parts) if options.parts else whole(options.folder, people)
    found["curves"] = len(pd.read_parquet(options.folder / "data/curves.parquet", columns=["seqn"]))
    artifacts.write_json(options.folder / "million.json", found)
    print(f"\n{found['curves']:,} curves\n\n| stage | s | processor s | anonymous MB |\n| --- | ---: | ---: | ---: |")
    for stage, figures in found.items():
        if isinstance(figures, dict):
            values = (str(figures.get(key, "")) for key in ("wall_s", "processor_s", "anonymous_mb"))
            print(f"| {stage} | {' | '.join(values)} |")


if __name__ == "__main__":
    main()
