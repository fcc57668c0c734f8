"""What README.md shows, and the pages that its commands are taken from, run; the figures are those of the files."""

import json
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pages import blocks, commands, lines
from repository import ROOT, Repository

from benchmarks import readme_figures
from spiro_diffusion.physiology import time_grid

README = (ROOT / "README.md").read_text()
CLI, EXPERIMENTS, INSTALL, NHANES, REMOTES = (
    f"docs/{name}.md" for name in ("command_line", "experiments_howto", "install", "nhanes_gpu", "remotes")
)


def test_the_readme_is_two_screens_and_its_commands_are_those_of_the_pages() -> None:
    assert len(README.splitlines()) <= 110
    first, second = (lines(block) for block in blocks("README.md"))
    assert first == ["make repro", "make test"]
    assert set(second) <= set(commands(CLI, "spiro info"))
    (python,) = blocks("README.md", "python")
    (longer,) = blocks("docs/reference/index.md", "python")
    code = [line.partition("  #")[0] for line in python.splitlines() if line and "import" not in line]
    assert set(code) <= {line.partition("  #")[0] for line in longer.splitlines()}


def test_the_two_commands_exist() -> None:
    targets = (ROOT / "Makefile").read_text()
    assert "\nrepro: setup" in targets
    assert "\ntest: setup" in targets


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_figures_are_those_of_the_committed_files(name: str) -> None:
    """`python -m benchmarks.readme_figures` renews them."""
    page = (ROOT / name).read_text(encoding="utf-8")
    assert readme_figures.with_table(page, ROOT, chinese="zh" in name) == page
    assert readme_figures.table(ROOT, chinese="zh" in name) in page


def test_the_commands_by_hand_are_those_of_the_makefile() -> None:
    recipe = (ROOT / "Makefile").read_text().replace("--quiet ", "").replace("--requirement", "-r")
    for command in commands(INSTALL, "python -m pip install --upgrade pip")[1:-1]:
        assert command.replace("-e .", "--editable .") in recipe, command


def test_the_graph_is_the_one_that_dvc_draws(done: Repository) -> None:
    """That of docs/stages.svg, which a test of test_rooms.py holds against dvc.yaml."""
    rooms = runpy.run_path(str(ROOT / "docs/rooms.py"))
    now = subprocess.run(
        [Path(sys.executable).parent / "dvc", "dag", "--mermaid", "report"],
        cwd=done.folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = dict(re.findall(r'(node\d+)\["(\w+)"\]', now))
    drawn = {(names[a], names[b]) for a, b in re.findall(r"(node\d+)-->(node\d+)", now)}
    assert drawn == {(other, stage) for stage, others in rooms["stage_inputs"](ROOT).items() for other in others}


def test_dvc_commands(done: Repository, tmp_path: Path) -> None:
    here = Repository.copy(done, tmp_path / "here")
    for command in commands(EXPERIMENTS, "dvc repro baselines"):
        output = here(*shlex.split(command))
        if command.startswith(("dvc exp show", "dvc metrics show")):
            assert max(map(len, output.splitlines())) <= 120, command
    summary = json.loads((here.folder / "metrics/baselines/summary.json").read_text())
    assert set(summary) == {"generator", "PCA", "neighbours", "GLI and Hankinson", "origin's recipe"}
    assert here.repro("baselines/dvc.yaml") == []


def test_what_was_made_is_shared_by_a_commit_and_a_push(done: Repository, tmp_path: Path) -> None:
    here = Repository.copy(done, tmp_path / "here")
    here.set({"evaluate": {"seed": 5}})
    assert here.repro("evaluate") == ["evaluate"]
    for command in commands(REMOTES, "git add params.yaml")[1:-1]:  # not `dvc repro` and `git push`
        here("sh", "-c", command)
    there = here.clone(tmp_path / "there")
    there("dvc", "pull", "evaluate")
    assert (there.folder / "metrics/evaluate/judge.json").is_file()


def hear_ctrl_c() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and so does what the tests start there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def first_page(folder: Path, command: list[str]) -> str:
    """What `spiro app` serves at the address it prints; Ctrl-C ends it well."""
    program = Path(sys.executable).parent / command[0]
    with subprocess.Popen(
        [program, *command[1:]],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,  # noqa: PLW1509 (no threads here)
    ) as served:
        try:
            assert served.stdout is not None
            address = served.stdout.readline().split()[0]
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address) as answer:
                page = answer.read().decode()
        finally:
            served.send_signal(signal.SIGINT)
            try:
                ended = served.wait(10)
            finally:
                served.kill()
        assert ended == 0
    return page


def test_commands_of_the_trained_model(done: Repository) -> None:
    generate, indices, reconstruct, selftest, info, cohort, evaluate, report, page, card, export = commands(
        CLI, "spiro info"
    )
    done(*shlex.split(generate))
    assert (done.folder / "curves.csv").stat().st_size > 10_000
    assert (done.folder / "curves.png").is_file()
    # a model trained for seconds may draw what is no expiration: the second command reads real efforts
    flow = time_grid.to_10ms(np.load(done.folder / "data/signals_L512.npy")[:3])
    time_s = np.tile(np.arange(flow.shape[1]) * 0.01 - time_grid.LEAD_S, 3)
    efforts = {"curve": np.repeat([1, 2, 3], flow.shape[1]), "time_s": time_s.round(2), "flow_l_s": flow.ravel()}
    pd.DataFrame(efforts).to_csv(done.folder / "curves.csv", index=False)
    assert "fev1" in done(*shlex.split(indices)).lower()
    named = pd.DataFrame(efforts).assign(curve=lambda table: "0/" + (table["curve"] - 1).astype(str))
    named.to_csv(done.folder / "curves.csv", index=False)
    assert "90 % probability" in " ".join(done(*shlex.split(reconstruct)).split())
    assert "ISO 26782" in done(*shlex.split(selftest))
    assert "diagnosis" in done(*shlex.split(info))
    done(*shlex.split(cohort.replace("1000", "20")))
    assert "not for diagnosis" in (done.folder / "cohort/README.md").read_text()
    assert "report: metrics/evaluate/report.html" in done(*shlex.split(evaluate))
    assert "targets:" in done(*shlex.split(report))
    assert "Spiro-Diffusion" in first_page(done.folder, [*shlex.split(page), "--port", "0"])
    assert "wrote models/card.md" in done(*shlex.split(card))
    assert "wrote onnx/sample.py" in done(*shlex.split(export))
    for name in ("onnx", "cohort"):
        shutil.rmtree(done.folder / name)
    for name in (
        "curves.csv",
        "curves_indices.csv",
        "curves.png",
        "bands.png",
    ):
        (done.folder / name).unlink()
    done("git", "checkout", "--quiet", ".")
    done("dvc", "checkout", "--quiet", "--force", "dvc.yaml")  # the baselines may not have been judged yet
    assert done.repro() == []  # the card lies beside what DVC knows
    (done.folder / "models/card.md").unlink()


def test_the_python_block_runs_as_it_stands(
    models: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (block,) = blocks("docs/reference/index.md", "python")
    (tmp_path / "models").symlink_to(models)
    (tmp_path / "data").symlink_to(data)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    exec(block, namespace)
    assert namespace["curves"].flow.shape == namespace["curves"].volume.shape == (20, 2048)
    assert namespace["data"].signals.shape == (len(namespace["data"].table), 512)
    assert len(capsys.readouterr().out.splitlines()) == -(-len(namespace["data"]) // 1024)
    assert (tmp_path / "curves.png").is_file()


def test_commands_on_files_of_ones_own(done: Repository, tmp_path: Path) -> None:
    """A folder of files in the CDC's formats; the CDC itself and a GPU are out of reach here."""
    folder = tmp_path / "files"
    shutil.copytree(done.folder / "data/raw", folder)
    (folder / "manifest.json").unlink()
    line = next(c for c in commands(NHANES, "dvc exp run -S download.source=path") if "path/to/folder" in c)
    output = done(*shlex.split(line.replace("path/to/folder", str(folder))), "filter")  # then as with other files
    assert "Running stage 'download'" in output
    done("git", "checkout", "--quiet", ".")
    done("dvc", "checkout", "--quiet")
    full = next(c for c in commands(NHANES, "make full") if "SOURCE" in c)
    dry = done(*shlex.split(full), "--dry-run")
    assert '-S "train_cldm.epochs=' in dry
    assert "-S download.source=path/to/folder" in dry


def test_the_command_without_dvc(done: Repository, tmp_path: Path) -> None:
    (line,) = commands(NHANES, "python -m spiro_diffusion.pipeline.run")
    folder = tmp_path / "files"
    shutil.copytree(done.folder / "data/raw", folder)
    (folder / "manifest.json").unlink()
    output = done(*shlex.split(line.replace("path/to/folder", str(folder))), "--last", "resample")
    assert "== resample" in output
    assert (done.folder / "runs/full/data/signals_L512.npy").is_file()
    shutil.rmtree(done.folder / "runs")


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text()))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).is_file()


def test_the_chinese_readme_is_the_same_page() -> None:
    """As many headings, rows and links; the same code, the comments aside; what is drawn by DVC to the letter."""
    chinese = (ROOT / "README.zh-CN.md").read_text()
    for kind in (r"^#+ ", r"^\| ", r"^- "):
        assert len(re.findall(kind, chinese, flags=re.M)) == len(re.findall(kind, README, flags=re.M)), kind
    links = [set(re.findall(r"\]\(([^)]+)\)", text)) for text in (README, chinese)]
    assert links[0] ^ links[1] == {"README.zh-CN.md", "README.md"}
    for language in ("bash", "python"):
        blocks = [re.findall(rf"```{language}\n(.*?)```", text, flags=re.S) for text in (README, chinese)]
        bare = [[re.sub(r" +#.*", "", block) for block in each] for each in blocks]
        assert bare[0] == bare[1], language
