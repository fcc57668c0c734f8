"""Fetching from a real HTTP server on loopback that misbehaves as servers do."""

import dataclasses
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from corruption import sas7bdat_sample, xport_sample, zipped

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.nhanes import codebook
from spiro_diffusion.nhanes.http import Patience, fetch

BMX = xport_sample("BMX", 40, 2)
NEW, OLD = BMX.file.paths
IMPATIENT = Patience(attempts=3, pause=0.01, connect=2.0, stall=0.3)
PAGE = b"<!DOCTYPE html><html><head><title>Page Not Found | CDC</title></head><body>Sorry</body></html>"


class Handler(BaseHTTPRequestHandler):
    """Answers each path by the function that the test put there, and keeps a record of what was asked."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        self.close_connection = True
        self.server.paths.get(self.path, missing)(self)

    def give(self, body: bytes, status: int = 200, length: int | None = 0, **headers: str) -> None:
        """`length` is added to the true Content-Length; None leaves it out."""
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(len(body) + length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.paths: dict[str, Callable[[Handler], None]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.address = f"http://127.0.0.1:{self.server_port}"


def missing(handler: Handler) -> None:
    handler.give(PAGE, 404)


def whole(handler: Handler) -> None:
    handler.give(BMX.data)


def one_after_another(*answers: Callable[[Handler], None]) -> Callable[[Handler], None]:
    left = list(answers)

    def answer(handler: Handler) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(handler)

    return answer


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def get(server: Server, tmp_path: Path) -> Callable[[], Path]:
    """Fetch BMX_G from the server; whatever happens, nothing unfinished has its name."""

    def fetch_it() -> Path:
        try:
            path, fetched = fetch(BMX.file, tmp_path, server.address, IMPATIENT)
        finally:
            assert all(path.read_bytes() == BMX.data for path in tmp_path.rglob("BMX_G.xpt"))
        assert path.read_bytes() == BMX.data
        assert (fetched.size, fetched.sha256) == (len(BMX.data), hashlib.sha256(BMX.data).hexdigest())
        return path

    return fetch_it


def test_the_present_address_is_asked_first_and_recorded(server: Server, get: Callable[[], Path]) -> None:
    server.paths = {NEW: whole, OLD: whole}
    record = json.loads(get().with_name("BMX_G.xpt.json").read_text())
    assert [path for path, _ in server.asked] == [NEW]
    assert record["address"] == server.address + NEW


def test_a_404_sends_to_the_former_address(server: Server, get: Callable[[], Path]) -> None:
    server.paths = {OLD: whole}
    get()
    assert [path for path, _ in server.asked] == [NEW, OLD]


def test_a_page_with_status_200_is_not_taken_for_the_file(server: Server, get: Callable[[], Path]) -> None:
    server.paths = {NEW: lambda handler: handler.give(PAGE), OLD: whole}
    get()
    assert [path for path, _ in server.asked] == [NEW, OLD]


def test_pages_at_both_addresses_end_in_one_line_that_says_so(server: Server, get: Callable[[], Path]) -> None:
    server.paths = {NEW: lambda handler: handler.give(PAGE), OLD: lambda handler: handler.give(PAGE)}
    with pytest.raises(SpiroError, match=r"BMX_G\.xpt cannot be fetched: .*HTML page .'Page Not Found . CDC'.*folder"):
        get()


def test_a_failing_server_is_asked_again(server: Server, get: Callable[[], Path]) -> None:
    fails = lambda handler: handler.give(b"", 500)  # noqa: E731
    server.paths = {NEW: one_after_another(fails, fails, whole)}
    get()
    assert len(server.asked) == 3


def test_a_server_that_goes_on_failing_is_given_up(server: Server, get: Callable[[], Path]) -> None:
    server.paths = {NEW: lambda handler: handler.give(b"", 503), OLD: missing}
    with pytest.raises(SpiroError, match="503"):
        get()


def cut(handler: Handler, at: int = 9000, etag: str = '"one"') -> None:
    """Announces the whole file and hangs up after some bytes."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(BMX.data)))
    if etag:
        handler.send_header("ETag", etag)
    handler.end_headers()
    handler.wfile.write(BMX.data[:at])


def ranges(handler: Handler) -> None:
    """Continues where asked to, if it is the same version."""
    start = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    assert handler.headers["If-Range"] == '"one"'
    handler.give(
        BMX.data[start:], 206, Content_Range=f"bytes {start}-{len(BMX.data) - 1}/{len(BMX.data)}", ETag='"one"'
    )


def test_a_body_that_breaks_off_is_continued(server: Server, get: Callable[[], Path]) -> None:
    server.paths = {NEW: one_after_another(cut, ranges)}
    get()
    assert "Range" not in server.asked[0][1]
    assert server.asked[1][1]["Range"] == "bytes=8192-"


def test_a_later_run_continues_what_broke_off(server: Server, get: Callable[[], Path]) -> None:
    server.paths = {NEW: cut, OLD: missing}
    with pytest.raises(SpiroError, match="broke off"):
        get()
    server.asked.clear()
    server.paths = {NEW: ranges}
    get()
    assert server.asked[0][1]["Range"] == "bytes=8192-"


def test_a_body_that_breaks_off_begins_anew_where_the_server_cannot_continue(
    server: Server, get: Callable[[], Path]
) -> None:
    server.paths = {NEW: one_after_another(cut, lambda handler: handler.give(BMX.data, ETag='"two"'))}
    get()


def test_nothing_is_continued_that_has_no_version(server: Server, get: Callable[[], Path]) -> None:
    server.paths = {NEW: one_after_another(lambda handler: cut(handler, etag=""), whole)}
    get()
    assert "Range" not in server.asked[1][1]


def test_a_body_that_ends_too_early_without_a_length_is_noticed(server: Server, get: Callable[[], Path]) -> None:
    part = lambda handler: handler.give(BMX.data[:5000], length=None)  # noqa: E731
    server.paths = {NEW: one_after_another(part, whole)}
    get()


@pytest.mark.parametrize("wrong", [-800, 800])
def test_a_wrong_length_is_noticed(server: Server, get: Callable[[], Path], wrong: int) -> None:
    lies = lambda handler: handler.give(BMX.data, length=wrong)  # noqa: E731
    server.paths = {NEW: lies, OLD: missing}
    with pytest.raises(SpiroError, match="cannot be fetched"):
        get()
    server.paths = {NEW: one_after_another(lies, whole)}
    get()


def test_redirects_are_followed(server: Server, get: Callable[[], Path]) -> None:
    server.paths = {NEW: lambda handler: handler.give(b"", 302, Location="/elsewhere"), "/elsewhere": whole}
    get()


def test_a_silent_server_is_given_up(server: Server, get: Callable[[], Path]) -> None:
    server.paths = {NEW: lambda handler: time.sleep(0.6), OLD: missing}
    with pytest.raises(SpiroError, match="silent"):
        get()


def test_a_stall_in_mid_body_is_continued(server: Server, get: Callable[[], Path]) -> None:
    def stall(handler: Handler) -> None:
        cut(handler)
        handler.wfile.flush()
        time.sleep(0.6)

    server.paths = {NEW: one_after_another(stall, ranges)}
    get()


def test_a_second_run_asks_whether_the_file_changed(server: Server, get: Callable[[], Path]) -> None:
    server.paths = {NEW: lambda handler: handler.give(BMX.data, ETag='"one"')}
    get()
    server.paths = {
        NEW: lambda handler: handler.give(b"", 304) if handler.headers["If-None-Match"] == '"one"' else None
    }
    get()
    assert len(server.asked) == 2


def test_without_network_the_kept_file_serves(server: Server, get: Callable[[], Path], tmp_path: Path) -> None:
    server.paths = {NEW: whole}
    path = get()
    server.shutdown()
    server.server_close()
    assert get() == path


def test_without_network_and_kept_file_one_line_says_so(tmp_path: Path) -> None:
    with pytest.raises(SpiroError, match=r"BMX_G\.xpt cannot be fetched: .* cannot be reached"):
        fetch(BMX.file, tmp_path, "http://127.0.0.1:9", IMPATIENT)


def test_a_kept_file_that_changed_on_disk_is_fetched_again(server: Server, get: Callable[[], Path]) -> None:
    server.paths = {NEW: lambda handler: handler.give(BMX.data, ETag='"one"')}
    get().write_bytes(b"something else")
    get()
    assert "If-None-Match" not in server.asked[-1][1]


def test_another_release_replaces_the_kept_one(server: Server, get: Callable[[], Path], tmp_path: Path) -> None:
    other = xport_sample("BMX", 40, 5)
    server.paths = {NEW: lambda handler: handler.give(other.data, ETag='"one"')}
    fetch(BMX.file, tmp_path, server.address, IMPATIENT)
    server.paths = {NEW: lambda handler: handler.give(BMX.data, ETag='"two"')}
    get()


def test_another_cycles_file_is_refused(server: Server, tmp_path: Path) -> None:
    file = dataclasses.replace(codebook.FILES["BMX_F"], rows=40, columns=BMX.file.columns)
    server.paths = dict.fromkeys(file.paths, whole)
    with pytest.raises(SpiroError, match="cycle G"):
        fetch(file, tmp_path, server.address, IMPATIENT)


def test_a_damaged_zip_is_fetched_again(server: Server, tmp_path: Path) -> None:
    sample = sas7bdat_sample(12, 1)
    archive = zipped(sample.data, "spxraw_g.sas7bdat")
    damaged = archive[:3000] + bytes([archive[3000] ^ 1]) + archive[3001:]
    server.paths = {
        sample.file.paths[0]: one_after_another(lambda h: h.give(damaged), lambda h: h.give(archive)),
    }
    path, _ = fetch(sample.file, tmp_path, server.address, IMPATIENT)
    assert path.read_bytes() == archive


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside.sas7bdat", "..\\outside.sas7bdat", "C:\\outside.sas7bdat"])
def test_a_zip_that_reaches_outside_is_refused(server: Server, tmp_path: Path, name: str) -> None:
    sample = sas7bdat_sample(12, 1)
    server.paths = dict.fromkeys(sample.file.paths, lambda handler: handler.give(zipped(sample.data, name)))
    with pytest.raises(SpiroError, match="outside of its folder"):
        fetch(sample.file, tmp_path, server.address, IMPATIENT)
    assert not list(tmp_path.rglob("SPXRAW_G.zip"))


def test_a_body_without_end_is_refused(
    server: Server, get: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spiro_diffusion.nhanes.http.LONGEST", 10_000)
    server.paths = {NEW: whole, OLD: missing}
    with pytest.raises(SpiroError, match="more than any file of the CDC"):
        get()
