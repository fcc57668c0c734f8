"""Whether the pipeline gives the same bytes on another processor, two trainings on this device, and figures over seeds.

    python benchmarks/same_bytes.py --folder /tmp/bytes --default --processor zen3  # real, haswell, icelake, zen4
    python benchmarks/same_bytes.py --folder /tmp/bytes                            # the tests' tiny size
    python benchmarks/same_bytes.py --folder /tmp/bytes --default                  # params.yaml as it is
    python benchmarks/same_bytes.py --folder /tmp/bytes --default --seeds 1 2 3    # and the headline figures' spread

With --processor, runs `dvc repro` on a clone of the last commit in the folder, with params.yaml as it is or the tests'
tiny size, on the real processor or as on another one (tests/cpuid_as), and compares the hash of every output with the
committed ones and with those of the processors that ran in the same folder before. Ends with status 1 where one
differs.

Without it, trains both models twice with one seed, with `runtime.deterministic` off and on, each in a folder of its own
from one set of curves, and compares the SHA-256 of what train_vqvae, encode and train_cldm made. With --seeds, trains
and judges (validation participants) with each seed, and prints mean, SD and range of each headline figure. Runs stages
with `spiro_diffusion.pipeline.run`: DVC is not needed; where the package is not installed, set PYTHONPATH=. in the
repository. Ends with status 1 where `deterministic` gave other bytes.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import torch
from repository import ROOT, TINY, Repository

from spiro_diffusion.core import artifacts
from spiro_diffusion.pipeline import run

MADE = ("models/vqvae.safetensors", "data/latents.npy", "models/cldm.safetensors")


def changes(options: argparse.Namespace, **more: dict[str, Any]) -> list[str]:
    """Settings as `spiro_diffusion.pipeline.run --set` takes them."""
    sections: list[dict[str, dict[str, Any]]] = [
        {} if options.default else TINY,
        {"runtime": {"device": options.device}},
        more,
    ]
    settings = [
        f"{name}.{key}={value}" for part in sections for name, keys in part.items() for key, value in keys.items()
    ]
    return settings + options.set


def trained(options: argparse.Namespace, name: str, last: str = "train_cldm", **more: dict[str, Any]) -> Path:
    """A folder with models trained on the curves of `asked.folder`/curves."""
    curves, folder = options.folder / "curves", options.folder / name
    if not (curves / "data" / "curves.parquet").is_file():
        run.run(curves, changes(options), last="resample")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(curves, folder)
    run.run(folder, changes(options, **more), first="train_vqvae", last=last)
    return folder


def bytes_twice(options: argparse.Namespace, deterministic: bool) -> bool:
    """Print what two trainings of one seed made; whether it was the same."""
    runtime = {"deterministic": str(deterministic).lower()}
    began = time.monotonic()
    first, second = (trained(options, f"bytes{i}", runtime=runtime) for i in (1, 2))
    seconds = (time.monotonic() - began) / 2
    same = []
    for made in MADE:
        hashes = [artifacts.sha256(folder / made) for folder in (first, second)]
        same.append(hashes[0] == hashes[1])
        print(f"| {deterministic} | {made} | {hashes[0][:12]} | {hashes[1][:12]} | {'same' if same[-1] else 'OTHER'} |")
    print(f"{seconds:.0f} s each")
    return all(same)


def spread(options: argparse.Namespace) -> None:
    """Print each headline figure over the seeds."""
    found: dict[str, list[float]] = {}
    for seed in options.seeds:
        changed = {"train_vqvae": {"seed": seed}, "train_cldm": {"seed": seed}, "evaluate": {"split": "validation"}}
        folder = trained(options, f"seed{seed}", "evaluate", **changed)
        for key, value in artifacts.read_json(folder / "metrics/evaluate/summary.json").items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                found.setdefault(key, []).append(value)
    print(
        f"| figure, seeds {', '.join(map(str, options.seeds))} | mean | SD | least | largest |\n| --- |" + " ---: |" * 4
    )
    for key, values in found.items():
        sd = statistics.stdev(values) if len(values) > 1 else float("nan")
        print(f"| {key} | {statistics.fmean(values):.4g} | {sd:.2g} | {min(values):.4g} | {max(values):.4g} |")


def same_on_processor(options: argparse.Namespace) -> bool:
    """Run the pipeline on one processor; whether it made what the others made."""
    name, folder = options.processor, options.folder / options.processor
    shutil.rmtree(folder, ignore_errors=True)
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", str(ROOT), str(folder)], check=True)
    subprocess.run(["git", "checkout", "--quiet", "--detach", commit], cwd=folder, check=True)
    repository = Repository.at(folder)
    committed = repository.lock()
    if not options.default:
        repository.set(TINY | {"runtime": {"threads": 2}})  # as by default
        (folder / "dvc.lock").unlink()
    through = [] if name == "real" else [str(ROOT / "tests" / "cpuid_as"), name]
    command = [*through, sys.executable, "-m", "dvc", "repro", "--quiet"]
    environment = {"PYTHONPATH": str(folder), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    began = time.monotonic()
    with (options.folder / f"{name}.log").open("w") as log:
        done = subprocess.run(command, cwd=folder, env=os.environ | environment, stdout=log, stderr=log, check=False)
    if done.returncode:
        sys.exit(f"{name}: dvc repro ended with {done.returncode}; see {log.name}")
    print(f"{name}: {time.monotonic() - began:.0f} s at {commit[:7]}\n\n| output | hash |\n| --- | --- |")
    made = hashes(repository.lock())
    print("\n".join(f"| {path} | {value} |" for path, value in made.items()), end="\n\n")
    others = {other.parent.name: Repository.at(other.parent).lock() for other in options.folder.glob("*/dvc.lock")}
    del others[name]
    if options.default:
        others["the committed dvc.lock"] = committed
    same = True
    for other, lock in others.items():
        in_lock = hashes(lock)
        differ = [path for path in made if made[path] != in_lock.get(path)]
        print(f"{len(made) - len(differ)} of {len(made)} as {other}{': not ' if differ else ''}{', '.join(differ)}")
        same &= not differ
    return same


def hashes(lock: dict[str, dict[str, str]]) -> dict[str, str]:
    """MD5 of each output, by path."""
    return {path: value for outs in lock.values() for path, value in outs.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--default", action="store_true", help="params.yaml's sizes, not the tests' tiny ones")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", type=int, nargs="*", default=[])
    parser.add_argument("--processor", choices=("real", "haswell", "icelake", "zen3", "zen4"))
    options = parser.parse_args()
    if options.processor:
        sys.exit(not same_on_processor(options))
    cuda = torch.cuda.is_available() and options.device != "cpu"
    print(f"PyTorch {torch.__version__}, {torch.cuda.get_device_name() if cuda else 'CPU'}")
    print("| deterministic | file | first | second | |\n| --- | --- | --- | --- | --- |")
    bytes_twice(options, deterministic=False)
    same = bytes_twice(options, deterministic=True)
    if options.seeds:
        spread(options)
    sys.exit(not same)


if __name__ == "__main__":
    main()
