"""Killed at any moment: whole files or none, the same bytes after the next run, and never two writers.

benchmarks/kills.py does it at random, through DVC, in every stage; here are ten kills at chosen moments.
"""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import killing
import pytest
from killing import Stage
from repository import MAIN, Repository

LIMIT_S = 60.0


@pytest.fixture
def whole(done: Repository) -> Iterator[Repository]:
    """The finished repository, which is as it was when the story ends."""
    yield done
    done("git", "checkout", "--quiet", ".")
    done("dvc", "checkout", "--quiet", "--force", *MAIN)


def wait(moment: Callable[[], bool], alive: Callable[[], bool]) -> None:
    ends = time.monotonic() + LIMIT_S
    while not moment():
        assert alive(), "it ended before the moment came"
        assert time.monotonic() < ends, "the moment did not come"
        time.sleep(killing.POLL_S)


def run(repository: Repository, stage: Stage, log: Path) -> str:
    """Run a stage's command to its end; what it said."""
    with killing.started(repository, [sys.executable, *stage.command[1:]], log) as process:
        assert process.wait(LIMIT_S) == 0, log.read_text()
    return log.read_text()


@pytest.mark.parametrize("name", ["download", "repair", "align", "filter", "resample", "encode"])
def test_a_stage_killed_within_a_write_leaves_no_half_file_and_the_next_run_mends_it(
    whole: Repository, tmp_path: Path, name: str
) -> None:
    stage = killing.stages(whole)[name]
    before = killing.contents(whole, stage)
    killing.remove(whole, stage)
    with killing.started(whole, [sys.executable, *stage.command[1:]], tmp_path / "log") as process:
        wait(lambda: bool(killing.parts(whole)), lambda: process.poll() is None)
        process.kill()
    assert killing.half_written(killing.contents(whole, stage), before) == []
    run(whole, stage, tmp_path / "log")
    assert killing.contents(whole, stage) == before
    assert killing.parts(whole) == []


@pytest.mark.parametrize("name", ["train_vqvae", "train_cldm"])
def test_a_killed_training_goes_on_from_its_state_and_ends_with_the_same_bytes(
    whole: Repository, tmp_path: Path, name: str
) -> None:
    stage = killing.stages(whole)[name]
    before = killing.contents(whole, stage)
    killing.remove(whole, stage)

    def trained() -> bool:
        table = whole.folder / f"metrics/{name}/plots/metrics/loss.tsv"
        return table.is_file() and len(table.read_text().splitlines()) > 4

    with killing.started(whole, [sys.executable, *stage.command[1:]], tmp_path / "log") as process:
        wait(trained, lambda: process.poll() is None)
        process.kill()
    assert name in [state.parent.name for state in killing.states(whole)]
    assert killing.half_written(killing.contents(whole, stage), before) == []
    output = run(whole, stage, tmp_path / "log")
    (first,) = re.findall(rf"{name}:\s+\d+%[^|]*\|[^|]*\| (\d+)/", output)[:1]
    assert int(first) > 1, "it did not begin anew"
    assert killing.contents(whole, stage) == before
    assert killing.states(whole) == [], "a finished stage leaves no state behind"


def test_dvc_and_its_stage_killed_together_run_again(whole: Repository, tmp_path: Path) -> None:
    stage, before = killing.stages(whole)["resample"], killing.locks(whole)
    killing.forget(whole, stage)
    with killing.started(whole, ["dvc", "repro", "--no-run-cache", "-s", "resample"], tmp_path / "log") as dvc:
        assert killing.stage_process(dvc, stage)
        wait(lambda: killing.locked(whole, stage), lambda: dvc.poll() is None)
        os.killpg(dvc.pid, signal.SIGKILL)
    assert whole.repro("--no-run-cache") == ["resample"]
    assert killing.locks(whole) == before


def test_where_dvc_alone_was_killed_its_stage_goes_on_and_a_second_run_is_refused(
    whole: Repository, tmp_path: Path
) -> None:
    stage, before = killing.stages(whole)["resample"], killing.locks(whole)
    killing.forget(whole, stage)
    with killing.started(whole, ["dvc", "repro", "--no-run-cache", "-s", "resample"], tmp_path / "log") as dvc:
        process = killing.stage_process(dvc, stage)
        assert process is not None
        wait(lambda: killing.locked(whole, stage), lambda: dvc.poll() is None)
        process.send_signal(signal.SIGSTOP)
        dvc.kill()
        dvc.wait()  # a process that nobody has waited for counts as alive
        output = whole("dvc", "repro", "--no-run-cache", fails=True)
        assert f"resample: {killing.REFUSED}; wait for it or end it" in output
        assert "Traceback" not in output
        process.send_signal(signal.SIGCONT)
        wait(lambda: not killing.alive(process), lambda: True)
    assert whole.repro("--no-run-cache") == ["resample"]
    assert killing.locks(whole) == before
