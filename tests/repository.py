"""A small copy of the repository under git and DVC, in which the pipeline runs in half a minute."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import yaml

from spiro_diffusion.pipeline.stage import BASELINES, MAIN

__all__ = ["BASELINES", "MAIN", "ROOT", "TINY", "Repository"]
ROOT = Path(__file__).parents[1]
TINY: dict[str, dict[str, object]] = {
    "download": {"participants": 150},
    "train_vqvae": {
        "epochs": 10,
        "batch": 16,
        "lr": 0.005,
        "warmup_epochs": 2,
        "validate_every": 2,
        "width": 32,
        "blocks": 1,
        "codes": 16,
    },
    "train_cldm": {
        "epochs": 8,
        "batch": 16,
        "lr": 0.003,
        "ema": 0.95,
        "validate_every": 2,
        "facts_epochs": 8,
        "facts_batch": 64,
        "facts_width": 32,
        "width": 16,
        "multipliers": [1, 2],
        "head": 16,
        "context": 16,
        "steps": 3,
        "student_epochs": 2,
    },
    "evaluate": {"draws": 2, "resamples": 100},
    "train_reconstructor": {"epochs": 2, "examples": 3, "width": 32},
    "reconstruct": {"draws": 10, "resamples": 100, "trees": 5},
    "baselines": {"draws": 2, "origin_vqvae_epochs": 1, "origin_epochs": 1, "origin_steps": 4},
    "runtime": {"threads": 1, "save_every": 0.0},
}  # the least that draws curves with an FVC


class File(NamedTuple):
    content: bytes
    mode: int


def _project() -> dict[str, File]:
    """The project's files as git lists them, changed and new ones too; no tests, pages and figures."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    left_out = ("tests/", "docs/", "metrics/", "dvc.lock")
    names = [n for n in listed if n == "metrics/.gitignore" or not n.startswith(left_out)]
    return {n: File((ROOT / n).read_bytes(), (ROOT / n).stat().st_mode) for n in names if (ROOT / n).is_file()}


PROJECT = _project()  # read once, when the tests start: who goes on editing changes no test that runs


class Repository:
    """A folder with the project's files as they were when the tests started, under git and DVC."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        """`environment` is who works there and how; by default as the tests do."""
        self.folder, self.environment = folder, environment or {}
        folder.mkdir(exist_ok=True)
        for name, file in PROJECT.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(file.content)
            (folder / name).chmod(file.mode)
        self.set(TINY)
        self("git", "init", "--quiet")
        self.commit("start")

    @classmethod
    def at(cls, folder: Path) -> "Repository":
        """One that was made before."""
        repository = cls.__new__(cls)
        repository.folder, repository.environment = folder, {}
        return repository

    @classmethod
    def copy(cls, other: "Repository", folder: Path) -> "Repository":
        """All of another one, its cache too, as it was committed; for stories that leave traces."""
        shutil.copytree(other.folder, folder, symlinks=True)
        copy = cls.at(folder)
        copy("git", "checkout", "--quiet", ".")
        copy("git", "clean", "--quiet", "--force", "-d")
        copy("dvc", "checkout", "--quiet", "--force")
        return copy

    def clone(self, folder: Path) -> "Repository":
        """What git alone knows of it, as another machine gets it."""
        self("git", "clone", "--quiet", ".", str(folder))
        return Repository.at(folder)

    def __call__(self, *command: str, fails: bool = False, **environment: str) -> str:
        defaults = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder),
            "OMP_NUM_THREADS": "1",
        }
        identity = {
            f"GIT_{who}_{what}": "test@example.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        done = subprocess.run(  # noqa: PLW1510 (checked below, with its output)
            command,
            cwd=self.folder,
            env=os.environ | identity | defaults | self.environment | environment,
            capture_output=True,
            text=True,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def set(self, changes: dict[str, dict[str, object]]) -> None:
        file = self.folder / "params.yaml"
        params = yaml.safe_load(file.read_text())
        for section, values in changes.items():
            params[section] |= values
        file.write_text(yaml.safe_dump(params, sort_keys=False))

    def commit(self, message: str) -> None:
        self("git", "add", "--all")
        self("git", "commit", "--quiet", "--allow-empty", "-m", message)

    def repro(self, *arguments: str, fails: bool = False) -> list[str]:
        """The stages that ran."""
        return re.findall(r"Running stage '(?:[\w/.]+:)?(\w+)'", self("dvc", "repro", *arguments, fails=fails))

    def lock(self) -> dict[str, dict[str, str]]:
        """Hash of every output, by stage."""
        stages = yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"]
        return {name: {out["path"]: out["md5"] for out in stage["outs"]} for name, stage in stages.items()}
