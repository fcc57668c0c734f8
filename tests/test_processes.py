"""Questions shared out to processes: the same answers, and nothing that goes on when it should not."""

import os
import signal
import subprocess
import sys
from typing import Any

import judge_world as world
import psutil
import pytest

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.evaluation import candidates, judge
from spiro_diffusion.evaluation.processes import in_processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


def test_a_judge_of_several_processes_gives_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    real = world.real(held_out=40, each=2, seed=3)
    requested = {"floor": candidates.floor(real, 5, 0), "trip": candidates.round_trip(real, 0)}
    options: dict[str, Any] = {"resamples": 100, "questions": {"trip": ("spread", "physics")}}
    one = judge.judge_all(requested, real, **options)
    monkeypatch.setattr(judge, "PROCESSES_FROM", 0)
    several = judge.judge_all(requested, real, **options)
    assert several == one
    assert set(one["trip"]) == {"spread", "physics"}


def test_answers_come_in_order_from_other_processes() -> None:
    output = list(in_processes(lambda i: (i, os.getpid()), 6))
    assert [i for i, _ in output] == list(range(6))
    assert os.getpid() not in {pid for _, pid in output}


def test_an_error_in_a_process_is_the_same_error_here() -> None:
    def refuse(i: int) -> None:
        raise SpiroError(f"curve {i}: no such thing")

    with pytest.raises(SpiroError, match="curve 0: no such thing"):
        list(in_processes(refuse, 3))


def test_a_process_that_is_ended_from_outside_is_said_in_a_line() -> None:
    with pytest.raises(SpiroError, match="ended from outside"):
        list(in_processes(lambda i: os.kill(os.getpid(), signal.SIGKILL), 2))


def test_no_process_outlives_the_one_that_made_it() -> None:
    code = """
import os, time
os.sched_getaffinity = lambda _: {0, 1}
from spiro_diffusion.evaluation.processes import in_processes
def answer(i):
    print(f"{os.getpid()}\\n", end="", flush=True)
    time.sleep(60)
list(in_processes(answer, 2))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        children = [psutil.Process(int(parent.stdout.readline())) for _ in range(2)]
        parent.kill()
    gone, alive = psutil.wait_procs(children, timeout=5)
    assert len(gone) == 2, alive
