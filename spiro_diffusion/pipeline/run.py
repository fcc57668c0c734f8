"""Run the stages of dvc.yaml one after the other without DVC, for a machine that has only PyTorch.

    python -m spiro_diffusion.pipeline.run --preset presets/full.yaml --set download.source=nhanes --folder runs/full
    python -m spiro_diffusion.pipeline.run ... --first baselines --last baselines

The folder gets its own params.yaml (the repository's, with the preset and the settings applied) and
`data/`, `models/`, `metrics/` as the pipeline has them, and `times.json`.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from spiro_diffusion.core import artifacts
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.params import read_params

ROOT = Path(__file__).parents[2]
PIPELINES = ("dvc.yaml", "baselines/dvc.yaml")
MAIN_ENDS = "evaluate"  # the stage that a run ends with unless another is asked for


def settings(preset: Path) -> list[str]:
    """A preset as `section.key=value` texts, the form that `dvc exp run -S` takes."""
    return [
        f"{section}.{key}={yaml.safe_dump(value, default_flow_style=True).split(chr(10))[0]}"
        for section, values in read_params(preset).items()
        for key, value in values.items()
    ]


def merged(params: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """Params with `section.key=value` applied.

    Raises SpiroError where a change names no parameter.
    """
    result = {section: dict(values) for section, values in params.items()}
    for change in changes:
        name, _, value = change.partition("=")
        section, _, key = name.partition(".")
        if key not in result.get(section, {}):
            raise SpiroError(f"--set {change}: there is no parameter {name}")
        result[section][key] = yaml.safe_load(value)
    return result


def stages() -> dict[str, Any]:
    """The stages of both pipelines, in order."""
    found: dict[str, Any] = {}
    for file in PIPELINES:
        found |= yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["stages"]
    return found


def run_one(name: str, folder: Path) -> int:
    """Run one stage with the paths of dvc.yaml in `folder`, which has a params.yaml; its exit status.

    Raises SpiroError where there is no such folder.
    """
    if not folder.is_dir():
        raise SpiroError(f"{folder}: no such folder")
    paths = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH")) if p)
    command = [sys.executable, *stages()[name]["cmd"].split()[1:]]
    return subprocess.run(command, check=False, cwd=folder, env=os.environ | {"PYTHONPATH": paths}).returncode


def run(folder: Path, changes: list[str], first: str | None = None, last: str = MAIN_ENDS) -> None:
    """Run the stages from `first` to `last` in `folder`, and write how long each took.

    Raises SpiroError where a stage fails; what came before it stays.
    """
    names = list(stages())
    for name in (first, last):
        if name is not None and name not in names:
            raise SpiroError(f"no stage {name}; there are {', '.join(names)}")
    params = merged(read_params(ROOT / "params.yaml"), changes)
    artifacts.write_text(folder / "params.yaml", yaml.safe_dump(params, sort_keys=False))
    record = folder / "times.json"
    times: dict[str, float] = artifacts.read_json(record) if first and record.is_file() else {}
    for name in names[names.index(first) if first else 0 : names.index(last) + 1]:
        began = time.monotonic()
        print(f"== {name}", flush=True)
        status = run_one(name, folder)
        if status:
            raise SpiroError(f"stage {name} ended with exit status {status}")
        times[name] = round(time.monotonic() - began, 2)
        print(f"   {times[name]:.1f} s", flush=True)
        artifacts.write_json(record, times)
    print(f"== {sum(times.values()):.1f} s in all", flush=True)


def main() -> None:
    """Command line; `--print` only shows the preset as settings."""
    parser = argparse.ArgumentParser(prog="spiro_diffusion.pipeline.run", description=__doc__)
    parser.add_argument("--preset", type=Path, help="file of overrides, by section")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--folder", type=Path, default=Path("runs/full"))
    parser.add_argument("--first", help="stage to begin with")
    parser.add_argument("--last", default=MAIN_ENDS, help="stage to end with")
    parser.add_argument("--print", action="store_true", help="print the preset as settings and end")
    asked = parser.parse_args()
    try:
        changes = settings(asked.preset) if asked.preset else []
        if asked.print:
            print("\n".join(changes))
        else:
            run(asked.folder, changes + asked.set, asked.first, asked.last)
    except SpiroError as error:
        sys.exit(f"run: {error}")
    except KeyboardInterrupt:
        print("run: interrupted; finished stages are kept: go on with --first STAGE", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
