"""The stages evaluate, baselines and their reports on files: what they write, that it is the same, what they refuse."""

import html
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import judge_world as world
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from spiro_diffusion.core.artifacts import read_npz, write_json, write_npz, write_text
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.vocabulary import JUDGED
from spiro_diffusion.dataset import splits
from spiro_diffusion.evaluation import data, registry
from spiro_diffusion.evaluation.figures import Figure, Tree, missing
from spiro_diffusion.evaluation.record import Record
from spiro_diffusion.generation.sessions import Drawn
from spiro_diffusion.models.samplers import Sampling
from spiro_diffusion.pipeline import baselines as baselines_stage
from spiro_diffusion.pipeline import evaluate as evaluate_stage
from spiro_diffusion.pipeline.baselines_report import baselines_report
from spiro_diffusion.plotting import style
from spiro_diffusion.reporting import cells, data_plots, judge_plots, report

PARAMS = evaluate_stage.Params("auto", draws=4, resamples=100, guidance=1.0, seed=1)


class PerfectGenerator:
    """Has the interface of `Generator` and knows the laws of the world."""

    class vqvae:
        class quantiser:
            codes = 16

    class cldm:
        class config:
            sampling = Sampling()

    def sample(self, people: pd.DataFrame, draws: int, seed: int, **options: Any) -> np.ndarray:
        return world.perfect(people, draws, seed)

    def reconstruct(self, signals: np.ndarray) -> np.ndarray:
        return signals * np.float32(1.001)

    def codes(self, signals: np.ndarray) -> np.ndarray:
        return np.arange(len(signals) * 64).reshape(-1, 64, 1) % 16

    def denoising_loss(self, signals: np.ndarray, people: pd.DataFrame, seed: int) -> np.ndarray:
        return np.random.default_rng([seed, len(signals)]).normal(size=len(signals))


def drawn_sessions(generator: PerfectGenerator, efforts: pd.DataFrame, seed: int, **options: Any) -> Drawn:
    """Every effort of its own lung, all of them good."""
    table = efforts.assign(grade="A", best=~efforts["person"].duplicated())
    return Drawn(table, generator.sample(table, 1, seed, **options)[:, 0])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a pipeline that has run up to train_cldm, but for the models."""
    folder = tmp_path_factory.mktemp("pipeline")
    world.write_files(folder, held_out=40, train=170, validation=40)
    (folder / "cldm.safetensors").write_bytes(b"weights")  # whose hash the record names
    write_json(folder / "manifest.json", {"source": "simulated", "files": {}})
    return folder


def earlier_stages(metrics: Path) -> None:
    """Figures of the stages before, as the report reads them."""
    sizes = {"curves": 600, "participants": 200}
    splits = {"train": {"curves": 1234, "participants": 170}}
    dropped = [{"reason": "no_height", "curves": 12, "participants": 4, "participants_lost": 4}]
    error = {"p50": 0.1, "p99": 1.0, "max": 2.0}
    trip = dict.fromkeys((*data_plots.TRIP_VOLUMES, *data_plots.TRIP_FLOWS), error)
    write_json(metrics / "align/counts.json", {"flow": {"raw": sizes, "dropped": [], "aligned": sizes}})
    write_json(
        metrics / "filter/counts.json",
        {"flow": {"aligned": sizes, "dropped": dropped, "filtered": sizes}, "splits": splits},
    )
    agreed = {"n": 9, "bias": 0.01, "lower": -0.05, "upper": 0.07}
    published = {"indices": dict.fromkeys(JUDGED, agreed)}
    write_json(metrics / "resample/agreement.json", {"round_trip": trip, "published": published})
    rng = np.random.default_rng(0)
    arrays = {f"{side}_{name}": rng.uniform(3, 4, 9) for side in ("best", "published") for name in JUDGED}
    signal = {"signal": np.ones(512), "edges": np.linspace(-0.5, 19.5, 513), "curves": np.array(600)}
    write_npz(metrics / "resample/plot_data.npz", arrays | signal)
    rows = "step\tloss\n" + "".join(f"{i}\t{1 / (i + 1)}\n" for i in range(9))
    for folder in report.LOGS.values():
        write_text(metrics / folder / "loss.tsv", rows)


@pytest.fixture(autouse=True, scope="module")
def generator() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate_stage.Generator, "from_checkpoints", lambda *_: PerfectGenerator())
        patch.setattr(evaluate_stage, "draw_sessions", drawn_sessions)
        cpu = evaluate_stage.runtime.Runtime(torch.device("cpu"), torch.float32)
        patch.setattr(evaluate_stage.runtime, "start", lambda: cpu)
        yield


@pytest.fixture(scope="module")
def out(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`metrics/` as the stage evaluate and its report leave it."""
    metrics = tmp_path_factory.mktemp("metrics")
    run(files, metrics / "evaluate")
    earlier_stages(metrics)
    report.make(metrics, metrics / "evaluate", report.training_logs(metrics))
    return metrics


@pytest.fixture(scope="module")
def baselines(files: Path, out: Path) -> Path:
    """What the stage baselines and its report write."""
    judge_baselines(files, out / "evaluate", out / "baselines")
    baselines_report(metrics=out)
    return out / "baselines"


def run(files: Path, out: Path, params: evaluate_stage.Params = PARAMS, **options: Path) -> Path:
    inputs = {
        "signals": files / "signals_L512.npy",
        "curves": files / "curves.parquet",
        "repaired": files / "repaired",
        "manifest": files / "manifest.json",
        "vqvae": files / "vqvae.safetensors",
        "cldm": files / "cldm.safetensors",
    }
    evaluate_stage.evaluate(params, **(inputs | options), metrics=out)
    return out


def judge_baselines(files: Path, evaluated: Path, out: Path) -> None:
    brief: dict[str, Any] = {
        "origin_vqvae_epochs": 2,
        "origin_epochs": 2,
        "origin_batch": 64,
        "origin_lr": 1e-3,
        "origin_steps": 4,
    }
    baselines_stage.baselines(
        baselines_stage.Params(draws=4, **brief, origin_draws=2),
        signals=files / "signals_L512.npy",
        curves=files / "curves.parquet",
        repaired=files / "repaired",
        judged=evaluated / "judge.json",
        metrics=out,
    )


def test_evaluate_writes_figures_and_what_the_report_shows(out: Path) -> None:
    result = json.loads((out / "evaluate/judge.json").read_text())
    assert result["data"]["participants"] == 40
    assert (result["data"]["split"], result["data"]["part"]) == ("test", "test")  # simulated people can be made anew
    verdicts = {(t["name"], t["level"]): t["verdict"] for t in result["targets"]}
    assert verdicts["vqvae_volumes", "all"] == "met"
    assert verdicts["crps_baselines", "all"] == "open"  # until the baselines are judged
    summary = json.loads((out / "evaluate/summary.json").read_text())
    assert summary["vqvae_codes_in_use"] == 1
    assert sum(summary[f"targets_{v}"] for v in registry.VERDICTS) == len(result["targets"])
    assert all(isinstance(value, float | None) for value in summary.values())


def test_every_figure_of_the_registry_is_in_the_record(out: Path) -> None:
    record = Record.read(out / "evaluate")
    for level in (None, *registry.LEVELS):
        for line in registry.lines(level):
            registry.node_at(record.generator, line.path)


def test_the_report_shows_what_was_stored(out: Path) -> None:
    page = (out / "evaluate/report.html").read_text()
    assert "Not for diagnosis" in page
    assert "Nothing here is a result on NHANES" in page
    assert "+10 mL" in page
    assert "height missing: 12 curves, and with them 4 participants" in page
    assert re.search(r"<b>train</b>1,234 curves of 170 participants<small>train the models", page)
    assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?(https?:)?//", page)  # no network address is asked
    plots = [*(out / "evaluate/plots").iterdir(), *(out / "resample/plots").iterdir()]
    assert {"flow_volume", "percentiles_age", "calibration", "training", "bland_altman"} <= {p.stem for p in plots}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in plots)
    assert page.count("data:image/png") == len(plots)


def test_simulated_curves_are_nowhere_called_real(out: Path) -> None:
    page = html.unescape(
        re.sub(r"<style>.*?</style>|base64,[^\"]*", "", (out / "evaluate/report.html").read_text(), flags=re.S)
    )
    assert not re.search(r"\breal\b", page, flags=re.I)
    record, plot_data = Record.read(out / "evaluate"), read_npz(out / "evaluate/plot_data.npz")
    words = {}
    for name, picture in report.judged_pictures(record, plot_data, {}).items():
        texts = [t.get_text() for t in picture().findobj(Text) if isinstance(t, Text)]
        assert not re.search(r"\breal\b", " ".join(texts), flags=re.I), name
        words[name] = texts
    assert any("simulated, held out" in text for text in words["flow_volume"])


def test_the_report_needs_no_model_and_a_colour_changes_the_page_alone(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(out, tmp_path / "metrics")
    moved = tmp_path / "metrics"
    shutil.rmtree(moved / "evaluate/plots")

    def refuse(*_: object, **__: Any) -> None:
        raise AssertionError("the report asked for a model")

    monkeypatch.setattr(evaluate_stage.Generator, "from_checkpoints", refuse)
    monkeypatch.setitem(style.REPORT, "met", "#123456")
    report.make(moved, moved / "evaluate", report.training_logs(moved))
    page = (moved / "evaluate/report.html").read_text()
    assert "--met: #123456;" in page
    assert page.replace("#123456", "#0b6b4f") == (out / "evaluate/report.html").read_text()


def test_a_report_of_nothing_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SpiroError, match=r"judge\.json: no such file"):
        report.make(tmp_path, tmp_path / "evaluate", {})
    write_json(tmp_path / "evaluate/judge.json", {"generator": {}})
    with pytest.raises(SpiroError, match="not a record of the judge"):
        report.make(tmp_path, tmp_path / "evaluate", {})


def test_evaluate_writes_the_same_bytes_again(files: Path, out: Path, tmp_path: Path) -> None:
    again = run(files, tmp_path)
    for path in sorted(again.iterdir()):
        assert path.read_bytes() == (out / "evaluate" / path.name).read_bytes(), path.name


def test_trials_on_other_data_judge_by_validation_people_on_whom_nothing_was_chosen(
    files: Path, tmp_path: Path
) -> None:
    write_json(tmp_path / "manifest.json", {"source": "folder", "files": {}})
    data_of = json.loads((run(files, tmp_path, manifest=tmp_path / "manifest.json") / "judge.json").read_text())["data"]
    assert (data_of["split"], data_of["part"]) == ("validation", "reporting")
    table = pd.read_parquet(files / "curves.parquet")
    reporting = table.iloc[splits.rows_of_part(table, "reporting")]["seqn"].nunique()
    assert data_of["participants"] == reporting < 40


def test_a_generator_that_draws_nothing_is_judged_too(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Curves without flow have no index; the report says so, and no figure is NaN."""

    class Silent(PerfectGenerator):
        def sample(self, people: pd.DataFrame, draws: int, seed: int, **options: Any) -> np.ndarray:
            return np.zeros((len(people), draws, 512), np.float32)

    monkeypatch.setattr(evaluate_stage.Generator, "from_checkpoints", lambda *_: Silent())
    out = run(files, tmp_path / "evaluate")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["every_fev1_residual_sd_ratio"] is None
    assert summary["every_violations_above_real"] > 0.9
    assert summary["targets_open"] > 10
    earlier_stages(tmp_path)
    report.make(tmp_path, out, {})
    assert "Not for diagnosis" in (out / "report.html").read_text()


def test_signals_of_another_grid_are_refused(files: Path, tmp_path: Path) -> None:
    stretched = tmp_path / "signals.npy"
    np.save(stretched, np.load(files / "signals_L512.npy")[:, ::-1].copy())
    with pytest.raises(SpiroError, match="grid"):
        run(files, tmp_path / "out", signals=stretched)
    assert not (tmp_path / "out").exists()


def test_the_baselines_stand_in_one_table_with_the_generator(baselines: Path) -> None:
    names = ("generator", "PCA", "neighbours", "GLI and Hankinson", "origin's recipe")
    summary = json.loads((baselines / "summary.json").read_text())
    assert set(summary) == set(names)
    crps = {name: summary[name]["every_fev1_crps"] for name in names}
    hardly_trained = crps["origin's recipe"]  # four steps after two epochs: worse curves, or some without an FEV1
    assert hardly_trained is None or crps["generator"] < hardly_trained
    assert summary["GLI and Hankinson"]["every_auc_clinical"] is None, "it gives no curves"
    page = html.unescape((baselines / "report.html").read_text())
    for name in names:
        assert name in page
    assert "the baselines have not been judged" not in page.lower()


def test_baselines_judged_on_other_people_are_refused(files: Path, out: Path, tmp_path: Path) -> None:
    other = json.loads((out / "evaluate/judge.json").read_text())
    other["data"]["participants"] += 1
    write_json(tmp_path / "judge.json", other)
    with pytest.raises(SpiroError, match=r"judge\.json: was judged on other participants"):
        judge_baselines(files, tmp_path, tmp_path / "out")


def test_too_few_participants_are_refused(files: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(files / "curves.parquet")
    few = tmp_path / "curves.parquet"
    table[(table["split"] == "train") | (table["seqn"] == table["seqn"].iloc[0])].to_parquet(few)
    with pytest.raises(SpiroError, match="1 test participants"):
        data.load_real(files / "signals_L512.npy", few, files / "repaired", "test", 0)


@pytest.mark.parametrize(("field", "value"), [("draws", 1), ("resamples", 10)])
def test_params_that_mean_nothing_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        evaluate_stage.Params(**({**PARAMS.__dict__, field: value}))


@pytest.mark.parametrize(
    ("figure", "form", "text"),
    [
        (Figure(0.8123, 0.7, 0.9), registry.PERCENT, ("81.2 %", "70.0 to 90.0")),
        (Figure(None, reason="too few"), registry.RATIO, ("–", "")),
        (Figure(-1e-9), registry.DIFFERENCE, ("+0.000", "")),
        (Figure(0.0021), registry.POINTS, ("+0.21 points", "")),
        (Figure(12.345), registry.Form("mL", 1), ("12.3 mL", "")),
    ],
)
def test_figures_as_text(figure: Any, form: registry.Form, text: tuple[str, str]) -> None:
    assert cells.write(figure, form) == text


def test_a_picture_of_nothing_says_so(tmp_path: Path) -> None:
    empty: Tree = {"calibration": {level: missing("3 participants") for level in registry.LEVELS}}
    style.save(tmp_path / "calibration.png", lambda: judge_plots.calibration(empty, empty))
    assert (tmp_path / "calibration.png").stat().st_size > 0
