"""What DVC stores is read again: whole, damaged or missing, and what cannot be read is said in a line."""

import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from repository import Repository
from servers import need

from spiro_diffusion.cli import main
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.pipeline.verify_store import examine


@pytest.fixture(scope="module")
def clone(done: Repository, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A clone without data, and with a remote that nobody has pushed to."""
    fresh = done.clone(tmp_path_factory.mktemp("clone") / "repository")
    fresh("dvc", "remote", "add", "empty", str(fresh.folder.parent / "empty"))
    return fresh


def test_after_a_run_cache_and_workspace_are_whole(done: Repository) -> None:
    found = examine(done.folder)
    assert {s.state for s in found} == {"whole"}
    assert Counter(s.where for s in found)["workspace"] >= 30
    read = {s.path for s in found if s.where == "cache"}
    assert {"models/vqvae.safetensors", "data/raw", "data/raw/manifest.json", "metrics/evaluate/report.html"} <= read
    assert "metrics/main.json" not in read, "git holds it"


def test_a_clone_without_data_is_not_damaged(clone: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--folder", str(clone.folder)]) == 0
    assert capsys.readouterr().out.startswith("0 whole, 0 damaged, ")
    assert main(["verify", "--json", "--folder", str(clone.folder)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["whole"], result["damaged"]) == (0, 0)
    assert {file["state"] for file in result["files"]} == {"missing"}
    assert len(result["files"]) == result["missing"] > 0


def test_what_was_never_pushed_is_named(clone: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--remote", "empty", "--folder", str(clone.folder)]) == 1
    output = capsys.readouterr()
    assert "missing: models/vqvae.safetensors: empty: " in output.out
    assert "`dvc push -r empty` where they are whole" in output.err


def test_a_damaged_file_here_is_named_and_left_until_it_is_told_to_go(done: Repository, tmp_path: Path) -> None:
    copy = Repository.copy(done, tmp_path / "copy")
    file = copy.folder / "data/raw/manifest.json"
    content = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(content + b" ")
    damaged = [s for s in examine(copy.folder) if s.state == "damaged"]
    assert [(s.path, s.where) for s in damaged] == [("data/raw/manifest.json", "workspace")]
    assert file.exists()
    examine(copy.folder, remove=True)
    assert not file.exists()
    copy("dvc", "checkout")
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("remote", "expected"), [("nobody", "remote nobody: "), ("far", "remote far: cannot be reached")]
)
def test_a_remote_that_is_not_known_or_not_there_is_an_error(clone: Repository, remote: str, expected: str) -> None:
    need(find_spec("dvc_ssh"), "dvc-ssh")
    clone("dvc", "remote", "add", "--force", "far", "ssh://127.0.0.1:1/objects")
    with pytest.raises(SpiroError, match=expected):
        examine(clone.folder, remote)


def test_a_folder_without_dvc_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpiroError, match="no DVC repository"):
        examine(tmp_path)
