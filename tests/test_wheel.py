"""The wheel beside its dependencies: each `spiro` command works from an empty folder, or says in a line why not."""

import os
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from repository import ROOT

from spiro_diffusion import cli

PERSON = ["--age", "45", "--height", "175", "--sex", "male"]
COMMANDS = {
    "generate": ["-n", "2", *PERSON, "--out", "curves.csv", "--models", "{models}"],
    "indices": ["missing.csv", *PERSON],
    "convert": ["missing.xml", "curves.csv"],
    "selftest": [],
    "reconstruct": ["missing.csv", *PERSON, "--models", "{models}"],
    "info": ["--models", "{models}"],
    "cohort": ["-n", "3", "--out", "cohort", "--models", "{models}"],
    "evaluate": [],
    "report": [],
    "sessions": ["LAB", "people.csv"],
    "validate": ["missing", "--models", "{models}"],
    "verify": [],
    "app": ["--models", "{models}", "--port", "{port}"],
    "card": ["--models", "{models}", "--out", "card.md"],
    "benchmark": ["prepare", "--data", "data", "--out", "task"],
    "export": ["--models", "{models}", "--out", "onnx"],
}
NEEDS_MORE = {  # than models: what is missing
    "indices": "missing.csv",
    "sessions": "people.csv: no such file",
    "convert": "missing.xml",
    "reconstruct": "missing.csv",
    "validate": "reconstructor.safetensors: no such checkpoint",
    "evaluate": "dvc.yaml: no such file",
    "report": "summary.json: no such file",
    "verify": "no DVC repository",
    "app": "{port}",
    "cohort": "data/curves.parquet: no such file",
    "card": "summary.json: no such file",
    "benchmark": "manifest.json: no such file",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel holds."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "spiro_diffusion", source / "spiro_diffusion", ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", *options, "--no-build-isolation", "-w", str(out), str(source)], check=True)
    (wheel,) = out.glob("*.whl")
    subprocess.run([*pip, "install", *options, "--target", str(out / "site"), str(wheel)], check=True)
    return out / "site"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_every_command_is_tried() -> None:
    assert set(typer.main.get_command(cli.app).commands) == set(COMMANDS)  # type: ignore[attr-defined]


def test_the_wheel_holds_the_data_files_and_no_tests(installed: Path) -> None:
    (wheel,) = installed.parent.glob("*.whl")
    packed = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    files = [f for f in (ROOT / "spiro_diffusion").rglob("*.*") if f.suffix != ".pyc"]
    assert {file.relative_to(ROOT) for file in files} <= packed
    assert not [name for name in packed if name.parts[0] in ("tests", "stages", "docs")]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_works_from_an_empty_folder_or_says_what_is_missing(
    installed: Path, models: Path, taken: int, tmp_path: Path, name: str
) -> None:
    if name == "export" and not find_spec("onnx"):
        pytest.skip("onnx is not installed")
    arguments = [word.format(models=models, port=taken) for word in COMMANDS[name]]
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from spiro_diffusion.cli import main; sys.exit(main())", name, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    if name not in NEEDS_MORE:
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert NEEDS_MORE[name].format(port=taken) in line
