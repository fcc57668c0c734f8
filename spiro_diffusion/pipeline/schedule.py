"""Run commands in the order of their dependencies, several at a time where possible."""

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple

from spiro_diffusion.core.errors import SpiroError

STOP_S = 10.0  # between asking a command to end and ending it


class Command(NamedTuple):
    """What to run, and the names of those that come before it; the others' names may be of commands not run here."""

    words: list[str]
    after: frozenset[str]


def after(stages: dict[str, dict[str, Any]]) -> dict[str, frozenset[str]]:
    """Which stages of a dvc.yaml each stage waits for: those whose outputs it, or a folder of it, depends on."""
    made = {name: _paths(stage, ("outs", "metrics", "plots")) for name, stage in stages.items()}
    read = {name: _paths(stage, ("deps",)) for name, stage in stages.items()}
    return {
        name: frozenset(
            other
            for other in stages
            if other != name and any(_within(a, b) or _within(b, a) for a in read[name] for b in made[other])
        )
        for name in stages
    }


def _paths(stage: dict[str, Any], keys: Iterable[str]) -> list[Path]:
    listed = [entry for key in keys for entry in stage.get(key, [])]
    return [Path(entry if isinstance(entry, str) else next(iter(entry))) for entry in listed]


def _within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


class _Running(NamedTuple):
    process: subprocess.Popen[bytes]
    began: float
    output: IO[bytes] | None  # where one that runs beside another writes, shown when it has ended


def run_all(
    commands: dict[str, Command],
    jobs: int,
    folder: Path,
    environment: dict[str, str],
    ended: Callable[[str, float], None],
) -> None:
    """Run all in `folder`, at most `jobs` at a time, in their order; `ended` gets each one's name and seconds.

    One at a time writes to the terminal; what runs beside it is shown when it has ended.

    Raises SpiroError where one fails; what runs beside it is ended then.
    """
    waiting, running = dict(commands), dict[str, _Running]()
    try:
        while waiting or running:
            for name in list(waiting):
                if len(running) < jobs and not waiting[name].after & (waiting.keys() | running.keys()):
                    running[name] = _start(name, waiting.pop(name), folder, environment, [*running])
            name = _next_ended(running)
            one = running.pop(name)
            status, seconds = one.process.returncode, time.monotonic() - one.began
            if one.output is not None:
                one.output.seek(0)
                lines = one.output.read().decode(errors="replace").split("\n")
                one.output.close()
                printed = [line.rpartition("\r")[2].rstrip() for line in lines]  # of a progress bar the last
                print("\n".join([f"== {name}, which ran beside", *filter(None, printed)]), flush=True)
            if status:
                others = f"; stopped: {', '.join(running)}" if running else ""
                raise SpiroError(f"stage {name} ended with exit status {status}{others}")
            ended(name, seconds)
    except KeyboardInterrupt:
        for one in running.values():  # the terminal has signalled them too
            _wait(one.process)
        raise
    finally:
        for one in running.values():
            one.process.terminate()
            _wait(one.process)


def _start(name: str, command: Command, folder: Path, environment: dict[str, str], beside: list[str]) -> _Running:
    printed = f" beside {', '.join(beside)}; its lines come when it has ended" if beside else ""
    print(f"== {name}{printed}", flush=True)
    output = tempfile.TemporaryFile() if beside else None  # noqa: SIM115 (closed when it is shown)
    process = subprocess.Popen(command.words, cwd=folder, env=environment, stdout=output, stderr=output)
    return _Running(process, time.monotonic(), output)


def _next_ended(running: dict[str, _Running]) -> str:
    if not running:
        raise SpiroError("dvc.yaml: stages wait for one another in a circle")
    while True:
        for name, one in running.items():
            if one.process.poll() is not None:
                return name
        time.sleep(0.05)


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
