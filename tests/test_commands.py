"""Every command that a page shows is run by a test, by `make test-docs`, or is listed here with why it cannot be.

`make test-docs` runs those marked `docs`, on the models, data and figures of `make repro` in this clone.
"""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pages import blocks, lines
from repository import ROOT

from spiro_diffusion.cli import main
from spiro_diffusion.physiology import counter
from spiro_diffusion.simulation.simulator import simulate

DOCS = sorted(page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").rglob("*.md"))
PAGES = ["README.md", "CONTRIBUTING.md", *DOCS]
TESTED = {  # pages whose commands the tests run on tiny models, and where
    "README.md": "test_readme.py",
    "docs/command_line.md": "test_readme.py",
    "docs/experiments_howto.md": "test_experiments.py",
    "docs/howto.md": "test_howto.py",
    "docs/remotes.md": "test_remotes.py",
    "docs/sessions.md": "test_sessions_docs.py",
}
HERE = ("tutorial", "patients", "export", "datasets", "session_page", "reconstruction", "nhanes_gpu", "publish")
RUN = tuple(f"docs/{name}.md" for name in HERE)  # whose `spiro` and `python onnx/` commands run below
ELSEWHERE = {  # the beginning of a command, and the test of it, or why there is none
    "make repro": "the workflows pipeline.yml and wheel.yml",
    "make test": "the workflow checks.yml",
    "make docs": "test_docs.py builds the site",
    "make demo": "npm is needed; test_demo.py runs the page in a browser",
    "make wheel": "the workflow wheel.yml; test_wheel.py builds a wheel without a model",
    "make release": "test_release.py runs its parts; in full it needs a tag, a clean tree and a package index",
    "make full": "test_readme.py, as a dry run; in full it needs a GPU",
    "git tag": "test_release.py",
    "git push": "needs a remote of git",
    "gh ": "needs an account",
    "hf ": "needs an account",
    ". .venv": "activates the environment",
    "python3 -m venv": "the workflow wheel.yml",
    "try/bin/spiro": "the workflow wheel.yml; `make release` installs the wheel in an empty environment and draws",
    "python -m pip": "test_readme.py holds them against the Makefile",
    "python3 -m pip": "needs a package index",
    "PIP_": "needs a package index",
    "dvc repro && pytest": "the workflows pipeline.yml and checks.yml",
    "dvc pull": "test_remotes.py",
    "dvc push": "test_remotes.py",
    "dvc exp": "test_experiments.py",
    "dvc metrics": "test_experiments.py",
    "python -m spiro_diffusion.pipeline.run": "test_readme.py; with the CDC's files it needs the network",
    "python -m benchmarks.results_page": "test_workflows.py",
    "python -m benchmarks.models": "takes long; test_speed.py runs its parts",
    "python -m benchmarks.million": "takes an hour and 20 GB",
    "python -m benchmarks.several_gpus": "needs GPUs; `--tiny` was run by hand",
    "python -m stages.train_cldm": "test_distributed.py and test_membership.py run stages in several processes",
    "torchrun": "test_membership.py and test_distributed.py, on one host",
    "--rdzv-conf": "the second line of torchrun",
    "dvc queue": "test_experiments.py runs a queue",
    "python benchmarks/data_half.py": "takes long",
    "python -m http.server": "test_remotes.py",
}


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_run_or_named(page: str) -> None:
    if page in TESTED:
        assert Path(page).name in (ROOT / "tests" / TESTED[page]).read_text() or Path(page).stem in (
            (ROOT / "tests" / TESTED[page]).read_text()
        )
        return
    for command in (line for block in blocks(page) for line in lines(block)):
        here = page in RUN and command.startswith(("spiro ", "python onnx/"))
        assert here or any(command.startswith(start) for start in ELSEWHERE), f"{page}: {command}"


def test_the_list_has_no_command_that_no_page_shows() -> None:
    documented = [line for page in PAGES for block in blocks(page) for line in lines(block)]
    assert [start for start in ELSEWHERE if not any(line.startswith(start) for line in documented)] == []


def efforts(people: int, seed: int) -> Iterator[tuple[int, pd.DataFrame]]:
    """The blows of simulated participants: seqn, and curve (1, 2 ..., after the bronchodilator post 1 ...), time_s,
    flow_l_s."""
    raw: Any = simulate("G", people, seed)["SPXRAW"]
    for seqn, efforts in raw.groupby("SEQN"):
        parts = []
        for number, row in enumerate(efforts.itertuples(), 1):
            flow = counter.flow(np.asarray(row.SPXRAW)[None], float(row.SPAFACT))[0]
            name = f"{number}" if row.SPATTYPE == "Pre" else f"post {number}"
            time_s = 0.01 * np.arange(len(flow))
            parts.append(pd.DataFrame({"curve": name, "time_s": time_s, "flow_l_s": flow, "grade": row.SPAQEFF}))
        yield int(seqn), pd.concat(parts).round(4)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what `make repro` made, and the files of a user that the pages name."""
    for name in ("models", "data", "metrics"):
        assert (ROOT / name).is_dir(), f"{name} is missing: make repro"
        shutil.copytree(ROOT / name, tmp_path / name)
    assert (tmp_path / "models/reconstructor.safetensors").is_file(), "the models are missing: make repro"
    (tmp_path / "models/card.md").unlink(missing_ok=True)  # of `make repro`; a page makes its own
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/full").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    columns = ["curve", "time_s", "flow_l_s"]
    drawn = list(efforts(60, 4))
    visit = next(table for _, table in drawn if table["curve"].str.startswith("post").any())[columns]
    visit.to_csv("visit.csv", index=False)
    before = visit[~visit["curve"].str.startswith("post")]
    first, rest = before["curve"] == before["curve"].iloc[0], before["curve"] != before["curve"].iloc[0]
    before[first & (before["time_s"] < 2.5)].to_csv("mine.csv", index=False)
    before[rest].to_csv("rest.csv", index=False)
    before[(before["curve"] != "2") | (before["time_s"] < 2.5)].to_csv("all.csv", index=False)
    pd.DataFrame(
        {"age": [62, 30], "height": [168, 180], "sex": ["female", "male"], "pattern": ["obstruction", None]}
    ).to_csv("patients.csv", index=False)
    laboratory(tmp_path / "laboratory", drawn)
    return tmp_path


def laboratory(folder: Path, drawn: list[tuple[int, pd.DataFrame]]) -> None:
    """A folder of recorded efforts and a table of whose they are, as `spiro validate` takes it."""
    folder.mkdir()
    table = pd.read_parquet(ROOT / "data/curves.parquet")  # for ages and heights that go with each other
    person = table[table["age"] >= 18].drop_duplicates("seqn").reset_index(drop=True)
    rows = []
    whole = [(seqn, efforts[efforts["grade"] == "A"]) for seqn, efforts in drawn if (efforts["grade"] == "A").any()]
    for place, (seqn, efforts) in enumerate(whole):
        name = f"P{seqn}"
        efforts[["curve", "time_s", "flow_l_s"]].to_csv(folder / f"{name}.csv", index=False)
        rows.append({"person": name, **person.loc[place, ["age", "height", "sex"]].to_dict()})
    pd.DataFrame(rows).to_csv(folder / "people.csv", index=False)


SMALLER = {"-n 10000": "-n 20", "-n 2000": "-n 10"}  # populations: the pages say how long theirs take


@pytest.mark.docs
@pytest.mark.parametrize("page", RUN)
def test_the_commands_of_a_page_run_on_the_models_of_make_repro(page: str, here: Path) -> None:
    commands = [line for block in blocks(page) for line in lines(block)]
    mine = [c for c in commands if c.startswith(("spiro ", "python onnx/"))]
    assert mine, page
    for command in mine:
        for large, small in SMALLER.items():
            command = command.replace(large, small)  # noqa: PLW2901
        words = shlex.split(command)
        if words[0] == "spiro":
            assert main(words[1:]) == 0, command
        else:
            subprocess.run([sys.executable, *words[1:]], cwd=here, check=True)
