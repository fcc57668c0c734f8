"""XPORT: our writer and reader against pyreadstat's, pandas' and the CDC's own files."""

import dataclasses
import io
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyreadstat
import pytest
from corruption import invented
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.formats import xport
from spiro_diffusion.formats.repair_log import Findings
from spiro_diffusion.nhanes import codebook, xport_repair

SHARED = Path(__file__).parents[2] / "shared" / "nhanes"
real_files = pytest.mark.skipif(not SHARED.exists(), reason="the CDC's files are not here")

magnitudes = st.floats(1e-70, 1e70) | st.sampled_from([1.0, 16.0, 1 / 16, 62161.0, 0.1, 172.3])
numbers = st.one_of(st.just(0.0), st.just(np.nan), magnitudes, magnitudes.map(lambda x: -x))


def written(table: pd.DataFrame, dataset: str = "BMX_G") -> bytes:
    out = io.BytesIO()
    xport.write(out, dataset, table)
    return out.getvalue()


def values(parts: xport_repair.Parts) -> dict[str, np.ndarray]:
    table = {}
    for column in parts.columns:
        if column.text:
            table[column.name] = np.char.decode(xport.texts(parts.rows, column), "latin-1")
        else:
            table[column.name], wrong = xport.from_ibm(xport.ibm_bits(parts.rows, column))
            assert not wrong.any()
    return table


@given(hnp.arrays(np.float64, 20, elements=numbers))
def test_numbers_come_back_exactly(drawn: np.ndarray) -> None:
    back, wrong = xport.from_ibm(xport.to_ibm(drawn))
    assert not wrong.any()
    np.testing.assert_array_equal(back, drawn)


def test_every_missing_value_of_sas_is_missing() -> None:
    bits = np.array([ord(mark) << 56 for mark in "._ABCXYZ"], np.uint64)
    back, wrong = xport.from_ibm(bits)
    assert np.isnan(back).all()
    assert not wrong.any()


@pytest.mark.parametrize("bits", [0x4101000000000000, 0x2000000000000001, 0x8000000000000000, 0x420FFFFFFFFFFFFF])
def test_bits_that_are_no_number_are_told(bits: int) -> None:
    assert xport.from_ibm(np.array([bits], np.uint64))[1].all()


@pytest.mark.parametrize("value", [np.inf, 1e80, 1e-80])
def test_numbers_that_the_format_cannot_hold_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="XPORT holds numbers"):
        xport.to_ibm(np.array([value]))


def test_other_readers_read_what_we_write(tmp_path: Path) -> None:
    table = invented(codebook.FILES["SPX_G"], 50, np.random.default_rng(0))
    (tmp_path / "spx.xpt").write_bytes(written(table, "SPX_G"))
    by_pyreadstat, meta = pyreadstat.read_xport(tmp_path / "spx.xpt")
    by_pandas = pd.read_sas(tmp_path / "spx.xpt", encoding="latin-1")
    assert meta.table_name == "SPX_G" or meta.table_name is None
    for name in map(str, table):
        expected = table[name].to_numpy()
        np.testing.assert_array_equal(by_pyreadstat[name].to_numpy(), expected)
        np.testing.assert_array_equal(by_pandas[name].fillna("" if expected.dtype.kind in "OU" else np.nan), expected)


def test_the_same_table_gives_the_same_bytes_and_no_time(tmp_path: Path) -> None:
    table = invented(codebook.FILES["BMX_G"], 10, np.random.default_rng(0))
    assert written(table) == written(table)
    assert written(table).count(xport.TIMESTAMP) == 4


@pytest.mark.parametrize("version", [5, 8])
def test_we_read_what_another_writer_wrote(tmp_path: Path, version: Literal[5, 8]) -> None:
    table = invented(codebook.FILES["SPX_G"], 40, np.random.default_rng(1))
    table = table.assign(SPXNQFVC="A")  # pyreadstat writes texts as wide as they are
    pyreadstat.write_xport(table, tmp_path / "spx.xpt", file_format_version=version, table_name="SPX_G")
    file = dataclasses.replace(codebook.FILES["SPX_G"], releases=())
    findings = Findings()
    found = values(xport_repair.parsed((tmp_path / "spx.xpt").read_bytes(), file, findings))
    assert findings.mended == []
    for name in map(str, table):
        expected = table[name].to_numpy()
        actual = np.char.rstrip(found[name]) if found[name].dtype.kind == "U" else found[name]
        np.testing.assert_array_equal(actual.astype(expected.dtype), expected)


def test_a_version_8_file_that_lost_rows_is_refused(tmp_path: Path) -> None:
    table = invented(codebook.FILES["BMX_G"], 40, np.random.default_rng(1))
    pyreadstat.write_xport(table, tmp_path / "bmx.xpt", file_format_version=8, table_name="BMX_G")
    data = (tmp_path / "bmx.xpt").read_bytes()
    with pytest.raises(SpiroError, match="40 are expected"):
        xport_repair.parsed(data[: -80 * 13], codebook.FILES["BMX_G"], Findings())


def test_a_version_8_file_with_a_wrong_number_of_columns_is_refused(tmp_path: Path) -> None:
    table = invented(codebook.FILES["BMX_G"], 40, np.random.default_rng(1))
    pyreadstat.write_xport(table, tmp_path / "bmx.xpt", file_format_version=8, table_name="BMX_G")
    data = (tmp_path / "bmx.xpt").read_bytes()
    with pytest.raises(SpiroError, match="v8 header is damaged"):
        xport_repair.parsed(data[:608] + b"9000000026" + data[618:], codebook.FILES["BMX_G"], Findings())


@real_files
@pytest.mark.parametrize("name", ["DEMO_G", "BMX_G", "SPX_G"])
def test_the_cdcs_files_read_as_pyreadstat_reads_them(name: str) -> None:
    path = SHARED / f"{name}.xpt"
    findings = Findings()
    parts = xport_repair.parsed(path.read_bytes(), codebook.FILES[name], findings)
    expected, _ = pyreadstat.read_xport(path)
    assert findings.mended == []
    assert findings.sha256 in {release.sha256 for release in codebook.FILES[name].releases}
    assert [column.name for column in parts.columns] == list(expected.columns)
    for column, found in values(parts).items():
        if found.dtype.kind == "U":
            assert np.char.rstrip(found).tolist() == expected[column].tolist()
        else:
            missing = np.isnan(found)
            np.testing.assert_array_equal(missing, expected[column].isna())
            np.testing.assert_array_equal(
                found[~missing].view(np.uint64), expected[column].to_numpy()[~missing].view(np.uint64)
            )


@real_files
@pytest.mark.parametrize("name", ["DEMO_G", "BMX_G", "SPX_G"])
def test_we_write_the_cdcs_files_as_the_cdc_does(name: str) -> None:
    """Byte by byte, the times and the system's name excepted."""
    theirs = (SHARED / f"{name}.xpt").read_bytes()
    table, meta = pyreadstat.read_xport(SHARED / f"{name}.xpt")
    out = io.BytesIO()
    xport.write(out, name, table, {k: v or "" for k, v in meta.column_names_to_labels.items()})
    ours = out.getvalue()
    different = np.flatnonzero(np.frombuffer(ours, np.uint8) != np.frombuffer(theirs, np.uint8))
    assert len(ours) == len(theirs)
    assert all(104 <= byte < 240 or 424 <= byte < 560 for byte in different)
