"""Patients on request: what is asked for is understood, refused where it cannot be, and met by every curve drawn."""

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
from lungs import Lungs
from scipy.stats import ks_2samp

from spiro_diffusion import api
from spiro_diffusion.api import Curves, SpiroGenerator
from spiro_diffusion.cli import main
from spiro_diffusion.core.artifacts import write_json
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.params import load_params
from spiro_diffusion.dataset.label_counts import COLUMNS, label_counts
from spiro_diffusion.generation import conditional_draws, known_values, personal_conditions, requested_curves, requests
from spiro_diffusion.generation.conditional_draws import Budget, Found
from spiro_diffusion.generation.conditions import CONDITIONS
from spiro_diffusion.generation.known_values import KnownValue
from spiro_diffusion.models import conditioning
from spiro_diffusion.models.header import MadeFrom
from spiro_diffusion.models.latent_diffusion import load_cldm, save_cldm
from spiro_diffusion.physiology import ats_ers, counter, effort_kinds, patterns, reference, spirometry, time_grid
from spiro_diffusion.physiology.spirometry import Indices
from spiro_diffusion.pipeline import encode, train_cldm

MAN: dict[str, Any] = {"age": 45, "height": 175, "sex": "male"}
TRAINED = {"age": [6.0, 79.0], "height": [100.0, 200.0]}
RARE = {"fev1": "z-4.6", "ratio": "z1.5:z1.6"}
HUNDRED = dict.fromkeys(("men", "women", "boys", "girls"), 100)


def found(given: dict[str, Any], n: int = 40, seed: int = 0, lungs: Lungs | None = None, **other: Any) -> Found:
    """Draws of one person."""
    kept, required = requests.accept(pd.DataFrame([{**MAN, **other}]), TRAINED, given)
    if required is None:
        required = requests.requirements([requests.Request()], kept.table, {})
    efforts = kept.table.assign(person=0, place=np.nan)
    return conditional_draws.draw(lungs or Lungs(), efforts, required, n, seed)


def asking(people: int, **columns: list[Any]) -> pd.DataFrame:
    """As many men, with other columns."""
    return pd.DataFrame([MAN] * people).assign(
        **{name: pd.Series(cells, dtype=object) for name, cells in columns.items()}
    )


def measured(signals: np.ndarray) -> list[Indices]:
    """Indices of curves as they are, and as other counters than the one they were chosen by would give them."""
    flow = time_grid.to_10ms(signals)
    counts = counter.count(flow, 1.1, np.random.default_rng(99))
    curves = flow, counter.flow(counts, 1.1)
    return [spirometry.indices(each, spirometry.end_of_flow(each)) for each in curves]


# What is said


@pytest.mark.parametrize(
    ("given", "low", "high", "unit"),
    [
        ("2.5", 2.5, 2.5, "value"),
        (2.5, 2.5, 2.5, "value"),
        ("2.2:2.8", 2.2, 2.8, "value"),
        ((2.2, 2.8), 2.2, 2.8, "value"),
        (":2.8", -np.inf, 2.8, "value"),
        ((2.2, None), 2.2, np.inf, "value"),
        ("80%", 80, 80, "percent"),
        ("70%:80 %", 70, 80, "percent"),
        (("70%", "80%"), 70, 80, "percent"),
        ("z-1.7", -1.7, -1.7, "z"),
        ("z-2:z-1", -2, -1, "z"),
        ("Z=-2 : z−1", -2, -1, "z"),
    ],
)
def test_a_value_a_share_of_predicted_or_a_z_score_exact_or_a_range(
    given: Any, low: float, high: float, unit: str
) -> None:
    parsed = known_values.parse("fev1", given)
    assert (parsed.low, parsed.high, parsed.unit) == (low, high, unit)
    assert known_values.parse("fev1", str(parsed)) == parsed


def test_percent_and_z_are_of_the_equations_that_are_named() -> None:
    people = pd.DataFrame({"age": [45.0], "height": [175.0], "sex": [1], "ethnicity": [4]})
    expected = {
        "fev1": reference.gli_global("fev1", 45, 175, 1),
        "pef": reference.hankinson("pef", 45, 175, 1, 1),  # African American
        "fef2575": reference.gli_2012("fef2575", 45, 175, 1, 1),
    }
    for name, lms in expected.items():
        for given, value in ((KnownValue(80, 80, "percent"), 0.8 * lms.m), (KnownValue(-1, -1, "z"), lms.value(-1))):
            assert known_values.box(name, [given], people, {}).exact[0] == pytest.approx(float(value))


@pytest.mark.parametrize(
    ("requested", "person", "message"),
    [
        ({"fev1": "x"}, {}, "fev1 is x; expected as 2.5"),
        ({"fev1": "2,5"}, {}, "fev1 is 2,5; expected"),
        ({"fev1": float("nan")}, {}, "fev1 is nan; expected"),
        ({"fev1": (1, 2, 3)}, {}, "expected as 2.5"),
        ({"fev1": ":"}, {}, "fev1 is :; expected"),
        ({"fev1": -1}, {}, "fev1 is -1; FEV1 is above 0"),
        ({"fev1": "2.8:2.2"}, {}, "upside down"),
        ({"fev1": "70%:3"}, {}, "both ends"),
        ({"ratio": 1.2}, {}, "FEV1 is a part of FVC and their ratio at most 1"),
        ({"ratio": 70}, {}, "give 0.7"),
        ({"fev1": 4, "fvc": 3}, {}, "fev1 4 is above fvc 3"),
        ({"fev1": "90%", "fvc": "50%"}, {}, "fev1 90% is above fvc 50%"),
        ({"fef2575": 9, "pef": 8}, {}, "the peak is the highest flow"),
        ({"fev1": 3, "fvc": 4, "ratio": 0.5}, {}, "give FEV1/FVC 0.75; asked for is 0.50"),
        ({"fev1": "z-9"}, {}, "z-9; z-scores of FEV1 beyond -6 to 5 are not seen"),
        ({"fev1": 0.3}, {}, "8 % of predicted; less than 20 % is not seen"),
        ({"fvc": 9.5}, {}, "are not seen"),
        ({"pattern": "copd"}, {}, "expected one of normal, obstruction"),
        ({"effort": "weak"}, {}, "expected one of poor, cough, early-stop, slow-start"),
        ({"pattern": "gold-2"}, {"age": 12, "height": 150}, "gold-2 is defined for adults; at 12 years"),
        ({"pattern": "prism"}, {"age": 12, "height": 150}, "prism is defined for adults"),
        ({"pattern": "gold-2", "test_type": "Pre"}, {}, "gold-2 is of values after a bronchodilator"),
        ({"pattern": "gold-2", "ratio": 0.8}, {}, "ratio 0.8 is no gold-2 of this person; it has FEV1/FVC < 0.70"),
        ({"pattern": "normal", "fev1": "z-3"}, {}, "fev1 z-3 is no normal"),
        ({"pattern": "possible-restriction", "fev1": 4.2}, {}, "FEV1 is a part of it"),
        ({"pattern": "obstruction", "fev1": "z1", "fvc": "z0"}, {}, "the pattern needs at most 0.70"),
        ({"pef": "80%"}, {"age": 7, "height": 120}, "Hankinson 1999 has no PEF for 7 years and 120 cm"),
        ({"weight": 900}, {}, "weight is 900; expected 10 to 250 kg"),
        ({"ethnicity": "martian"}, {}, r"ethnicity is martian; expected 1 \(mexican_american\)"),
    ],
)
def test_an_impossible_wish_is_refused_in_a_line_that_says_why(
    requested: dict[str, Any], person: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditioning, "NAMES", ("age", "height", "sex", "weight", "ethnicity", "cycle"))
    with pytest.raises(SpiroError, match=message) as refused:
        requests.accept(pd.DataFrame([{**MAN, **person}]), TRAINED, requested)
    assert "\n" not in str(refused.value)


# Patterns


def test_everybody_has_one_of_the_five_patterns_and_sessions_read_the_same() -> None:
    rng = np.random.default_rng(0)
    age, sex = rng.uniform(6, 79, 2000), rng.integers(1, 3, 2000)
    height = np.interp(age, [6, 18], [115, 168]) + rng.normal(0, 6, 2000)
    z = rng.normal(-1, 1.5, (2, 2000))
    fvc = reference.gli_global("fvc", age, height, sex).value(np.clip(z[0], -4, 4))
    fev1 = fvc * np.clip(reference.gli_global("ratio", age, height, sex).value(np.clip(z[1], -3.5, 2)), 0.3, 0.98)
    table = patterns.labels(fev1, fvc, age, height, sex, np.arange(2000) % 2 == 0)
    assert (table[list(patterns.PARTITION)].sum(axis=1) == 1).all()
    named = patterns.pattern_of(
        *(
            reference.gli_global(n, age, height, sex).z(v)
            for n, v in (("fev1", fev1), ("fvc", fvc), ("ratio", fev1 / fvc))
        )
    )
    for label in patterns.PARTITION:
        np.testing.assert_array_equal(table[label], named == label)
        assert table[label].any()
    gold = table[[f"gold-{stage}" for stage in (1, 2, 3, 4)]].sum(axis=1)
    np.testing.assert_array_equal(gold == 1, (np.arange(2000) % 2 == 0) & (age >= 18) & (fev1 / fvc < 0.7))
    assert not table.loc[age < 18, "prism"].any()


def test_limits_belong_to_the_better_side() -> None:
    predicted = float(reference.gli_global("fev1", 45, 175, 1).m)
    for share, stage in ((0.8, 1), (0.799, 2), (0.5, 2), (0.499, 3), (0.3, 3), (0.299, 4)):
        fev1 = np.array([share * predicted * (1 + 1e-12)])
        assert patterns.carries(f"gold-{stage}", fev1, fev1 / 0.6999, 45, 175, 1).all()  # type: ignore[arg-type]
        assert not patterns.carries(f"gold-{stage}", fev1, fev1 / 0.7, 45, 175, 1).any()  # type: ignore[arg-type]
    assert patterns.carries("prism", 0.79 * predicted, 0.79 * predicted / 0.701, 45, 175, 1)


# Draws


@pytest.mark.parametrize("label", [*patterns.LABELS, *effort_kinds.KINDS])
def test_every_curve_carries_the_label_that_was_asked_for(label: str) -> None:
    requested = {"pattern" if label in patterns.LABELS else "effort": label}
    n = 8 if label == "gold-4" else 200
    drawn = found(requested, n=n, age=70 if label in ("gold-3", "gold-4") else 45)
    assert len(drawn.signals) == drawn.counts[0] == n
    person = drawn.efforts
    for read, share in zip(measured(drawn.signals), (1.0, 0.99), strict=True):
        if label in patterns.LABELS:
            carried = patterns.carries(label, read.fev1, read.fvc, person["age"], person["height"], 1)
        else:
            carried = effort_kinds.carries(label, read, person["age"])  # type: ignore[arg-type]
        assert carried.mean() >= share
    assert set(person["test_type"]) == {"Bron" if label.startswith("gold") else "Pre"}


@pytest.mark.parametrize("conditioned", [True, False])
def test_an_exact_value_is_met_within_10_ml_or_1_percent_of_a_counted_curve(conditioned: bool) -> None:
    for read in measured(found({"fev1": 2.5, "fvc": "z-1"}, lungs=Lungs(conditioned)).signals):
        fvc = float(reference.gli_global("fvc", 45, 175, 1).value(-1))
        assert (np.abs(read.fev1 - 2.5) <= 0.025 + 1e-3).all()  # another counter than the one that was asked, 1 mL off
        assert (np.abs(read.fvc - fvc) <= 0.01 * fvc + 1e-3).all()


def test_a_range_is_met_and_what_lies_in_it_is_not_moved() -> None:
    read = measured(found({"fev1": "70%:80%", "ratio": ":0.75", "pef": "5:9"}).signals)[0]
    percent = reference.gli_global("fev1", 45, 175, 1).percent(read.fev1)
    assert (percent >= 70).all()
    assert (percent <= 80).all()
    assert (read.fev1 / read.fvc <= 0.75).all()
    assert ((read.pef >= 5) & (read.pef <= 9)).all()
    assert percent.std() > 1


def test_a_generator_that_is_told_what_is_known_draws_less() -> None:
    blind, conditioned = Lungs(), Lungs(conditioned=True)
    for lungs in (blind, conditioned):
        assert found({"fev1": 2.5, "fvc": 4.0}, lungs=lungs).counts[0] == 40
    assert conditioned.facts_drawn < blind.facts_drawn / 20


def test_a_seed_gives_the_same_curves_and_another_others() -> None:
    requested = {"pattern": "obstruction", "fev1": "50%:90%"}
    first, again, other = (found(requested, seed=seed).signals for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_population_put_together_from_requests_is_the_one_without() -> None:
    """By pattern with its share, the draws on request are distributed as those without a request."""
    every = measured(found({}, n=2000).signals)[0]
    labels = patterns.labels(every.fev1, every.fvc, 45.0, 175.0, 1, False)
    counts = labels[list(patterns.PARTITION)].sum()
    parts = [found({"pattern": p}, int(k), seed=i + 5).signals for i, (p, k) in enumerate(counts.items()) if k]
    again = measured(np.concatenate(parts))[0]
    assert len(again.fev1) == len(every.fev1)
    for name in ("fev1", "fvc", "pef", "fef2575", "bev", "fet"):
        assert ks_2samp(getattr(every, name), getattr(again, name)).pvalue > 0.01, name
    assert ks_2samp(every.fev1 / every.fvc, again.fev1 / again.fvc).pvalue > 0.01


def session(given: dict[str, Any], n: int = 10) -> tuple[Found, pd.DataFrame]:
    """Sessions of four efforts before and three after the bronchodilator; and their efforts, measured."""
    kept, _ = requests.accept(pd.DataFrame([MAN]), TRAINED, {})
    required = requests.requirements([requests.Request.of(given)], kept.table, {})
    efforts = kept.table.loc[[0] * 7].assign(person=0, place=[1, 2, 3, 4, 1, 2, 3], grade=None)
    efforts["test_type"] = ["Pre"] * 4 + ["Bron"] * 3
    drawn = conditional_draws.draw(Lungs(), efforts.reset_index(drop=True), required, n, 0)
    read = measured(drawn.signals)[0].to_pandas()
    return drawn, drawn.efforts[["test_type", "grade"]].assign(draw=drawn.draw, fev1=read["fev1"], fvc=read["fvc"])


def test_of_a_session_the_best_values_count() -> None:
    drawn, efforts = session({"fev1": 2.9, "pattern": "gold-2"})
    assert len(drawn.signals) == 7 * drawn.counts[0] == 70
    best = efforts[efforts["grade"] != "D"].groupby(["test_type", "draw"])[["fev1", "fvc"]].max()
    before, after = best.xs("Pre"), best.xs("Bron")
    assert (np.abs(before["fev1"].to_numpy(float) - 2.9) <= 0.029 + 1e-9).all()
    assert patterns.carries("gold-2", after["fev1"], after["fvc"], 45, 175, 1).all()


# Few, none, extrapolation


def drawn(
    given: dict[str, Any], tell: Callable[[str], object], n: int = 20, labels: Any = None, **person: Any
) -> Curves:
    kept, required = requests.accept(pd.DataFrame([{**MAN, **person}]), TRAINED, given)
    assert required is not None
    return requested_curves.curves(Lungs(), kept, required, {"labels": labels}, each=n, seed=0, tell=tell)


def test_where_the_search_is_spent_it_says_how_many_were_found_of_how_many() -> None:
    heard: list[str] = []
    curves = drawn({"pattern": "gold-4"}, heard.append, labels={"gold-4": HUNDRED})
    assert 0 < len(curves) < 20
    assert len(heard) == 1
    assert re.match(rf"found {len(curves)} of 20 for male, 45 y, 175 cm \(tried 100,000 lungs, \d+ curves\)", heard[0])
    with pytest.raises(SpiroError, match=r"found 0 of 20 .* rare in the model"):
        drawn(RARE, heard.append)


def test_a_label_that_few_training_people_carry_is_marked_as_extrapolation() -> None:
    heard: list[str] = []
    counts = {"obstruction": HUNDRED, "cough": HUNDRED | {"men": 19}}
    assert drawn({"pattern": "obstruction"}, heard.append, 3, counts).indices()["extrapolation"].tolist() == [False] * 3
    assert heard == []
    table = drawn({"pattern": "obstruction", "effort": "cough"}, heard.append, 3, counts).indices()
    assert (set(table["pattern"]), set(table["effort"]), set(table["extrapolation"])) == (
        {"obstruction"},
        {"cough"},
        {True},
    )
    assert heard == ["cough is extrapolation: 19 men of the training people carry it"]
    assert not drawn({"effort": "cough"}, heard.append, 3, counts, sex="f").indices()["extrapolation"].any()
    assert "extrapolation" not in drawn({"effort": "cough"}, heard.append, 3, None).indices()
    assert "does not record whether at least 20" in heard[-1]


def test_the_training_people_are_counted_by_their_best_values(data: Path) -> None:
    curves = pd.read_parquet(data / "curves.parquet", columns=list(COLUMNS))
    counts = label_counts(curves)
    adults = curves[(curves["age"] >= 18) & curves["grade"].isin(["A", "B", "C"]) & (curves["test_type"] == "Pre")]
    assert sum(counts[p]["men"] + counts[p]["women"] for p in patterns.PARTITION) == adults["seqn"].nunique()
    late = curves[(ats_ers.bev_limit(curves["fvc"]) < curves["bev"]) & (curves["age"] < 18) & (curves["sex"] == 1)]
    assert counts["slow-start"]["boys"] == late["seqn"].nunique()
    assert counts["gold-2"]["boys"] == counts["prism"]["girls"] == 0


# Weight, ethnicity, cycle


def test_weight_ethnicity_and_cycle_are_conditions_of_who_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    people = asking(2, bmi=[25, None], ethnicity=["White", 4], cycle=["g", None])
    monkeypatch.setattr(conditioning, "NAMES", ("age", "height", "sex", "weight", "ethnicity", "cycle"))
    table = personal_conditions.added(people, {"cycle": "F"})
    assert table["weight"].iloc[0] == pytest.approx(25 * 1.75**2)
    assert np.isnan(table["weight"].iloc[1])
    assert (table["ethnicity"].tolist(), table["cycle"].tolist()) == ([3, 4], ["G", "F"])
    assert "bmi" not in table
    with pytest.raises(SpiroError, match="row 1 has weight and bmi"):
        personal_conditions.added(people.assign(weight=80), {})
    monkeypatch.setattr(conditioning, "NAMES", ("age", "height", "sex"))
    assert set(personal_conditions.added(people, {})) == set(MAN)
    with pytest.raises(SpiroError, match="has no condition ethnicity"):
        personal_conditions.added(people, {"ethnicity": "white"})


@pytest.fixture(scope="module")
def three_cycles(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of the stages encode and train_cldm on simulated people of E, F and G."""
    run = tmp_path_factory.mktemp("cycles")
    data = tiny.data(run / "data", 14, "EFG")
    assert pd.read_parquet(data / "curves.parquet")["cycle"].unique().tolist() == ["E", "F", "G"]
    write_json(run / "manifest.json", {"source": "simulated"})
    files = {"curves": data / "curves.parquet", "vqvae": run / "vqvae.safetensors"}
    latents = {"latents": data / "latents.npy", "moments": data / "latent_moments.json"}
    shutil.copy(models / "vqvae.safetensors", run)
    few: dict[str, Any] = {
        "epochs": 1,
        "batch": 32,
        "width": 16,
        "multipliers": [1, 2],
        "head": 16,
        "context": 16,
        "ema": 0.9,
    }
    few |= {"facts_epochs": 2, "facts_batch": 32, "facts_width": 32, "facts_blocks": 1, "validate_every": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(run)
        shutil.copy(tiny.ROOT / "params.yaml", run)
        encode.encode(encode.Params(512, "float32"), signals=data / "signals_L512.npy", **files, **latents)
        params = dataclasses.replace(load_params(train_cldm.Params, "train_cldm"), **few)
        made = {"manifest": run / "manifest.json", "cldm": run / "cldm.safetensors", "metrics": run / "metrics"}
        train_cldm.train_cldm(params, **files, **latents, **made)
    return run


def test_a_request_for_a_cycle_changes_draws_and_one_that_the_model_has_not_seen_is_refused(
    three_cycles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = SpiroGenerator.from_checkpoint(three_cycles)
    assert trained.made_from["cycles"] == ["E", "F", "G"]
    drawn = {cycle: trained.generate(**MAN, n=2, seed=3, cycle=cycle).flow for cycle in ("E", "G", "g", None)}
    np.testing.assert_array_equal(drawn["G"], drawn["g"])
    for one, other in (("E", "G"), ("E", None), ("G", None)):
        assert np.abs(drawn[one] - drawn[other]).max() > 1e-5, "few steps from layers that begin at zero"
    model, made_from = load_cldm(three_cycles / "cldm.safetensors")
    alone = MadeFrom(**made_from | {"cycles": ["F", "G"]})
    save_cldm(tmp_path / "cldm.safetensors", model.config, model.state_dict(), alone)
    shutil.copy(three_cycles / "vqvae.safetensors", tmp_path)
    man = ["generate", "--age", "45", "--height", "175", "--sex", "male", "-n", "1", "--models", str(tmp_path)]
    assert main([*man, "--cycle", "G", "--out", str(tmp_path / "g.csv")]) == 0
    capsys.readouterr()
    assert main([*man, "--cycle", "E", "--out", str(tmp_path / "e.csv")]) == 1
    output = capsys.readouterr().err
    assert "cycle is E; this model was trained on F, G alone; leave it out" in output
    assert output.count("\n") == 1
    assert not (tmp_path / "e.csv").exists()


# The faces


@pytest.fixture
def generator(models: Path, monkeypatch: pytest.MonkeyPatch) -> SpiroGenerator:
    """The trained generator, as far as these lungs stand for it."""
    monkeypatch.setattr(api, "SingleEfforts", lambda _: Lungs())
    return SpiroGenerator.from_checkpoint(models)


def test_each_row_of_a_table_may_ask_for_something_else(generator: SpiroGenerator) -> None:
    people = asking(
        4,
        known_fev1=["2.5", None, "70%:80%", 3.0],
        pattern=[None, "GOLD 2", None, None],
        effort=[None, None, None, "cough"],
    )
    heard: list[str] = []
    curves = generator.generate(people, n=5, tell=heard.append)
    assert np.bincount(curves.person).tolist() == [5, 5, 5, 5]
    table = curves.indices()
    assert (np.abs(table.loc[table["person"] == 0, "fev1"] - 2.5) <= 0.025).all()
    assert (np.abs(table.loc[table["person"] == 3, "fev1"] - 3.0) <= 0.030).all()
    assert (curves.people["test_type"].tolist(), curves.people["grade"].tolist()) == (
        ["Pre", "Bron", "Pre", "Pre"],
        ["A", "A", "A", None],
    )
    assert any("two puffs, at least ten minutes" in line for line in heard)


def test_rows_that_ask_for_what_cannot_be_are_listed_or_left_out(generator: SpiroGenerator) -> None:
    people = asking(3, known_fev1=["2.5", "z-9", None], known_fvc=[2.0, None, 4.0])
    with pytest.raises(
        SpiroError, match=r"2 of 3 rows have contradictory requests: row 1: fev1 2.5 is above .* \| row 2: fev1"
    ):
        generator.generate(people, n=1)
    heard: list[str] = []
    curves = generator.generate(people, n=2, skip_invalid=True, tell=heard.append)
    assert len(curves) == 2
    assert heard[0].startswith("left out: 2 of 3 rows")


def test_guidance_and_requests_do_not_go_together(generator: SpiroGenerator) -> None:
    with pytest.raises(SpiroError, match="guidance overstates"):
        generator.generate(**MAN, fev1=2.5, guidance=2.0)


def test_the_command_line_draws_patients(
    generator: SpiroGenerator,
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    del generator
    monkeypatch.chdir(tmp_path)
    Path("models").symlink_to(models)
    man = ["generate", "--age", "45", "--height", "175", "--sex", "male", "-n", "4"]
    assert main([*man, "--pattern", "gold-2", "--fev1", "z-3:z-2.5", "--out", "c.csv"]) == 0
    output = capsys.readouterr().err
    assert "after a bronchodilator: two puffs, at least ten minutes" in output
    table = pd.read_csv("c_indices.csv")
    assert table["pattern"].tolist() == ["gold-2"] * 4
    assert table["fev1_z"].between(-3, -2.5).all()
    assert main([*man, "--fev1", "4", "--fvc", "3"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_model_in_two_steps_draws_what_a_request_asks(models: Path) -> None:
    """The untrained networks, through the search: their facts are those of the mean surface, with its spread."""
    trained = SpiroGenerator.from_checkpoint(models)
    curves = trained.generate(**MAN, n=2, fvc="1:30", tell=lambda _: None)
    assert len(curves) == 2
    np.testing.assert_array_equal(trained.generate(**MAN, n=2, fvc="1:30", tell=lambda _: None).flow, curves.flow)


def test_a_budget_bounds_the_search() -> None:
    kept, required = requests.accept(pd.DataFrame([MAN]), TRAINED, RARE)
    assert required is not None
    lungs = Lungs()
    efforts = kept.table.assign(person=0, place=np.nan)
    none = conditional_draws.draw(lungs, efforts, required, 5, 0, budget=Budget(facts=500, curves=10))
    assert (none.counts.tolist(), none.facts.tolist(), lungs.facts_drawn) == ([0], [500], 500)


@pytest.mark.parametrize("name", [condition.name for condition in CONDITIONS])
def test_a_keyword_of_every_condition_is_read(name: str) -> None:
    """Also of one that is added to the list: it was once ignored in silence."""
    people = pd.DataFrame({"age": [45.0], "height": [175.0], "sex": ["male"]})
    trained = {"age": [6.0, 79.0], "height": [100.0, 200.0]}
    with pytest.raises(SpiroError, match=f"{name} is nonsense in row 1; expected one of"):
        requests.accept(people, trained, {name: "nonsense"})
