"""The pipeline as stories: a small copy of the repository, one change, and which stages ran."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[1]
MAIN = ["download", "repair", "align", "filter", "resample", "train_vqvae", "encode", "train_cldm", "evaluate"]
TINY = {
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
        "width": 16,
        "multipliers": [1, 2],
        "head": 16,
        "context": 16,
    },
    "evaluate": {"draws": 2, "resamples": 100, "steps": 8},
    "runtime": {"threads": 1},
}  # the least that draws curves with an FVC


class Repository:
    """A folder with the project's files as git knows them, under git and DVC."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
        for name in listed:
            if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/", "metrics/", "dvc.lock")):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        for part in ("metrics/.gitignore",):
            (folder / part).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / part, folder / part)
        self.set(TINY)
        self("git", "init", "--quiet")
        self.commit("start")

    def __call__(self, *command: str, fails: bool = False) -> str:
        own = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        identity = {
            f"GIT_{who}_{what}": "test@example.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        done = subprocess.run(  # noqa: PLW1510 (checked below, with its output)
            command,
            cwd=self.folder,
            env=os.environ | identity | {"PATH": own, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"},
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
        return re.findall(r"Running stage '(\w+)'", self("dvc", "repro", *arguments, fails=fails))

    def lock(self) -> dict[str, dict[str, str]]:
        """Hash of every output, by stage."""
        stages = yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"]
        return {name: {out["path"]: out["md5"] for out in stage["outs"]} for name, stage in stages.items()}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository in which all nine stages have run."""
    repository = Repository(tmp_path_factory.mktemp("repository"))
    assert repository.repro() == MAIN
    repository.commit("run")
    return repository


def test_a_run_leaves_figures_a_report_and_both_models(done: Repository) -> None:
    folder = done.folder
    report = (folder / "metrics/evaluate/report.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", report), "the report loads nothing from a network"
    summary = json.loads((folder / "metrics/evaluate/summary.json").read_text())
    assert summary
    for model in ("vqvae", "cldm"):
        assert (folder / f"models/{model}.safetensors").is_file()
    table = pd.read_parquet(folder / "data/curves.parquet")
    assert np.load(folder / "data/latents.npy", mmap_mode="r").shape == (len(table), 64, 128)
    assert np.load(folder / "data/signals_L512.npy", mmap_mode="r").shape == (len(table), 512)
    assert str(folder) not in report


def test_no_participant_is_in_two_splits(done: Repository) -> None:
    table = pd.read_parquet(done.folder / "data/curves.parquet")
    assert table.groupby("seqn")["split"].nunique().max() == 1
    assert set(table["split"]) == {"train", "validation", "test"}


def test_a_second_run_does_nothing(done: Repository) -> None:
    assert done.repro() == []


def test_a_changed_parameter_runs_what_depends_on_it_and_no_more(done: Repository) -> None:
    done.set({"evaluate": {"seed": 2}})
    assert done.repro() == ["evaluate"]
    done.set({"train_cldm": {"lr": 1e-3}})
    assert done.repro() == ["train_cldm", "evaluate"]
    done.set({"runtime": {"precision": "float32"}})
    assert done.repro() == []


def test_a_change_back_is_served_from_the_cache(done: Repository) -> None:
    done("git", "checkout", "--quiet", "params.yaml")
    assert done.repro() == []


def test_a_mistyped_parameter_ends_in_one_line_and_leaves_what_was_made(done: Repository) -> None:
    before = done.lock()
    done.set({"train_cldm": {"lr": "fast"}})
    said = done("dvc", "repro", fails=True)
    assert "train_cldm: params.yaml: train_cldm.lr is 'fast'; expected float" in said
    assert "Traceback" not in said
    done("git", "checkout", "--quiet", "params.yaml")
    assert done.lock() == before
    assert done.repro() == []


def test_an_experiment_varies_one_parameter(done: Repository) -> None:
    done.commit("before the experiment")
    said = done("dvc", "exp", "run", "-S", "train_cldm.lr=1e-5")
    assert re.findall(r"Running stage '(\w+)'", said) == ["train_cldm", "evaluate"]
    assert "1e-05" in done("dvc", "exp", "show", "--csv")
    done("git", "checkout", "--quiet", ".")
    done("dvc", "checkout", "--quiet")


def test_latents_of_another_vqvae_are_refused(done: Repository) -> None:
    stage = yaml.safe_load((done.folder / "dvc.yaml").read_text())["stages"]["evaluate"]["cmd"].split()
    other = done.folder / "other.safetensors"
    whole = (done.folder / "models/vqvae.safetensors").read_bytes()
    other.write_bytes(whole[:-4] + b"\0\0\0\0")
    command = [sys.executable, *stage[1:]]
    command[command.index("--vqvae") + 1] = "other.safetensors"
    said = done(*command, fails=True)
    assert (
        said.strip()
        .splitlines()[-1]
        .startswith("evaluate: models/cldm.safetensors: was trained on the latents of another")
    )
    np.save(done.folder / "few.npy", np.zeros((3, 64, 128), np.float32))
    stage = yaml.safe_load((done.folder / "dvc.yaml").read_text())["stages"]["train_cldm"]["cmd"].split()
    command = [sys.executable, *stage[1:]]
    command[command.index("--latents") + 1] = "few.npy"
    said = done(*command, fails=True)
    assert "few.npy: holds float32 (3, 64, 128), expected float32" in said.strip().splitlines()[-1]


def test_two_fresh_folders_make_the_same_bytes(done: Repository, tmp_path: Path) -> None:
    other = Repository(tmp_path / "elsewhere")
    other("dvc", "repro")
    done("git", "checkout", "--quiet", ".")
    assert other.lock() == done.lock()
