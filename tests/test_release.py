"""What `make release` refuses, and that a build depends on the commit alone; and that old names lead to new ones."""

import gzip
import hashlib
import importlib
import os
import re
import runpy
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml
from repository import ROOT
from safetensors import safe_open
from safetensors.torch import save_file

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.moved import MOVED
from spiro_diffusion.engines.choice import open_engine

RELEASE: dict[str, Any] = runpy.run_path(str(ROOT / ".ci" / "release.py"))
VERSION: str = RELEASE["project_version"](ROOT)
MOVING = (ROOT / "docs" / "moving.md").read_text(encoding="utf-8")
CHANGES = """# Changelog

## Unreleased

## 1.2.0 - 2026-01-02

### Added

- A thing.

## 1.1.0 - 2025-01-01

- Old.
"""


@pytest.fixture
def git(tmp_path: Path) -> Callable[..., str]:
    """Git in a repository of one commit, of a project of version 1.2.0."""

    def run(*arguments: str) -> str:
        who = ("-c", "user.name=test", "-c", "user.email=test@example.invalid")
        return subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.strip()

    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGES)
    (tmp_path / "CITATION.cff").write_text("version: 1.2.0\ndate-released: 2026-01-02\n")
    run("init", "--quiet")
    run("add", "--all")
    run("commit", "--quiet", "-m", "start")
    return run


def test_the_version_is_written_once_and_all_that_states_it_agrees() -> None:
    date, text = RELEASE["section"](ROOT / "CHANGELOG.md", VERSION)
    assert "### Added" in text
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["version"], str(cited["date-released"])) == (VERSION, date)
    versions = re.findall(r"^## (\d+\.\d+\.\d+) - ", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.M)
    assert versions == sorted(versions, key=lambda v: [int(n) for n in v.split(".")], reverse=True)
    assert versions[0] == VERSION
    assert versions[-1] == "0.1.0"
    assert f"spiro-diffusion {VERSION}:" in (ROOT / "docs" / "selftest.md").read_text(encoding="utf-8")


def test_a_tree_with_changes_is_refused(git: Callable[..., str], tmp_path: Path) -> None:
    RELEASE["check_tree"](tmp_path)
    (tmp_path / "new.py").touch()
    with pytest.raises(SpiroError, match=r"^new\.py is not committed \(1 such files\): commit or remove"):
        RELEASE["check_tree"](tmp_path)


def test_head_must_carry_the_tag_of_the_version(git: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(SpiroError, match=r"HEAD has no tag v1\.2\.0, .*: git tag -a v1\.2\.0"):
        RELEASE["check_tag"](tmp_path, "1.2.0")
    git("tag", "v1.1.0")
    with pytest.raises(SpiroError, match=r"it has v1\.1\.0"):
        RELEASE["check_tag"](tmp_path, "1.2.0")
    git("tag", "v1.2.0")
    RELEASE["check_tag"](tmp_path, "1.2.0")
    git("commit", "--quiet", "--allow-empty", "-m", "more")
    with pytest.raises(SpiroError, match=r"on another commit than HEAD: raise the version in pyproject\.toml"):
        RELEASE["check_tag"](tmp_path, "1.2.0")


def test_notes_are_the_changelogs_section_and_nothing_is_left_unreleased(tmp_path: Path) -> None:
    (tmp_path / "CHANGELOG.md").write_text(CHANGES)
    notes = RELEASE["notes_of"](tmp_path / "CHANGELOG.md", "1.2.0")
    assert "- A thing." in notes
    assert "Old" not in notes
    with pytest.raises(SpiroError, match=r"no section '## 1\.3\.0 - YYYY-MM-DD'"):
        RELEASE["notes_of"](tmp_path / "CHANGELOG.md", "1.3.0")
    (tmp_path / "CHANGELOG.md").write_text(CHANGES.replace("Unreleased\n", "Unreleased\n\n- Later.\n"))
    with pytest.raises(SpiroError, match="move its entries to the section"):
        RELEASE["notes_of"](tmp_path / "CHANGELOG.md", "1.2.0")


def test_a_citation_of_another_version_is_refused(git: Callable[..., str], tmp_path: Path) -> None:
    RELEASE["check_citation"](tmp_path, "1.2.0")
    (tmp_path / "CITATION.cff").write_text("version: 1.1.0\n")
    with pytest.raises(SpiroError, match=r"^CITATION\.cff: version is 1\.1\.0: write 1\.2\.0"):
        RELEASE["check_citation"](tmp_path, "1.2.0")


def test_models_must_be_those_of_the_lock(tmp_path: Path) -> None:
    outs = []
    for name in RELEASE["MODELS"]:
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
        md5 = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
        outs.append({"path": f"models/{name}.safetensors", "md5": md5})
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": {"train": {"outs": outs}, "other": {}}}))
    RELEASE["check_models"](tmp_path, tmp_path)
    (tmp_path / "cldm.safetensors").write_bytes(b"another")
    with pytest.raises(SpiroError, match=r"cldm\.safetensors is not the file that dvc\.lock names"):
        RELEASE["check_models"](tmp_path, tmp_path)
    (tmp_path / "cldm.safetensors").unlink()
    with pytest.raises(SpiroError, match=r"cldm\.safetensors is missing: make repro"):
        RELEASE["check_models"](tmp_path, tmp_path)


def sdist(file: Path, order: tuple[str, str], mode: int, time: int) -> Path:
    with tarfile.open(file, "w:gz") as packed:
        for name in order:
            (file.parent / name).write_text(name)
            (file.parent / name).chmod(mode)
            os.utime(file.parent / name, (time, time))
            packed.add(file.parent / name, f"project/{name}")
    return file


def test_an_sdist_depends_neither_on_time_nor_on_owner_nor_on_umask(tmp_path: Path) -> None:
    first = sdist(tmp_path / "a.tar.gz", ("one", "two"), 0o600, 1_000_000)
    second = sdist(tmp_path / "b.tar.gz", ("two", "one"), 0o664, 2_000_000)
    for file in (first, second):
        RELEASE["normalise"](file, 1_700_000_000)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as packed:
        assert [(m.name, m.mode, m.mtime) for m in packed] == [
            ("project/one", 0o644, 1_700_000_000),
            ("project/two", 0o644, 1_700_000_000),
        ]
    assert gzip.decompress(first.read_bytes())


def test_builds_that_differ_are_named_and_checksums_are_of_every_file(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.whl").write_text("the same")
    RELEASE["compare"](tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "x.whl").write_text("another")
    with pytest.raises(SpiroError, match=r"^x\.whl: two builds of one commit differ"):
        RELEASE["compare"](tmp_path / "a", tmp_path / "b")
    RELEASE["write_checksums"](tmp_path / "a")
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path / "a", check=True)


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("Apache-2.0 OR GPL-2.0-or-later", True),
        ("Apache Software License; BSD License", True),
        ("Apache-2.0 AND Apache-2.0 WITH LLVM-exception AND MIT", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", False),
        ("UNKNOWN", False),
    ],
)
def test_licences_are_allowed_by_name(licence: str, allowed: bool) -> None:
    assert RELEASE["is_allowed"](licence) is allowed


def test_an_exception_is_of_one_package_and_one_licence() -> None:
    assert RELEASE["check_licences"]({"numpy": "BSD-3-Clause", "pygit2": "GPLv2 with linking exception"}) == 2
    with pytest.raises(SpiroError, match=r"^other: its licence 'GPLv2 with linking exception' is not allowed: replace"):
        RELEASE["check_licences"]({"other": "GPLv2 with linking exception"})


def test_a_command_that_fails_ends_in_one_line(tmp_path: Path) -> None:
    noisy = "print('ERROR: no such package'); print('see the log'); raise SystemExit(3)"
    with pytest.raises(SpiroError, match=r"^tools: ERROR: no such package \(from ") as caught:
        RELEASE["run"](sys.executable, "-c", noisy, where="tools", cwd=tmp_path)
    assert "\n" not in str(caught.value)


def test_the_tools_are_pinned() -> None:
    (group,) = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"].values()
    assert all("==" in tool for tool in group)


def test_an_old_module_is_found_in_the_table_of_moves() -> None:
    moves = re.findall(r"^\| `(\w+)` \| `([\w.]+)` \|$", MOVING, flags=re.M)
    assert dict(moves) == MOVED
    for old, new in moves:
        assert (ROOT / "spiro_diffusion" / f"{new.replace('.', '/')}.py").is_file(), (old, new)


@pytest.mark.parametrize(
    "statement",
    ["import spiro_diffusion.grid", "from spiro_diffusion import grid", "from spiro_diffusion.grid import TimeGrid"],
)
def test_an_import_by_an_old_path_ends_in_a_line_that_names_the_new_one(statement: str) -> None:
    done = subprocess.run([sys.executable, "-c", statement], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert "spiro_diffusion.grid is spiro_diffusion.physiology.time_grid since version 0.2" in line


def test_a_module_that_never_was_is_not_said_to_have_moved() -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named 'spiro_diffusion"):
        importlib.import_module("spiro_diffusion.nothing")


def test_the_old_runner_names_the_new_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "spiro_diffusion.bare", "--folder", "x"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "python -m spiro_diffusion.pipeline.run" in line


def test_a_checkpoint_of_0_1_is_named_as_one(tmp_path: Path) -> None:
    models = tiny.models(tmp_path / "models")
    file = models / "cldm.safetensors"
    with safe_open(file, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no dictionary)
        head = opened.metadata()["spiro"]
    old = re.sub(r'"constants": \{', '"other": {', head)
    save_file(tensors, file, metadata={"spiro": old})
    with pytest.raises(SpiroError, match=r"a checkpoint of spiro-diffusion 0\.1, .*make repro.* \(docs/moving\.md\)"):
        open_engine(models)
