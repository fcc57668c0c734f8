"""The three sources, as the stage brings them."""

import itertools
import json
import os
import shutil
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pyreadstat
import pytest
import yaml

from spiro_diffusion.core.artifacts import sha256
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.formats import spxraw
from spiro_diffusion.nhanes import codebook
from spiro_diffusion.nhanes.repair import repair_folder
from spiro_diffusion.pipeline.download import Params, download
from spiro_diffusion.pipeline.stage import run_stage

FILES_G = ["BMX_G.xpt", "DEMO_G.xpt", "SPXRAW_G.zip", "SPX_G.xpt"]


def simulated(raw: Path, cycles: list | None = None, seed: int = 1) -> Path:
    download(Params(source="simulated", cycles=cycles or ["G"], participants=8, seed=seed), raw=raw)
    return raw


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the files of cycle G."""
    raw = simulated(tmp_path_factory.mktemp("source"))
    (raw / "manifest.json").unlink()
    return raw


# --- simulated ------------------------------------------------------------------------------------------------


def test_the_simulated_files_are_the_cdcs_in_name_and_format(tmp_path: Path) -> None:
    raw = simulated(tmp_path)
    assert sorted(contents(raw)) == sorted([*FILES_G, "manifest.json"])
    assert pyreadstat.read_xport(raw / "DEMO_G.xpt")[0]["SEQN"].between(62161, 71916).all()
    with zipfile.ZipFile(raw / "SPXRAW_G.zip") as archive:
        assert archive.namelist() == ["spxraw_g.sas7bdat"]
        archive.extractall(tmp_path / "unpacked")
    curves, _ = pyreadstat.read_sas7bdat(tmp_path / "unpacked" / "spxraw_g.sas7bdat")
    assert (curves["SPXRAW"].str.count(",") + 1 == curves["SPXPTS"]).all()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first = contents(simulated(tmp_path / "a"))
    assert contents(simulated(tmp_path / "b")) == first
    other = contents(simulated(tmp_path / "c", seed=2))
    assert all(other[name] != first[name] for name in FILES_G)


def test_three_cycles_come_out_of_repair_with_people_of_their_own(tmp_path: Path) -> None:
    report = repair_folder(simulated(tmp_path / "raw", ["E", "F", "G"]), tmp_path / "repaired")
    assert len(report) == 12
    assert all(found["mended"] == found["warnings"] == [] for found in report.values())
    people = [set(pq.read_table(tmp_path / "repaired" / f"DEMO_{c}.parquet")["SEQN"].to_pylist()) for c in "EFG"]
    assert len(set.union(*people)) == sum(map(len, people))
    for name in codebook.CYCLES:
        columns = pq.read_schema(tmp_path / "repaired" / f"DEMO_{name}.parquet").names
        assert codebook.CYCLES[name].exam_months in columns
        assert "RIDRETH1" in columns
        assert ("RIDRETH3" in columns) == (codebook.CYCLES[name].ethnicity3 is not None)


# --- a folder -------------------------------------------------------------------------------------------------


def take(folder: Path, raw: Path) -> dict:
    download(Params(source=str(folder), cycles=["G"], participants=1, seed=0), raw=raw)
    return json.loads((raw / "manifest.json").read_text())


def test_a_folders_files_are_copied_with_their_sha256_and_no_path(files: Path, tmp_path: Path) -> None:
    manifest = take(files, tmp_path / "raw")
    assert manifest["source"] == "folder"
    assert {n: found["sha256"] for n, found in manifest["files"].items()} == {n: sha256(files / n) for n in FILES_G}
    assert str(files) not in (tmp_path / "raw" / "manifest.json").read_text()
    assert {name: (tmp_path / "raw" / name).read_bytes() for name in FILES_G} == contents(files)


def test_a_copy_is_no_link_into_the_source(files: Path, tmp_path: Path) -> None:
    take(files, tmp_path / "raw")
    assert not any(os.path.samefile(files / name, tmp_path / "raw" / name) for name in FILES_G)


def test_letter_case_and_suffix_of_the_source_do_not_matter(files: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(files, source)
    (source / "DEMO_G.xpt").rename(source / "demo_g.XPT")
    with zipfile.ZipFile(source / "SPXRAW_G.zip") as archive:
        archive.extractall(source)
    (source / "SPXRAW_G.zip").unlink()
    manifest = take(source, tmp_path / "raw")
    assert sorted(manifest["files"]) == ["BMX_G.xpt", "DEMO_G.xpt", "SPX_G.xpt", "spxraw_g.sas7bdat"]
    assert repair_folder(tmp_path / "raw", tmp_path / "repaired")["SPXRAW_G"]["kind"] == "SAS7BDAT"


def test_a_file_that_the_folder_lacks_is_named_with_the_folder(files: Path, tmp_path: Path) -> None:
    shutil.copytree(files, tmp_path / "source", ignore=shutil.ignore_patterns("SPX_G*"))
    with pytest.raises(SpiroError, match=r"source: holds no SPX_G\.xpt; put it there or change download\.source"):
        take(tmp_path / "source", tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_two_files_for_one_are_named(files: Path, tmp_path: Path) -> None:
    shutil.copytree(files, tmp_path / "source")
    (tmp_path / "source" / "bmx_g.XPT").write_bytes(b"")
    with pytest.raises(SpiroError, match=r"several files for BMX_G .BMX_G\.xpt, bmx_g\.XPT.; keep one"):
        take(tmp_path / "source", tmp_path / "raw")


def test_no_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpiroError, match="which is no folder; give simulated, nhanes or a folder"):
        take(tmp_path / "nowhere", tmp_path / "raw")


def test_the_folder_is_not_the_one_they_go_to(files: Path) -> None:
    with pytest.raises(SpiroError, match="where the files go to"):
        take(files, files)


# --- a server -------------------------------------------------------------------------------------------------


def test_a_mirror_serves_and_then_its_copy(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in codebook.files(["G"]):
        place = tmp_path / "site" / file.paths[0].lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files / file.filename, place)

    class Site(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "site"))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        download(Params(source=address, cycles=["G"], participants=1, seed=0), raw=tmp_path / "raw")
        server.shutdown()
    manifest = json.loads((tmp_path / "raw" / "manifest.json").read_text())
    assert manifest["files"]["DEMO_G.xpt"]["address"] == address + codebook.FILES["DEMO_G"].paths[0]
    assert {name: (tmp_path / "raw" / name).read_bytes() for name in FILES_G} == contents(files)
    shutil.rmtree(tmp_path / "raw")  # as DVC does before a stage runs; the server is gone as well
    download(Params(source=address, cycles=["G"], participants=1, seed=0), raw=tmp_path / "raw")
    assert {name: (tmp_path / "raw" / name).read_bytes() for name in FILES_G} == contents(files)


# --- the stage ------------------------------------------------------------------------------------------------


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changed: object) -> str:
    """The stage from its command line, which is to fail; its message."""
    monkeypatch.chdir(tmp_path)
    section = {"source": "simulated", "cycles": ["G"], "participants": 8, "seed": 1, **changed}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"download": section}))
    with pytest.raises(SystemExit) as ended:
        run_stage(download, Params, ["--raw", "raw"])
    assert not (tmp_path / "raw").exists()
    return str(ended.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cycles": ["H"]}, "download.cycles is 'H'; expected one of 'E', 'F', 'G'"),
        ({"cycles": []}, "cycles is []; expected one or more of E, F, G, each once"),
        ({"cycles": ["G", "G"]}, "each once"),
        ({"participants": 0}, "participants is 0"),
        ({"participants": "many"}, "download.participants is 'many'; expected int"),
        ({"particpants": 8}, "download.particpants is not a parameter"),
        ({"source": "nowhere"}, "download: download.source is nowhere, which is no folder"),
        ({"participants": 10_000_000}, "participants"),
    ],
)
def test_bad_parameters_end_the_stage_with_one_line(
    changed: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message_of_stage = run(tmp_path, monkeypatch, **changed)
    assert message in message_of_stage
    assert "\n" not in message_of_stage


# --- what is known --------------------------------------------------------------------------------------------


def test_no_participant_belongs_to_two_cycles() -> None:
    cycles = sorted(codebook.CYCLES.values(), key=lambda cycle: cycle.first_seqn)
    assert all(a.last_seqn < b.first_seqn for a, b in itertools.pairwise(cycles))
    for name, cycle in codebook.CYCLES.items():
        assert cycle.last_seqn - cycle.first_seqn + 1 == codebook.FILES[f"DEMO_{name}"].rows


def test_both_addresses_of_a_file_are_known() -> None:
    assert codebook.FILES["DEMO_G"].paths == (
        "/Nchs/Data/Nhanes/Public/2011/DataFiles/DEMO_G.xpt",
        "/Nchs/Nhanes/2011-2012/DEMO_G.XPT",
    )
    assert codebook.FILES["SPXRAW_E"].paths == (
        "/Nchs/Data/Nhanes/Public/2007/DataFiles/SPXRAW_E.zip",
        "/Nchs/Nhanes/2007-2008/SPXRAW_E.ZIP",
    )


@pytest.mark.parametrize("file", codebook.FILES.values(), ids=lambda file: file.name)
def test_the_columns_of_a_file_hold_what_the_pipeline_needs(file: codebook.File) -> None:
    for columns in file.columns:
        assert len(set(columns)) == len(columns)
        assert set(codebook.NEEDED[file.table]) <= set(columns)
    for release in (
        release for release in file.releases if release.columns
    ):  # the size of an XPORT file follows from its columns and rows
        if not release.columns:
            continue
        widths = sum(1 if codebook.is_text(name) else 8 for name in release.columns)
        head = 640 + -(-140 * len(release.columns) // 80) * 80 + 80
        assert release.size == head + -(-widths * (file.rows or 0) // 80) * 80


@pytest.mark.parametrize("curve", [[0], [-9, 9, -10, 10, 99, -100, 999, -1000], [9999, -10000, 32767, -32768]])
def test_the_width_of_a_curves_text_is_known_without_making_it(curve: list[int]) -> None:
    assert spxraw.width(np.array(curve, np.int16)) == len(spxraw.text(np.array(curve, np.int16)))
