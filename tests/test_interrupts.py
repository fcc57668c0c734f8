"""Ctrl-C and kills of `make repro`: one line says what is kept and how to go on, and the next run goes on."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from repository import ROOT

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.pipeline import dvc_state

BIN = Path(sys.executable).parent
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")} | {
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": str(ROOT),
    "PYTHONUNBUFFERED": "1",
    **{f"GIT_{who}_{what}": "test@example.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}
TOY = """
import sys, time
from pathlib import Path
print("toy begins")
time.sleep(float(Path("seconds").read_text()))
Path("out").write_text("done")
"""
PIPELINE = "stages: {toy: {cmd: python -m stages.toy, deps: [stages/toy.py], outs: [out]}}\n"


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository of one stage, which takes as many seconds as the file `seconds` says."""
    (tmp_path / "stages").mkdir()
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "stages/__init__.py", tmp_path / "stages")
    (tmp_path / "stages/toy.py").write_text(TOY)
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "seconds").write_text("0")
    for command in ("git init --quiet", "dvc init --quiet", "dvc config core.analytics false"):
        assert run(tmp_path, *command.split()).returncode == 0
    return tmp_path


REPRO = ("python", "-m", "spiro_diffusion.pipeline.run_dvc", "repro")


@pytest.fixture
def other_dvc(project: Path) -> Iterator[None]:
    """Another process of DVC in the project, as the list of processes shows it."""
    program = project / "bin" / "dvc"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nsleep 60 & wait\n")
    with subprocess.Popen(["/bin/sh", program], cwd=project, start_new_session=True) as process:
        yield
        os.killpg(process.pid, signal.SIGKILL)


def interrupted(folder: Path, *command: str, at: str | None) -> tuple[int, str]:
    """Status and words of a command whose process group gets Ctrl-C once it has said `at`, or where None, once it has
    computed for 0.3 s: on a machine under load, it may not run our code before."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (no threads here)
    ) as process:
        assert process.stdout is not None
        if at is None:
            running = psutil.Process(process.pid)
            while process.poll() is None and sum(running.cpu_times()[:2]) < 0.3:
                time.sleep(0.01)
        else:
            assert any(at in line for line in process.stdout)
        os.killpg(process.pid, signal.SIGINT)
        output = process.stdout.read()
    return process.returncode, output


def test_ctrl_c_of_make_repro_is_one_line_and_the_next_run_goes_on(project: Path) -> None:
    (project / "seconds").write_text("60")
    status, output = interrupted(project, "make", "-o", ".venv/ready", "repro", at="toy begins")
    assert status
    (line,) = [line for line in output.splitlines() if not line.startswith("make: ***") and line]
    assert line.startswith("dvc: interrupted; finished stages are kept")
    assert "`make repro`" in line
    (project / "seconds").write_text("0")
    assert run(project, *REPRO).returncode == 0
    assert (project / "out").read_text() == "done"


def test_ctrl_c_of_plain_dvc_is_a_line_of_the_stage_and_one_of_dvc(project: Path) -> None:
    (project / "seconds").write_text("60")
    _, output = interrupted(project, "dvc", "repro", at="toy begins")
    of_stage, theirs = output.strip().splitlines()
    assert of_stage.startswith("toy: interrupted; finished stages are kept")
    assert theirs.startswith("ERROR: failed to reproduce 'toy'")


def test_make_repro_ends_with_three_next_steps(project: Path) -> None:
    card = project / ".venv/bin/spiro"
    card.parent.mkdir(parents=True)
    card.write_text("#!/bin/sh\n")
    card.chmod(0o755)
    done = run(project, "make", "-o", ".venv/ready", "repro")
    assert done.returncode == 0, done.stderr
    steps = done.stdout.strip().splitlines()[-3:]
    assert [step.split()[0] for step in steps] == ["Look:", "Draw:", "Share:"]
    assert "metrics/evaluate/report.html" in steps[0]
    assert steps[2].index("git commit") < steps[2].index("dvc push")
    for command in (("git", "add", "--all"), ("git", "commit", "--quiet", "-m", "run")):
        assert run(project, *command).returncode == 0
    again = run(project, "make", "-o", ".venv/ready", "repro").stdout.strip().splitlines()
    assert again[-1] == "Share:  dvc push", "there is nothing to commit"


def test_ctrl_c_before_any_stage_is_one_line(project: Path) -> None:
    (project / "seconds").write_text("60")
    _, output = interrupted(project, *REPRO, at=None)
    (line,) = output.splitlines()
    assert line.split(": ")[1].startswith("interrupted; finished stages are kept")


def test_ctrl_c_of_a_stage_that_loads_its_libraries_is_one_line() -> None:
    status, output = interrupted(ROOT, "python", "-m", "stages.train_cldm", at=None)
    assert status == -signal.SIGINT
    (line,) = output.splitlines()
    assert line.startswith("train_cldm: interrupted; ")


@pytest.mark.parametrize("left", ["", '{"write": {"data'])
def test_a_lock_of_processes_that_a_kill_cut_short_is_removed(project: Path, left: str) -> None:
    assert run(project, *REPRO).returncode == 0
    (project / "out").unlink()
    (project / dvc_state.RWLOCK).write_text(left)
    assert "corrupted" in run(project, "dvc", "repro").stderr, "DVC mends this itself now: drop ours"
    done = run(project, *REPRO)
    assert done.returncode == 0
    assert ".dvc/tmp/rwlock: cut short by a DVC that was killed; removed" in done.stderr
    assert (project / "out").is_file()


def test_a_lock_file_that_a_kill_cut_short_comes_from_the_commit_or_goes(project: Path) -> None:
    assert run(project, *REPRO).returncode == 0
    lock = project / "dvc.lock"
    whole = lock.read_text()
    lock.write_text("")
    done = run(project, *REPRO)
    assert "dvc.lock: cut short by a DVC that was killed; removed" in done.stderr
    assert "is cached - skipping run" in done.stdout
    assert lock.read_text() == whole
    run(project, "git", "add", "--all")
    run(project, "git", "commit", "--quiet", "-m", "run")
    lock.write_text("stages:\n  toy:\n    cmd: 'pyth")
    assert "taken from the last commit" in run(project, *REPRO).stderr
    assert lock.read_text() == whole


def test_nothing_is_mended_while_another_dvc_runs(project: Path, other_dvc: None) -> None:
    lock = project / dvc_state.RWLOCK
    lock.write_text("")
    with pytest.raises(SpiroError, match=r"^.dvc/tmp/rwlock: cut short, but another DVC runs here \(process \d+\)"):
        dvc_state.repair(project)
    done = run(project, *REPRO)
    assert done.returncode == 1
    assert done.stderr.startswith("dvc: .dvc/tmp/rwlock: cut short")
    assert len(done.stderr.splitlines()) == 1
    assert lock.is_file()


def test_whole_files_are_left_alone(project: Path) -> None:
    assert dvc_state.repair(project) == []
    assert run(project, *REPRO).returncode == 0
    assert dvc_state.repair(project) == []
