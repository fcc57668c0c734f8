"""A spoiled effort: what is found wrong, what stays as measured, how the drawn part joins, and how sure it is."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from spiro_diffusion import api, cli
from spiro_diffusion.core.artifacts import read_json, write_json
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.dataset.splits import judged_part
from spiro_diffusion.evaluation import completion, completion_baselines, completion_learners
from spiro_diffusion.evaluation.figures import to_json
from spiro_diffusion.evaluation.interruptions import Case, cough, cut
from spiro_diffusion.models.header import MadeFrom
from spiro_diffusion.models.mixture_density import Density, DensityConfig
from spiro_diffusion.physiology import ats_ers, faults, spirometry, time_grid
from spiro_diffusion.pipeline import reconstruct, train_reconstructor
from spiro_diffusion.reconstruction import examples, segments, sibling_efforts
from spiro_diffusion.reconstruction.completion import Recovered, parse_mask, recover
from spiro_diffusion.reconstruction.densities import load_densities, load_reconstructor, save_densities
from spiro_diffusion.reconstruction.reconstructor import Reconstructor
from spiro_diffusion.reconstruction.sibling_efforts import Others
from spiro_diffusion.reporting import completion_plots, completion_report
from spiro_diffusion.training import loop

MAN: dict[str, Any] = {"age": 45, "height": 175, "sex": "male"}
SENSOR_L_S = 0.1  # 1 mL in 10 ms


def blow(
    fast: float = 3.5, slow: float = 0.8, tau: tuple[float, float] = (0.35, 1.6), seconds: float = 9
) -> np.ndarray:
    """Flow (T,) in L/s of a full effort of two compartments, from 0.2 s before it begins."""
    t = np.arange(round(seconds * 100)) * 0.01 + 0.005
    rise = np.clip(t / 0.06, 0, 1)
    flow = rise * (fast / tau[0] * np.exp(-t / tau[0]) + slow / tau[1] * np.exp(-t / tau[1]))
    return np.concatenate([np.zeros(20), flow])


@pytest.fixture(scope="module")
def folder(reconstructing: Path) -> Path:
    return reconstructing


@pytest.fixture(scope="module")
def generator(folder: Path) -> api.SpiroGenerator:
    return api.SpiroGenerator.from_checkpoint(folder)


@pytest.fixture(scope="module")
def model(generator: api.SpiroGenerator, folder: Path) -> Reconstructor:
    return load_reconstructor(folder / "reconstructor.safetensors", generator._torch)


@pytest.fixture(scope="module")
def stopped(generator: api.SpiroGenerator) -> Recovered:
    """An effort that the glottis closed after 2 s."""
    return generator.reconstruct(blow()[:220], **MAN, n=50, seed=1)


def case_of(data: Path, at: float) -> Case:
    table, signals = pd.read_parquet(data / "curves.parquet"), np.load(data / "signals_L512.npy")
    rows = np.flatnonzero(examples.full(table, signals) & table["best"].to_numpy(bool))
    return cut(signals[rows], table.iloc[rows].reset_index(drop=True), at)


# What is found wrong


def kinds(flow: np.ndarray) -> list[str]:
    return [fault.kind for fault in faults.detect(flow)]


def test_a_full_effort_has_no_fault() -> None:
    assert kinds(blow()) == []


def test_an_effort_that_stops_at_once_ended_early() -> None:
    (fault,) = faults.detect(blow()[:220])
    assert fault.kind == "early end"
    assert "ceased at once" in fault.reason
    assert 1.8 < fault.begin < 2.0


def test_a_closed_glottis_is_an_early_end_though_the_record_goes_on_flat() -> None:
    assert kinds(np.concatenate([blow()[:170], np.zeros(300)])[: 170 + 300]) == ["early end"]


def test_an_effort_that_fades_without_a_plateau_ended_early() -> None:
    (fault,) = faults.detect(blow()[:500])
    assert fault.kind == "early end"
    assert "no plateau" in fault.reason


def test_a_cough_is_found_where_it_is() -> None:
    flow, t = blow(), np.arange(len(blow())) * 0.01 - 0.2
    flow *= 1 - 0.95 * np.exp(-(((t - 0.6) / 0.04) ** 2)) + 1.5 * np.exp(-(((t - 0.69) / 0.03) ** 2))
    (fault,) = faults.detect(flow)
    assert fault.kind == "cough"
    assert fault.begin < 0.56
    assert 0.7 < fault.end < 1.0
    mask = faults.trusted([fault])
    assert not mask[np.searchsorted(time_grid.EDGES_S, 0.6)]
    assert mask[np.searchsorted(time_grid.EDGES_S, 1.1) :].all()


def test_a_slow_start_is_told_by_the_volume_before_time_zero() -> None:
    flow = blow()
    late = np.convolve(np.concatenate([np.zeros(30), flow]), np.hanning(90) / np.hanning(90).sum())
    (fault,) = faults.detect(late)
    assert fault.kind == "slow start"
    assert "before time zero" in fault.reason


def test_a_breath_in_and_a_leak_are_told_apart() -> None:
    after = np.concatenate([blow(), -0.5 * np.ones(60), 1.0 * np.ones(60)])
    (breath,) = faults.detect(after)
    assert breath.kind == "extra breath"
    (leak,) = faults.detect(np.concatenate([blow(), -0.02 * np.ones(300)]))
    assert leak.kind == "leak"


# What a reconstruction keeps


def test_what_was_measured_stays_to_within_the_sensor(stopped: Recovered) -> None:
    kept = stopped.trusted
    assert kept[:230].mean() > 0.9, "most of the two seconds is trusted"
    assert not kept[300:].any()
    assert np.abs(stopped.flow[:, kept] - stopped.measured[kept]).max() <= SENSOR_L_S


def test_the_join_shows_no_step(stopped: Recovered) -> None:
    join = int(np.flatnonzero(stopped.trusted)[-1]) + 1
    before = stopped.flow[:, join - 5 : join].mean(axis=1)
    after = stopped.flow[:, join : join + 5].mean(axis=1)
    drift = abs(stopped.flow[0, join - 10 : join - 5].mean() - before[0])  # the flow falls there anyway
    assert np.median(np.abs(after - before)) < 2 * drift + 0.05
    assert np.diff(stopped.volume, axis=1).min() > -1e-6, "nothing is breathed back in"


def test_the_volume_goes_on_and_the_first_second_is_as_measured(stopped: Recovered) -> None:
    assert (stopped.indices["fvc"] > stopped.recorded["fvc"]).all()
    np.testing.assert_allclose(stopped.indices["fev1"], stopped.recorded["fev1"], atol=0.005)
    assert stopped.indices["fvc"].std() > 0.01, "draws differ"
    summary = stopped.summary().loc["fvc"]
    assert summary["low_90"] < summary["low_50"] < summary["median"] < summary["high_50"] < summary["high_90"]
    assert "FEV1 was measured" in stopped.sentence
    assert "Not for diagnosis" in stopped.sentence


def test_a_cough_is_bridged_and_what_follows_it_stays(generator: api.SpiroGenerator) -> None:
    found = generator.reconstruct(blow(), **MAN, mask="0:0.6,1.1:", n=8)
    hole = (found.time > 0.62) & (found.time < 1.08)
    assert not found.trusted[hole].any()
    assert found.trusted[~((found.time > 0.55) & (found.time < 1.15))].all()
    assert np.abs(found.flow[:, found.trusted] - found.measured[found.trusted]).max() <= SENSOR_L_S
    true = spirometry.volume(found.measured[None])[0, -1]
    assert np.abs(found.volume[:, -1] - true).max() < 0.25, "a hole of half a second hides little"


def test_a_slow_start_becomes_a_quick_one_of_the_same_volume(
    generator: api.SpiroGenerator, model: Reconstructor
) -> None:
    """The drawn onset is quick by its indices, and so early in every draw. Indices of the draws themselves tell less
    here: this generator has learned for a second, and draws noise whose highest sample moves the tangent at peak flow.
    """
    late = np.convolve(np.concatenate([np.zeros(30), blow()]), np.hanning(90) / np.hanning(90).sum())
    found = generator.reconstruct(late, **MAN, n=20)
    assert [f.kind for f in found.faults] == ["slow start"]
    assert found.moved
    np.testing.assert_allclose(found.indices["fvc"], found.recorded["fvc"], rtol=0.02)
    assert (found.volume[:, found.time == 0.0] < 0.75 * found.recorded["bev"]).all()
    signals = time_grid.to_grid(late[None], spirometry.indices(late[None]).t0)
    path = model.plain(signals, faults.trusted(found.faults)[None], found.person, 20, 0).flow()
    quick = time_grid.indices_of_signals(path)
    assert np.median(quick.bev) < ats_ers.bev_limit(quick.fvc).min() < found.recorded["bev"], "an acceptable start"


def test_an_effort_without_a_fault_stands_as_recorded(generator: api.SpiroGenerator) -> None:
    found = generator.reconstruct(blow(), **MAN, n=3)
    assert found.sentence.startswith("No fault was found")
    np.testing.assert_allclose(found.flow, np.tile(found.measured, (3, 1)))


def test_the_same_seed_gives_the_same_draws(generator: api.SpiroGenerator) -> None:
    one, two, other = (generator.reconstruct(blow()[:150], **MAN, n=4, seed=s).flow for s in (3, 3, 4))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 0


# How sure it is


def test_the_more_is_measured_the_narrower_the_intervals(model: Reconstructor, data: Path) -> None:
    widths = []
    for at in (0.5, 1.0, 2.0, 4.0):
        drawn = completion.draw_plain(model, case_of(data, at), 40, 0)["fvc"]
        widths.append(np.median(np.quantile(drawn, 0.95, axis=1) - np.quantile(drawn, 0.05, axis=1)))
    assert widths == sorted(widths, reverse=True)


def test_an_obstructive_effort_is_not_pulled_to_normal(model: Reconstructor, data: Path) -> None:
    case = case_of(data, 1.0)
    ratio = (case.people["fev1"] / case.people["fvc"]).to_numpy()
    drawn = completion.draw_plain(model, case, 40, 0)["ratio"]
    lowest = np.argsort(ratio)[: max(3, len(ratio) // 5)]
    bias = (np.median(drawn, axis=1) - ratio)[lowest].mean()
    recorded = (1 - ratio)[lowest].mean()  # all of a second's effort comes out in its first second
    assert abs(bias) < 0.25 * recorded
    assert np.corrcoef(np.median(drawn, axis=1), ratio)[0, 1] > 0.85  # of 40 people's efforts; peak flow is not told


def test_what_is_hidden_cannot_leak_into_what_is_seen(data: Path) -> None:
    case = case_of(data, 1.0)
    place = case.trusted.sum(axis=1)
    people = np.zeros((len(place), 12))
    whole, seen = (segments.tail_features(time_grid.volume(s), place, people) for s in (case.truth, case.signals))
    np.testing.assert_allclose(whole, seen, atol=1e-6)


def test_a_tail_is_told_how_flow_bends_before_it_whatever_the_size_of_the_lung() -> None:
    t = time_grid.EDGES_S
    blow = 4 * (1 - np.exp(-np.maximum(t, 0) / 0.6))
    bend = 0.03 * np.sin(2 * np.pi * (t - 0.4) / 0.2) * ((t > 0.4) & (t < 0.6))  # no volume at its ends
    v, people = np.stack([blow, blow + bend, 1.5 * blow]), np.zeros((3, 12))
    smooth, bent, larger = segments.tail_features(v, np.full(3, segments.edge_at(1.0)), people)
    shape = slice(-12 - segments.SHAPE_DEGREE - 1, -12)
    assert np.abs(bent - smooth)[shape].max() > 1e-3
    np.testing.assert_allclose(larger[shape], smooth[shape], atol=1e-9)


@pytest.mark.parametrize("at_s", [0.0, 0.3, 10.0])
def test_the_features_of_a_tail_are_finite_at_any_cut(data: Path, at_s: float) -> None:
    v = time_grid.volume(np.load(data / "signals_L512.npy")[:20])
    place = np.full(20, min(segments.edge_at(at_s), time_grid.N_SAMPLES - 1))
    assert np.isfinite(segments.tail_features(v, place, np.zeros((20, 12)))).all()


def test_numbers_of_a_tail_give_the_tail_back(data: Path) -> None:
    case = case_of(data, 1.0)
    v, place = time_grid.volume(case.truth), case.trusted.sum(axis=1)
    end = segments.end_edge(case.truth)
    answer = segments.tail_stretch(segments.tail_numbers(v, place, end), v, place)
    np.testing.assert_allclose(answer.volumes[:, -1], v[np.arange(len(v)), end], atol=0.002)
    np.testing.assert_allclose(answer.times[:, -1], time_grid.EDGES_S[end], atol=0.01)


def test_a_density_learns_a_law_and_knows_its_spread() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 3, generator=generator)
    noise = torch.randn(4000, generator=generator) * torch.where(x[:, 1] > 0, 0.5, 0.1)
    y = torch.stack([x[:, 0] * 2, x[:, 0] * 2 + noise], dim=1)
    torch.manual_seed(0)
    model = Density(DensityConfig(3, 2, width=32, components=3, dropout=0.0))
    model.fit_scales(x, y)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    standard = model.standard(x, y)
    for _ in range(150):
        optimiser.zero_grad()
        (-model.log_likelihood(*standard).mean()).backward()
        optimiser.step()
    at = np.array([[0.5, 1.0, 0.0], [0.5, -1.0, 0.0]])
    wide, narrow = model.eval().draw(at, 2000, np.random.default_rng(0))[:, :, 1]
    assert wide.mean() == pytest.approx(1.0, abs=0.1)
    assert wide.std() == pytest.approx(0.5, rel=0.25)
    assert narrow.std() < 0.25


def test_a_density_is_told_what_is_unusual_at_the_same_first_feature() -> None:
    rng = np.random.default_rng(0)
    first, residual = rng.uniform(-1, 1, 6000), rng.normal(size=6000)
    features = np.column_stack(
        [first, 100 * first**2 + (1.1 + first) * residual]
    )  # all but a hundredth is the first one's
    model = Density(DensityConfig(2, 1, width=8, components=1))
    model.fit_scales(*(torch.from_numpy(x.astype(np.float32)) for x in (features, residual[:, None])))
    unusual = model.standardised(features)[:, 1]
    for low in (-0.9, 0.0, 0.6):
        some = (first > low) & (first < low + 0.3)
        assert np.corrcoef(unusual[some], residual[some])[0, 1] > 0.8
        assert 0.6 < unusual[some].std() < 1.4


def test_the_judge_answers_every_question_and_the_baselines_fill_alike(model: Reconstructor, data: Path) -> None:
    table, signals = pd.read_parquet(data / "curves.parquet"), np.load(data / "signals_L512.npy")
    full = examples.full(table, signals)
    rows = np.flatnonzero(full & table["best"].to_numpy(bool))
    judges = completion_baselines.Efforts(signals[rows], table.iloc[rows].reset_index(drop=True))
    rest = np.flatnonzero(full & ~table["best"].to_numpy(bool))
    trained = completion_baselines.Efforts(signals[rest], table.iloc[rest].reset_index(drop=True))
    baseline_data = completion_baselines.BaselineData(trained, trained)
    cases = completion.judge(model, judges, baseline_data, draws=10, resamples=100, seed=0, trees=5)
    assert list(cases) == ["cut_1", "cut_2", "cut_3", "cut_4", "cough"]
    for case in cases.values():
        assert set(case) == {
            "efforts",
            "generator",
            "plain_path",
            "ratio_bias",
            "cells",
            *completion_learners.BASELINES,
        }
        for name in completion_learners.BASELINES:
            assert case[name]["fvc"]["error"].value > 0
            assert 0 <= case[name]["fvc"]["coverage_90"].value <= 1
        for name in ("generator", "plain_path", *completion_learners.BASELINES):
            score = case[name]["fvc"]["interval_score"]
            assert score.low <= score.value <= score.high
        assert case["generator"]["fvc"]["interval_score"].value > case["generator"]["fvc"]["crps"].value
    everyone = cases["cut_1"]["cells"]["all"]
    assert everyone["people"] == len(rows)
    assert everyone["from"] < everyone["holds"] <= everyone["to"]
    others = Others.of(signals, *sibling_efforts.best(table, sibling_efforts.siblings(table, rows)))
    compared = completion.given_others(model, judges, others, draws=10, resamples=100, seed=0)
    assert list(compared["cases"]) == list(cases)
    natural = completion.natural(model, signals, table, draws=10, resamples=100, seed=0)
    assert 0 < natural["mended"] <= natural["efforts"]
    summary: Any = completion.summary(to_json({"cases": cases, "others": compared}))
    assert summary["cut_1_fvc_width_90_ml_others"] < summary["cut_1_fvc_width_90_ml"]
    assert summary["cut_1_fvc_error_ml"] > summary["cut_4_fvc_error_ml"]


@pytest.fixture(scope="module")
def judged(models: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of both stages."""
    run = tmp_path_factory.mktemp("run")
    write_json(run / "manifest.json", {"source": "simulated"})
    tiny.with_parts(pd.read_parquet(data / "curves.parquet")).to_parquet(run / "curves.parquet")
    table = {"signals": data / "signals_L512.npy", "curves": run / "curves.parquet"}
    inputs = table | {"manifest": run / "manifest.json", "reconstructor": run / "reconstructor.safetensors"}
    recipe = loop.Recipe(1, 256, 0.002, 0.05, 0.01, 1.0, 0.9, 1, 1)
    params = train_reconstructor.Params(**vars(recipe), examples=2, width=8, components=2, dropout=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(run)
        shutil.copy(tiny.ROOT / "params.yaml", run)
        train_reconstructor.train_reconstructor(params, **inputs, metrics=run / "metrics/train_reconstructor")
        networks = {name: models / f"{name}.safetensors" for name in ("vqvae", "cldm")}
        how = reconstruct.Params(draws=10, resamples=100, trees=5, seed=1)
        reconstruct.reconstruct(how, **inputs, **networks, metrics=run / "metrics/reconstruct")
    return run


def test_simulated_people_of_the_test_split_judge_and_those_to_choose_by_chose(judged: Path) -> None:
    about = read_json(judged / "metrics/reconstruct/judge.json")["data"]
    assert (about["split"], about["part"]) == ("auto", "test")
    assert judged_part("auto", "nhanes") == judged_part("validation", "nhanes") == "reporting"
    for segment in segments.Segment:
        assert (judged / f"metrics/train_reconstructor/{segment}/plots/metrics/score.tsv").is_file()


def test_the_page_and_its_plots_come_from_stored_files_alone(judged: Path, tmp_path: Path) -> None:
    """Without models, data or a judge, as often as one likes, and with the same bytes."""
    stored = judged / "metrics/reconstruct"
    assert sorted(f.name for f in stored.iterdir()) == ["judge.json", "plot_data.npz", "summary.json"]
    assert (stored / "plot_data.npz").stat().st_size < 1e6
    pages = []
    for name in ("once", "again"):
        folder = Path(shutil.copytree(stored, tmp_path / name))
        completion_report.write(folder)
        assert sorted(f.name for f in (folder / "plots").iterdir()) == ["efforts.png", "errors.png", "sharpness.png"]
        pages.append((folder / "report.html").read_bytes())
    assert pages[0] == pages[1]
    assert pages[0].count(b"data:image/png") == 3
    for words in (b"simulated source", b"cut at 1 s", b"boosted quantiles", b"Not for diagnosis"):
        assert words in pages[0]


def test_every_candidate_of_the_judge_has_a_name_on_the_page() -> None:
    assert set(completion_plots.NAMES) == {"generator", "plain_path", *completion_learners.BASELINES}


def test_the_reconstructor_says_what_it_was_trained_on(judged: Path, generator: api.SpiroGenerator) -> None:
    model = load_reconstructor(judged / "reconstructor.safetensors", generator._torch)
    assert model.made_from["data"] == "simulated"
    assert 0 < model.made_from["participants"] <= model.made_from["curves"]


def test_absurd_densities_are_refused_with_the_first_draw(
    folder: Path, generator: api.SpiroGenerator, model: Reconstructor, tmp_path: Path
) -> None:
    made_from = MadeFrom(**model.made_from)
    for names in (["coefficients", "further"], ["out.weight", "number_sd", "further_sd"]):
        densities, _, _ = load_densities(folder / "reconstructor.safetensors")
        for name in names:
            densities[segments.Segment.TAIL].state_dict()[name].fill_(3e38)
        save_densities(tmp_path / "reconstructor.safetensors", densities, made_from, model.corrections)
        absurd = load_reconstructor(tmp_path / "reconstructor.safetensors", generator._torch)
        person = pd.DataFrame([{"age": 45.0, "height": 175.0, "sex": 1}])
        with pytest.raises(SpiroError, match="fetch it again"):
            recover(absurd, blow()[:150], person, draws=4)


def test_two_exponentials_find_two_exponentials() -> None:
    signals = time_grid.to_grid(blow(seconds=19)[None], np.array([0.2]))
    people = pd.DataFrame({"age": [45.0], "height": [175.0], "sex": [1]})
    case = cut(signals, people, 2.0)
    filled = completion_baselines.two_exponentials(case)
    assert time_grid.volume(filled)[0, -1] == pytest.approx(time_grid.volume(signals)[0, -1], abs=0.04)
    value = completion_baselines.last_value(case)
    assert time_grid.volume(value)[0, -1] == pytest.approx(time_grid.volume(case.signals)[0, -1])


def test_a_cough_put_in_spoils_only_what_is_not_trusted() -> None:
    signals = time_grid.to_grid(blow()[None], np.array([0.2]))
    case = cough(signals, pd.DataFrame({"age": [45.0]}), np.random.default_rng(0))
    assert np.abs(case.signals - case.truth)[case.trusted].max() < 0.02
    assert np.abs(case.signals - case.truth)[~case.trusted].max() > 0.5


# Bad input, and the command line


def write(path: Path, flow: np.ndarray, period: float = 0.01) -> Path:
    pd.DataFrame({"time_s": np.arange(len(flow)) * period, "flow_l_s": flow}).to_csv(path, index=False)
    return path


def spiro(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["reconstruct", *arguments, "--age", "45", "--height", "175", "--sex", "male"])
    output = capsys.readouterr()
    return status, output.out, output.err


def test_the_command_says_what_is_wrong_and_how_sure_it_is(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out, plot = write(tmp_path / "mine.csv", blow()[:220]), tmp_path / "bands.csv", tmp_path / "bands.png"
    options = ("--models", str(folder), "-n", "20")
    status, output, _ = spiro(capsys, str(file), *options, "--out", str(out), "--plot", str(plot))
    assert status == 0
    assert "Early end" in output
    assert "90 % probability" in output.replace("\n", " ")
    bands = pd.read_csv(out)
    assert (bands["volume_l_p5"] <= bands["volume_l_p95"] + 1e-6).all()
    assert plot.read_bytes().startswith(b"\x89PNG")
    status, output, _ = spiro(capsys, str(file), *options, "--mask", "0:1.5", "--json")
    found = json.loads(output)
    assert status == 0
    assert found["faults"] == []
    assert found["trusted_s"] == [[-0.5, pytest.approx(1.5, abs=0.02)]]
    assert found["indices"]["fvc"]["low_90"] < found["indices"]["fvc"]["high_90"]


@pytest.mark.parametrize(
    ("flow", "period", "options", "words"),
    [
        (blow()[:220], 0.01, ["--mask", "0:0.1"], ["0.10 s of the expiration", "0.3 s"]),
        (blow()[:220], 0.01, ["--mask", "5:6"], ["nothing is trusted"]),
        (blow()[:220], 0.01, ["--mask", "two"], ["'two' is no span", "0:2.0"]),
        (blow()[:220], 0.01, ["--mask", "2:1"], ["'2:1' is no span"]),
        (np.zeros(300), 0.01, [], ["no forced expiration"]),
        (1000 * blow(), 0.01, [], ["more than a lung can", "not mL"]),
        (blow(), 1.0, [], ["too few", "0.01 s"]),
    ],
)
def test_bad_input_ends_in_a_line(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flow: np.ndarray,
    period: float,
    options: list[str],
    words: list[str],
) -> None:
    file = write(tmp_path / "mine.csv", flow, period)
    status, _, err = spiro(capsys, str(file), "--models", str(folder), *options)
    assert status == 1
    assert err.count("\n") == 1
    for word in words:
        assert word in err


def test_another_period_is_resampled_and_said(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "mine.csv", blow()[:220].reshape(-1, 2).mean(axis=1), 0.02)
    status, _, err = spiro(capsys, str(file), "--models", str(folder), "-n", "2")
    assert status == 0
    assert "sampled each 20 ms: indices are read at that rate, plots and reconstructions at 10 ms" in err


def test_several_curves_need_a_name(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = pd.read_csv(write(tmp_path / "mine.csv", blow()[:220]))
    pd.concat([one.assign(curve="a"), one.assign(curve="b")]).to_csv(tmp_path / "both.csv", index=False)
    status, _, err = spiro(capsys, str(tmp_path / "both.csv"), "--models", str(folder))
    assert status == 1
    assert "holds 2 curves; name one with --curve" in err
    assert spiro(capsys, str(tmp_path / "both.csv"), "--models", str(folder), "--curve", "b", "-n", "2")[0] == 0


def test_what_is_said_of_a_file_is_of_the_curve_that_is_reconstructed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = pd.read_csv(write(tmp_path / "mine.csv", np.concatenate([np.full(60, 0.02), blow()[:220]])))
    plain = pd.read_csv(write(tmp_path / "mine.csv", blow()[:220]))
    pd.concat([begun.assign(curve="a"), plain.assign(curve="b")]).to_csv(tmp_path / "both.csv", index=False)
    for name, is_noted in {"a": True, "b": False}.items():
        _, _, err = spiro(capsys, str(tmp_path / "both.csv"), "--models", str(folder), "--curve", name, "-n", "2")
        assert ("note: curve a: " in err) is is_noted


def test_models_without_a_reconstructor_say_so(models: Path) -> None:
    with pytest.raises(SpiroError, match="no such checkpoint"):
        api.SpiroGenerator.from_checkpoint(models).reconstruct(blow()[:220], **MAN)


def test_a_mask_is_read_as_spans() -> None:
    assert parse_mask("0:0.6,1.1:2") == [(0.0, 0.6), (1.1, 2.0)]
    assert parse_mask("0.3:") == [(0.3, np.inf)]
