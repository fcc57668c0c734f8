"""A full disk, a cache that cannot be written, too little memory: one clear line, and nothing that was made is lost."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import killing
import pytest
from repository import MAIN, Repository


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 kB, less than the smallest output."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def whole(done: Repository) -> Iterator[Repository]:
    """The finished repository, which is as it was when the story ends."""
    yield done
    (done.folder / ".dvc" / "config.local").unlink(missing_ok=True)
    done("git", "checkout", "--quiet", ".")
    done("dvc", "checkout", "--quiet", "--force", *MAIN)


def line(message: str, of: str) -> str:
    """The one line in which a stage ended."""
    assert "Traceback" not in message, message
    (found,) = [line for line in message.splitlines() if line.startswith(f"{of}: ") and "%|" not in line]  # no bar
    return found


@pytest.mark.parametrize(
    ("stage", "outs"),
    [
        ("download", ["data/raw"]),
        ("repair", ["data/repaired"]),
        ("resample", ["data/signals_L512.npy"]),
        ("encode", ["data/latents.npy"]),
        ("train_vqvae", ["models/vqvae.safetensors"]),
    ],
)
def test_a_full_disk_ends_a_stage_in_one_line_and_leaves_no_part(
    done: Repository, disk: Path, stage: str, outs: list[str], tmp_path: Path
) -> None:
    command = killing.stages(done)[stage].command
    words = [str(disk / Path(w).name) if w in outs else w for w in command[1:]]
    words = [str(tmp_path / w) if w.startswith("metrics/") else w for w in words]
    before = killing.contents(done, killing.stages(done)[stage])
    with killing.started(done, [sys.executable, *words], tmp_path / "log") as process:
        assert process.wait(120) == 1, (tmp_path / "log").read_text()
    output = line((tmp_path / "log").read_text(), stage)
    assert output.endswith("No space left on device"), output
    assert str(disk) in output
    assert not [p for p in disk.rglob("*") if p.name.endswith(".part") and p.is_file()]
    assert killing.contents(done, killing.stages(done)[stage]) == before
    for state in killing.states(done):
        state.unlink()


def test_a_full_disk_under_the_cache_loses_nothing(whole: Repository, disk: Path) -> None:
    _cache_fails(whole, disk, "No space left on device")


def test_a_cache_that_cannot_be_written_loses_nothing(whole: Repository, disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    _cache_fails(whole, disk, "Read-only file system")


def _cache_fails(repository: Repository, disk: Path, why: str) -> None:
    """A stage whose outs DVC cannot take into its cache; then a cache that it can."""
    stage, before = killing.stages(repository)["resample"], killing.locks(repository)
    killing.forget(repository, stage)
    repository("dvc", "config", "--local", "cache.dir", str(disk))
    output = repository("dvc", "repro", "--no-run-cache", "-s", "resample", fails=True)
    assert "Traceback" not in output
    assert [line for line in output.splitlines() if line.startswith("ERROR:") and why in line], output
    repository("dvc", "config", "--local", "--unset", "cache.dir")
    assert repository.repro("--no-run-cache") == ["resample"]
    assert killing.locks(repository) == before


LIMITED = """
import resource, sys
from pathlib import Path
import torch.fx.experimental.symbolic_shapes  # what loading a model imports: here the work needs the memory
from spiro_diffusion.pipeline import {stage}
from spiro_diffusion.pipeline.stage import run_stage
held = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData")]
limit = (int(held[0].split()[1]) << 10) + (1 << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
run_stage({stage}.{stage}, {stage}.Params, sys.argv[1:])
"""


@pytest.mark.parametrize("stage", ["align", "encode"])
def test_too_little_memory_ends_a_stage_in_one_line_and_leaves_what_was_made(
    done: Repository, tmp_path: Path, stage: str
) -> None:
    found = killing.stages(done)[stage]
    before = killing.contents(done, found)
    code = LIMITED.format(stage=stage)
    with killing.started(done, [sys.executable, "-c", code, *found.command[3:]], tmp_path / "log") as process:
        assert process.wait(120) == 1, (tmp_path / "log").read_text()
    assert "not enough memory" in line((tmp_path / "log").read_text(), stage)
    assert killing.contents(done, found) == before
    assert killing.parts(done) == []
