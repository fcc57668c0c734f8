"""Several processes: one that is alone, ends or stops ends the run, in a line that says how to mend it."""

import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spiro_diffusion.compute import launcher, membership
from spiro_diffusion.compute.membership import Member
from spiro_diffusion.core.errors import SpiroError

ROOT = Path(__file__).parents[1]
WHOLE = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def described(monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> None:
    """An environment that describes the second of two processes, changed so."""
    for name in membership.NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in (WHOLE | changes).items():
        if value is not None:
            monkeypatch.setenv(name, value)


def test_a_process_alone_needs_no_description(monkeypatch: pytest.MonkeyPatch) -> None:
    described(monkeypatch, **dict.fromkeys(WHOLE))
    assert Member.of_environment() is None
    described(monkeypatch)
    assert Member.of_environment() == Member(1, 2, 1, "127.0.0.1", 29500)


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    described(monkeypatch, **{name: None})
    with pytest.raises(SpiroError, match=f"{name} not set in the environment.*torchrun"):
        Member.of_environment()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RANK", "2"),
        ("RANK", "-1"),
        ("RANK", "first"),
        ("WORLD_SIZE", "two"),
        ("LOCAL_RANK", "7"),
        ("MASTER_PORT", "x"),
    ],
)
def test_what_is_wrong_is_named_with_its_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    described(monkeypatch, **{name: value})
    with pytest.raises(SpiroError, match=f"{name} is {value} in the environment; expected"):
        Member.of_environment()


def test_nobody_at_the_master_address(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    described(monkeypatch, MASTER_PORT=str(port))
    began = time.monotonic()
    with pytest.raises(SpiroError, match=f"process 1 of 2 found no process at 127.0.0.1:{port} .* within 1 s"):
        membership.meet(Member(1, 2, 1, "127.0.0.1", port), patience_s=0.5)
    assert time.monotonic() - began < 10


def test_a_master_address_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    described(monkeypatch, MASTER_ADDR="no.such.host.invalid")
    with pytest.raises(SpiroError, match=r"process 1 of 2 .* no.such.host.invalid:29500"):
        membership.meet(Member(1, 2, 1, "no.such.host.invalid", 29500), patience_s=0.5)


def test_the_first_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    described(monkeypatch, RANK="0", LOCAL_RANK="0", MASTER_PORT=str(port))
    with pytest.raises(SpiroError, match=r"WORLD_SIZE is 2, but .* only this one came .* within 1 s"):
        membership.meet(Member(0, 2, 0, "127.0.0.1", port), patience_s=0.5)


def test_a_host_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    described(monkeypatch, **dict.fromkeys(WHOLE))
    for name in (launcher.LAUNCHED, launcher.REPORTED_BY_PARENT, "OMP_NUM_THREADS", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))  # and as it was, after the test
    meeting = f"127.0.0.1:{free_port()}"
    try:
        with pytest.raises(SpiroError, match=f"of 2 hosts .* not all came to {meeting} .* within 1 s"):
            launcher.launch(1, "work", [], launcher.Hosts(2, meeting, 0.5))
    finally:
        logging.disable(logging.NOTSET)


WORK = """
import os, signal, sys, time
from pathlib import Path
import torch
from spiro_diffusion.compute import distributed, launcher
from spiro_diffusion.pipeline.stage import _one_line

def work(killed=False):
    with _one_line("work"):
        distributed.start(torch.device("cpu"), 2.0)
        Path(f"begun.{os.getpid()}").touch()
        if killed and distributed.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        while True:
            distributed.total(torch.ones(1))
            time.sleep(0.01)

def member(name, rank, port):
    # a process of a pair, forked: it need not load PyTorch again
    pid = os.fork()
    if pid:
        return pid
    os.dup2(os.open(f"{name}.{rank}", os.O_CREAT | os.O_WRONLY), 2)
    names = "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"
    described = zip(names, (rank, rank, 2, "127.0.0.1", port))
    os.environ.update({key: str(value) for key, value in described})
    try:
        work()
    except SystemExit as error:
        print(error, file=sys.stderr, flush=True)
    os._exit(99)

if sys.argv[1] == "launch":
    launcher.launch(2, "work", ["killed"], launcher.Hosts())
if sys.argv[1] == "killed":
    work(killed=True)
pairs = {}
for scene in sys.argv[1:]:
    name, port = scene.split("=")
    pairs[name] = [member(name, rank, port) for rank in range(2)]
for pids in pairs.values():
    while not all(Path(f"begun.{pid}").exists() for pid in pids):
        time.sleep(0.02)
for name, pids in pairs.items():
    how, rank = name.split("-")
    os.kill(pids[int(rank)], getattr(signal, how))
    Path(f"{name}.pid").write_text(str(pids[int(rank)]))
began = time.monotonic()
for name, pids in pairs.items():
    ended = int(name[-1])
    _, status = os.waitpid(pids[1 - ended], 0)
    Path(f"{name}.status").write_text(f"{os.waitstatus_to_exitcode(status)} {time.monotonic() - began}")
    os.kill(pids[ended], signal.SIGKILL)
    os.waitpid(pids[ended], 0)
"""
SCENES = {
    "SIGSTOP-1": "of 2 processes 1 (pid {pid} on ",
    "SIGSTOP-0": "of 2 processes 0 (pid {pid} on ",  # who holds the store
    "SIGKILL-1": "work: another of the processes ended",
}


def run_work(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "work.py").write_text(WORK)
    kept = {k: v for k, v in os.environ.items() if k not in membership.NAMES}
    return subprocess.run(
        [sys.executable, "-m", "work", *arguments],
        cwd=folder,
        env=kept | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of processes at work, of which one was stopped or killed: what the other said, and when it ended."""
    folder = tmp_path_factory.mktemp("scenes")
    done = run_work(folder, *(f"{name}={free_port()}" for name in SCENES))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", SCENES)
def test_one_that_stops_or_ends_ends_the_run(scenes: Path, name: str) -> None:
    status, seconds = (scenes / f"{name}.status").read_text().split()
    printed = (scenes / f"{name}.{1 - int(name[-1])}").read_text()
    assert SCENES[name].format(pid=(scenes / f"{name}.pid").read_text()) in printed
    assert len(printed.splitlines()) == 1, printed
    assert "run it again" in printed
    assert status == "1"
    assert float(seconds) < 10, "its patience was 2 s"


def test_the_launcher_says_who_was_killed(tmp_path: Path) -> None:
    done = run_work(tmp_path, "launch")
    assert done.returncode == 1
    assert "killed: process 1 of 2 (pid " in done.stderr
    assert "was ended by SIGKILL" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
