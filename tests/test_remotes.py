"""Two machines share what the pipeline made, over a folder, SSH, S3 and the web, by the commands of docs/remotes.md.

The servers are real ones on loopback; see servers.py.
"""

import contextlib
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
import servers
from repository import MAIN, ROOT, Repository

BLOCKS = re.findall(r"```bash\n(.*?)```", (ROOT / "docs/remotes.md").read_text(), flags=re.S)
MODELS = ("models/cldm.safetensors", "models/vqvae.safetensors")


def block(start: str) -> list[str]:
    """Commands of the one block of the page that begins so."""
    (found,) = [b for b in BLOCKS if b.startswith(start)]
    return [line.split("  #")[0].strip() for line in found.splitlines()]


@dataclass
class Remote:
    """A remote as the page sets it up, and the place where its server keeps the objects."""

    name: str
    page: list[str]  # the page's commands that add it, with this server's addresses
    objects: Path | None = None  # the server's folder
    bucket: Any = None  # or boto3's
    wire: servers.Wire | None = None
    over_wire: list[str] = field(default_factory=list)  # a command that leads a machine over the wire

    def read(self, oid: str) -> bytes:
        key = f"files/md5/{oid[:2]}/{oid[2:]}"
        return (
            (self.objects / key).read_bytes()
            if self.objects
            else self.bucket.Object(f"spiro/{key}").get()["Body"].read()
        )

    def write(self, oid: str, content: bytes) -> None:
        key = f"files/md5/{oid[:2]}/{oid[2:]}"
        if self.objects:
            mode = (self.objects / key).stat().st_mode
            (self.objects / key).unlink()
            (self.objects / key).write_bytes(content)
            (self.objects / key).chmod(mode)  # DVC trusts what is read-only
        else:
            self.bucket.Object(f"spiro/{key}").put(Body=content)

    def join(self, machine: Repository) -> None:
        """What each machine says for itself: the page's settings that git does not carry."""
        machine("dvc", "config", "--local", "core.remote", self.name)
        for command in self.page:
            if "--local" in command:
                machine(*shlex.split(command))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("machines")


@pytest.fixture(scope="module")
def machine_a(done: Repository, here: Path) -> Repository:
    """A machine that has run the pipeline."""
    return Repository.copy(done, here / "a")


@contextlib.contextmanager
def beside(here: Path) -> Iterator[Remote]:
    """The one that .dvc/config names as it is shipped."""
    yield Remote("beside", ["dvc remote default beside", "dvc push"], objects=here / "spiro-diffusion-remote")


@contextlib.contextmanager
def lab(here: Path) -> Iterator[Remote]:
    folder = here / "ssh"
    with servers.ssh(folder) as server, contextlib.closing(servers.Wire(server.port)) as wire:
        page = "\n".join(block("dvc remote add --default lab"))
        at = f"//127.0.0.1:{{}}{folder}/objects"
        for theirs, ours in {
            "//user@host:22/srv/spiro": at.format(server.port),
            "~/.ssh/id_ed25519": server.key,
        }.items():
            assert theirs in page
            page = page.replace(theirs, str(ours))
        over = ["dvc", "remote", "modify", "--local", "lab", "url", f"ssh:{at.format(wire.port)}"]
        yield Remote("lab", page.splitlines(), objects=folder / "objects", wire=wire, over_wire=over)


@contextlib.contextmanager
def bucket(here: Path) -> Iterator[Remote]:
    folder = here / "s3"
    with servers.s3(folder) as url, contextlib.closing(servers.Wire(int(url.rsplit(":")[-1]))) as wire:
        import boto3  # noqa: PLC0415 (its absence skips)

        page = "\n".join(block("dvc remote add --default bucket"))
        for theirs, ours in {"https://s3.example.org": url, " KEY": " key", " SECRET": " secret"}.items():
            assert theirs in page
            page = page.replace(theirs, ours)
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        objects = boto3.resource("s3", endpoint_url=url, **keys).Bucket("my-bucket")
        objects.create()
        over = ["dvc", "remote", "modify", "--local", "bucket", "endpointurl", f"http://127.0.0.1:{wire.port}"]
        yield Remote("bucket", page.splitlines(), bucket=objects, wire=wire, over_wire=over)


@pytest.fixture(scope="module")
def remotes(machine_a: Repository, here: Path) -> Iterator[Callable[[str], Remote]]:
    """Remotes to which machine A has pushed, by the commands of the page, and whose addresses it has committed."""
    opened: dict[str, Remote] = {}
    with contextlib.ExitStack() as servers_that_run:

        def remote(kind: str) -> Remote:
            if kind not in opened:
                opened[kind] = servers_that_run.enter_context(KINDS[kind](here))
                for command in opened[kind].page:
                    machine_a(*shlex.split(command))
                machine_a.commit(f"remote {kind}")
            return opened[kind]

        yield remote


KINDS = {"folder": beside, "ssh": lab, "s3": bucket}


@pytest.fixture
def machine_b(machine_a: Repository, here: Path) -> Iterator[Callable[[Remote], Repository]]:
    """Another machine: a clone that has joined a remote. It lies where `beside` is beside it too."""

    def clone(remote: Remote, joined: bool = True) -> Repository:
        b = machine_a.clone(here / "b")
        if joined:
            remote.join(b)
        return b

    yield clone
    shutil.rmtree(here / "b", ignore_errors=True)


def oid(machine: Repository, out: str) -> str:
    """Name of an output's object."""
    return next(outs[out] for outs in machine.lock().values() if out in outs)


def flip(content: bytes) -> bytes:
    """The same with one bit changed."""
    return content[:-10] + bytes([content[-10] ^ 1]) + content[-9:]


def halve(content: bytes) -> bytes:
    """Its first half, as of an upload that was cut."""
    return content[: len(content) // 2]


def whole(machine: Repository) -> int:
    """How many objects a machine's cache holds, each under the name that its bytes have."""
    files = [f for f in (machine.folder / ".dvc/cache/files").rglob("*") if f.is_file() and not f.name.endswith(".tmp")]
    for file in files:
        assert md5(file.read_bytes()).hexdigest() == file.parent.name + file.name.removesuffix(".dir"), file
    return len(files)


@pytest.mark.parametrize("kind", KINDS)
def test_another_machine_takes_the_models_then_everything_and_runs_only_what_it_changes(
    remotes: Any, machine_a: Repository, machine_b: Any, kind: str
) -> None:
    remote = remotes(kind)
    b = machine_b(remote)
    models, nothing, everything, nothing_again = block("dvc pull train_vqvae train_cldm    #")
    b(*shlex.split(models))
    assert {str(f.relative_to(b.folder)) for f in (b.folder / "models").glob("*.safetensors")} == set(MODELS)
    assert not (b.folder / "data/curves.parquet").exists()
    b(*shlex.split("spiro generate --age 45 --height 175 --sex male -n 3 --seed 0 --out curves.csv"))
    assert (b.folder / "curves.csv").stat().st_size > 10_000
    assert b.repro(*shlex.split(nothing)[2:]) == []
    b(*shlex.split(everything))
    assert (b.folder / "metrics/evaluate/report.html").is_file()
    assert b.repro(*shlex.split(nothing_again)[2:]) == []
    assert b.lock() == machine_a.lock()
    b.set({"train_cldm": {"lr": 1e-3}})
    assert b.repro("train_cldm") == ["train_cldm"]
    assert b.repro("--dry") == ["evaluate", "reconstruct", "report"]


@pytest.mark.parametrize("kind", ["ssh", "s3"])
def test_a_pull_that_is_cut_fails_and_the_next_one_mends_it(
    remotes: Any, machine_a: Repository, machine_b: Any, kind: str
) -> None:
    remote = remotes(kind)
    b = machine_b(remote)
    b(*remote.over_wire)
    assert remote.wire
    size = len(remote.read(oid(machine_a, MODELS[0])))
    remote.wire.cut(after=size // 2)
    output = b("dvc", "pull", MODELS[0], fails=True, AWS_MAX_ATTEMPTS="1")  # else S3's client tries for half a minute
    assert remote.wire.broken
    assert "ERROR" in output
    assert not (b.folder / MODELS[0]).exists()
    assert whole(b) == 0
    remote.wire.mend()
    b("dvc", "pull", MODELS[0])
    assert whole(b) == 1
    assert md5((b.folder / MODELS[0]).read_bytes()).hexdigest() == oid(machine_a, MODELS[0])


@pytest.mark.parametrize(("kind", "damage"), [("folder", flip), ("ssh", halve), ("s3", halve)])
def test_a_damaged_object_in_the_remote_is_noticed_named_and_mended(
    remotes: Any, machine_a: Repository, machine_b: Any, kind: str, damage: Any
) -> None:
    remote = remotes(kind)
    b = machine_b(remote)
    remote.write(oid(b, MODELS[1]), damage(remote.read(oid(b, MODELS[1]))))
    output = b("dvc", "pull", "train_vqvae", fails=True)
    assert MODELS[1] in output
    assert not (b.folder / MODELS[1]).exists()
    output = b("spiro", "verify", "--remote", remote.name, "--remove", fails=True)
    assert f"damaged: {MODELS[1]}: {remote.name}: " in output
    machine_a("dvc", "push", "-r", remote.name)
    b("dvc", "pull", "train_vqvae")
    assert md5((b.folder / MODELS[1]).read_bytes()).hexdigest() == oid(b, MODELS[1])
    assert " 0 damaged" in b("spiro", "verify", "--remote", remote.name)


@pytest.mark.parametrize(("kind", "message"), [("ssh", "Permission denied"), ("s3", "Unable to locate credentials")])
def test_without_credentials_a_pull_says_so(
    remotes: Any, machine_b: Any, tmp_path: Path, kind: str, message: str
) -> None:
    remote = remotes(kind)
    b = machine_b(remote, joined=False)
    b("dvc", "config", "--local", "core.remote", remote.name)
    nobody = {"HOME": str(tmp_path), "SSH_AUTH_SOCK": "", "AWS_EC2_METADATA_DISABLED": "true"}
    failed = b("dvc", "pull", "train_vqvae", fails=True, **nobody)
    assert message in failed
    assert "Traceback" not in failed
    assert message in b("spiro", "verify", "--remote", remote.name, fails=True, **nobody)
    remote.join(b)
    b("dvc", "pull", "train_vqvae", **nobody)
    assert (b.folder / MODELS[1]).is_file()


def test_a_damaged_object_in_the_cache_is_named_and_mended_by_the_next_pull(remotes: Any, machine_b: Any) -> None:
    """DVC alone would trust it: it is read-only, and its name is right."""
    b = machine_b(remotes("folder"))
    b("dvc", "pull")
    table = next((b.folder / "data/repaired").glob("*.parquet"))
    spoiled = [(b.folder / MODELS[1]), table]
    hashes = [md5(file.read_bytes()).hexdigest() for file in spoiled]
    for file, name in zip(spoiled, hashes, strict=True):
        stored = b.folder / f".dvc/cache/files/md5/{name[:2]}/{name[2:]}"
        stored.chmod(0o644)
        stored.write_bytes(flip(stored.read_bytes()))
        stored.chmod(0o444)
        file.unlink()
    b("dvc", "checkout")
    assert "up to date" in b("dvc", "status", "dvc.yaml"), "if DVC sees it now, docs/remotes.md can say so"
    output = b("spiro", "verify", fails=True)
    for file in spoiled:
        assert f"damaged: {file.relative_to(b.folder)}: cache: " in output
        assert f"damaged: {file.relative_to(b.folder)}: workspace: " in output
    assert "`spiro verify --remove`, then `dvc pull`" in output
    b("spiro", "verify", "--remove", fails=True)
    b("dvc", "pull")
    assert [md5(file.read_bytes()).hexdigest() for file in spoiled] == hashes
    assert " 0 damaged" in b("spiro", "verify")
    assert b.repro() == []


def test_a_damaged_file_of_a_folder_in_the_remote_is_pushed_again(remotes: Any, machine_a: Repository) -> None:
    """DVC would take a listing that is there for all of its files."""
    remote = remotes("folder")
    file = next((machine_a.folder / "data/repaired").glob("*.parquet"))
    name = md5(file.read_bytes()).hexdigest()
    remote.write(name, b"")
    assert "whole, 1 damaged" in machine_a("spiro", "verify", "--remote", "beside", "--remove", fails=True)
    machine_a("dvc", "push", "-r", "beside")
    assert md5(remote.read(name)).hexdigest() == name


def test_a_folder_elsewhere_is_set_up_by_the_commands_of_the_page(machine_a: Repository, tmp_path: Path) -> None:
    add, verify, push = block("dvc remote add --default shared")
    for command in (add, verify, push):
        machine_a(*shlex.split(command.replace("/mnt/shared/spiro", str(tmp_path / "spiro"))))
    assert len(list((tmp_path / "spiro/files").rglob("*"))) > len(MAIN)
    machine_a("git", "checkout", "--quiet", ".dvc/config")


def test_a_clone_takes_the_models_from_a_web_server_without_an_account(machine_a: Repository, tmp_path: Path) -> None:
    """And notices what is damaged there, and says when nobody answers."""
    objects = tmp_path / "objects"
    add_folder, push, add, verify, *_ = block("dvc remote add --local public")
    for command in (add_folder.replace("/srv/spiro", str(objects)), push):
        machine_a(*shlex.split(command))
    with servers.web(objects, tmp_path / "web.log") as address:
        for command in (add.replace("https://spiro.example.org", address), verify):
            machine_a(*shlex.split(command))
        machine_a.commit("the web")
        b = machine_a.clone(tmp_path / "b")
        nobody: dict[str, Any] = {"HOME": str(tmp_path)}
        pull, _ = block("dvc pull train_vqvae train_cldm train_reconstructor")
        b(*shlex.split(pull), **nobody)
        models = [*MODELS, "models/reconstructor.safetensors"]
        assert {str(f.relative_to(b.folder)) for f in (b.folder / "models").glob("*.safetensors")} == set(models)
        assert [md5((b.folder / m).read_bytes()).hexdigest() for m in models] == [oid(b, m) for m in models]
        remote = Remote("web", [], objects=objects)
        remote.write(oid(b, MODELS[1]), flip(remote.read(oid(b, MODELS[1]))))
        shutil.rmtree(b.folder / ".dvc/cache")
        (b.folder / MODELS[1]).unlink()
        assert MODELS[1] in b("dvc", "pull", MODELS[1], fails=True)
        assert not (b.folder / MODELS[1]).exists()
        assert f"damaged: {MODELS[1]}: web: " in b("spiro", "verify", "--remote", "web", fails=True)
        assert "web: a web server is only read" in b("spiro", "verify", "--remote", "web", "--remove", fails=True)
    output = b("python", "-m", "spiro_diffusion.pipeline.run_dvc", "pull", MODELS[1], fails=True)
    assert f"remote web: {address}/files/md5 does not answer; see the network" in output.splitlines()[-1]
    assert "Traceback" not in output


@pytest.mark.parametrize("kind", ["ssh", "s3"])
def test_without_its_server_a_story_is_skipped_every_time(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "SSHD", None)
    monkeypatch.setattr(servers, "find_spec", lambda name: None)
    monkeypatch.delenv("SPIRO_REQUIRE_ALL", raising=False)
    for _ in range(2):
        with pytest.raises(pytest.skip.Exception, match="is not installed"), KINDS[kind](tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_no_secret_is_in_the_shared_configuration() -> None:
    shared = (ROOT / ".dvc/config").read_text()
    assert "verify = true" in shared
    assert not re.search(r"(?i)secret|password|access_key|token|keyfile|credential|://[^/\s]*:[^/\s]*@", shared)
    assert not re.search(r"url = (/|~|[A-Za-z]:)", shared), "the default remote is told relative to the clone"
    for command in (line for b in BLOCKS for line in b.splitlines() if re.search("secret|access_key|keyfile", line)):
        assert "--local" in command
    assert os.path.normpath(ROOT / ".dvc" / re.findall(r"url = (.*)", shared)[0]).startswith(str(ROOT.parent))
