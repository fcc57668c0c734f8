"""The commands of docs/howto.md and docs/uk_biobank.md run, and the dev container does what `make setup` does."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lungs import Lungs
from repository import ROOT

from spiro_diffusion import api
from spiro_diffusion.cli import main
from spiro_diffusion.core.params import load_params
from spiro_diffusion.nhanes.repair import repair_folder
from spiro_diffusion.physiology import counter
from spiro_diffusion.pipeline import align, download, filter, resample
from spiro_diffusion.simulation.simulator import simulate

HOWTO, BIOBANK = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("howto.md", "uk_biobank.md"))


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


def test_blows_of_field_3066_become_the_training_data_of_the_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the field's text of simulated people to the table that the networks are trained on."""
    monkeypatch.chdir(tmp_path)
    made = simulate("G", 30, 5)
    raw = made["SPXRAW"].query("SPATTYPE == 'Pre'")
    body = made["BMX"].merge(made["DEMO"], on="SEQN").set_index("SEQN")
    rows, people = [], []
    for number, (seqn, efforts) in enumerate(raw.groupby("SEQN"), 1_000_001):
        row = {"eid": str(number)}
        for i, effort in enumerate(efforts.head(3).to_dict("records")):
            flow = counter.flow(np.asarray(effort["SPXRAW"])[None], float(effort["SPAFACT"]))[0]
            volume = np.rint(10 * np.cumsum(flow)).astype(int)  # mL at BTPS
            row[f"3066-0.{i}"] = f"blow{i + 1},{(np.cumsum(volume != 0) > 0).sum()},{','.join(map(str, volume))}"
        rows.append(row)
        person = body.loc[seqn]
        person_columns = {"sex": 2 - person["RIAGENDR"], "age": person["RIDAGEYR"], "height": person["BMXHT"]}
        people.append({"eid": number, **person_columns, "weight": person["BMXWT"]})
    rows[3]["3066-0.0"] = "blow1,3,0,0,nothing"
    pd.DataFrame(rows).to_csv("blows.csv", index=False)
    pd.DataFrame(people).to_csv("people.csv", index=False)
    (script,) = blocks(BIOBANK, "python")
    exec(script, {})
    output = capsys.readouterr().out
    assert re.search(r"\d+ blows of 30 people; left out: ", output), output

    params = ROOT / "params.yaml"
    download.download(download.Params("ukb", ["G"], 1, 0), raw=tmp_path / "raw")
    report = repair_folder(tmp_path / "raw", tmp_path / "repaired")
    assert all(found["mended"] == [] for found in report.values())
    tables = {name: tmp_path / f"{name}.parquet" for name in ("aligned", "filtered", "curves")}
    align.align(
        load_params(align.Params, "align", params),
        repaired=tmp_path / "repaired",
        aligned=tables["aligned"],
        metadata=tmp_path / "metadata.csv",
        metrics=tmp_path / "align.json",
    )
    filter.filter(
        load_params(filter.Params, "filter", params),
        aligned=tables["aligned"],
        filtered=tables["filtered"],
        metrics=tmp_path / "filter.json",
    )
    resample.resample(
        load_params(resample.Params, "resample", params),
        repaired=tmp_path / "repaired",
        filtered=tables["filtered"],
        signals=tmp_path / "signals.npy",
        curves=tables["curves"],
        metrics=tmp_path / "resample.json",
        plot_data=tmp_path / "plot_data.npz",
    )
    curves = pd.read_parquet(tables["curves"])
    assert curves["seqn"].nunique() >= 25
    assert len(curves) > 60
    best = curves[curves["best"]].set_index("seqn")["fvc"]
    order = np.sort(raw["SEQN"].unique())
    published = made["SPX"].set_index("SEQN")["SPXNFVC"] / 1000
    blown = pd.Series(published.reindex(order).to_numpy(), index=62161 + np.arange(len(order)))
    assert (best - blown.reindex(best.index)).abs().median() < 0.15  # L: of the first three blows alone


@pytest.fixture
def here(data: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the page takes for granted: two people's files, models that draw."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "SingleEfforts", lambda _: Lungs())  # untrained networks hardly draw what is asked for
    (tmp_path / "models").symlink_to(models)
    (tmp_path / "LAB").mkdir()
    raw = pd.read_parquet(data / "repaired" / "SPXRAW_G.parquet").query("SPATTYPE == 'Pre' and SPAQEFF == 'A'")
    for name, (_, efforts) in zip(("P1", "P2"), raw.groupby("SEQN"), strict=False):
        parts = []
        for number, effort in enumerate(efforts.to_dict("records"), 1):
            flow = counter.flow(np.asarray(effort["SPXRAW"])[None], float(effort["SPAFACT"]))[0]
            parts.append(pd.DataFrame({"curve": number, "time_s": 0.01 * np.arange(len(flow)), "flow_l_s": flow}))
        pd.concat(parts).round(4).to_csv(f"LAB/{name}.csv", index=False)
    people = {"person": ["P1", "P2"], "age": [45, 50], "height": [175, 171], "sex": ["male", "male"]}
    pd.DataFrame(people).to_csv("people.csv", index=False)
    return tmp_path


def test_every_command_of_the_page_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in "".join(blocks(HOWTO, "bash")).strip().splitlines():
        assert main(shlex.split(command)[1:]) == 0, command
    assert {"P1.html", "P2.html"} <= {file.name for file in (here / "reports/pages").iterdir()}
    assert len(pd.read_csv(here / "reports/sessions.csv")) == 2
    table = pd.read_csv(here / "test_set/cough_indices.csv")
    assert table["effort"].tolist() == ["cough"] * 20
    capsys.readouterr()
    (script,) = blocks(HOWTO, "python")
    exec(script, {})
    output = capsys.readouterr().out.split()
    assert float(output[output.index("slow_start") + 1]) == 1
    assert float(output[output.index("best") + 1]) < 0.5


def test_every_page_that_is_named_is_there_with_its_heading() -> None:
    for name, anchor in re.findall(r"\]\(([\w/]*\.?m?d?)#?([\w-]*)\)", HOWTO):
        page = (ROOT / "docs" / name).read_text(encoding="utf-8") if name else HOWTO
        headings = [re.sub(r"[^\w -]", "", line).strip().lower() for line in page.splitlines() if line.startswith("#")]
        assert not anchor or anchor in [heading.replace(" ", "-") for heading in headings], (name, anchor)


def test_the_dev_container_does_what_make_setup_does() -> None:
    folder = ROOT / ".devcontainer"
    about = json.loads((folder / "devcontainer.json").read_text())
    assert about["postCreateCommand"] == "make setup"
    assert (folder / about["build"]["dockerfile"]).is_file()
    steps = (folder / "Dockerfile").read_text()
    (installed,) = re.findall(r"--no-install-recommends ([a-z -]+) \\", steps)
    for program in installed.split():
        assert program in (ROOT / "docs/install.md").read_text(), program
    (version,) = re.findall(r"FROM python:(3\.\d+)", steps)
    assert int(version.split(".")[1]) >= 11
    assert "pip" not in steps, "what is installed is written once, in the Makefile"
