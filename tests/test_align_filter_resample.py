"""From repaired tables to signals: who is joined, who leaves and why, and what the arrays hold."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import repaired

from spiro_diffusion.core.artifacts import read_npz
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.dataset import cohort, resampling, schema, splits
from spiro_diffusion.physiology import counter, spirometry, time_grid
from spiro_diffusion.pipeline import align as align_stage
from spiro_diffusion.pipeline import filter as filter_stage
from spiro_diffusion.pipeline import resample as resample_stage
from spiro_diffusion.reporting import report
from spiro_diffusion.simulation.simulator import simulate

ALL: dict[str, Any] = {
    "grades": ["A", "B", "C", "D"],
    "test_types": ["Pre", "Bron"],
    "plateau_only": False,
    "min_age": 0.0,
    "max_age": 120.0,
    "curves": "all",
}


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    """70 people of cycle G; three have no height, one of them no row in BMX, one none in DEMO."""
    tables = simulate("G", 70, seed=5)
    people = tables["SPXRAW"]["SEQN"].unique()
    tables["BMX"].loc[tables["BMX"]["SEQN"].isin(people[[3, 4]]), "BMXHT"] = np.nan
    tables["BMX"] = tables["BMX"][tables["BMX"]["SEQN"] != people[5]].reset_index(drop=True)
    tables["DEMO"] = tables["DEMO"][tables["DEMO"]["SEQN"] != people[6]].reset_index(drop=True)
    return tables


@pytest.fixture(scope="module")
def raw(tables: dict[str, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repaired.write(tmp_path_factory.mktemp("repaired"), tables, "G")


def align(raw: Path, to: Path, min_points: int = 100) -> dict[str, Any]:
    params = align_stage.Params(min_points=min_points)
    paths = {"aligned": to / "aligned.parquet", "metadata": to / "metadata_aligned.csv", "metrics": to / "align.json"}
    align_stage.align(params, repaired=raw, **paths)
    return json.loads((to / "align.json").read_text())


def filtered(to: Path, **changes: Any) -> dict[str, Any]:
    params = filter_stage.Params(**(ALL | changes))
    paths = {"aligned": to / "aligned.parquet", "filtered": to / "filtered.parquet", "metrics": to / "filter.json"}
    filter_stage.filter(params, **paths)
    return json.loads((to / "filter.json").read_text())


def resample(raw: Path, to: Path, grid_name: resampling.GridName = "warped") -> dict[str, Any]:
    paths = {"signals": to / "signals.npy", "curves": to / "curves.parquet", "metrics": to / "resample.json"}
    params = resample_stage.Params(grid=grid_name)
    paths |= {"filtered": to / "filtered.parquet", "plot_data": to / "plot_data.npz"}
    resample_stage.resample(params, repaired=raw, **paths)
    return json.loads((to / "resample.json").read_text())


@pytest.fixture(scope="module")
def made(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All three stages run once."""
    to = tmp_path_factory.mktemp("made")
    align(raw, to)
    filtered(to)
    resample(raw, to)
    return to


# align


def test_every_curve_is_counted_whether_it_stays_or_leaves(raw: Path, made: Path, tables: dict) -> None:
    flow = json.loads((made / "align.json").read_text())["flow"]
    dropped = {entry["reason"]: entry for entry in flow["dropped"]}
    assert flow["raw"]["curves"] == len(tables["SPXRAW"])
    assert flow["raw"]["curves"] - sum(d["curves"] for d in dropped.values()) == flow["aligned"]["curves"]
    assert dropped["not_in_demo"]["participants_lost"] == 1
    assert dropped["not_in_bmx"]["participants_lost"] == 1
    described = tables["SPXRAW"]["SEQN"].isin(tables["DEMO"]["SEQN"]) & tables["SPXRAW"]["SEQN"].isin(
        tables["BMX"]["SEQN"]
    )
    assert dropped["too_short"]["curves"] == (described & (tables["SPXRAW"]["SPXPTS"] <= 100)).sum() > 0
    assert flow["aligned"]["participants"] == 68


def test_aligned_rows_keep_the_files_order_and_their_own_person(made: Path, tables: dict) -> None:
    table = pd.read_parquet(made / "aligned.parquet")
    assert (np.diff(table["raw_row"]) > 0).all()
    demo, bmx = tables["DEMO"].set_index("SEQN"), tables["BMX"].set_index("SEQN")
    np.testing.assert_array_equal(table["age"], demo["RIDAGEYR"][table["seqn"]])
    np.testing.assert_array_equal(table["sex"], demo["RIAGENDR"][table["seqn"]])
    np.testing.assert_array_equal(table["height"], bmx["BMXHT"][table["seqn"]])
    raw = tables["SPXRAW"].iloc[table["raw_row"]]
    np.testing.assert_array_equal(table["seqn"], raw["SEQN"])
    np.testing.assert_array_equal(table["points"], raw["SPXPTS"])


def test_the_metadata_file_has_one_line_a_curve(made: Path) -> None:
    table = pd.read_parquet(made / "aligned.parquet")
    lines = (made / "metadata_aligned.csv").read_bytes().split(b"\r\n")
    assert lines[0] == b"SEQN,age,height,gender"
    first = table.iloc[0]
    assert lines[1].decode() == f"{first['seqn']},{first['age']},{first['height']},{first['sex']:.0f}"
    assert len(lines) == len(table) + 2
    without = table.index[table["height"].isna()][0]
    assert b",," in lines[1 + without]


def test_indices_are_those_of_the_raw_curve(made: Path, tables: dict) -> None:
    table = pd.read_parquet(made / "aligned.parquet")
    row = table.iloc[17]
    curve = tables["SPXRAW"]["SPXRAW"][row["raw_row"]]
    alone = spirometry.indices(counter.flow(curve[None], row["btps"])).to_pandas().iloc[0]
    for name in ("fev1", "fvc", "pef", "bev", "t0"):
        assert row[name] == pytest.approx(alone[name], rel=1e-6), name


def test_a_larger_minimum_leaves_more_out(raw: Path, tmp_path: Path, made: Path) -> None:
    few = align(raw, tmp_path, min_points=600)["flow"]["aligned"]["curves"]
    assert few < json.loads((made / "align.json").read_text())["flow"]["aligned"]["curves"]
    assert pd.read_parquet(tmp_path / "aligned.parquet")["points"].min() > 600


def test_a_person_twice_in_demo_is_named(tables: dict, tmp_path: Path) -> None:
    doubled = pd.concat([tables["DEMO"], tables["DEMO"].iloc[[2]]], ignore_index=True)
    raw = repaired.write(tmp_path / "raw", tables | {"DEMO": doubled}, "G")
    seqn = int(tables["DEMO"]["SEQN"][2])
    with pytest.raises(SpiroError, match=f"DEMO_G: SEQN {seqn} is there twice, again in row {len(doubled) - 1}"):
        align(raw, tmp_path)
    assert not (tmp_path / "aligned.parquet").exists()


def test_a_missing_table_is_named(tables: dict, tmp_path: Path) -> None:
    raw = repaired.write(tmp_path / "raw", {k: v for k, v in tables.items() if k != "BMX"}, "G")
    with pytest.raises(SpiroError, match=r"BMX_G\.parquet: no such file"):
        align(raw, tmp_path)
    with pytest.raises(SpiroError, match="holds no SPXRAW table"):
        align(tmp_path / "empty", tmp_path)


def test_a_curve_whose_length_is_not_spxpts_is_named(tables: dict, tmp_path: Path) -> None:
    wrong = tables["SPXRAW"].copy()
    at = int((wrong["SPXPTS"] > 200).to_numpy().argmax())
    wrong.loc[at, "SPXPTS"] = 180.0
    raw = repaired.write(tmp_path / "raw", tables | {"SPXRAW": wrong}, "G")
    with pytest.raises(SpiroError, match=f"SPXRAW_G: row {at} has .* samples, the table says 180"):
        align(raw, tmp_path)


def test_a_value_out_of_range_is_named_with_its_row(tables: dict, tmp_path: Path) -> None:
    demo = tables["DEMO"].copy()
    demo.loc[demo["SEQN"] == tables["SPXRAW"]["SEQN"][0], "RIDAGEYR"] = 130.0
    raw = repaired.write(tmp_path / "raw", tables | {"DEMO": demo}, "G")
    with pytest.raises(SpiroError, match=r"row 0 \(seqn \d+\): age is 130\.0, expected 0 to 80 years; so are"):
        align(raw, tmp_path)


def test_a_missing_ethnicity_is_named(tables: dict, tmp_path: Path) -> None:
    demo = tables["DEMO"].copy()
    row = int((demo["SEQN"] == tables["SPXRAW"]["SEQN"][0]).to_numpy().argmax())
    demo.loc[row, "RIDRETH1"] = np.nan
    raw = repaired.write(tmp_path / "raw", tables | {"DEMO": demo}, "G")
    with pytest.raises(SpiroError, match=rf"DEMO_G: row {row} \(SEQN \d+\): RIDRETH1 is missing, expected 1 to 5"):
        align(raw, tmp_path)


def test_cycles_follow_each_other_and_keep_their_own_columns(tables: dict, tmp_path: Path) -> None:
    raw = repaired.write(tmp_path / "raw", tables, "G")
    repaired.write(raw, simulate("E", 12, seed=5), "E")
    report = align(raw, tmp_path)
    filtered(tmp_path)
    resample(raw, tmp_path)
    table = pd.read_parquet(tmp_path / "curves.parquet")
    assert table["cycle"].drop_duplicates().tolist() == ["E", "G"]
    assert table.loc[table["cycle"] == "E", "ethnicity3"].isna().all()
    assert table.loc[table["cycle"] == "G", "ethnicity3"].notna().all()
    assert table.loc[table["cycle"] == "E", "age_months"].notna().all()
    children = table[(table["cycle"] == "G") & (table["age"] < 20)]
    assert (children["age_months"] // 12 == children["age"]).all()
    assert report["cycles"]["E"]["raw"]["participants"] == 12


# filter


def test_no_curve_without_height_stays_and_all_leavers_are_counted(made: Path) -> None:
    report = json.loads((made / "filter.json").read_text())
    table = pd.read_parquet(made / "filtered.parquet")
    dropped = {entry["reason"]: entry for entry in report["flow"]["dropped"]}
    without = pd.read_parquet(made / "aligned.parquet").loc[lambda t: t["height"].isna(), "seqn"].nunique()
    assert dropped["no_height"]["participants_lost"] == without >= 2
    assert all(entry["curves"] == 0 for reason, entry in dropped.items() if reason != "no_height")
    assert table["height"].notna().all()
    assert sum(part["curves"] for part in report["splits"].values()) == len(table)


def test_splits_are_those_of_the_hash_and_by_participant(made: Path) -> None:
    table = pd.read_parquet(made / "filtered.parquet")
    assert (table.groupby("seqn")["split"].nunique() == 1).all()
    # sha256("62161") begins with e33963ee, which is 3812189166: 66 of 100
    assert splits.split([62161, 62161]).tolist() == ["train", "train"]
    shares = pd.Series(splits.split(range(62161, 71917))).value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.8, abs=0.015)
    assert shares["test"] == pytest.approx(0.1, abs=0.01)


def test_the_best_effort_is_acceptable_before_the_bronchodilator_and_the_largest(made: Path) -> None:
    table = pd.read_parquet(made / "filtered.parquet")
    best = table[table["best"]]
    assert best["seqn"].is_unique
    assert (best["test_type"] == "Pre").all()
    assert best["acceptable"].all()
    usable = table[table["acceptable"] & (table["test_type"] == "Pre")]
    largest = (usable["fev1"] + usable["fvc"]).groupby(usable["seqn"]).max()
    np.testing.assert_array_equal((best["fev1"] + best["fvc"]), largest[best["seqn"]])


@pytest.mark.parametrize(
    ("changes", "reason", "holds"),
    [
        ({"grades": ["A", "B"]}, "grade", lambda t: t["grade"].isin(["A", "B"])),
        ({"test_types": ["Pre"]}, "test_type", lambda t: t["test_type"] == "Pre"),
        ({"plateau_only": True}, "no_plateau", lambda t: t["plateau"]),
        ({"min_age": 18.0, "max_age": 40.0}, "age", lambda t: t["age"].between(18, 40)),
        ({"curves": "best"}, "not_best", lambda t: t["best"] & ~t["seqn"].duplicated()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_filter_leaves_out_what_it_says_and_counts_it(
    made: Path, tmp_path: Path, changes: dict, reason: str, holds: Any
) -> None:
    (tmp_path / "aligned.parquet").write_bytes((made / "aligned.parquet").read_bytes())
    report = filtered(tmp_path, **changes)
    table = pd.read_parquet(tmp_path / "filtered.parquet")
    assert holds(table).all()
    dropped = {entry["reason"]: entry["curves"] for entry in report["flow"]["dropped"]}
    assert dropped[reason] > 0
    assert len(pd.read_parquet(made / "filtered.parquet")) - dropped[reason] == len(table)


def test_a_filter_that_leaves_nothing_says_what_did_it(made: Path, tmp_path: Path) -> None:
    (tmp_path / "aligned.parquet").write_bytes((made / "aligned.parquet").read_bytes())
    (tmp_path / "filtered.parquet").write_text("earlier")
    with pytest.raises(SpiroError, match=r"no curve is left \(dropped: no_height \d+, age \d+\)"):
        filtered(tmp_path, min_age=81.0)
    assert (tmp_path / "filtered.parquet").read_text() == "earlier"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grades": []}, "grades is empty"),
        ({"test_types": []}, "test_types is empty"),
        ({"min_age": 50.0, "max_age": 20.0}, "min_age 50 is above max_age 20"),
    ],
)
def test_parameters_that_leave_nothing_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        filter_stage.Params(**(ALL | changes))


def test_a_curve_without_time_zero_leaves(raw: Path, tables: dict, tmp_path: Path) -> None:
    silent = tables["SPXRAW"].copy()
    at = int((silent["SPXPTS"] > 150).to_numpy().argmax())
    silent.at[at, "SPXRAW"] = np.zeros(int(silent["SPXPTS"][at]), np.int16)
    align(repaired.write(tmp_path / "raw", tables | {"SPXRAW": silent}, "G"), tmp_path)
    dropped = {entry["reason"]: entry["curves"] for entry in filtered(tmp_path)["flow"]["dropped"]}
    assert dropped["no_time_zero"] == 1


def test_a_curve_that_no_lung_blew_leaves_and_stops_nothing(tables: dict, tmp_path: Path) -> None:
    leak = tables["SPXRAW"].copy()
    at = int((leak["SPXPTS"] > 900).to_numpy().argmax())
    leak.at[at, "SPXRAW"] = np.full(int(leak["SPXPTS"][at]), 20, np.int16)  # 2 L/s for as long as it lasts
    align(repaired.write(tmp_path / "raw", tables | {"SPXRAW": leak}, "G"), tmp_path)
    dropped = {entry["reason"]: entry["curves"] for entry in filtered(tmp_path)["flow"]["dropped"]}
    assert dropped["impossible"] == 1


# resample


def test_signals_are_the_curves_on_the_grid_row_by_row(made: Path, tables: dict) -> None:
    table, signals = pd.read_parquet(made / "curves.parquet"), np.load(made / "signals.npy")
    assert signals.shape == (len(table), 512)
    assert signals.dtype == np.float32
    for row in (0, 11, len(table) - 1):
        line = table.iloc[row]
        flow = counter.flow(tables["SPXRAW"]["SPXRAW"][line["raw_row"]][None], line["btps"])
        np.testing.assert_array_equal(signals[row], time_grid.to_grid(flow, np.array([line["t0"]]))[0])
        assert time_grid.volume(signals[row : row + 1])[0, -1] == pytest.approx(flow.sum() * 0.01, abs=1e-4)
        assert line["zero_sample"] == time_grid.zero_sample(line["t0"])


def test_the_grid_keeps_the_medicine(made: Path) -> None:
    errors = json.loads((made / "resample.json").read_text())["round_trip"]
    assert errors["fev1"]["p99"] < 2  # mL
    assert errors["fvc"]["p99"] < 2
    assert errors["bev"]["p99"] < 10
    assert errors["pef"]["p99"] < 0.7  # %
    assert errors["fef2575"]["p99"] < 0.3


def test_best_efforts_agree_with_the_published_values(made: Path) -> None:
    report = json.loads((made / "resample.json").read_text())["published"]
    assert report["participants"] > 55
    for name in ("fev1", "fvc"):
        assert report["indices"][name]["median_absolute"] < 0.03
        assert report["indices"][name]["lower"] < report["indices"][name]["bias"] < report["indices"][name]["upper"]
    reasons = {k: v for k, v in report["outliers"].items() if k != "participants"}
    assert sum(reasons.values()) == report["outliers"]["participants"]


def test_without_a_best_effort_there_is_nothing_to_compare_and_nothing_breaks(
    raw: Path, made: Path, tmp_path: Path
) -> None:
    (tmp_path / "aligned.parquet").write_bytes((made / "aligned.parquet").read_bytes())
    filtered(tmp_path, test_types=["Bron"])
    report = resample(raw, tmp_path)
    assert report["best_efforts"] == report["published"]["participants"] == 0
    assert report["published"]["indices"]["fev1"] == {"n": 0}
    assert report["round_trip"]["fvc"]["undetermined"] == 0


def test_a_column_of_codes_may_be_read_as_words(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    word = cohort.Joined("DEMO", ("RIAGENDR",), words={1: "man"})
    monkeypatch.setattr(cohort, "PARTICIPANT", cohort.PARTICIPANT | {"word": word})
    table = cohort.raw_curves(raw, "G")
    assert list(table["word"].fillna("nothing")) == ["man" if sex == 1 else "nothing" for sex in table["sex"]]
    column = schema.Column("text", missing=True, values=("man",))
    schema.check(table[["word"]], {"word": column}, "table")
    with pytest.raises(SpiroError, match="word is nan"):
        schema.check(table[["word"]], {"word": column._replace(missing=False)}, "table")
    with pytest.raises(SpiroError, match="word is man, expected boy"):
        schema.check(table[["word"]], {"word": column._replace(values=("boy",))}, "table")


def test_plots_are_drawn_from_what_is_stored(made: Path, tmp_path: Path) -> None:
    stored = report.data_pictures(read_npz(made / "plot_data.npz"), json.loads((made / "resample.json").read_text()))
    for path in report.draw(tmp_path, stored).values():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_second_run_gives_the_same_bytes(raw: Path, made: Path, tmp_path: Path) -> None:
    align(raw, tmp_path)
    filtered(tmp_path)
    resample(raw, tmp_path)
    names = [path.relative_to(made) for path in made.rglob("*") if path.is_file()]
    assert len(names) == 9
    for name in names:
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes(), name


def test_the_stretched_grid_is_there_to_compare(raw: Path, made: Path, tmp_path: Path) -> None:
    (tmp_path / "filtered.parquet").write_bytes((made / "filtered.parquet").read_bytes())
    stretched = resample(raw, tmp_path, "stretch")["round_trip"]
    warped = json.loads((made / "resample.json").read_text())["round_trip"]
    assert stretched["pef"]["p99"] > 10 * warped["pef"]["p99"]
    table, signals = pd.read_parquet(tmp_path / "curves.parquet"), np.load(tmp_path / "signals.npy")
    volumes = signals.mean(axis=1, dtype=float) * table["points"] * 0.01
    np.testing.assert_allclose(volumes[table["best"]], table["fvc"][table["best"]], atol=0.02)


def test_a_table_of_other_columns_is_refused(made: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(made / "curves.parquet")
    schema.check(table, schema.CURVES, "curves.parquet")
    with pytest.raises(SpiroError, match=r"curves\.parquet: has no column best"):
        schema.check(table.drop(columns="best"), schema.CURVES, "curves.parquet")
    with pytest.raises(SpiroError, match="column extra is not in the schema"):
        schema.check(table.assign(extra=1), schema.CURVES, "curves.parquet")
    with pytest.raises(SpiroError, match="column seqn holds float64; expected int"):
        schema.check(table.astype({"seqn": float}), schema.CURVES, "curves.parquet")
    with pytest.raises(SpiroError, match=r"row 3 \(seqn \d+\): grade is E, expected A or B or C or D"):
        schema.check(table.assign(grade=["A"] * 3 + ["E"] + ["A"] * (len(table) - 4)), schema.CURVES, "curves.parquet")
    with pytest.raises(SpiroError, match=r"height is nan, expected 60 to 220 cm"):
        schema.check(table.assign(height=np.nan), schema.CURVES, "curves.parquet")


# The full size, where the files are at hand


SHARED = Path(__file__).parents[2] / "shared" / "nhanes"


@pytest.mark.skipif(not SHARED.exists(), reason="needs the CDC's files")
def test_splits_of_the_full_size_are_near_80_10_10() -> None:
    lines = (SHARED / "metadata_aligned.csv").read_text().split()[1:]
    people = np.unique([int(line.split(",")[0]) for line in lines])
    counts = pd.Series(splits.split(people)).value_counts(normalize=True)
    assert counts["train"] == pytest.approx(0.8, abs=0.01)
