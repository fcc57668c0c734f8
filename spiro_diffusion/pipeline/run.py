"""Run the stages of dvc.yaml without DVC, for a machine that has only PyTorch.

    python -m spiro_diffusion.pipeline.run --preset presets/full.yaml --set download.source=nhanes --folder runs/full
    python -m spiro_diffusion.pipeline.run ... --first baselines --last baselines_report
    python -m spiro_diffusion.pipeline.run ... --jobs 2      # stages that do not wait for one another at once

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
from spiro_diffusion.pipeline import schedule
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


def declared(*roots: Path) -> dict[str, dict[str, Any]]:
    """The stages of both pipelines, in order, as the first of `roots` that has a dvc.yaml declares them.

    Raises SpiroError where none has.
    """
    for root in roots:
        if (root / PIPELINES[0]).is_file():
            files = [(root / file).read_text(encoding="utf-8") for file in PIPELINES if (root / file).is_file()]
            return {name: stage for file in files for name, stage in yaml.safe_load(file)["stages"].items()}
    places = " or ".join(str(root.resolve()) for root in dict.fromkeys(roots))
    raise SpiroError(f"dvc.yaml: no such file in {places}; run from the root of the repository, which holds it")


def run_one(name: str, folder: Path) -> int:
    """Run one stage in `folder`, which has a params.yaml, with the paths of the dvc.yaml there or here; exit status.

    Raises SpiroError where there is no such folder, or no dvc.yaml.
    """
    if not folder.is_dir():
        raise SpiroError(f"{folder}: no such folder")
    command = _command(name, declared(folder, Path())[name])
    return subprocess.run(command, check=False, cwd=folder, env=_environment()).returncode


def _command(name: str, stage: dict[str, Any]) -> list[str]:
    return [sys.executable, "-m", __package__, name, *stage["cmd"].split()[3:]]


def _environment() -> dict[str, str]:
    library = str(Path(__file__).parents[2])  # where the folder is another one, Python must still find it
    paths = os.pathsep.join(p for p in (library, os.environ.get("PYTHONPATH")) if p)
    return os.environ | {"PYTHONPATH": paths}


def run(folder: Path, changes: list[str], first: str | None = None, last: str = MAIN[-1], jobs: int = 1) -> None:
    """Run the stages from `first` to `last` in `folder`, and write how long each took.

    At most `jobs` stages run at a time, each after those whose outputs dvc.yaml says it depends on.

    Raises SpiroError where a stage fails; what came before it stays.
    """
    stages = declared(Path())
    names = list(stages)
    for name in (first, last):
        if name is not None and name not in names:
            raise SpiroError(f"no stage {name}; there are {', '.join(names)}")
    if jobs < 1:
        raise SpiroError(f"--jobs {jobs}: expected 1 or more")
    params = merged(read_params(), changes)
    artifacts.write_text(folder / "params.yaml", yaml.safe_dump(params, sort_keys=False))
    record = folder / "times.json"
    times: dict[str, float] = artifacts.read_json(record) if first and record.is_file() else {}
    began = time.monotonic()

    def ended(name: str, seconds: float) -> None:
        times[name] = round(seconds, 2)
        print(f"   {f'{name}: ' if jobs > 1 else ''}{times[name]:.1f} s", flush=True)
        artifacts.write_json(record, times)

    waits = schedule.after(stages)
    chosen = names[names.index(first) if first else 0 : names.index(last) + 1]
    commands = {name: schedule.Command(_command(name, stages[name]), waits[name]) for name in chosen}
    schedule.run_all(commands, jobs, folder, _environment(), ended)
    print(f"== {sum(times.values()) if jobs == 1 else time.monotonic() - began:.1f} s in all", flush=True)


def main() -> None:
    """Command line; `--print` only shows the preset as settings."""
    parser = argparse.ArgumentParser(prog="spiro_diffusion.pipeline.run", description=__doc__)
    parser.add_argument("--preset", type=Path, action="append", default=[], help="file of overrides, by section")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--folder", type=Path, default=Path("runs/full"))
    parser.add_argument("--first", help="stage to begin with")
    parser.add_argument("--last", default=MAIN[-1], help="stage to end with")
    parser.add_argument("--jobs", type=int, default=1, help="stages at a time; 2 on a GPU or with many cores")
    parser.add_argument("--print", action="store_true", help="print the presets as settings and end")
    options = parser.parse_args()
    try:
        changes = [change for preset in options.preset for change in settings(preset)]
        if options.print:
            print("\n".join(changes))
        else:
            run(options.folder, changes + options.set, options.first, options.last, options.jobs)
    except SpiroError as error:
        sys.exit(f"run: {error}")
    except KeyboardInterrupt:
        print("run: interrupted; finished stages are kept: go on with --first STAGE", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
