"""Where a model is taken from: a folder, a .zip, an address, a name, or the wheel itself."""

import hashlib
import json
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.engines import store


class Web(ThreadingHTTPServer):
    """A web server of one file, which may break off, and knows what it was asked for."""

    content, breaks_after, asked = b"", 0, 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/model.zip"


class Handler(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        web, first = self.server, 0
        web.ranges.append(self.headers.get("Range", ""))
        if asked := self.headers.get("Range"):
            first = int(asked.removeprefix("bytes=").rstrip("-"))
        if "missing" in self.path:
            self.send_error(404)
            return
        body = web.content[first:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = web.breaks_after if len(web.ranges) == 1 and web.breaks_after else len(body)
        self.wfile.write(body[:cut])

    def log_message(self, format: str, *arguments: object) -> None:
        del format, arguments


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(store.CACHE, str(tmp_path / "cache"))
    monkeypatch.delenv(store.REGISTRY, raising=False)
    monkeypatch.setattr(store, "PACKAGED", tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An exported model, as far as the store looks at one."""
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("small/sampler.json", "{}")
        opened.writestr("small/facts.onnx", b"x" * 100_000)
    return path


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_folder_is_itself_and_an_archive_its_files(tmp_path: Path, archive: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert store.located("mine") == Path("mine")
    folder = store.located(str(archive))
    assert sorted(file.name for file in folder.iterdir()) == ["facts.onnx", "sampler.json"]
    assert store.located(archive) == folder


def test_without_a_folder_the_model_of_the_wheel_serves(tmp_path: Path) -> None:
    assert store.located() == Path("models")  # whoever opens it says what is missing
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "sampler.json").write_text("{}")
    assert store.located() == store.located("packaged") == tmp_path / "package"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "cldm.safetensors").touch()
    assert store.located() == Path("models")


def test_an_address_is_fetched_once_and_held_to_its_hash(web: Web, archive: Path, cache: Path) -> None:
    web.content = archive.read_bytes()
    good = f"{web.address}#sha256={sha256(web.content)}"
    folder = store.located(good)
    assert (folder / "facts.onnx").stat().st_size == 100_000
    assert store.located(good) == folder
    assert web.ranges == [""]
    with pytest.raises(SpiroError, match=f"its SHA-256 is {sha256(web.content)}, expected 00"):
        store.located(f"{web.address}#sha256=00")
    assert not list(cache.rglob("*.part")), "what was refused is not gone on with"
    assert store.located(good) == folder


def test_a_fetch_that_broke_off_goes_on(web: Web, archive: Path) -> None:
    web.content, web.breaks_after = archive.read_bytes(), 80_000
    with pytest.raises(SpiroError, match=r"cannot be fetched .* what arrived is kept"):
        store.located(web.address)
    assert store.holds_model(store.located(web.address))
    assert web.ranges == ["", f"bytes={store.CHUNK}-"]


def test_what_was_fetched_and_is_no_model_is_not_kept(web: Web, archive: Path) -> None:
    web.content = b"PK\3\4 half a file"
    with pytest.raises(SpiroError, match=r"model.zip: not a sound \.zip"):
        store.located(web.address)
    web.content = archive.read_bytes()
    assert store.holds_model(store.located(web.address))


def test_a_name_of_the_registry(web: Web, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web.content = archive.read_bytes()
    with pytest.raises(SpiroError, match=r"small is no folder, .* no name of packaged .set SPIRO_MODELS"):
        store.located("small")
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"small": {"address": web.address, "sha256": sha256(web.content)}}))
    monkeypatch.setenv(store.REGISTRY, str(names))
    assert store.holds_model(store.located("small"))
    names.write_text("[]")
    with pytest.raises(SpiroError, match=r"names.json: no registry of models"):
        store.located("other")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"readme.txt": b""}, "holds no model"),
        ({"a/sampler.json": b"{}", "b/facts.onnx": b""}, "are in several folders"),
        ({"../sampler.json": b"{}"}, "are in several folders"),
    ],
)
def test_an_archive_that_is_no_model_is_refused(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    with pytest.raises(SpiroError, match=message):
        store.located(path)
    assert not (tmp_path / "sampler.json").exists()


def test_what_cannot_be_had_is_said_in_a_line(web: Web, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "cut.zip").write_bytes(b"PK\3\4")
    for models, message in (
        (web.address.replace("model.zip", "missing.zip"), r"missing.zip: cannot be fetched \(status 404\)"),
        ("http://127.0.0.1:9/model.zip", "no answer"),
        ("cut.zip", r"not a sound \.zip"),
    ):
        with pytest.raises(SpiroError, match=message) as caught:
            store.located(models)
        assert "\n" not in str(caught.value)
        assert not [path for path in cache.rglob("*") if path.is_file()]


@pytest.fixture
def small_disk(cache: Path) -> Iterator[Callable[[int], None]]:
    """The cache on a file system of 48 kB; what is given resizes it, in kB."""
    cache.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(cache)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small file system")

    def resize(kb: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={kb}k", str(cache)], check=True)

    yield resize
    subprocess.run(["umount", "--lazy", str(cache)], check=True)


def test_a_full_disk_in_mid_download_is_a_line_and_leaves_no_half_model(
    web: Web, archive: Path, cache: Path, small_disk: Callable[[int], None]
) -> None:
    """The disk fills while the archive comes, then while it is unpacked; with room the fetch goes on."""
    web.content = archive.read_bytes()
    for room, kb in (("of the archive", 48), ("of its files", 160)):
        small_disk(kb)
        with pytest.raises(SpiroError, match=r"(fetched|unpacked) .*No space left on device") as caught:
            store.located(web.address)
        assert "\n" not in str(caught.value), room
        assert not [path for path in cache.rglob("*") if path.name in ("sampler.json", "facts.onnx")], room
    small_disk(1024)
    assert store.holds_model(store.located(web.address))
