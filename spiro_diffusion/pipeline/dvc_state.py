"""Repair DVC's own files after DVC was killed.

DVC writes `.dvc/tmp/rwlock` and `dvc.lock` in place: a kill at that moment leaves them empty or cut short, and
every later run ends with "JSON structure is corrupted" or "validation failed" (seen with DVC 3.67).
"""

import json
import subprocess
from pathlib import Path

import psutil
import yaml

from spiro_diffusion.core import artifacts
from spiro_diffusion.core.errors import SpiroError

LOCK_FILES = ("dvc.lock", "baselines/dvc.lock")
RWLOCK = ".dvc/tmp/rwlock"  # who reads and writes which output; of no use once no DVC runs
PROGRAMS = {"dvc", "spiro_diffusion.pipeline.run_dvc"}


def repair(root: Path) -> list[str]:
    """Repair the damaged files of DVC in the repository `root`; return what was done, a line a file.

    Raises SpiroError where a file is damaged and another DVC runs here.
    """
    damaged = [name for name in (RWLOCK, *LOCK_FILES) if _is_damaged(root / name)]
    other = _running_dvc(root) if damaged else None
    if other:
        raise SpiroError(
            f"{damaged[0]}: cut short, but another DVC runs here (process {other}); wait for it or end it, "
            "then run this again"
        )
    return [f"{name}: cut short by a DVC that was killed; {_repair(root, name)}" for name in damaged]


def _is_damaged(file: Path) -> bool:
    """Whether a file is there that DVC cannot read."""
    try:
        text = file.read_text(encoding="utf-8")
        content = json.loads(text) if file.name == "rwlock" else yaml.safe_load(text)
    except FileNotFoundError:
        return False
    except (ValueError, yaml.YAMLError):
        return True
    return not isinstance(content, dict) or (file.suffix == ".lock" and "schema" not in content)


def _repair(root: Path, name: str) -> str:
    """Remove a lock of processes; take a lock file of stages from the last commit. What was done."""
    file = root / name
    if name == RWLOCK:
        file.unlink()
        return "removed, no other DVC runs here"
    committed = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=root, capture_output=True, check=False)
    if committed.returncode:
        file.unlink()
        return "removed; stages that ran are taken from DVC's run cache"
    artifacts.write_text(file, committed.stdout.decode())
    return "taken from the last commit; stages that ran since are taken from DVC's run cache"


def _running_dvc(root: Path) -> int | None:
    """Number of another process that runs DVC in the repository."""
    for process in psutil.process_iter(["pid", "cwd", "cmdline"]):
        words = (process.info["cmdline"] or [])[:3]
        here = process.info["cwd"] and Path(process.info["cwd"]).is_relative_to(root.resolve())
        if here and process.pid != psutil.Process().pid and PROGRAMS & {Path(word).name for word in words}:
            return int(process.pid)
    return None
