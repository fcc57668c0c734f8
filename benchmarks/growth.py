"""Memory and time of the stages with ten times the participants: memory flat within 20 %, time linear.

    python benchmarks/growth.py                             # 600 and 6,000 participants
    python benchmarks/growth.py --whole                     # training and judge too

Each stage runs as `dvc repro` runs it, in a process of its own in a temporary folder, once a size. The data half and
encode run with params.yaml as it is (encode with an untrained VQ-VAE of its size: what it costs does not depend on the
weights). --whole adds one epoch of each training, and the judge with few draws and the tests' tiny models, whose
drawing costs little. Of what grows by design (a table in memory has a row a curve) the growth is printed too, as MB a
thousand curves. Prints a table; ends with status 1 where the memory that the run needs, that of its largest stage, the
judge apart, grows by more than 20 %, or a stage takes more than 1.2 times as long for a curve.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import yaml

from spiro_diffusion.core import artifacts
from spiro_diffusion.pipeline import run

ROOT = Path(__file__).parents[1]
TIMES = 10
MEMORY, TIME = 1.2, 1.2  # largest growth that is none
DATA = ("download", "repair", "align", "filter", "resample")
FLAT = ("encode", "train_vqvae", "train_cldm")
ONCE = {
    "train_vqvae": {"epochs": 1, "warmup_epochs": 0, "validate_every": 1},
    "train_cldm": {"epochs": 1, "facts_epochs": 1, "validate_every": 1},
}
WATCH_S = 0.2  # between two looks at the memory
FEW = {"draws": 2, "resamples": 100, "split": "test"}


class Usage(NamedTuple):
    """What a stage took: seconds, and the largest memory of its process in MB, resident (with mapped files) and
    anonymous."""

    wall_s: float
    processor_s: float
    resident_mb: float
    anonymous_mb: float


def measured(stage: str, folder: Path) -> Usage:
    """What a stage takes in `folder`, with the paths of dvc.yaml; where it fails, its log ends the program."""
    command = [sys.executable, "-m", "spiro_diffusion.pipeline", stage, *run.declared(ROOT)[stage]["cmd"].split()[3:]]
    paths = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH")) if p)
    log, began, anonymous_kb = folder / f"{stage}.log", time.perf_counter(), 0
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=folder, env=os.environ | {"PYTHONPATH": paths}, stdout=out, stderr=out)
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            anonymous_kb = max(anonymous_kb, _anonymous_kb(process.pid))
            time.sleep(WATCH_S)
    _, status, usage = ended
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        sys.exit(f"{stage} failed: {log.read_text()[-2000:]}")
    wall, processor = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
    return Usage(wall, processor, usage.ru_maxrss / 1024, anonymous_kb / 1024)


def _anonymous_kb(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has just ended
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0)


def untrained(folder: Path) -> None:
    """Models where the stages look for them: a VQ-VAE of the default size, and in `tiny` the tests' two."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    import tiny  # noqa: PLC0415
    import torch  # noqa: PLC0415

    from spiro_diffusion.models.vqvae import VQVAE, save_vqvae  # noqa: PLC0415
    from spiro_diffusion.pipeline import train_vqvae  # noqa: PLC0415
    from spiro_diffusion.pipeline.stage import load_params  # noqa: PLC0415

    network = load_params(train_vqvae.Params, "train_vqvae", ROOT / "params.yaml").network
    torch.manual_seed(0)
    weights = VQVAE(network).state_dict()
    save_vqvae(folder / "models/vqvae.safetensors", network, weights)
    (folder / "tiny").mkdir()
    tiny.models(folder / "tiny")


def grown(participants: int, whole: bool) -> tuple[dict[str, tuple[float, float]], int]:
    """Seconds and resident megabytes by stage, and how many curves there were."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        params = run.merged(run.read_params(ROOT / "params.yaml"), [f"download.participants={participants}"])
        for stage, changes in (ONCE | {"evaluate": FEW}).items():
            params[stage] |= changes
        artifacts.write_text(folder / "params.yaml", yaml.safe_dump(params, sort_keys=False))
        # in a process of its own: what this one has held once would count as the stages' (Linux passes it on)
        subprocess.run([sys.executable, __file__, "--models", str(folder)], check=True)
        usage = {stage: measured(stage, folder) for stage in (*DATA, *(FLAT if whole else FLAT[:1]))}
        if whole:
            shutil.copytree(folder / "tiny", folder / "models", dirs_exist_ok=True)
            usage["evaluate"] = measured("evaluate", folder)
        rows = {stage: (one.wall_s, one.resident_mb) for stage, one in usage.items()}
        return rows, artifacts.read_json(folder / "metrics/resample/agreement.json")["curves"]["curves"]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--participants", type=int, default=600)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--models", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.models:
        return untrained(options.models)
    small, few = grown(options.participants, options.whole)
    large, many = grown(TIMES * options.participants, options.whole)
    print(f"| {few:,} and {many:,} curves | MB | MB | growth | MB a 1,000 curves | s | s | s a curve, growth |")
    print("| --- |" + " ---: |" * 7)
    wrong = []
    for stage, (seconds, size) in small.items():
        longer, larger = large[stage]
        memory, duration = larger / size, longer / seconds / (many / few)
        cells = f"{size:.0f} | {larger:.0f} | {memory:.2f} | {1000 * (larger - size) / (many - few):.1f}"
        print(f"| {stage} | {cells} | {seconds:.1f} | {longer:.1f} | {duration:.2f} |")
        if duration > TIME:
            wrong.append(stage)
    before, after = (max(size for stage, (_, size) in rows.items() if stage != "evaluate") for rows in (small, large))
    print(f"largest, the judge apart: {before:.0f} and {after:.0f} MB, {after / before:.2f}")
    if after / before > MEMORY:
        wrong.append("the largest")
    sys.exit(f"grows: {', '.join(wrong)}" if wrong else 0)


if __name__ == "__main__":
    main()
