"""The model card says what the judge found, of the model that it judged, and changes nothing that DVC knows."""

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from repository import ROOT

from spiro_diffusion.cli import main
from spiro_diffusion.cohorts import hub
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.evaluation.registry import named
from spiro_diffusion.models.header import read_made_from
from spiro_diffusion.reporting import model_card
from spiro_diffusion.reporting.sources import source_of

MADE_FROM = {"data": "simulated", "curves": 9, "participants": 3, "age": [6, 79], "height": [108, 195], "vqvae": "ab"}
DATA = {
    "best": 2,
    "curves": 5,
    "draws": 4,
    "participants": 2,
    "source": "simulated",
    "split": "test",
    "training_curves": 9,
    "training_participants": 3,
}


def judged(folder: Path, **data: Any) -> Path:
    """What the stage evaluate leaves: figures of one target, the spread by sex, and two groups."""
    indices = ("fev1", "fvc", "pef", "fef2575")
    with_value = {"over_floor": {"value": 1.9}, "beyond": {"value": 1.0}}
    unknown = {"value": None, "reason": "3 participants"}
    groups = {"female_6_12": with_value, "male_6_12": {"over_floor": unknown, "beyond": unknown}}
    kinds = {"sex_age": dict.fromkeys(indices, groups), "ethnicity": unknown, "obstruction": unknown}
    generator = {"groups": {"best": {"unweighted": kinds}}}
    missed = {"path": "two_sample.best.fine.auc", "value": 0.93, "low": 0.9, "high": 0.95, "verdict": "missed"}
    spread = [
        {"path": named(f"residual_sd_ratio{part}", "best", index), "value": 1.07, "low": 0.9, "high": 1.3}
        | {"verdict": "within_noise"}
        for index in indices
        for part in ("", "_male", "_female")
    ]
    targets = [
        {
            "name": name,
            "figures": figures,
            "level": "best",
            "text": text,
            "verdict": figures[0]["verdict"],
            "worst": figures[0]["path"],
        }
        for name, text, figures in (
            ("auc_fine", "fine: at most 0.70", [missed]),
            ("residual_sd", "residual SD", spread),
        )
    ]
    trees = {"generator": generator, "floor": {}, "grid_round_trip": {}, "baselines": {}}
    artifacts.write_json(folder / "judge.json", {"data": DATA | data, **trees, "targets": targets})
    artifacts.write_json(folder / "summary.json", {"best_fev1_residual_sd_ratio": 1.07})
    return folder


def test_a_card_holds_data_use_limits_and_figures_by_group(tmp_path: Path) -> None:
    text = model_card.card(MADE_FROM, model_card.read(judged(tmp_path)))
    for words in (
        "not for diagnosis",
        "Source: simulated source",
        "trained on 9 efforts of 3 participants, ages 6 to 79 years, heights 108 to 195 cm",
        "0 met, 1 within noise, 1 missed, 0 open",
        "`two_sample.best.fine.auc` 0.93 (0.9 to 0.95)",
        "| FEV1 | 1.07 (0.9 to 1.3) | 1.07 (0.9 to 1.3) | 1.07 (0.9 to 1.3) |",
        "| female, 6 to 12 y | **1.90** |",
        "| male, 6 to 12 y | too few |",
        "## Limits",
    ):
        assert words in text


def test_figures_of_another_model_make_no_card(tmp_path: Path) -> None:
    found = model_card.read(judged(tmp_path, training_curves=10))
    with pytest.raises(SpiroError, match="trained on 10 curves, this one was on 9"):
        model_card.card(MADE_FROM, found)


def test_the_published_full_run_makes_a_card() -> None:
    found = model_card.read(ROOT / "metrics/full")
    of = {key: found.data[f"training_{key}"] for key in ("curves", "participants")}
    text = model_card.card(MADE_FROM | of, found)
    assert "nothing here is a result on NHANES" in text
    assert "| index | all | male | female |" in text
    assert "| white | " in text


def test_the_command_writes_it_once_beside_the_models(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "card.md"
    command = ["card", "--models", str(models), "--metrics", str(judged(tmp_path / "metrics")), "--out", str(out)]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"files": [str(out)]}
    out.write_text("mine")
    assert main(command) == 1
    assert "--force" in capsys.readouterr().err
    assert main(["card", "--models", str(models), "--metrics", str(tmp_path / "none"), "--force"]) == 1
    assert "no such file" in capsys.readouterr().err
    assert not (models / "card.md").exists()


def test_a_folder_for_a_model_hub_holds_weights_their_licence_and_a_card_with_a_head(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, metrics = tmp_path / "hub", str(judged(tmp_path / "metrics"))
    command = ["card", "--models", str(models), "--metrics", metrics, "--hub", str(folder)]
    assert main(command) == 0
    assert {file.name for file in folder.iterdir()} == {
        *("README.md", "LICENSE", "SHA256SUMS", "vqvae.safetensors", "cldm.safetensors")
    }
    _, head, text = (folder / "README.md").read_text().split("---\n", 2)
    read = yaml.safe_load(head)
    assert (read["license"], read["library_name"]) == ("cc-by-4.0", "spiro-diffusion")
    assert "spirometry" in read["tags"]
    assert "licence of the weights: CC-BY-4.0 (LICENSE); licence of the code: Apache-2.0" in text
    assert "not for diagnosis" in text
    assert "CC-BY-4.0" in (folder / "LICENSE").read_text()
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True, capture_output=True)
    assert main(command) == 1
    assert "--force" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0


def test_weights_of_anything_but_simulated_people_are_not_published(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made_from = dataclasses.replace(read_made_from(models / "cldm.safetensors"), data="folder")
    monkeypatch.setattr(hub, "read_made_from", lambda _: made_from)
    metrics = str(judged(tmp_path / "metrics", source="folder"))
    assert main(["card", "--models", str(models), "--metrics", metrics, "--hub", str(tmp_path / "hub")]) == 1
    assert "was trained on folder; only models of simulated people are given away" in capsys.readouterr().err
    assert not (tmp_path / "hub").exists()


def test_files_of_a_mirror_are_not_called_those_of_the_cdc() -> None:
    mirror = source_of("https://mirror.example.invalid")
    assert mirror.word == "recorded"
    assert "nothing here may be called a result on NHANES" in mirror.explanation
    assert source_of("nhanes").word == "real"
