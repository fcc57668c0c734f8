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
FEW = {"draws": 2, "resamples": 100, "split": "test"}


def measured(stage: str, folder: Path) -> tuple[float, float]:
    """Seconds and the largest resident megabytes of a stage in `folder`, with the paths of dvc.yaml."""
    paths = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH")) if p)
    command = [sys.executable, *"-m", "spiro_diffusion.pipeline", stage, *run.declared(ROOT)[stage]["cmd"].split()[3:]]
    log = folder / f"{stage}.log"
    files = [(os.POSIX_SPAWN_OPEN, fd, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) for fd in (1, 2)]
    before, began = Path.cwd(), time.perf_counter()
    os.chdir(folder)
    process = os.posix_spawn(sys.executable, command, os.environ | {"PYTHONPATH": paths}, file_actions=files)
    os.chdir(before)
    _, status, usage = os.wait4(process, 0)
    if status:
        sys.exit(f"{stage} failed: {log.read_text()[-2000:]}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


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
    """Seconds and megabytes by stage, and how many curves there were."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        params = run.merged(run.read_params(ROOT / "params.yaml"), [f"download.participants={participants}"])
        for stage, changes in (ONCE | {"evaluate": FEW}).items():
            params[stage] |= changes
        artifacts.write_text(folder / "params.yaml", yaml.safe_dump(params, sort_keys=False))
        # in a process of its own: what this one has held once would count as the stages' (Linux passes it on)
        subprocess.run([sys.executable, __file__, "--models", str(folder)], check=True)
        rows = {stage: measured(stage, folder) for stage in (*DATA, *(FLAT if whole else FLAT[:1]))}
        if whole:
            shutil.copytree(folder / "tiny", folder / "models", dirs_exist_ok=True)
            rows["evaluate"] = measured("evaluate", folder)
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
