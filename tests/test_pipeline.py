"""The pipeline as stories: a small copy of the repository, one change, and which stages ran."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from repository import MAIN, Repository


def test_a_run_leaves_figures_a_report_and_both_models(done: Repository) -> None:
    folder = done.folder
    report = (folder / "metrics/evaluate/report.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", report), "the report loads nothing from a network"
    summary = json.loads((folder / "metrics/evaluate/summary.json").read_text())
    assert summary
    page = (folder / "metrics/reconstruct/report.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    for model in ("vqvae", "cldm", "reconstructor"):
        assert (folder / f"models/{model}.safetensors").is_file()
    table = pd.read_parquet(folder / "data/curves.parquet")
    assert np.load(folder / "data/latents.npy", mmap_mode="r").shape == (len(table), 64, 128)
    assert np.load(folder / "data/signals_L512.npy", mmap_mode="r").shape == (len(table), 512)
    assert str(folder) not in report


def test_no_participant_is_in_two_splits(done: Repository) -> None:
    table = pd.read_parquet(done.folder / "data/curves.parquet")
    assert table.groupby("seqn")["split"].nunique().max() == 1
    assert set(table["split"]) == {"train", "validation", "test"}


def test_a_second_run_does_nothing_and_judges_no_baselines(done: Repository) -> None:
    assert done.repro() == []
    assert not (done.folder / "metrics/baselines/summary.json").exists()


def test_a_changed_parameter_runs_what_depends_on_it_and_no_more(done: Repository) -> None:
    done.set({"train_cldm": {"lr": 1e-3}})
    assert done.repro() == ["train_cldm", "evaluate", "reconstruct", "report"]
    done.set({"reconstruct": {"seed": 2}})
    assert done.repro() == ["reconstruct", "report"]
    done.set({"runtime": {"precision": "float32"}})
    assert done.repro() == []


def test_a_change_back_is_served_from_the_cache(done: Repository) -> None:
    done("git", "checkout", "--quiet", "params.yaml")
    assert done.repro() == []


def test_a_mistyped_parameter_ends_in_one_line_and_leaves_what_was_made(done: Repository) -> None:
    before = done.lock()
    done.set({"train_cldm": {"lr": "fast"}})
    output = done("dvc", "repro", fails=True)
    assert "train_cldm: params.yaml: train_cldm.lr is 'fast'; expected float" in output
    assert "Traceback" not in output
    done("git", "checkout", "--quiet", "params.yaml")
    assert done.lock() == before
    assert done.repro() == []


def test_an_experiment_varies_one_parameter(done: Repository, tmp_path: Path) -> None:
    here = Repository.copy(done, tmp_path / "here")
    output = here("dvc", "exp", "run", "-S", "evaluate.guidance=1.25")
    assert re.findall(r"Running stage '(\w+)'", output) == ["evaluate", "report"]
    assert "1.25" in here("dvc", "exp", "show", "--csv")


def test_latents_of_another_vqvae_are_refused(done: Repository) -> None:
    stage = yaml.safe_load((done.folder / "dvc.yaml").read_text())["stages"]["evaluate"]["cmd"].split()
    other = done.folder / "other.safetensors"
    whole = (done.folder / "models/vqvae.safetensors").read_bytes()
    other.write_bytes(whole[:-4] + b"\0\0\0\0")
    command = [sys.executable, *stage[1:]]
    command[command.index("--vqvae") + 1] = "other.safetensors"
    output = done(*command, fails=True)
    assert (
        output.strip()
        .splitlines()[-1]
        .startswith("evaluate: models/cldm.safetensors: was trained on the latents of another")
    )
    np.save(done.folder / "few.npy", np.zeros((3, 64, 128), np.float32))
    stage = yaml.safe_load((done.folder / "dvc.yaml").read_text())["stages"]["train_cldm"]["cmd"].split()
    command = [sys.executable, *stage[1:]]
    command[command.index("--latents") + 1] = "few.npy"
    output = done(*command, fails=True)
    assert "few.npy: holds float32 (3, 64, 128), expected float32" in output.strip().splitlines()[-1]


def test_two_fresh_folders_make_the_same_bytes(done: Repository, tmp_path: Path) -> None:
    home = tmp_path / "another home"
    home.mkdir()
    somebody = {"USER": "somebody", "LOGNAME": "somebody", "HOME": str(home), "PYTHONHASHSEED": "1"}
    elsewhere = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "LANG": "C", "COLUMNS": "40"}
    other = Repository(tmp_path / "else where", somebody | elsewhere)
    other("dvc", "repro")
    done("git", "checkout", "--quiet", ".")
    assert list(other.lock()) == MAIN
    for name, outs in other.lock().items():
        assert outs == done.lock()[name], f"the bytes of {name} tell where, by whom or when they were made"
