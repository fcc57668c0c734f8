"""The simulated source: the same seed gives the same people, who are like those of NHANES 2011-2012."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.dataset import cohort, splits
from spiro_diffusion.formats import spxraw
from spiro_diffusion.nhanes import codebook
from spiro_diffusion.nhanes.repair import repair_folder
from spiro_diffusion.physiology import spirometry
from spiro_diffusion.pipeline import download as download_stage
from spiro_diffusion.pipeline.download import download
from spiro_diffusion.simulation import simulator
from spiro_diffusion.simulation.simulator import simulate

Tables = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def small() -> Tables:
    return simulate("G", 200, 1)


@pytest.fixture(scope="module")
def large() -> Tables:
    """As many as the population figures are measured on; some seconds."""
    return simulate("G", 6000, 0)


def test_the_same_seed_gives_the_same_tables(small: Tables) -> None:
    again, other = simulate("G", 200, 1), simulate("G", 200, 2)
    for name, table in small.items():
        lists = [column for column in table if column == "SPXRAW"]
        pd.testing.assert_frame_equal(table.drop(columns=lists), again[name].drop(columns=lists))
    assert all(np.array_equal(*pair) for pair in zip(small["SPXRAW"]["SPXRAW"], again["SPXRAW"]["SPXRAW"], strict=True))
    assert not small["DEMO"].equals(other["DEMO"])


def test_six_hundred_people_blow_three_thousand_curves() -> None:
    raw = simulate("G", 600, 0)["SPXRAW"]
    assert raw["SEQN"].nunique() == 600
    assert 2800 <= len(raw) <= 3800


@pytest.mark.parametrize("cycle", ["E", "F", "G"])
def test_every_cycle_has_its_own_people_and_columns(cycle: str) -> None:
    tables = simulate(cycle, 20, 3)
    described = codebook.CYCLES[cycle]
    for table in tables.values():
        assert table["SEQN"].between(described.first_seqn, described.last_seqn).all()
    assert ("RIDRETH3" in tables["DEMO"]) == (cycle == "G")
    assert ("RIDAGEEX" in tables["DEMO"]) == (cycle != "G")


def test_tables_fit_together_and_hold_what_the_codebooks_allow(small: Tables) -> None:
    demo, bmx, spx, raw = small["DEMO"], small["BMX"], small["SPX"], small["SPXRAW"]
    for table in (demo, bmx, spx):
        assert table["SEQN"].is_unique
    assert set(bmx["SEQN"]) < set(demo["SEQN"])
    assert set(raw["SEQN"]) <= set(spx["SEQN"]) <= set(bmx["SEQN"])
    assert len(demo) > 1.4 * raw["SEQN"].nunique()  # people without curves
    for name, table in small.items():
        assert set(codebook.NEEDED[name]) <= set(table.columns)
        for column in map(str, table):
            limits = codebook.CODEBOOK.get(column, codebook.CODE)
            values = table[column].dropna()
            if column == "SPXRAW":
                continue
            if isinstance(limits, codebook.Texts):
                assert set(values) <= limits.values, column
            else:
                assert values.between(limits.lowest, limits.highest).all(), column
                if limits.decimals is not None:
                    np.testing.assert_array_equal(values, values.round(limits.decimals), err_msg=column)


def test_curves_are_counts_of_the_length_that_spxpts_says(small: Tables) -> None:
    raw = small["SPXRAW"]
    assert raw["SPXRAW"].map(len).equals(raw["SPXPTS"].astype(int).rename("SPXRAW"))
    assert {curve.dtype for curve in raw["SPXRAW"]} == {np.dtype(np.int16)}
    lowest, highest = spxraw.SAMPLE_LIMITS
    assert all(lowest <= curve.min() and curve.max() <= highest for curve in raw["SPXRAW"])
    assert (raw["SPXPTS"] <= 100).any()
    assert (raw["SPAACC"] == "N").equals(raw["SPAQEFF"] == "D")
    assert set(raw["SPAQEFF"]) == {"A", "B", "C", "D"}


def test_published_values_are_the_maxima_of_the_acceptable_curves(small: Tables) -> None:
    raw, spx = small["SPXRAW"], small["SPX"].set_index("SEQN")
    seqn = raw["SEQN"][0]
    mine = raw[(raw["SEQN"] == seqn) & (raw["SPATTYPE"] == "Pre") & (raw["SPAACC"] == "Y") & (raw["SPXPTS"] > 100)]
    found = [
        spirometry.indices(row.SPXRAW[None] * 0.1 * row.SPAFACT, np.array([len(row.SPXRAW)]))
        for row in mine.itertuples()
    ]
    assert spx["SPXNFEV1"][seqn] == pytest.approx(1000 * max(i.fev1[0] for i in found), abs=0.51)
    assert spx["SPXNFVC"][seqn] == pytest.approx(1000 * max(i.fvc[0] for i in found), abs=0.51)


@pytest.mark.parametrize(("cycle", "people"), [("G", 0), ("G", 7_000_000), ("H", 10)])
def test_impossible_numbers_are_refused(cycle: str, people: int) -> None:
    with pytest.raises(SpiroError, match="choose from"):
        simulate(cycle, people, 0)


def test_people_beyond_a_cycle_s_seqn_come_in_blocks_and_go_through_repair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = codebook.CYCLES["G"]
    monkeypatch.setitem(codebook.CYCLES, "G", described._replace(last_seqn=described.first_seqn + 59))  # 41 with curves
    few, many = simulate("G", 41, 1), simulate("G", 100, 1)
    for name, table in few.items():
        pd.testing.assert_frame_equal(many[name][: len(table)], table)
    demo, raw = many["DEMO"]["SEQN"], many["SPXRAW"]["SEQN"]
    assert demo.is_unique
    assert demo.is_monotonic_increasing
    assert raw.is_monotonic_increasing
    assert raw.nunique() == 100
    assert set(demo // codebook.SEQN_STEP) == {0, 1, 2}
    assert (demo % codebook.SEQN_STEP).between(described.first_seqn, described.first_seqn + 59).all()
    assert many["DEMO"]["RIDAGEYR"][:60].tolist() != many["DEMO"]["RIDAGEYR"][60:120].tolist()

    download(download_stage.Params("simulated", ["G"], 100, 1), raw=tmp_path / "raw")
    repair_folder(tmp_path / "raw", tmp_path / "repaired")
    assert pd.read_parquet(tmp_path / "repaired/SPXRAW_G.parquet")["SEQN"].tolist() == raw.tolist()
    table = cohort.raw_curves(tmp_path / "repaired", "G")
    assert table["in_demo"].all()
    assert set(splits.split(table["seqn"])) == {"train", "validation", "test"}

    (tmp_path / "raw/manifest.json").unlink()  # nothing says that these people are simulated
    with pytest.raises(SpiroError, match=r"DEMO_G\.xpt: is truncated or damaged behind row 59"):
        repair_folder(tmp_path / "raw", tmp_path / "repaired")


def test_numbers_above_the_codebook_s_are_at_its_limit() -> None:
    table = pd.DataFrame({"SEQN": [62161.0, 62162.0], "SPXNEV": [1077.0, np.nan], "SPXNF257": [0.0, 900.0]})
    found = simulator._within_codebook(table)
    assert found["SPXNEV"].tolist()[0] == 1000
    assert found["SPXNEV"].isna().tolist() == [False, True]
    assert found["SPXNF257"].tolist() == [0, 900]


@pytest.mark.parametrize("seqn", [62160, 71917, 162160, 100_062_161, -37_839, 62161.5, np.nan, np.inf, 1e300])
def test_other_seqn_are_refused_of_simulated_people_too(seqn: float) -> None:
    file = dataclasses.replace(codebook.FILES["BMX_G"], simulated=True)
    assert file.of_cycle(np.array([62161.0, 71916.0, 162161.0, 99_962_161.0, seqn])).tolist() == 4 * [True] + [False]


# The population: figures of SPX_G, grades A and B for both FVC and FEV1 (design, section 2)


def good(tables: Tables) -> pd.DataFrame:
    people = tables["SPX"].merge(tables["DEMO"], on="SEQN").merge(tables["BMX"], on="SEQN")
    grades = people[["SPXNQFVC", "SPXNQFV1"]].isin(["A", "B"]).all(axis=1)
    return people[grades & people["BMXHT"].notna()]


def explained(people: pd.DataFrame, column: str) -> tuple[float, float]:
    """Share of the variance of the logarithm that cubic age, height and sex explain, and the residual SD."""
    age, height = people["RIDAGEYR"] / 10, people["BMXHT"] / 100
    terms = np.stack([age**0, age, age**2, age**3, height], axis=1)
    design = np.concatenate([terms, terms * (people["RIAGENDR"] == 1).to_numpy()[:, None]], axis=1)
    y = np.log(people[column].to_numpy())
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return 1 - residual.var() / y.var(), residual.std(ddof=design.shape[1])


@pytest.mark.parametrize(
    ("column", "share", "sd"),
    [
        ("SPXNFEV1", 0.763, 0.172),
        ("SPXNFVC", 0.807, 0.155),
        ("SPXNPEF", 0.702, 0.199),
        ("SPXNF257", 0.469, 0.368),
    ],
)
def test_explained_variance_and_residual_spread_are_the_populations(
    large: Tables, column: str, share: float, sd: float
) -> None:
    found = explained(good(large), column)
    assert found[0] == pytest.approx(share, abs=0.02)
    assert found[1] == pytest.approx(sd, rel=0.05)


def test_volumes_and_times_are_the_populations(large: Tables) -> None:
    people = large["SPX"]
    assert people["SPXNFVC"].mean() == pytest.approx(3502, rel=0.03)
    assert people["SPXNFEV1"].mean() == pytest.approx(2836, rel=0.03)
    assert people["SPXNPEF"].mean() == pytest.approx(7250, rel=0.03)
    assert people["SPXNFET"].mean() == pytest.approx(9.0, abs=0.5)
    assert people["SPXNFVC"].std() == pytest.approx(1197, rel=0.06)
    assert people["SPXNFET"].quantile([0.01, 0.05]).to_list() == pytest.approx(
        [1.6, 3.1], rel=0.15
    )  # some never blow on


def test_ethnicities_differ_as_in_the_population(large: Tables) -> None:
    people = good(large)
    by_group = np.log(people["SPXNFVC"]).groupby(people["RIDRETH3"])
    assert len(by_group) == 6
    adults = people[people["RIDAGEYR"].between(20, 79)]
    taller = np.log(adults["SPXNFVC"]) - 2.7 * np.log(adults["BMXHT"])  # FVC goes with about this power of height
    black_less = taller[adults["RIDRETH3"] == 3].mean() - taller[adults["RIDRETH3"] == 4].mean()
    assert black_less == pytest.approx(0.165, abs=0.05)


def test_sessions_are_like_those_of_the_codebook(large: Tables) -> None:
    raw = large["SPXRAW"]
    assert len(raw) / raw["SEQN"].nunique() == pytest.approx(37661 / 6689, rel=0.03)
    shares = raw["SPAQEFF"].value_counts(normalize=True)
    for grade, count in {"A": 19840, "B": 6056, "C": 9014, "D": 2751}.items():
        assert shares[grade] == pytest.approx(count / 37661, abs=0.03), grade
    assert (raw["SPAPLAT"] == "Y").mean() == pytest.approx(27602 / 37661, abs=0.08)
    assert (raw["SPATTYPE"] == "Bron").mean() == pytest.approx(2019 / 37661, abs=0.015)


def test_lesser_efforts_fall_below_the_best_and_are_skewed(large: Tables) -> None:
    raw: Any = large["SPXRAW"]
    whole = raw[raw["SPAQEFF"].isin(["A", "B"]) & (raw["SPATTYPE"] == "Pre")]
    volume = whole["SPXRAW"].map(lambda curve: int(curve.sum())) * whole["SPAFACT"]
    short_of = volume / volume.groupby(whole["SEQN"]).transform("max") - 1
    lesser = short_of[short_of < 0]
    assert lesser.median() == pytest.approx(-0.035, abs=0.015)
    assert lesser.skew() < -1
