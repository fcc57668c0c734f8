"""Membership in a group of processes: rank, rendezvous, and detection of members that have died.

PyTorch's own group waits until a message's timeout, which must be long, and torchrun sees only that a process of its
own host ended, not that one stopped. So each process says every second, in the store where they met, that it lives.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

import torch.distributed as dist
from torch.distributed.distributed_c10d import rendezvous

from spiro_diffusion.core.errors import SpiroError, printable

NAMES = "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"
REMEDY = (
    "start the processes by torchrun or `runtime.workers`, which set it, or unset WORLD_SIZE and RANK to work alone"
)
AGAIN = "run it again: a training goes on from its last saved state"
START = 2  # times its patience a process waits for the others to come: hosts load their libraries at different speeds
GONE = 1 << 40  # what a process that leaves adds to the number of times it spoke


class Member(NamedTuple):
    """This process's place among others."""

    rank: int
    world: int
    local_rank: int
    address: str
    port: int

    @classmethod
    def of_environment(cls) -> "Member | None":
        """As torchrun describes it in the environment; None for a process alone.

        Raises SpiroError that names the variable that is missing or wrong.
        """
        given = [name for name in NAMES[:3] if os.environ.get(name)]
        if not given or os.environ.get("WORLD_SIZE", "").strip() == "1":
            return None
        missing = [name for name in NAMES if not os.environ.get(name)]
        if missing:
            raise SpiroError(f"{' and '.join(missing)} not set in the environment, but {' and '.join(given)}: {REMEDY}")
        world = _number("WORLD_SIZE", 1, 1 << 20)
        rank, local = (_number(name, 0, world - 1) for name in ("RANK", "LOCAL_RANK"))
        return cls(rank, world, local, os.environ["MASTER_ADDR"], _number("MASTER_PORT", 1, (1 << 16) - 1))


def _number(name: str, least: int, largest: int) -> int:
    text = os.environ[name]
    if not text.strip().isdecimal() or not least <= int(text) <= largest:
        raise SpiroError(f"{name} is {printable(text)} in the environment; expected {least} to {largest}: {REMEDY}")
    return int(text)


def meet(member: Member, patience_s: float) -> tuple[dist.Store, list[str]]:
    """Wait until all have come; the store where they met, and who each is.

    Raises SpiroError where the others are not there in time.
    """
    wait_s = START * patience_s
    where = f"{member.address}:{member.port} (MASTER_ADDR, MASTER_PORT)"
    advice = "start all on time, on each host with the same MASTER_ADDR and MASTER_PORT, or unset WORLD_SIZE and RANK"
    try:
        store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=wait_s)))
    except (RuntimeError, ValueError) as error:  # as TCPStore has it for each way not to be there
        reason = " ".join(str(error).split())
        if member.rank == 0 and "joined" in reason:
            raise SpiroError(_lone(member, [0], where, wait_s, advice)) from None
        if "timed out" in reason:
            raise SpiroError(
                f"process {member.rank} of {member.world} found no process at {where} within {wait_s:g} s: the first "
                f"process must run there; {advice} to work alone"
            ) from None
        raise SpiroError(
            f"process {member.rank} of {member.world} cannot meet the others at {where}: {reason[:160]}"
        ) from None
    store.set_timeout(timedelta(seconds=wait_s))
    store.set(f"spiro/who/{member.rank}", f"pid {os.getpid()} on {socket.gethostname()}")
    keys = [f"spiro/who/{rank}" for rank in range(member.world)]
    try:
        return store, [store.get(key).decode() for key in keys]
    except RuntimeError:
        here = [rank for rank, key in enumerate(keys) if store.check([key])]
        raise SpiroError(_lone(member, here, where, wait_s, advice)) from None


def _lone(member: Member, here: list[int], where: str, wait_s: float, advice: str) -> str:
    others = "only this one" if here == [member.rank] else f"only {', '.join(map(str, here))}"
    return (
        f"WORLD_SIZE is {member.world}, but of the processes 0 to {member.world - 1} {others} came to {where} "
        f"within {wait_s:g} s: {advice} to work alone"
    )


class Watch:
    """Says that this process lives, and ends it where another has been silent for `patience_s`.

    Two threads, so that a store that answers no more is silence too.
    """

    def __init__(self, member: Member, members: list[str], patience_s: float) -> None:
        self.member, self.members, self.patience_s = member, members, patience_s
        self.every_s = min(1.0, patience_s / 10)
        # a connection of its own: one that waits for a key would keep the others waiting
        wait = timedelta(seconds=patience_s)
        self.store = dist.TCPStore(member.address, member.port, is_master=False, timeout=wait, wait_for_workers=False)
        others = [rank for rank in range(member.world) if rank != member.rank]
        self.spoken = dict.fromkeys(others, 0)
        self.last_contact = dict.fromkeys(others, time.monotonic())
        self.over = threading.Event()
        for work in (self._send, self._look):
            threading.Thread(target=work, name=f"watch {work.__name__}", daemon=True).start()

    def _add(self, rank: int, number: int) -> int:
        return self.store.add(f"spiro/spoken/{rank}", number)

    def _send(self) -> None:
        while not self.over.wait(self.every_s):
            try:
                self._add(self.member.rank, 1)
                for rank, before in self.spoken.items():
                    self.spoken[rank] = self._add(rank, 0)
                    if self.spoken[rank] != before:
                        self.last_contact[rank] = time.monotonic()
            except RuntimeError:
                return  # who held the store has ended: the silence says so

    def _look(self) -> None:
        looked = time.monotonic()
        while not self.over.wait(self.every_s):
            now = time.monotonic()
            if now - looked > self.patience_s / 2:  # this process was stopped itself, and could hear no other
                self.last_contact = dict.fromkeys(self.last_contact, now)
            looked = now
            silent = [r for r, at in self.last_contact.items() if now - at > self.patience_s and self.spoken[r] < GONE]
            if silent and not self.over.is_set():
                self._end(silent)

    def _end(self, silent: list[int]) -> None:
        """Report the silent members; one of the live members does."""
        if self.member.rank == min(set(range(self.member.world)) - set(silent)):
            names = " and ".join(f"{rank} ({self.members[rank]})" for rank in silent)
            reason = f"of {self.member.world} processes {names} said nothing for {self.patience_s:g} s"
            leave(f"{program()}: {reason}: it stopped, or its host or the network did; {AGAIN}")
        time.sleep(min(1.0, self.every_s))
        leave()

    def close(self) -> None:
        """Say goodbye. The first process, which may hold the store, waits for the others to do so, but not for long."""
        self.over.set()
        try:
            self._add(self.member.rank, GONE)
            until = time.monotonic() + self.patience_s
            while self.member.rank == 0 and time.monotonic() < until:
                if all(self._add(rank, 0) >= GONE for rank in self.spoken):
                    return
                time.sleep(0.02)
        except RuntimeError:
            pass  # who held the store has ended before


def program() -> str:
    """The stage's name, for a line that comes from beside it."""
    parts = [os.path.splitext(os.path.basename(part))[0] for part in sys.argv[:2]]
    return next((part for part in parts if part != "__main__"), "spiro")


def leave(line: str = "", status: int = 1) -> None:
    """End this process at once with a line: who works with others must not wait for them when it fails."""
    if line:
        print(line, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def leave_on_errors() -> None:
    """Let an uncaught error end the process at once, after it was printed."""
    excepthook: Callable[..., object] = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: object) -> None:
        excepthook(kind, error, trace)
        leave(status=130 if issubclass(kind, KeyboardInterrupt) else 1)

    sys.excepthook = hook
