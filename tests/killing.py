"""Kill the stages of a repository at chosen moments, and see what is left and what the next run makes of it."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import yaml
from repository import Repository

PIPELINES = {"dvc.yaml": "", "baselines/dvc.yaml": "baselines/dvc.yaml:"}  # and how DVC names their stages
REFUSED = "another run of this stage is going on here"
POLL_S = 0.001
LOGS = re.compile(  # they grow while it trains
    r"metrics/(train_\w+/(facts/)?|train_reconstructor/(gap|onset|tail)/)(metrics\.json|plots/metrics/\w+\.tsv)"
)


class Stage(NamedTuple):
    name: str
    command: list[str]  # as dvc.yaml has it
    outs: list[str]  # files and folders that DVC records
    address: str  # what `dvc repro` calls it


def stages(repository: Repository) -> dict[str, Stage]:
    found = {}
    for file, prefix in PIPELINES.items():
        for name, stage in yaml.safe_load((repository.folder / file).read_text())["stages"].items():
            listed = [*stage["outs"], *stage.get("metrics", []), *stage.get("plots", [])]
            outs = [path for entry in listed for path in (entry if isinstance(entry, dict) else [entry])]
            if stage.get("wdir"):
                outs = [os.path.normpath(Path(file).parent / stage["wdir"] / out) for out in outs]
            found[name] = Stage(name, stage["cmd"].split(), outs, prefix + name)
    return found


def forget(repository: Repository, stage: Stage) -> None:
    """Make DVC's lock file not know the stage, as before its first run."""
    lock = repository.folder / "dvc.lock" if ":" not in stage.address else repository.folder / "baselines/dvc.lock"
    locked = yaml.safe_load(lock.read_text())
    del locked["stages"][stage.name]
    lock.write_text(yaml.safe_dump(locked, sort_keys=False))


def locks(repository: Repository) -> dict[str, str]:
    """Hash of every output by stage and path, of both pipelines."""
    files = [repository.folder / "dvc.lock", repository.folder / "baselines/dvc.lock"]
    stages = [item for file in files if file.is_file() for item in yaml.safe_load(file.read_text())["stages"].items()]
    return {f"{name}: {out['path']}": out["md5"] for name, stage in stages for out in stage.get("outs", [])}


def contents(repository: Repository, stage: Stage) -> dict[str, bytes]:
    """The files under their final names of a stage, whole."""
    files = [file for out in stage.outs for top in [repository.folder / out] for file in (top, *top.rglob("*"))]
    found = {}
    for file in files:
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            if not file.name.endswith(".part"):
                found[file.relative_to(repository.folder).as_posix()] = file.read_bytes()
    return found


def digest(contents: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}


def half_written(left: dict[str, bytes], whole: dict[str, bytes]) -> list[str]:
    """Files that are neither whole nor the log of a training that goes on."""
    return [name for name, data in left.items() if data != whole.get(name) and not LOGS.fullmatch(name)]


def parts(repository: Repository) -> list[str]:
    """Temporary files and folders of writes that have not ended."""
    tops = [repository.folder / top for top in ("data", "models", "metrics")]
    return sorted(p.relative_to(repository.folder).as_posix() for top in tops for p in top.rglob(".*.part"))


def states(repository: Repository) -> list[Path]:
    """States that a training would go on from."""
    return sorted((repository.folder / ".scratch").glob("*/*.safetensors"))


def locked(repository: Repository, stage: Stage) -> bool:
    """Whether a process holds the stage's lock: it has loaded its modules and begun."""
    path = repository.folder / ".scratch" / stage.name / "stage"
    if not path.is_file():
        return False
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def seen(repository: Repository, stage: Stage) -> tuple[tuple[str, int, int], ...]:
    """What lies in the folders that a stage writes to: a change in it is a step of a write."""
    found = []
    folders = {str(Path(out).parent) for out in stage.outs} | set(stage.outs) | {".scratch"}
    waiting = [repository.folder / folder for folder in folders]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    found.append((entry.path, status.st_size, status.st_mtime_ns))
                    if entry.is_dir() and ".scratch" in entry.path:
                        waiting.append(Path(entry.path))
    return tuple(sorted(found))


def environment(repository: Repository) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(repository.folder), "OMP_NUM_THREADS": "1"}


@contextlib.contextmanager
def started(repository: Repository, command: list[str], log: Path) -> Iterator[subprocess.Popen]:
    """A command in a process group of its own, of which nothing lives on after the block."""
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            cwd=repository.folder,
            env=environment(repository),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def stage_process(dvc: subprocess.Popen, stage: Stage) -> psutil.Process | None:
    """The process of the stage that `dvc repro` has started, once it is Python; None where DVC ended first."""
    wanted = f"stages.{stage.name}"
    while dvc.poll() is None:
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(dvc.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    words = child.cmdline()
                    if wanted in words and Path(words[0]).name.startswith("python"):
                        return child
        time.sleep(POLL_S)
    return None


def until(alive: Callable[[], bool], repository: Repository, stage: Stage, after_s: float, writes: int) -> None:
    """Wait for a moment: `after_s` from now, or the `writes`-th change in the folders, whichever is first."""
    ends, before, changes = time.monotonic() + after_s, seen(repository, stage) if writes else (), 0
    while time.monotonic() < ends and alive():
        if writes:
            now = seen(repository, stage)
            changes += now != before
            before = now
            if changes >= writes:
                return
        time.sleep(POLL_S)


def alive(process: psutil.Process) -> bool:
    """Whether it runs, not as a zombie."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def remove(repository: Repository, stage: Stage) -> None:
    """Remove what a stage makes, as DVC does before it runs."""
    for out in stage.outs:
        path = repository.folder / out
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
