"""The workflow files for GitHub: a linter finds nothing, and their steps run here as they are written."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from repository import ROOT, Repository
from servers import need, web

from benchmarks import results_page
from spiro_diffusion.core.artifacts import read_json
from spiro_diffusion.nhanes import codebook

FOLDER = ROOT / ".github/workflows"
FILES = sorted(FOLDER.glob("*.yml"))


def steps(file: Path) -> list[dict[str, Any]]:
    """All steps of a workflow's jobs."""
    return [step for job in yaml.safe_load(file.read_text())["jobs"].values() for step in job["steps"]]


def test_there_are_lint_tests_the_pipeline_nhanes_and_the_wheel() -> None:
    jobs = {name for file in FILES for name in yaml.safe_load(file.read_text())["jobs"]}
    assert jobs == {"lint", "tests", "pipeline", "nhanes", "release", "wheel", "install"}


def test_a_linter_of_workflows_finds_nothing() -> None:
    need(shutil.which("zizmor"), "zizmor")
    done = subprocess.run(
        ["zizmor", "--offline", "--no-progress", "--no-config", FOLDER], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_actions_are_pinned_and_commands_are_bash_that_exists(file: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for step in steps(file):
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step["uses"])
            continue
        subprocess.run(["bash", "-n"], input=step["run"], text=True, check=True)
        for target in re.findall(r"\bmake (\w+)", step["run"]):
            assert f"\n{target}: " in makefile
    assert yaml.safe_load(file.read_text())["permissions"] == {"contents": "read"}


def test_the_steps_of_the_pipeline_run_and_a_second_run_has_nothing_to_do(done: Repository, tmp_path: Path) -> None:
    """GitHub's machine is a clone with an empty remote at first, then one with what the first left there."""
    runner: dict[str, Any] = {
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "BASE": "HEAD",
    }
    full = Repository.copy(done, tmp_path / "full")  # as if GitHub had run all stages
    written = {step["name"]: step["run"] for step in steps(FOLDER / "pipeline.yml") if "run" in step}
    assert list(written) == ["Set up", "Pull", "Run what changed", "Push", "Report"]
    for name in ("Pull", "Run what changed", "Push"):
        full("bash", "-eo", "pipefail", "-c", written[name], **runner)
    full.set({"evaluate": {"seed": 5}})
    full.commit("another seed")
    fresh = full.clone(tmp_path / "fresh")
    ran = {
        name: fresh("bash", "-eo", "pipefail", "-c", written[name], **runner | {"BASE": "HEAD^"})
        for name in written
        if name != "Set up"
    }
    assert re.findall(r"Running stage '(\w+)'", ran["Run what changed"]) == ["evaluate", "report"]
    summary = Path(runner["GITHUB_STEP_SUMMARY"]).read_text()
    assert re.search(r"\| params.yaml +\| evaluate.seed +\| 1 +\| 5 ", summary), summary
    assert re.search(r"\| metrics/main.json +\| crps +\| [\d.]+ +\| [\d.]+ ", summary), summary
    (report,) = [
        step["with"]["path"] for step in steps(FOLDER / "pipeline.yml") if step.get("name") == "Keep the report"
    ]
    assert (fresh.folder / report).is_file()
    (kept,) = [step["with"]["path"] for step in steps(FOLDER / "pipeline.yml") if "cache" in step.get("uses", "")]
    assert kept == "${{ runner.temp }}/remote"
    assert (tmp_path / "remote/files").is_dir()
    assert os.path.exists(tmp_path / "remote/runs"), "the run-cache is kept too"


RELEASED = {
    *("results.md", "card.md", "params.yaml", "times.json", "evaluation.html", "reconstruction.html"),
    *("raw_files.json", "figures.tar.gz", "models.sha256", "SHA256SUMS"),
}


def test_the_steps_of_nhanes_go_from_a_server_to_a_release(done: Repository, tmp_path: Path) -> None:
    """As on GitHub, but for the server, on loopback, and the stages that train and judge, which `done` has run."""
    fork, site = done.clone(tmp_path / "fork"), tmp_path / "site"
    for file in codebook.files(["G"]):
        place = site / file.paths[0].lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(done.folder / "data/raw" / file.filename, place)
    job = yaml.safe_load((FOLDER / "nhanes.yml").read_text())["jobs"]["nhanes"]
    written = {step["name"]: step["run"] for step in job["steps"] if "run" in step}
    assert list(written) == [
        "Set up",
        "Fetch and prepare",
        "Train and judge",
        "Write the results",
        "Gather the release",
    ]
    trained = written["Fetch and prepare"].replace("--last resample", "--first train_vqvae")
    assert written["Train and judge"] == trained, "the trainings are the same command, further on"
    runner: dict[str, Any] = {"FINAL": "", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}

    def step(name: str, source: str = "nhanes") -> None:
        theirs = "--preset presets/laptop.yaml --set download.source=nhanes"
        assert theirs in job["env"]["SETTINGS"]
        ours = job["env"]["SETTINGS"].replace(theirs, f"--set download.source={source}")
        fork("bash", "-eo", "pipefail", "-c", written[name], **runner, SETTINGS=ours)

    with web(site, tmp_path / "web.log") as address:
        step("Fetch and prepare", source=address)
    run = fork.folder / "runs/nhanes"
    for made in ("signals_L512.npy", "curves.parquet"):
        assert (run / "data" / made).read_bytes() == (done.folder / "data" / made).read_bytes()
    for folder in ("models", "metrics"):
        shutil.copytree(done.folder / folder, run / folder, dirs_exist_ok=True)
    step("Write the results")
    step("Gather the release")
    release = fork.folder / "release"
    assert {file.name for file in release.iterdir()} == RELEASED
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=release, check=True, capture_output=True)
    assert len((release / "models.sha256").read_text().splitlines()) == 3
    results = (release / "results.md").read_text()
    assert "Data: **NHANES 2011-2012, the CDC's public files**" in results
    assert "These curves were drawn, not recorded" in results, "these are simulated"
    judged = read_json(run / "metrics/reconstruct/judge.json")
    judged["data"]["source"] = "nhanes"
    assert not re.search("were drawn|by rule", "\n".join(results_page.interrupted_section(judged)))
    assert "# Model card" in Path(runner["GITHUB_STEP_SUMMARY"]).read_text()
    kept = [step["with"]["path"] for step in job["steps"] if "upload" in step.get("uses", "")]
    assert kept == ["release"]
