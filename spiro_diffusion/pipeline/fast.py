"""`dvc repro` with the fastest kernels of this processor, whose last digits differ on other processors.

    python -m spiro_diffusion.pipeline.fast [STAGE ...]     # `make repro FAST=1`

The fast mode has a cache, a run-cache and a lock of its own in .scratch/fast: what it has made is not made again, and
DVC's cache and dvc.lock stay as they were, so that a portable `dvc repro` after it makes its outputs anew.
"""

import os
import subprocess
import sys
from pathlib import Path

from spiro_diffusion.core.artifacts import SCRATCH
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.portable import FAST

LOCK = Path("dvc.lock")
FAST_FOLDER = SCRATCH / "fast"
FAST_LOCK, ASIDE, CACHE = FAST_FOLDER / "dvc.lock", FAST_FOLDER / "portable.lock", FAST_FOLDER / "cache"
ANNOUNCED = """\
A fast run: the last digits of its outputs, and so their hashes, differ from those in dvc.lock, which is as it was.
Compare figures with `dvc metrics diff`, outputs with `dvc status`; `dvc repro` makes the portable ones again."""


def repro(stages: list[str]) -> int:
    """Run `dvc repro` on these stages in the fast mode, from the root of the repository; its exit status.

    Raises SpiroError where the repository's own configuration says where DVC's cache is.
    """
    FAST_FOLDER.mkdir(parents=True, exist_ok=True)
    (FAST_FOLDER / "config").write_text(f"[cache]\n    dir = {CACHE.resolve()}\n")
    present = Path(_dvc(["cache", "dir"], capture_output=True, text=True).stdout.strip())
    environment = {FAST: "1", "DVC_GLOBAL_CONFIG_DIR": str(FAST_FOLDER.resolve())}
    if Path(_dvc(["cache", "dir"], environment, capture_output=True, text=True).stdout.strip()) != CACHE.resolve():
        raise SpiroError(
            ".dvc/config sets cache.dir, where the fast mode would store its results; unset it for this run"
        )
    _link(present / "files", CACHE / "files")
    if not ASIDE.exists():  # else a run that was killed has left it
        ASIDE.write_bytes(LOCK.read_bytes() if LOCK.exists() else b"")
    if FAST_LOCK.exists():
        LOCK.write_bytes(FAST_LOCK.read_bytes())
    try:
        return _dvc(["repro", *stages], environment).returncode
    finally:
        if LOCK.exists():
            FAST_LOCK.write_bytes(LOCK.read_bytes())
        if ASIDE.stat().st_size:
            ASIDE.replace(LOCK)
        else:
            ASIDE.unlink()
            LOCK.unlink(missing_ok=True)


def _dvc(words: list[str], environment: dict[str, str] | None = None, **options: bool) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dvc", *words]
    return subprocess.run(command, env=os.environ | (environment or {}), check=False, **options)  # type: ignore[call-overload]


def _link(objects: Path, there: Path) -> None:
    """Let a cache have the objects of another, which are never changed, without their bytes."""
    for file in objects.rglob("*"):
        link = there / file.relative_to(objects)
        if file.is_file() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, link)


if __name__ == "__main__":
    if any(":" in stage or "/" in stage for stage in sys.argv[1:]):
        sys.exit("fast: give stages of dvc.yaml; the baselines have no fast mode")
    try:
        status = repro(sys.argv[1:])
    except SpiroError as error:
        sys.exit(f"fast: {error}")
    print(ANNOUNCED)
    sys.exit(status)
