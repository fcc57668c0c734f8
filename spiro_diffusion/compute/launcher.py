"""Launch several processes on this host with torchrun's agent, and report a failure in one line."""

import contextlib
import logging
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from spiro_diffusion.compute import membership
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.interrupts import REPORTED_BY_PARENT

LAUNCHED = "SPIRO_LAUNCHED"  # in the environment of processes whose launcher tells why one of them ended
CUT_OFF = 76  # exit status of a process that has lost the others, and leaves it to the launcher to say why
SHUTDOWN_S = "5"  # between SIGTERM, which a stopped process does not see, and SIGKILL; older PyTorch has 30

_ended: set[int] = set()  # processes that were stopped, which is reported


class Hosts(NamedTuple):
    """The hosts that work together: how many, where they meet (`host:port`, one of them), and their patience."""

    number: int = 1
    meeting: str = "localhost:0"
    patience_s: float = 20.0

    @property
    def wait_s(self) -> float:
        """For which one waits for the others to come."""
        return membership.START * self.patience_s


def launch(workers: int, module: str, arguments: list[str], hosts: Hosts) -> NoReturn:
    """Run `workers` processes of `python -m module arguments` on this host, and exit as they did.

    Raises SpiroError where the other hosts do not come.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException  # noqa: PLC0415 (half a second)
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError  # noqa: PLC0415
    from torch.distributed.elastic.rendezvous import api as rendezvous  # noqa: PLC0415
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch  # noqa: PLC0415

    reported = REPORTED_BY_PARENT in os.environ
    os.environ |= {LAUNCHED: "1", REPORTED_BY_PARENT: "1"}
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as torchrun does: they share the cores
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", SHUTDOWN_S)
    logging.disable(logging.CRITICAL)  # pages on what a line says
    config = LaunchConfig(
        *(hosts.number, hosts.number, workers),
        run_id=str(uuid.uuid4()) if hosts.number == 1 else "spiro",  # several must say the same one
        rdzv_backend="c10d",
        rdzv_endpoint=hosts.meeting,
        rdzv_configs={"join_timeout": hosts.wait_s, "read_timeout": hosts.wait_s},
        max_restarts=0,
        monitor_interval=0.1,
    )
    threading.Thread(target=_end_stopped, args=[hosts.patience_s], daemon=True).start()
    try:
        elastic_launch(config, sys.executable)("-m", module, *arguments)
    except ChildFailedError as error:
        name = arguments[0] if arguments else module
        sys.exit(_why(name, hosts.number * workers, {rank: (f.pid, f.exitcode) for rank, f in error.failures.items()}))
    except (rendezvous.RendezvousTimeoutError, rendezvous.RendezvousConnectionError):
        raise SpiroError(
            f"of {hosts.number} hosts (runtime.hosts) not all came to {hosts.meeting} (runtime.meeting) within "
            f"{hosts.wait_s:g} s: start the same command on each, with the address of one of them in runtime.meeting"
        ) from None
    except (SignalException, rendezvous.RendezvousGracefulExitError) as error:
        if not isinstance(error, SignalException):
            sys.exit(f"{module}: another host ended the run; its own line says why")
        if not reported:
            os.environ.pop(REPORTED_BY_PARENT)
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        sys.exit(128 + error.sigval)
    sys.exit(0)


def _end_stopped(patience_s: float) -> None:
    """End those of this process's children that were stopped and not continued, so that torchrun's agent sees an end.

    On one host the others have reported it by then (`membership.Watch`); on several this host would else wait for ever.
    """
    seen: dict[int, float] = {}
    while Path("/proc/self").exists():  # Linux
        time.sleep(1)
        stopped = [pid for pid, parent, state in _processes() if parent == os.getpid() and state == "T"]
        seen = {pid: seen.get(pid, time.monotonic()) for pid in stopped}
        for pid, since in seen.items():
            if time.monotonic() - since > patience_s + 5:
                print(f"process with pid {pid} was stopped; it is ended now: {membership.AGAIN}", file=sys.stderr)
                _ended.add(pid)
                os.kill(pid, signal.SIGKILL)


def _processes() -> Iterator[tuple[int, int, str]]:
    """Number, parent and state of each."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            state, parent = file.read_text().rpartition(")")[2].split()[:2]
            yield int(file.parent.name), int(parent), state


def _why(name: str, processes: int, ended: dict[int, tuple[int, int]]) -> str | int:
    """The message on processes that ended with an exit status: one that failed has reported its error itself."""
    first = sorted(ended.items(), key=lambda item: item[1][1] == CUT_OFF)
    rank, (pid, status) = first[0]
    if status == CUT_OFF:
        return f"{name}: a process of another host ended, or cannot be reached: that host's line says why"
    if status >= 0:
        return status
    try:
        signal_name = signal.Signals(-status).name
    except ValueError:
        signal_name = f"signal {-status}"
    if -status == signal.SIGKILL and pid in _ended:
        return 1
    memory = "; the system does that where memory runs out" if -status == signal.SIGKILL else ""
    return (
        f"{name}: process {rank} of {processes} (pid {pid}) was ended by {signal_name}{memory}; the others were ended "
        "too: run it again, a training goes on from its last saved state"
    )
