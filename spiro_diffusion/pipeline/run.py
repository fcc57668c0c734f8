"""Run the stages of dvc.yaml one after the other without DVC, for a machine that has only PyTorch.

    python -m spiro_diffusion.pipeline.run --preset presets/full.yaml --set download.source=nhanes --folder runs/full
    python -m spiro_diffusion.pipeline.run ... --first baselines --last baselines_report

From the root of the repository. The folder gets its own params.yaml (the repository's, with the presets and the
settings applied) and `data/`, `models/`, `metrics/` as the pipeline has them, and `times.json`.
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
from spiro_diffusion.pipeline.dependencies import PIPELINES
from spiro_diffusion.pipeline.stage import MAIN


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


def stages(*roots: Path) -> dict[str, list[str]]:
    """The arguments of each stage of both pipelines, in order, from the first of `roots` that has a dvc.yaml.

    Raises SpiroError where none has.
    """
    for root in roots:
        if (root / PIPELINES[0]).is_file():
            files = [(root / file).read_text(encoding="utf-8") for file in PIPELINES if (root / file).is_file()]
            listed = [item for file in files for item in yaml.safe_load(file)["stages"].items()]
            return {name: stage["cmd"].split()[3:] for name, stage in listed}
    places = " or ".join(str(root.resolve()) for root in dict.fromkeys(roots))
    raise SpiroError(f"dvc.yaml: no such file in {places}; run from the root of the repository, which holds it")


def run_one(name: str, folder: Path) -> int:
    """Run one stage in `folder`, which has a params.yaml, with the paths of the dvc.yaml there or here; exit status.

    Raises SpiroError where there is no such folder, or no dvc.yaml.
    """
    if not folder.is_dir():
        raise SpiroError(f"{folder}: no such folder")
    library = str(Path(__file__).parents[2])  # where `folder` is another one, Python must still find it
    paths = os.pathsep.join(p for p in (library, os.environ.get("PYTHONPATH")) if p)
    command = [sys.executable, "-m", __package__, name, *stages(folder, Path())[name]]
    return subprocess.run(command, check=False, cwd=folder, env=os.environ | {"PYTHONPATH": paths}).returncode


def run(folder: Path, changes: list[str], first: str | None = None, last: str = MAIN[-1]) -> None:
    """Run the stages from `first` to `last` in `folder`, and write how long each took.

    Raises SpiroError where a stage fails; what came before it stays.
    """
    names = list(stages(Path()))
    for name in (first, last):
        if name is not None and name not in names:
            raise SpiroError(f"no stage {name}; there are {', '.join(names)}")
    params = merged(read_params(), changes)
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
    parser.add_argument("--preset", type=Path, action="append", default=[], help="file of overrides, by section")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--folder", type=Path, default=Path("runs/full"))
    parser.add_argument("--first", help="stage to begin with")
    parser.add_argument("--last", default=MAIN[-1], help="stage to end with")
    parser.add_argument("--print", action="store_true", help="print the presets as settings and end")
    asked = parser.parse_args()
    try:
        changes = [change for preset in asked.preset for change in settings(preset)]
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
