"""The stages evaluate and baselines on files: what they write, that it is the same again, and what they refuse."""

import html
import json
import re
from pathlib import Path

import judge_world as world
import numpy as np
import pandas as pd
import pytest
import torch

from spiro_diffusion.core.artifacts import write_json, write_text
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.evaluation import data, targets
from spiro_diffusion.pipeline import baselines as baselines_stage
from spiro_diffusion.pipeline import evaluate as evaluate_stage
from spiro_diffusion.plotting import style
from spiro_diffusion.reporting import judge_plots, report

PARAMS = evaluate_stage.Params("test", draws=4, resamples=100, sampler="heun", steps=2, guidance=1.0, seed=1)


class PerfectGenerator:
    """Has the interface of `Generator` and knows the laws of the world."""

    class vqvae:
        class quantiser:
            codes = 16

    def sample(self, people, draws, seed, **options):
        assert options["steps"] == 2
        return world.perfect(people, draws, seed)

    def reconstruct(self, signals):
        return signals * np.float32(1.001)

    def codes(self, signals):
        return np.arange(len(signals) * 64).reshape(-1, 64, 1) % 16

    def denoising_loss(self, signals, people, seed):
        return np.random.default_rng([seed, len(signals)]).normal(size=len(signals))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files of a pipeline that has run up to train_cldm, but for the models."""
    folder = tmp_path_factory.mktemp("pipeline")
    world.write_files(folder, held=40, train=170)
    table = pd.read_parquet(folder / "curves.parquet")
    table.loc[table["seqn"] > 200, "split"] = "validation"
    table.to_parquet(folder / "curves.parquet")
    write_json(folder / "manifest.json", {"source": "simulated", "files": {}})
    sizes = {"curves": 600, "participants": 200}
    splits = {"train": {"curves": 1234, "participants": 170}}
    dropped = [{"reason": "no_height", "curves": 12, "participants": 4, "participants_lost": 4}]
    write_json(folder / "align.json", {"flow": {"raw": sizes, "dropped": [], "aligned": sizes}})
    write_json(
        folder / "filter.json", {"flow": {"aligned": sizes, "dropped": dropped, "filtered": sizes}, "splits": splits}
    )
    write_json(folder / "resample.json", {})
    write_text(folder / "log" / "loss.tsv", "step\tloss\n" + "".join(f"{i}\t{1 / (i + 1)}\n" for i in range(9)))
    return folder


@pytest.fixture(autouse=True, scope="module")
def generator():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate_stage.Generator, "from_checkpoints", lambda *_: PerfectGenerator())
        cpu = evaluate_stage.runtime.Runtime(torch.device("cpu"), torch.float32)
        patch.setattr(evaluate_stage.runtime, "start", lambda: cpu)
        yield


@pytest.fixture(scope="module")
def out(files, tmp_path_factory):
    """What the stage evaluate writes."""
    return run(files, tmp_path_factory.mktemp("evaluate"))


@pytest.fixture(scope="module")
def rivals(files, out, tmp_path_factory):
    """What the stage baselines writes."""
    return judge_baselines(files, out, tmp_path_factory.mktemp("baselines"))


def run(files: Path, out: Path, **options) -> Path:
    inputs = {
        "signals": files / "signals_L512.npy",
        "curves": files / "curves.parquet",
        "repaired": files / "repaired",
        "manifest": files / "manifest.json",
        "vqvae": files / "vqvae.safetensors",
        "cldm": files / "cldm.safetensors",
        "align_metrics": files / "align.json",
        "filter_metrics": files / "filter.json",
        "resample_metrics": files / "resample.json",
        "resample_plots": files / "plots",
        "vqvae_metrics": files / "log",
        "cldm_metrics": files / "log",
        "facts_metrics": files / "log",
    }
    evaluate_stage.evaluate(
        PARAMS, **(inputs | options), metrics=out, plots=out / "plots", report_file=out / "report.html"
    )
    return out


def judge_baselines(files: Path, evaluated: Path, out: Path) -> Path:
    brief = {"origin_vqvae_epochs": 2, "origin_epochs": 2, "origin_batch": 64, "origin_lr": 1e-3, "origin_steps": 4}
    baselines_stage.baselines(
        baselines_stage.Params(draws=4, **brief, origin_draws=2),
        signals=files / "signals_L512.npy",
        curves=files / "curves.parquet",
        repaired=files / "repaired",
        judged=evaluated / "judge.json",
        evaluate_plots=evaluated / "plots",
        resample_plots=files / "plots",
        align_metrics=files / "align.json",
        filter_metrics=files / "filter.json",
        resample_metrics=files / "resample.json",
        metrics=out,
        report_file=out / "report.html",
    )
    return out


def test_evaluate_writes_figures_plots_and_a_report(out):
    result = json.loads((out / "judge.json").read_text())
    assert result["data"]["participants"] == 40
    verdicts = {(t["name"], t["level"]): t["verdict"] for t in result["targets"]}
    assert verdicts["vqvae_volumes", "all"] == "met"
    assert verdicts["crps_baselines", "all"] == "open"  # until the rivals are judged
    summary = json.loads((out / "summary.json").read_text())
    assert summary["vqvae_codes_in_use"] == 1
    assert sum(summary[f"targets_{v}"] for v in targets.VERDICTS) == len(result["targets"])
    assert all(isinstance(value, float | None) for value in summary.values())

    page = (out / "report.html").read_text()
    assert "Not for diagnosis" in page
    assert "Nothing here is a result on NHANES" in page
    assert "height missing: 12 curves, and with them 4 participants" in page
    assert re.search(r"<b>train</b>1,234 curves of 170 participants<small>train the models", page)
    assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?(https?:)?//", page)  # no network address is asked
    for name in ("flow_volume", "percentiles_age", "calibration", "wasserstein", "training"):
        assert (out / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert page.count("data:image/png") == len(list((out / "plots").iterdir()))


def test_evaluate_writes_the_same_bytes_again(files, out, tmp_path):
    again = run(files, tmp_path)
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        assert path.read_bytes() == (again / path.relative_to(out)).read_bytes(), path.name


def test_a_generator_that_draws_nothing_is_judged_too(files, tmp_path, monkeypatch):
    """Curves without flow have no index; the report says so, and no figure is NaN."""

    class Silent(PerfectGenerator):
        def sample(self, people, draws, seed, **options):
            return np.zeros((len(people), draws, 512), np.float32)

    monkeypatch.setattr(evaluate_stage.Generator, "from_checkpoints", lambda *_: Silent())
    out = run(files, tmp_path)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["every_fev1_residual_sd_ratio"] is None
    assert summary["every_violations_above_real"] > 0.9
    assert summary["targets_open"] > 10
    assert "Not for diagnosis" in (out / "report.html").read_text()


def test_signals_of_another_grid_are_refused(files, tmp_path):
    stretched = tmp_path / "signals.npy"
    np.save(stretched, np.load(files / "signals_L512.npy")[:, ::-1].copy())
    with pytest.raises(SpiroError, match="grid"):
        run(files, tmp_path / "out", signals=stretched)
    assert not (tmp_path / "out").exists()


def test_the_rivals_stand_in_one_table_with_the_generator(rivals):
    names = ("generator", "PCA", "neighbours", "GLI and Hankinson", "origin's recipe")
    summary = json.loads((rivals / "summary.json").read_text())
    assert set(summary) == set(names)
    crps = {name: summary[name]["every_fev1_crps"] for name in names}
    hardly_trained = crps["origin's recipe"]  # four steps after two epochs: worse curves, or some without an FEV1
    assert hardly_trained is None or crps["generator"] < hardly_trained
    assert summary["GLI and Hankinson"]["every_auc_clinical"] is None, "it gives no curves"
    page = html.unescape((rivals / "report.html").read_text())
    for name in names:
        assert name in page
    assert "the baselines have not been judged" not in page.lower()


def test_rivals_judged_on_other_people_are_refused(files, out, tmp_path):
    other = json.loads((out / "judge.json").read_text())
    other["data"]["participants"] += 1
    write_json(tmp_path / "judge.json", other)
    (tmp_path / "plots").mkdir()
    with pytest.raises(SpiroError, match=r"judge\.json: was judged on other participants"):
        judge_baselines(files, tmp_path, tmp_path / "out")


def test_too_few_participants_are_refused(files, tmp_path):
    table = pd.read_parquet(files / "curves.parquet")
    few = tmp_path / "curves.parquet"
    table.assign(split=np.where(table["seqn"] == table["seqn"].iloc[0], "test", "train")).to_parquet(few)
    with pytest.raises(SpiroError, match="1 participants in the test split"):
        data.load_real(files / "signals_L512.npy", few, files / "repaired", "test", 0)


@pytest.mark.parametrize(("field", "value"), [("draws", 1), ("resamples", 10), ("steps", 0)])
def test_params_that_mean_nothing_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        evaluate_stage.Params(**({**PARAMS.__dict__, field: value}))


@pytest.mark.parametrize(
    ("figure", "form", "text"),
    [
        ({"value": 0.8123, "low": 0.7, "high": 0.9}, "percent", ("81.2 %", "70.0 to 90.0")),
        ({"value": None, "reason": "too few"}, "ratio", ("–", "")),
        ({"value": -1e-9}, "signed", ("+0.000", "")),
        ({"value": 0.0021}, "points", ("+0.21 points", "")),
        ({"value": 12.345}, "mL", ("12.3 mL", "")),
    ],
)
def test_figures_as_text(figure, form, text):
    assert report.write(figure, form) == text


def test_a_picture_of_nothing_says_so(tmp_path):
    empty = {"calibration": {"every": {"value": None, "reason": "3 participants"}}}
    style.save(tmp_path / "calibration.png", lambda: judge_plots.calibration(empty, empty))
    assert (tmp_path / "calibration.png").stat().st_size > 0
