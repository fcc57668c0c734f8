"""Experiments as docs/experiments_howto.md runs them, and what DVC shows of them: on a small copy of the repository."""

import csv
import io
import json
import re
import shlex
import time
from pathlib import Path

import pytest
import yaml
from repository import ROOT, Repository

from spiro_diffusion.pipeline import headline

PAGE = (ROOT / "docs/experiments_howto.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.S)
END = "train_cldm"  # the sweep's runs end here: judging each would take the tests a minute more


def block(start: str) -> list[str]:
    """Commands of the one block of the page that holds a line beginning so."""
    (found,) = [b for b in BLOCKS if any(line.startswith(start) for line in b.splitlines())]
    return [line.split("  #")[0].strip() for line in found.splitlines()]


def runs(repository: Repository) -> dict[str, dict[str, str]]:
    """Rows of `dvc exp show` by the experiment's name."""
    table = csv.DictReader(io.StringIO(repository("dvc", "exp", "show", "--csv")))
    return {row["Experiment"]: row for row in table if row["Experiment"]}


@pytest.fixture(scope="module")
def trials(done: Repository, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository that may be left with experiments."""
    return Repository.copy(done, tmp_path_factory.mktemp("trials") / "repository")


@pytest.fixture(scope="module")
def sweep(trials: Repository) -> dict[str, dict[str, str]]:
    """The page's sweep, run by two workers; its rows of `dvc exp show` by learning rate."""
    queue, start, status, _ = block("dvc exp run --queue")
    output = trials(*shlex.split(queue), END)
    assert output.count("Queued experiment") == 2
    with (trials.folder / ".scratch.log").open("w") as log:
        trials("sh", "-c", f"{start} > {shlex.quote(log.name)} 2>&1")  # the workers outlive the command
    end = time.monotonic() + 300
    while (output := trials(*shlex.split(status))).count("Success") < 2:
        assert "Failed" not in output, trials(
            "sh", "-c", "dvc queue logs $(dvc queue status | awk '/Failed/{print $1}')"
        )
        assert time.monotonic() < end, output
        time.sleep(1)
    Path(log.name).unlink()
    return {row["train_cldm.lr"]: row for row in runs(trials).values()}


def test_an_experiment_in_the_workspace_replaces_its_models_and_there_is_a_way_back(trials: Repository) -> None:
    (command,) = [c for c in block("dvc exp run --temp") if "--temp" not in c]
    before, model = trials.lock(), (trials.folder / "models/cldm.safetensors").read_bytes()
    output = trials(*shlex.split(command), "-n", "here", END)
    assert re.findall(r"Running stage '(\w+)'", output) == ["train_cldm"]
    assert (trials.folder / "models/cldm.safetensors").read_bytes() != model
    assert trials.repro(END) == []
    assert runs(trials)["here"]["train_cldm.seed"] == "3"
    for way_back in block("git checkout params.yaml"):
        trials(*shlex.split(way_back))
    assert trials.lock() == before
    assert (trials.folder / "models/cldm.safetensors").read_bytes() == model
    assert trials("git", "status", "--porcelain") == ""


def test_an_experiment_in_a_folder_of_its_own_leaves_the_workspace_as_it_was(trials: Repository) -> None:
    (command,) = [c for c in block("dvc exp run --temp") if "--temp" in c]
    before = trials.lock()
    output = trials(*shlex.split(command), "-n", "aside", END)
    assert re.findall(r"Running stage '(\w+)'", output) == ["train_cldm"]
    assert trials("git", "status", "--porcelain") == ""
    assert trials.lock() == before
    assert runs(trials)["aside"]["train_cldm.seed"] == "2"


def test_a_sweep_waits_in_a_queue_and_runs_two_at_a_time(trials: Repository, sweep: dict[str, dict[str, str]]) -> None:
    assert {"0.0001", "0.0003"} <= set(sweep)
    locks = [trials("git", "show", f"{sweep[lr]['rev']}:dvc.lock") for lr in ("0.0001", "0.0003")]
    models = [yaml.safe_load(lock)["stages"][END]["outs"] for lock in locks]
    assert models[0] != models[1], "each has a model of its own"
    (show,) = [c for c in block("dvc exp run --queue") if c.startswith("dvc exp show")]
    table = trials(*shlex.split(show))
    columns = [cell.strip() for cell in table.splitlines()[0].strip("|").split("|")]
    assert columns == ["Experiment", "auc", "cover", "crps", "train_cldm.lr"]
    assert {"0.0001", "0.0003"} <= {line.strip("| ").split("|")[-1].strip() for line in table.splitlines()}
    assert trials("git", "status", "--porcelain") == ""


def test_two_experiments_are_compared_and_one_is_taken(trials: Repository, sweep: dict[str, dict[str, str]]) -> None:
    names = {"RUN_A": sweep["0.0001"]["Experiment"], "RUN_B": sweep["0.0003"]["Experiment"]}
    diff, plots, apply = ([names.get(word, word) for word in shlex.split(command)] for command in block("dvc exp diff"))
    changed = json.loads(trials(*diff, "--json").splitlines()[0])
    assert changed["params"]["params.yaml"]["train_cldm.lr"] == {"old": 1e-4, "new": 3e-4, "diff": pytest.approx(2e-4)}
    trials(*plots)
    page = (trials.folder / "dvc_plots/index.html").read_text()
    for name in names.values():
        assert name in page
    assert "metrics/train_cldm/plots/metrics/loss.tsv" in page
    trials(*apply)
    assert float(sweep["0.0003"]["train_cldm.lr"]) == 3e-4
    assert "lr: 0.0003" in (trials.folder / "params.yaml").read_text()
    assert trials.repro(END) == [], "its outputs came with it"
    trials("git", "checkout", "--quiet", ".")
    trials("dvc", "checkout", "--quiet")


def test_metrics_and_plots_are_plain_dvc(trials: Repository) -> None:
    figures = json.loads(trials("dvc", "metrics", "show", "--json").splitlines()[0])[""]["data"]
    assert list(figures) == ["metrics/main.json"]
    assert set(figures["metrics/main.json"]["data"]) == set(headline.FIGURES)
    trials("dvc", "plots", "show")
    page = (trials.folder / "dvc_plots/index.html").read_text()
    for plot in ("train_vqvae/plots/metrics/loss.tsv", "train_cldm/plots/metrics/loss.tsv", "evaluate/plots"):
        assert f"metrics/{plot}" in page.replace("\\", "/"), plot
    pictures = re.findall(r'<img src="([^"]+)"', page)
    assert pictures
    for picture in pictures:
        assert (trials.folder / "dvc_plots" / picture).is_file()


def test_the_headline_figures_fit_a_terminal_without_a_line_of_failure(trials: Repository) -> None:
    """The baselines have never run here."""
    printed = trials("dvc", "metrics", "show").splitlines()
    assert len(printed) == 2
    assert max(map(len, printed)) <= 120
    others = [name for name in runs(trials) if name not in ("aside", "main", "master")]
    trials("dvc", "exp", "remove", *others)  # what is left differs in one parameter
    (show,) = re.findall(r"`(dvc exp show --only-changed [^`]+)`", PAGE)
    columns = trials(*shlex.split(show), COLUMNS="200").splitlines()
    assert "/" not in columns[1], "no hash of a file"
    assert max(map(len, columns)) <= 120
    file = trials.folder / "metrics/main.json"
    file.write_text(json.dumps({name: 0.123 for name in json.loads(file.read_text())}))
    changes = trials("dvc", "metrics", "diff").splitlines()
    assert len(changes) == 1 + len(headline.FIGURES)
    assert max(map(len, changes)) <= 120
    trials("git", "checkout", "--quiet", ".")


def test_plots_without_a_network_load_nothing_from_one(trials: Repository) -> None:
    fetch, show = block("npm install")
    template = shlex.split(show)[-1]
    trials(*shlex.split(show.replace(template, str(ROOT / template))))
    page = (trials.folder / "dvc_plots/index.html").read_text()
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert not [address for address in loaded if "//" in address.replace("../", "")], loaded
    scripts = [address for address in loaded if address.endswith(".js")]
    packages = [word.split("@")[0] for word in shlex.split(fetch) if "@" in word]
    prefix = shlex.split(fetch)[shlex.split(fetch).index("--prefix") + 1]
    assert scripts == [f"../{prefix}/node_modules/{name}/build/{name}.min.js" for name in packages]
    assert "loss.tsv" in page
