"""Servers on loopback that stories start: SSH, S3's protocol, a folder of files, and a wire between that can be cut."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/usr/local/sbin")
SSHD_CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
"""


def need(there: object, what: str) -> None:
    """Skip a story whose server is not installed; where CI asks for all of them, fail."""
    if not there:
        (pytest.fail if os.environ.get("SPIRO_REQUIRE_ALL") == "1" else pytest.skip)(f"{what} is not installed")


@dataclass(frozen=True)
class SSH:
    """An SSH server that lets the holder of one key in, as the user of the tests."""

    port: int
    key: Path


@contextlib.contextmanager
def ssh(folder: Path) -> Iterator[SSH]:
    """Debian's openssh-server with keys and a configuration of its own in `folder`, which it makes."""
    need(SSHD, "sshd (openssh-server)")
    need(find_spec("dvc_ssh"), "dvc-ssh")
    assert SSHD
    folder.mkdir()
    port = free_port()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "sshd_config").write_text(SSHD_CONFIG.format(port=port, folder=folder))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # as root, sshd gives up its rights in it
    with running([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], port, folder / "sshd.log"):
        yield SSH(port, folder / "user")


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[str]:
    """moto's server of S3's protocol, with its log in `folder`, which it makes; its address."""
    need(find_spec("moto") and find_spec("flask_cors"), "moto's server (moto[s3], flask, flask-cors)")
    need(find_spec("dvc_s3"), "dvc-s3")
    folder.mkdir()
    port = free_port()
    with running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port, folder / "s3.log"):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def web(folder: Path, log: Path) -> Iterator[str]:
    """Python's web server of a folder, as docs/remotes.md starts it; its address."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(folder), str(port)]
    with running(command, port, log):
        yield f"http://127.0.0.1:{port}"


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def running(command: list[str], port: int, log: Path, seconds: float = 30) -> Iterator[None]:
    """A server from when it answers on `port` until it has ended."""
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent) as server:
        try:
            end = time.monotonic() + seconds
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < end, f"{command[0]} does not answer: {log.read_text()}"
                time.sleep(0.05)
            yield
        finally:
            server.terminate()


class Wire:
    """Carries bytes between a port of its own and a server's, until it is cut.

    A cut closes every connection once `after` bytes have come from the server, and refuses new ones, as
    a server does that is killed.
    """

    def __init__(self, server: int) -> None:
        self.server = server
        self.after: float = float("inf")
        self.carried = 0
        self.ends: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def cut(self, after: int) -> None:
        """Break once `after` more bytes have come."""
        self.after = self.carried + after

    def mend(self) -> None:
        """Carry again."""
        self.after = float("inf")

    @property
    def broken(self) -> bool:
        return self.carried >= self.after

    def close(self) -> None:
        self.listener.close()
        self._drop()

    def _drop(self) -> None:
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.ends.clear()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                here, _ = self.listener.accept()
                if self.broken:
                    here.close()
                    continue
                there = socket.create_connection(("127.0.0.1", self.server))
                for end in (here, there):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # small messages go at once
                self.ends += [here, there]
                threading.Thread(target=self._carry, args=(here, there, False), daemon=True).start()
                threading.Thread(target=self._carry, args=(there, here, True), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):  # an end that has gone
            while data := source.recv(1 << 14):
                sink.sendall(data)
                if counts:
                    self.carried += len(data)
                    if self.broken:
                        self._drop()
                        return
            sink.shutdown(socket.SHUT_WR)
