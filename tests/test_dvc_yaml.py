"""dvc.yaml tells the truth: DVC does not follow imports, and a param that nothing reads changes nothing."""

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from repository import BASELINES, MAIN, ROOT, Repository

from spiro_diffusion.compute.runtime import RuntimeParams
from spiro_diffusion.core.params import load_params, read_params
from spiro_diffusion.pipeline import dependencies

STAGES: dict[str, Any] = {
    name: stage
    for file in dependencies.PIPELINES
    for name, stage in yaml.safe_load((ROOT / file).read_text())["stages"].items()
}
WITH_PARAMS = [name for name in STAGES if not name.endswith("report")]
TRAININGS = ["train_vqvae", "train_cldm", "train_reconstructor"]


def test_the_stages_are_there_in_order_each_with_its_door() -> None:
    assert list(STAGES) == [*MAIN, *BASELINES]
    assert sorted(STAGES) == sorted(door.stem for door in (ROOT / "stages").glob("[!_]*.py"))


@pytest.mark.parametrize("file", dependencies.PIPELINES)
def test_a_stage_depends_on_the_code_and_the_templates_that_it_reads(file: str) -> None:
    """`make deps` writes them."""
    text = (ROOT / file).read_text()
    assert dependencies.written(text, ROOT) == text


def test_a_template_a_stage_and_an_import_that_are_new_are_noticed(tmp_path: Path) -> None:
    tiny = {
        "spiro_diffusion/__init__.py": '"""Only words."""',
        "spiro_diffusion/core/__init__.py": "X = 1",
        "spiro_diffusion/physiology/flow.py": "",
        "spiro_diffusion/physiology/page.html.j2": "",
        "spiro_diffusion/reporting/page.py": 'def page():\n    return "page.html.j2"',
        "spiro_diffusion/reporting/templates/page.html.j2": '{% include "foot.html.j2" %}',
        "spiro_diffusion/reporting/templates/foot.html.j2": "",
        "spiro_diffusion/reporting/templates/other.html.j2": "",
        "spiro_diffusion/pipeline/draw.py": (
            "def draw():\n    from spiro_diffusion.reporting import page\n    import spiro_diffusion.physiology.flow\n"
        ),
        "stages/draw.py": "import spiro_diffusion.core",
    }
    for name, text in tiny.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    read = dependencies.code(tmp_path, "draw")
    assert read == [
        "spiro_diffusion/core/__init__.py",
        "spiro_diffusion/physiology/flow.py",
        "spiro_diffusion/pipeline/draw.py",
        "spiro_diffusion/reporting/page.py",
        "spiro_diffusion/reporting/templates/foot.html.j2",
        "spiro_diffusion/reporting/templates/page.html.j2",
        "stages/draw.py",
    ]
    assert dependencies.dependencies(read) == [
        "spiro_diffusion/core",
        "spiro_diffusion/physiology/flow.py",
        "spiro_diffusion/pipeline/draw.py",
        "spiro_diffusion/reporting",
        "stages/draw.py",
    ]
    text = "# x\n\nstages:\n  draw:\n    deps: [data/raw, spiro_diffusion/gone.py]\n    outs: [x]\n"
    assert yaml.safe_load(dependencies.written(text, tmp_path))["stages"]["draw"] == {
        "deps": ["data/raw", *dependencies.dependencies(read)],
        "outs": ["x"],
    }


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_depends_on_nothing_that_only_shows_or_judges(name: str) -> None:
    rooms = {file.split("/")[1].removesuffix(".py") for file in dependencies.code(ROOT, name)}
    assert not rooms & {"plotting", "reporting", "evaluation", "app", "cli", "api", "user_curves"}


def test_no_stage_depends_on_what_holds_the_version() -> None:
    assert not [dep for stage in STAGES.values() for dep in stage["deps"] if "pyproject" in dep or dep.startswith(".")]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_has_a_description_a_section_and_a_constant_command(name: str) -> None:
    stage = STAGES[name]
    assert stage["desc"]
    assert stage.get("params", []) == ([name] if name in WITH_PARAMS else [])
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
        assert any(declared == path or declared.startswith(f"{path}/") for declared in listed), path


@pytest.mark.parametrize("name", BASELINES)
def test_who_has_not_run_the_baselines_can_pull_and_apply(name: str) -> None:
    """An output that DVC caches and that no lock file knows makes `dvc pull`, `checkout` and `exp apply` fail."""
    stage = STAGES[name]
    for entry in [*stage["outs"], *stage.get("metrics", []), *stage.get("plots", [])]:
        assert list(entry.values()) == [{"cache": False}]


def test_every_section_of_params_is_read_whole_by_its_stage() -> None:
    sections = read_params(ROOT / "params.yaml")
    assert set(sections) == {*WITH_PARAMS, "runtime"}
    for name in WITH_PARAMS:
        cls = importlib.import_module(f"spiro_diffusion.pipeline.{name}").Params
        load_params(cls, name, ROOT / "params.yaml")
        assert set(sections[name]) == {field.name for field in dataclasses.fields(cls)}, name
    load_params(RuntimeParams, "runtime", ROOT / "params.yaml")
    assert "runtime" not in {param for stage in STAGES.values() for param in stage.get("params", [])}


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda preset: preset.stem)
def test_a_preset_changes_parameters_that_exist_and_one_alone_judges_by_test_participants(preset: Path) -> None:
    sections, changes = read_params(ROOT / "params.yaml"), read_params(preset)
    for section, values in changes.items():
        assert set(values) <= set(sections[section]), section
    splits = {section: values["split"] for section, values in changes.items() if "split" in values}
    assert splits == ({"evaluate": "test", "reconstruct": "test"} if preset.stem == "results" else {})
    assert {sections[section]["split"] for section in ("evaluate", "reconstruct")} == {"auto"}


def test_the_models_are_artifacts_that_dvc_knows() -> None:
    """By DVC's own reading of dvc.yaml: each names an output of the stage that trains it."""
    from dvc.repo import Repo  # noqa: PLC0415

    with Repo(str(ROOT)) as repo:
        ((_, artifacts),) = repo.artifacts.read().items()
        outs = {Path(str(out)).name for out in repo.index.outs}
    assert {a.path for a in artifacts.values()} == {
        f"models/{name}.safetensors" for name in ("vqvae", "cldm", "reconstructor")
    }
    for artifact in artifacts.values():
        assert artifact.type == "model"
        assert artifact.desc
        assert artifact.labels
        assert Path(artifact.path).name in outs


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository whose outputs are there, as DVC sees it; nothing ran, and each output is a word."""
    repository = Repository(tmp_path_factory.mktemp("recorded"))
    for stage in STAGES.values():
        for entry in [*stage["outs"], *stage.get("metrics", []), *stage.get("plots", [])]:
            path = repository.folder / (next(iter(entry)) if isinstance(entry, dict) else entry)
            file = path if path.suffix else path / "file"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(path.name)
    (repository.folder / "data/raw/manifest.json").write_text("{}")
    repository("dvc", "commit", "--force", "--quiet", *dependencies.PIPELINES)
    repository.commit("recorded")
    return repository


def would_run(repository: Repository, file: str, old: str, new: str) -> list[str]:
    """The stages that a change of one file reruns, before what they make is compared; the change is taken back."""
    path = repository.folder / file
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new, 1))
    try:
        result = yaml.safe_load(repository("dvc", "status", "--json", *dependencies.PIPELINES).splitlines()[0])
    finally:
        path.write_text(before)
    return [name.rpartition(":")[2] for name in result]


PAGES = ["report", "baselines_report"]


@pytest.mark.parametrize(
    ("file", "old", "new", "runs"),
    [
        ("params.yaml", "resamples: 100", "resamples: 101", ["evaluate"]),
        ("params.yaml", "lr: 0.003", "lr: 0.004", ["train_cldm"]),
        ("params.yaml", "device: auto", "device: cpu", []),
        ("pyproject.toml", 'version = "', 'version = "9.', []),
        ("spiro_diffusion/plotting/style.py", "#", "#0", PAGES),
        ("spiro_diffusion/reporting/templates/report.html.j2", "<", " <", PAGES),
        ("spiro_diffusion/simulation/simulator.py", "import", " import", ["download"]),
        ("spiro_diffusion/app/server.py", "import", " import", []),
        ("spiro_diffusion/cli/draw.py", "import", " import", []),
    ],
    ids=lambda value: value if isinstance(value, str) and "/" in value else None,
)
def test_a_change_reruns_what_it_can_change(
    recorded: Repository, file: str, old: str, new: str, runs: list[str]
) -> None:
    assert would_run(recorded, file, old, new) == runs
