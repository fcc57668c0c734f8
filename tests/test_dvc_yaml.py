"""dvc.yaml tells the truth: DVC does not follow imports, and a param that nothing reads changes nothing."""

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from imports import closure
from repository import MAIN, ROOT

from spiro_diffusion.compute.runtime import RuntimeParams
from spiro_diffusion.core.params import load_params, read_params

STAGES: dict[str, Any] = {
    name: stage
    for file in ("dvc.yaml", "baselines/dvc.yaml")
    for name, stage in yaml.safe_load((ROOT / file).read_text())["stages"].items()
}


def test_the_ten_stages_are_there_in_order() -> None:
    assert [name for name in STAGES if name in MAIN] == MAIN


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_every_module_that_it_imports(name: str) -> None:
    imported = closure(ROOT, f"stages/{name}.py")
    data = [d for d in STAGES[name]["deps"] if d.endswith(".html.j2") or d.endswith(".json.gz")]
    declared = [d for d in STAGES[name]["deps"] if d.startswith(("spiro_diffusion/", "stages/")) and d not in data]
    assert declared == imported


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_has_a_description_a_section_and_a_constant_command(name: str) -> None:
    stage = STAGES[name]
    assert stage["desc"]
    assert stage["params"] == [name]
    assert stage["cmd"].startswith(f"python -m stages.{name} ")
    assert "${" not in stage["cmd"]


@pytest.mark.parametrize("name", STAGES)
def test_every_path_of_a_command_is_declared(name: str) -> None:
    stage = STAGES[name]
    paths = [word for word in stage["cmd"].split()[3:] if not word.startswith("--")]
    listed = [*stage["deps"]]
    for entry in [*stage["outs"], *stage.get("metrics", []), *stage.get("plots", [])]:
        listed += list(entry) if isinstance(entry, dict) else [entry]
    for path in paths:
        assert any(known == path or known.startswith(f"{path}/") for known in listed), path


def test_who_has_not_run_the_rivals_can_pull_and_apply() -> None:
    """An output that DVC caches and that no lock file knows makes `dvc pull`, `checkout` and `exp apply` fail."""
    rivals = STAGES["baselines"]
    for entry in [*rivals["outs"], *rivals["metrics"], *rivals["plots"]]:
        assert list(entry.values()) == [{"cache": False}]


def test_every_section_of_params_is_read_whole_by_its_stage() -> None:
    sections = read_params(ROOT / "params.yaml")
    assert set(sections) == {*STAGES, "runtime"}
    for name in STAGES:
        cls = importlib.import_module(f"stages.{name}").Params
        load_params(cls, name, ROOT / "params.yaml")
        assert set(sections[name]) == {field.name for field in dataclasses.fields(cls)}, name
    load_params(RuntimeParams, "runtime", ROOT / "params.yaml")
    assert "runtime" not in {param for stage in STAGES.values() for param in stage["params"]}


def test_the_preset_changes_parameters_that_exist() -> None:
    sections = read_params(ROOT / "params.yaml")
    for section, values in read_params(ROOT / "presets" / "full.yaml").items():
        assert set(values) <= set(sections[section]), section


def test_both_models_are_artifacts_that_dvc_knows() -> None:
    """By DVC's own reading of dvc.yaml: each names an output of the stage that trains it."""
    from dvc.repo import Repo  # noqa: PLC0415

    with Repo(str(ROOT)) as repo:
        ((_, artifacts),) = repo.artifacts.read().items()
        outs = {Path(str(out)).name for out in repo.index.outs}
    assert {a.path for a in artifacts.values()} == {"models/vqvae.safetensors", "models/cldm.safetensors"}
    for artifact in artifacts.values():
        assert artifact.type == "model"
        assert artifact.desc
        assert artifact.labels
        assert Path(artifact.path).name in outs
