"""A synthetic population: whole people, drawn in parts, in a folder ready to publish."""

import hashlib
import json
import subprocess
import sys
import tracemalloc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import yaml
from repository import ROOT

from spiro_diffusion.api import SpiroGenerator
from spiro_diffusion.cli import main
from spiro_diffusion.cohorts import columns, folder, metadata, parts, prevalences
from spiro_diffusion.cohorts.folder import Written
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation import populations
from spiro_diffusion.generation.sessions import Drawn
from spiro_diffusion.models.effort_sets import PLACES

PEOPLE = 25


@pytest.fixture(scope="module")
def generator(models: Path) -> SpiroGenerator:
    return SpiroGenerator.from_checkpoint(models, device="cpu")


@pytest.fixture(scope="module")
def written(generator: SpiroGenerator, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A population of PEOPLE people, with a retest each."""
    path = tmp_path_factory.mktemp("cohorts") / "lungs"
    return generator.write_cohort(path, PEOPLE, seed=1, retests=1, data=data)


@pytest.fixture(scope="module")
def made(written: Written) -> Path:
    return next(file.parent for file in written.files if file.name == folder.CARD)


@pytest.fixture(scope="module")
def efforts(made: Path) -> pd.DataFrame:
    return pd.read_parquet(made / "efforts")


@pytest.fixture(scope="module")
def people(made: Path) -> pd.DataFrame:
    return pd.read_parquet(made / "people.parquet")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Drawn]:
    """Instead of the model: the same blow, graded A, for everybody."""
    flow = np.zeros(512, np.float32)
    flow[40:300] = np.linspace(8, 0.05, 260)

    def blows(_: object, requested: pd.DataFrame, __: int, ___: object = None) -> Drawn:
        table = requested.assign(grade="A", best=requested["place"] == 1, fev1=3.0, fvc=4.0, pef=8.0, fef2575=3.0)
        return Drawn(table, np.tile(flow, (len(requested), 1)))

    monkeypatch.setattr(populations, "draw_sessions", blows)
    return blows


def test_each_person_is_one_lung_with_visits(efforts: pd.DataFrame, people: pd.DataFrame, data: Path) -> None:
    assert people["person"].tolist() == list(range(PEOPLE))
    assert efforts["person"].is_monotonic_increasing
    assert (efforts.groupby("person")[["age", "height", "sex"]].nunique() == 1).all(axis=None)
    assert (efforts.groupby("person")["session"].unique().map(list) == [[1, 2]] * PEOPLE).all()
    assert efforts["grade"].isin(list("ABCD")).all()
    assert efforts.groupby(["person", "session"])["best"].sum().max() == 1
    assert set(efforts.loc[efforts["best"], "test_type"]) == {"Pre"}
    for _, visit in efforts.groupby(["person", "session", "test_type"]):
        assert visit["effort"].tolist() == list(range(1, len(visit) + 1))
    counts = efforts[efforts["session"] == 1].groupby("person")["test_type"].value_counts().unstack(fill_value=0)
    assert counts["Pre"].tolist() == people["efforts_before"].tolist()
    after = counts["Bron"] if "Bron" in counts else counts["Pre"] * 0
    assert after.tolist() == people["efforts_after"].tolist()
    real = pd.read_parquet(data / "curves.parquet").groupby(["seqn", "test_type"]).size().clip(upper=PLACES)
    assert set(people["efforts_before"]) <= set(real.xs("Pre", level="test_type"))


def test_the_tables_are_of_the_curves_that_lie_beside_them(efforts: pd.DataFrame, people: pd.DataFrame) -> None:
    for _, effort in efforts.head(20).iterrows():
        assert effort["flow_l_s"].dtype == np.float32
        assert np.cumsum(effort["flow_l_s"], dtype=float).max() * 0.01 == pytest.approx(effort["fvc"], rel=1e-3)
    first = efforts[(efforts["session"] == 1) & (efforts["test_type"] == "Pre") & efforts["grade"].isin(list("ABC"))]
    best = first.groupby("person")[["fev1", "fvc"]].max().reindex(people["person"])
    np.testing.assert_allclose(people[["fev1", "fvc"]], best)
    assert (people["grade_fev1"] != "").all()


def test_visits_vary_as_is_published() -> None:
    """Changes beyond 12 % in FEV1 and 11 % in FVC from week to week are one in twenty (ATS/ERS 2005, table 12)."""
    first = np.tile([3.0, 4.0, 0.75, 8.0, 2.5], (20_000, 1))
    one, two = populations.retest_values(first, 2, np.random.default_rng(0))
    for before, after in ((first, one), (one, two)):  # no visit is special
        change = np.log(after / before)
        for column, limit in ((0, 0.12), (1, 0.11), (4, 0.21)):
            assert (np.abs(change[:, column]) > limit).mean() == pytest.approx(0.05, abs=0.01)
            assert change[:, column].mean() == pytest.approx(0, abs=0.002)
        assert np.corrcoef(change[:, 0], change[:, 1])[0, 1] == pytest.approx(populations.TOGETHER, abs=0.02)
    np.testing.assert_allclose(one[:, 2], one[:, 0] / one[:, 1])


def test_a_retest_is_of_the_same_lung(generator: SpiroGenerator, data: Path) -> None:
    """The best values that a retest is drawn for are those of the first visit, moved little."""
    curves = populations.read_participants(data)
    calls: list[Any] = []
    drawn = populations.draw_sessions

    def noted(*given: Any) -> Drawn:
        found = drawn(*given)
        calls.append((given[3] if len(given) > 3 else None, populations.reached(found.table)))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(populations, "draw_sessions", noted)
        (visits,) = populations.draw_visits(generator._generator, curves, 10, 2, seed=3)
    (nothing, first), (requested, second), _ = calls
    assert nothing is None
    apart = np.abs(np.log(requested / first))[:, [0, 1]]
    assert 0 < apart.max() < 0.25
    np.testing.assert_allclose(second[:, :2].max(0), requested[:, :2].max(0), rtol=0.2)
    assert visits.table["session"].max() == 3


def test_the_same_seed_gives_the_same_bytes(
    generator: SpiroGenerator, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for run in ("first", "second"):
        generator.write_cohort(tmp_path / run / "lungs", 5, seed=4, data=data)
    sums = [(tmp_path / run / "lungs" / folder.SUMS).read_text() for run in ("first", "second")]
    assert sums[0] == sums[1]
    assert '"2023-11-14"' in (tmp_path / "first/lungs" / folder.CRATE).read_text()
    generator.write_cohort(tmp_path / "lungs", 5, seed=5, data=data)
    assert (tmp_path / "lungs" / folder.SUMS).read_text() != sums[0]


def test_parts_are_of_bounded_size(
    generator: SpiroGenerator, data: Path, stand_in: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(populations, "SESSIONS", 4)
    monkeypatch.setattr(parts, "ROWS", 30)
    monkeypatch.setattr(parts, "PIECE", 10)
    generator.write_cohort(tmp_path / "lungs", 30, data=data)
    files = sorted((tmp_path / "lungs/efforts").iterdir())
    assert files[0].name == "efforts-00000.parquet"
    assert files[1].name == "efforts-00001.parquet"
    rows = [pq.read_metadata(file).num_rows for file in files]
    assert max(rows) <= 30
    together = pd.read_parquet(tmp_path / "lungs/efforts")
    assert len(together) == sum(rows)
    assert together["person"].unique().tolist() == list(range(30))


def test_memory_does_not_grow_with_the_people(
    generator: SpiroGenerator,
    data: Path,
    stand_in: Callable[..., Drawn],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is held when a batch is drawn is what was held when the second one was: the curves of one batch."""
    traced: list[int] = []
    alive: list[weakref.ref] = []
    most: list[int] = []

    def watched(*given: Any) -> Drawn:
        traced.append(tracemalloc.get_traced_memory()[0])
        drawn = stand_in(*given)
        alive.append(weakref.ref(drawn.signals))
        most.append(sum(signals() is not None for signals in alive))
        return drawn

    curves = pd.read_parquet(data / "curves.parquet").query("test_type == 'Pre'").groupby("seqn").head(3)
    alike = curves[curves.groupby("seqn")["seqn"].transform("size") == 3]  # three efforts each: batches of one size
    alike.to_parquet(tmp_path / "curves.parquet")
    monkeypatch.setattr(populations, "SESSIONS", 10)
    monkeypatch.setattr(populations, "draw_sessions", watched)
    tracemalloc.start()
    try:
        generator.write_cohort(tmp_path / "lungs", 80, data=tmp_path)
    finally:
        tracemalloc.stop()
    size = sum(flow.nbytes for flow in pd.read_parquet(tmp_path / "lungs/efforts")["flow_l_s"])
    assert len(traced) == 8
    assert max(most) <= 2
    assert np.mean(traced[-2:]) - np.mean(traced[1:3]) < 0.5 * size, "all curves are twice that: 20 s each, not trimmed"


def test_interrupted_nothing_looks_complete(
    generator: SpiroGenerator,
    data: Path,
    stand_in: Callable[..., Drawn],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(populations, "SESSIONS", 4)
    calls: list[int] = []

    def interrupted(*given: Any) -> Drawn:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return stand_in(*given)

    monkeypatch.setattr(populations, "draw_sessions", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generator.write_cohort(tmp_path / "lungs", 40, data=data)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".lungs.0123456789abcdef.part").mkdir()  # as a killed process leaves it
    calls[:] = [1] * 5
    generator.write_cohort(tmp_path / "lungs", 5, data=data)
    assert [file.name for file in tmp_path.iterdir()] == ["lungs"]


def test_nothing_but_a_population_is_written_over(
    generator: SpiroGenerator, data: Path, stand_in: object, tmp_path: Path
) -> None:
    for name, words in (("a.parquet", "name a folder, as a"), ("mine", "holds 'notes.txt', which is not")):
        if name == "mine":
            (tmp_path / name).mkdir()
            (tmp_path / name / "notes.txt").write_text("mine")
        with pytest.raises(SpiroError, match=words):
            generator.write_cohort(tmp_path / name, 2, data=data, force=True)
    generator.write_cohort(tmp_path / "lungs", 2, data=data)
    with pytest.raises(SpiroError, match="exists already; give another name, or --force"):
        generator.write_cohort(tmp_path / "lungs", 3, data=data)
    generator.write_cohort(tmp_path / "lungs", 3, data=data, force=True)
    assert len(pd.read_parquet(tmp_path / "lungs/people.parquet")) == 3
    assert {file.name for file in tmp_path.iterdir()} == {"mine", "lungs"}
    (tmp_path / "file").write_text("")
    with pytest.raises(SpiroError, match="is no folder"):
        generator.write_cohort(tmp_path / "file", 2, data=data)
    with pytest.raises(SpiroError, match="give the folder a name"):
        generator.write_cohort(".", 2, data=data, force=True)
    with pytest.raises(SpiroError, match="retests is 101; expected 0 to 100"):
        generator.write_cohort(tmp_path / "b", 2, data=data, retests=101)


def survey() -> pd.DataFrame:
    """A man with obstruction who stands for nine times as many people as a woman without, three efforts each."""
    man = {"person": 8, "age": 50.0, "height": 175.0, "sex": 1, "fev1": 2.0, "fvc": 4.0}
    woman = {"person": 5, "age": 15.0, "height": 165.0, "sex": 2, "fev1": 3.2, "fvc": 3.6}
    whole = {"pef": 8.0, "fef2575": 2.0, "fev075": 1.9, "bev": 0.05, "fet": 8.0, "t99": 5.0, "last_second": 0.01}
    whole |= {"end_flow": 0.05, "cough": 0.0, "cough075": 0.0}
    rows = [
        whole | person | {"effort": place, "test_type": "Pre", "grade": "A"}
        for person in (man, woman)
        for place in (1, 2, 3)
    ]
    return pd.DataFrame(rows)


def test_shares_and_means_are_weighted() -> None:
    people = prevalences.people_of(survey())
    assert people["pattern"].tolist() == ["obstruction", "normal"]
    assert people["grade_fvc"].tolist() == people["nhanes_fev1"].tolist() == ["A", "A"]
    table = prevalences.figures(people)
    means = prevalences.Means()
    means.add(table, np.array([9.0, 1.0]))
    found = means.table()
    assert found["mean"]["ratio_20_79"] == 1.0, "the woman is 15"
    assert found["mean"]["ratio_6_79"] == pytest.approx(0.9)
    assert found["mean"]["grade_fev1=A"] == 1.0
    assert found["mean"]["fev1, male 40-59"] == 2.0
    assert found["n"]["fev1, female 40-59"] == 0
    assert np.isnan(found["mean"]["fev1, female 40-59"])
    halves = prevalences.Means()
    halves.add(table.iloc[:1], np.array([9.0]))
    halves.add(table.iloc[1:], np.array([1.0]))
    pd.testing.assert_frame_equal(halves.table(), found)
    ill = survey().assign(grade="D")
    assert prevalences.figures(prevalences.people_of(ill))["ratio_6_79"].isna().all(), "nothing is reported of them"


def test_the_card_says_what_it_is(made: Path, written: Written, data: Path) -> None:
    text = (made / folder.CARD).read_text()
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["license"] == "apache-2.0"
    for config in head["configs"]:
        assert list(made.glob(config["data_files"]))
    for words in (
        f"{PEOPLE} people, {written.drawn.efforts} efforts, seed 1",
        "every curve was simulated",
        "not for diagnosis",
        "| FEV1/FVC < 0.70, ages 20 to 79 | 14.1 % |",
        "| FEV1/FVC < 0.70, ages 6 to 79 | 11.3 % |",
        "PRISm, ages 18 and more: FEV1/FVC >= 0.70 and FEV1 < 80 % predicted by GLI Global",
        "Retests are not trained: NHANES examined each participant once",
        "10.1183/09031936.05.00035205",
        "The figures of the model are not known",
    ):
        assert words in text, words
    mean = written.participants.table()["mean"]["ratio_6_79"]
    assert f"| 11.3 % | {100 * mean:.1f} % |" in text
    names = {"efforts": columns.EFFORTS, "people.parquet": columns.PEOPLE}
    for name, described in names.items():
        schema = pyarrow.dataset.dataset(made / name, format="parquet").schema
        assert schema.names == [column.name for column in described]
    for column in (*columns.EFFORTS, *columns.PEOPLE):
        assert f"| `{column.name}` | {column.kind} | {column.unit} |" in text


def test_the_documentation_has_every_column() -> None:
    text = (ROOT / "docs/datasets.md").read_text()
    for column in (*columns.EFFORTS, *columns.PEOPLE):
        assert f"`{column.name}`" in text, column.name


def test_checksums_licence_and_citation(made: Path) -> None:
    lines = [line.split("  ") for line in (made / folder.SUMS).read_text().splitlines()]
    files = {file.relative_to(made).as_posix() for file in made.rglob("*") if file.is_file()}
    assert {name for _, name in lines} == files - {folder.SUMS}
    for digest, name in lines:
        assert hashlib.sha256((made / name).read_bytes()).hexdigest() == digest
    assert (made / folder.LICENSE).read_bytes() == (ROOT / "LICENSE").read_bytes() == metadata.LICENSE.read_bytes()
    cited = yaml.safe_load((made / folder.CITATION).read_text())
    assert {"cff-version", "message", "title", "authors"} <= cited.keys(), "what the format asks for"
    assert cited["type"] == "dataset"


def test_croissant_is_valid_and_reads_the_records(made: Path, efforts: pd.DataFrame) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    dataset = mlcroissant.Dataset(jsonld=made / folder.CROISSANT)
    assert list(dataset.metadata.issues.errors) == []
    assert list(dataset.metadata.issues.warnings) == []
    records = list(dataset.records("people"))
    assert [record["people/person"] for record in records] == list(range(PEOPLE))
    effort = next(iter(dataset.records("efforts")))
    np.testing.assert_array_equal(effort["efforts/flow_l_s"], efforts["flow_l_s"].iloc[0])
    assert effort["efforts/fev1"] == efforts["fev1"].iloc[0]


def test_ro_crate_is_valid_and_describes_every_file(made: Path) -> None:
    rocrate = pytest.importorskip("rocrate.rocrate", reason="rocrate is not installed")
    crate = rocrate.ROCrate(made)
    assert crate.metadata.id == folder.CRATE
    for needed in ("name", "description", "datePublished", "license"):
        assert crate.root_dataset[needed]
    described = {entity.id: entity for entity in crate.data_entities}
    files = {file.relative_to(made).as_posix() for file in made.rglob("*") if file.is_file()}
    assert set(described) == files - {folder.CRATE, folder.SUMS}
    for name, entity in described.items():
        assert entity["contentSize"] == str((made / name).stat().st_size)
    graph = json.loads((made / folder.CRATE).read_text())["@graph"]
    declared = {entity["@id"] for entity in graph} | {"https://w3id.org/ro/crate/1.1"}
    used = {value["@id"] for entity in graph for value in entity.values() if isinstance(value, dict)}
    assert used <= declared, "what is pointed at is described"


LOADERS = {
    "pandas": 'import pandas as pd\nefforts = pd.read_parquet("efforts")\nprint(len(efforts))',
    "pyarrow": 'import pyarrow.dataset as ds\nefforts = ds.dataset("efforts")\nprint(efforts.count_rows())',
    "polars": 'import polars as pl\nefforts = pl.read_parquet("efforts/*.parquet")\nprint(len(efforts))',
    "datasets": "from datasets import load_dataset\n"
    'efforts = load_dataset("parquet", data_files="efforts/*.parquet", split="train")\nprint(len(efforts))',
}


@pytest.mark.parametrize("library", LOADERS)
def test_it_loads_in_three_lines_without_a_network(
    made: Path, efforts: pd.DataFrame, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(library, reason=f"{library} is not installed")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = subprocess.run(
        [sys.executable, "-c", LOADERS[library]], cwd=made, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(efforts)


def test_the_command_says_what_it_drew(
    models: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["cohort", "-n", "3", "--models", str(models), "--data", str(data)]
    assert main([*command, "--out", str(tmp_path / "a")]) == 0
    out = capsys.readouterr().out
    for words in ("FEV1/FVC < 0.70, ages 20 to 79", "s per 1,000 efforts", "wrote", "and 7 files beside it"):
        assert words in out
    assert main([*command, "--out", str(tmp_path / "b"), "--retests", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["retests"] == 1
    assert result["seconds_per_1000_efforts"] > 0
    assert str(tmp_path / "b" / folder.SUMS) in result["files"]
    assert main([*command, "--out", str(tmp_path / "a")]) == 1
    assert "exists already" in capsys.readouterr().err
