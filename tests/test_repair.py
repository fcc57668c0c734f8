"""The catalogue of docs/repair.md: each damage is mended exactly or refused with one clear line."""

import dataclasses
import gzip
import hashlib
import io
import json
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyreadstat
import pytest
from corruption import FAILED, KINDS, Sample, damaged, invented, judge, samples, sas7bdat_sample, xport_sample, zipped

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.formats import sas7bdat_writer, xport
from spiro_diffusion.formats.column import Column, placed
from spiro_diffusion.nhanes import codebook
from spiro_diffusion.nhanes.repair import repair_file, repair_folder
from spiro_diffusion.pipeline.repair import Params
from spiro_diffusion.pipeline.repair import repair as repair_stage
from spiro_diffusion.simulation.files import write_cycle

SHARED = Path(__file__).parents[2] / "shared" / "nhanes"
real_files = pytest.mark.skipif(not SHARED.exists(), reason="the CDC's files are not here")


def unreleased(sample: Sample) -> Sample:
    """As if the SHA-256 of the sound file were not known, which alone would prove what is mended."""
    return sample._replace(file=dataclasses.replace(sample.file, releases=()))


DEMO, BMX, SPX = (unreleased(xport_sample(name, 40, seed)) for seed, name in enumerate(("DEMO", "BMX", "SPX")))
CURVES = sas7bdat_sample(40, 4)


def repaired(sample: Sample, data: bytes, folder: Path, published: bool = True) -> dict:
    """Repair and compare with what was in the file; the report."""
    path, out = folder / "raw.bin", folder / "table.parquet"
    path.write_bytes(data)
    report = repair_file(path, sample.file, out, published)
    pd.testing.assert_frame_equal(pq.read_table(out).to_pandas(), sample.table, check_dtype=False)
    return report


def refusal(sample: Sample, data: bytes, folder: Path, published: bool = True) -> str:
    """Repair, which is to refuse; the message without the file's name."""
    path, out = folder / "raw.bin", folder / "table.parquet"
    path.write_bytes(data)
    with pytest.raises(SpiroError) as caught:
        repair_file(path, sample.file, out, published)
    assert not out.exists()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def overwritten(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


# --- sound ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [DEMO, BMX, SPX, CURVES], ids=lambda sample: sample.name)
def test_a_sound_file_comes_out_as_it_is(sample: Sample, tmp_path: Path) -> None:
    report = repaired(sample, sample.data, tmp_path)
    assert report["mended"] == []
    assert (report["rows"], report["columns"]) == sample.table.shape


def test_curves_are_lists_of_whole_millilitres(tmp_path: Path) -> None:
    repaired(CURVES, CURVES.data, tmp_path)
    assert pq.read_schema(tmp_path / "table.parquet").field("SPXRAW").type == pa.list_(pa.int16())


@pytest.mark.parametrize("version", [5, 8])
def test_files_of_other_writers_and_versions_are_read(version: Literal[5, 8], tmp_path: Path) -> None:
    pyreadstat.write_xport(BMX.table, tmp_path / "x.xpt", file_format_version=version, table_name="BMX_G")
    report = repaired(BMX, (tmp_path / "x.xpt").read_bytes(), tmp_path)
    assert report["kind"] == f"SAS XPORT v{version}"


# --- mended ---------------------------------------------------------------------------------------------------

XPORT_MENDED = {
    "byte-order mark": (lambda d: b"\xef\xbb\xbf" + d, "3 bytes before the header removed"),
    "text in front": (lambda d: b"HTTP/1.1 200 OK\r\n\r\n" + d, "19 bytes before the header removed"),
    "start cut off": (lambda d: d[17:], "17 bytes missing at the start restored"),
    "library record damaged": (lambda d: overwritten(d, 0, b"x" * 80), "header record at byte 0 restored"),
    "member record damaged": (lambda d: overwritten(d, 240, b"\0" * 80), "header record at byte 240 restored"),
    "descriptor record damaged": (lambda d: overwritten(d, 330, b"#"), "header record at byte 320 restored"),
    "column count damaged": (lambda d: overwritten(d, 614, b"9999"), "number of columns restored to 26"),
    "rows' record damaged": (
        lambda d: d.replace(b"OBS     HEADER RECORD", b"???     HEADER RECORD"),
        "header record before the rows restored",
    ),
    "column name damaged": (lambda d: d.replace(b"BMXHT   ", b"BM\xffHT   "), "name of column BMXHT restored"),
    "column type damaged": (lambda d: overwritten(d, 780, b"\0\2"), "type of column BMDSTATS restored"),
    "column number damaged": (lambda d: overwritten(d, 787, b"\7"), "number of column BMDSTATS restored"),
    "column width damaged": (lambda d: overwritten(d, 784, b"\0\5"), "place of column BMDSTATS restored"),
    "column offset damaged": (lambda d: overwritten(d, 780 + 84, b"\0\0\1\0"), "place of column BMDSTATS restored"),
    "CR before each LF": (lambda d: d.replace(b"\n", b"\r\n"), "the CR before each of"),
    "Latin-1 taken for text": (
        lambda d: d.decode("latin-1").encode("utf-8"),
        "translation from latin-1 to UTF-8 undone",
    ),
    "zeros behind": (lambda d: d + b"\0" * 5000, "5000 bytes behind the last row removed"),
    "line end behind": (lambda d: d + b"\r\n\x1a", "3 bytes behind the last row removed"),
    "a page behind": (lambda d: d + b"<html>oops</html>", "17 bytes behind the last row removed"),
    "padding cut off": (lambda d: d[:-30], "30 blanks behind the last row restored"),
}
ODD = unreleased(xport_sample("BMX", 41, 6))  # rows that need padding: only that tells where they end


@pytest.mark.parametrize("damage", XPORT_MENDED)
def test_damage_of_xport_is_mended_exactly(damage: str, tmp_path: Path) -> None:
    change, note = XPORT_MENDED[damage]
    assert ODD.data.endswith(b" " * 31)
    report = repaired(ODD, change(ODD.data), tmp_path)
    assert any(line.startswith(note) for line in report["mended"]), report["mended"]


def test_exchanged_names_are_refused_by_the_cdcs_order(tmp_path: Path) -> None:
    data = bytearray(DEMO.data)
    first, second = (data.index(name) for name in (b"RIAGENDR", b"SDMVPSU "))
    data[first : first + 8], data[second : second + 8] = data[second : second + 8], data[first : first + 8]
    assert "see SDMVPSU): names may have been exchanged" in refusal(DEMO, bytes(data), tmp_path)


def test_exchanged_names_of_another_cycle_are_refused_by_their_labels(tmp_path: Path) -> None:
    """Of cycle E no file was seen at first hand: another order is read where the labels are right."""
    file = dataclasses.replace(codebook.FILES["DEMO_E"], rows=None, counts=())
    table = invented(file, 30, np.random.default_rng(0))[[*codebook.DEMO_EF[:4], "SDMVPSU", "RIAGENDR", "RIDAGEYR"]]
    table = table.assign(RIDRETH1=1.0, WTMEC2YR=1.0)
    words = {name: word.partition("|")[0].title() for name, word in codebook.LABEL_WORDS.items()}
    xport.write(out := io.BytesIO(), "DEMO_E", table, words)
    (tmp_path / "x.xpt").write_bytes(out.getvalue())
    assert repair_file(tmp_path / "x.xpt", file, tmp_path / "t.parquet")["rows"] == 30
    exchanged = {"RIAGENDR": "SDMVPSU", "SDMVPSU": "RIAGENDR"}
    xport.write(out := io.BytesIO(), "DEMO_E", table, words)
    data = bytearray(out.getvalue())
    first, second = (data.index(name.ljust(8).encode()) for name in exchanged)
    data[first : first + 8], data[second : second + 8] = data[second : second + 8], data[first : first + 8]
    (tmp_path / "x.xpt").write_bytes(data)
    with pytest.raises(SpiroError, match="names may have been exchanged"):
        repair_file(tmp_path / "x.xpt", file, tmp_path / "t.parquet")


def test_halves_that_changed_places_are_refused_in_the_cdcs_files_and_told_of_in_others(tmp_path: Path) -> None:
    middle, end = (BMX.header + 208 * rows for rows in (20, 40))
    data = BMX.data[: BMX.header] + BMX.data[middle:end] + BMX.data[BMX.header : middle] + BMX.data[end:]
    reason = "but the CDC's files are sorted by SEQN: some rows may have changed places; fetch it again"
    assert reason in refusal(BMX, data, tmp_path)
    (tmp_path / "raw.bin").write_bytes(data)
    (warning,) = repair_file(tmp_path / "raw.bin", BMX.file, tmp_path / "t.parquet")["warnings"]
    assert warning.startswith("row 20: SEQN ")
    assert warning.endswith(reason)


def test_an_xport_file_larger_than_any_of_the_cdcs_is_refused_at_once(tmp_path: Path) -> None:
    data = BMX.data + bytes(32 << 20)
    tracemalloc.start()
    assert "is an XPORT file of more than 33,554,432 bytes; BMX_G.xpt has some MB" in refusal(BMX, data, tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 150 << 20
    tracemalloc.stop()


def test_the_first_release_of_demo_g_is_known(tmp_path: Path) -> None:
    """September 2013: 34 of today's columns, which give the size; the SHA-256 is put to the stand-in's."""
    current, first = codebook.FILES["DEMO_G"].releases
    assert first.sha256 == "bdecfa92"
    table = pd.DataFrame({name: np.ones(9756) for name in codebook.DEMO_G[:34]})
    table = table.assign(SEQN=62161.0 + np.arange(9756), SDDSRVYR=7.0, RIDEXAGY=2.0)
    xport.write(out := io.BytesIO(), "DEMO_G", table)
    assert len(out.getvalue()) == first.size
    first_release = first._replace(sha256=hashlib.sha256(out.getvalue()).hexdigest()[:8])
    file = dataclasses.replace(codebook.FILES["DEMO_G"], releases=(current, first_release))
    (tmp_path / "x.xpt").write_bytes(out.getvalue())
    report = repair_file(tmp_path / "x.xpt", file, tmp_path / "t.parquet", published=True)
    assert report["release"] == "superseded"
    assert "is an earlier release (2,659,200 bytes)" in report["warnings"][-1]


def test_names_in_a_zip_are_shown_short_and_without_control_characters(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for i in range(300):
            archive.writestr(f"{i}\x1b[31m" + "n" * 20_000, b"x")
    line = refusal(BMX, out.getvalue(), tmp_path)
    assert line.isprintable()
    assert len(line.removeprefix(str(tmp_path))) < 300


def test_zeros_may_pad_the_last_record_and_names_may_be_small(tmp_path: Path) -> None:
    data = ODD.data[:-32] + b"\0" * 32
    assert repaired(ODD, data, tmp_path)["mended"] == ["32 zero bytes behind the last row, where blanks belong"]
    small = ODD.data.replace(b"BMXHT   ", b"bmxht   ")
    assert repaired(ODD, small, tmp_path)["mended"] == []


def test_a_version_8_that_does_not_count_its_rows_is_read(tmp_path: Path) -> None:
    pyreadstat.write_xport(BMX.table, tmp_path / "x.xpt", file_format_version=8, table_name="BMX_G")
    data = (tmp_path / "x.xpt").read_bytes()
    at = data.index(b"OBSV8   HEADER RECORD!!!!!!!") + 28
    repaired(BMX, data[:at] + b"0".rjust(15) + data[at + 15 :], tmp_path)


SAS7BDAT_MENDED = {
    "byte-order mark": (lambda d: b"\xef\xbb\xbf" + d, "3 bytes before the header removed"),
    "mark at the start damaged": (lambda d: overwritten(d, 0, b"x" * 32), "marks at the start of the header restored"),
    "bytes behind": (lambda d: d + b"\0" * 600, "600 bytes behind the last page left out"),
    "column name damaged": (lambda d: d.replace(b"SPAQEFF", b"SPAQEFG"), "name of column SPAQEFF restored"),
}


@pytest.mark.parametrize("damage", SAS7BDAT_MENDED)
def test_damage_of_sas7bdat_is_mended_exactly(damage: str, tmp_path: Path) -> None:
    change, note = SAS7BDAT_MENDED[damage]
    assert repaired(CURVES, change(CURVES.data), tmp_path)["mended"] == [note]


@pytest.mark.parametrize(
    ("archive", "kind"),
    [
        (gzip.compress, "SAS XPORT v5 in gzip"),
        (zipped, "SAS XPORT v5 in zip"),
        (lambda data: zipped(zipped(data), "inner.zip"), "SAS XPORT v5 in zip in zip"),
        (lambda data: gzip.compress(zipped(data)), "SAS XPORT v5 in zip in gzip"),
    ],
)
def test_archives_are_opened(archive: Callable[[bytes], bytes], kind: str, tmp_path: Path) -> None:
    assert repaired(BMX, archive(BMX.data), tmp_path)["kind"] == kind


def test_the_one_table_in_a_zip_is_found_beside_other_files(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("readme.txt", "what this is")
        archive.writestr("data/bmx", BMX.data)
    repaired(BMX, out.getvalue(), tmp_path)


def test_the_kind_is_told_by_content_whatever_the_name(tmp_path: Path) -> None:
    (tmp_path / "BMX_G.xpt").write_bytes(gzip.compress(BMX.data))
    report = repair_file(tmp_path / "BMX_G.xpt", BMX.file, tmp_path / "t.parquet")
    assert report["kind"] == "SAS XPORT v5 in gzip"


# --- refused --------------------------------------------------------------------------------------------------

HTML = b"\n<!DOCTYPE html>\n<html><head><title>Page Not\n Found | CDC</title></head></html>"
REFUSED = {
    "empty": (lambda d: b"", "is empty"),
    "zeros only": (lambda d: b"\0" * 4000, "is nothing but zero bytes"),
    "HTML page": (lambda d: HTML, r"is an HTML page \('Page Not Found | CDC'\), not a SAS file; .*fetch it again"),
    "XML": (lambda d: b"<?xml version='1.0'?><Error/>", "is an XML document"),
    "JSON": (lambda d: b'{"error": 404}', "is JSON"),
    "CSV": (lambda d: b"SEQN,BMXHT\n62161,172.3\n", "is text in columns, such as CSV"),
    "text": (lambda d: b"Access denied\n", "is plain text"),
    "CPORT": (lambda d: b"**COMPRESSED** **COMPRESSED** **COMPRESSED**" + d, "is a SAS CPORT file.*PROC CIMPORT"),
    "Parquet": (lambda d: b"PAR1" + d, "is Parquet"),
    "xz": (lambda d: b"\xfd7zXZ\0" + d, "is xz.*unpack it first"),
    "noise": (lambda d: np.random.default_rng(0).bytes(5000), "is of no known kind"),
    "header only": (lambda d: d[: BMX.header], "holds a header and no rows"),
    "truncated in the header": (lambda d: d[:1500], "number of columns cannot be determined"),
    "truncated in a record": (lambda d: d[: BMX.header + 1000], "holds 4 rows, 40 are expected"),
    "cut in the last row": (lambda d: d[:-100], "holds 39 rows, 40 are expected"),
    "a row lost": (lambda d: d[: BMX.header + 416] + d[BMX.header + 624 :], "holds 39 rows"),
    "LF for CR": (lambda d: d.replace(b"\r", b"\n"), "was taken for text|out of order|SEQN"),
    "CR removed": (lambda d: d.replace(b"\r", b""), "."),
    "read as UTF-8": (lambda d: d.decode("utf-8", "replace").encode(), r"saved as UTF-8 text, which lost \d+ bytes"),
    "name records swapped": (
        lambda d: d[:640] + d[780:920] + d[640:780] + d[920:],
        "name records are out of order",
    ),
    "header destroyed": (lambda d: b"\0" * 600 + d[600:], "no known kind|destroyed"),
    "twice": (lambda d: d + d, "more than one table"),
    "row in the middle damaged": (lambda d: overwritten(d, BMX.header + 208 * 3, b"\0" * 8), "row 3: SEQN is 0"),
    "a value that cannot be": (
        lambda d: overwritten(d, BMX.header + 208 * 3 + 16, b"\x44\xff" + b"\0" * 6),
        r"row 3: BMXWT is 65280, the codebook has 1 to 440 with 1 decimals",
    ),
    "bits of no number": (lambda d: overwritten(d, BMX.header + 16, b"\x41\x01" + b"\0" * 6), "row 0: BMXWT is no IBM"),
    "truncated zip": (lambda d: zipped(d)[:-50], "is a damaged archive"),
    "damaged zip": (lambda d: overwritten(zipped(d), 800, b"damage"), "is a damaged archive"),
    "truncated gzip": (lambda d: gzip.compress(d)[:-400], "is a damaged archive"),
    "page in a zip": (lambda d: zipped(HTML), r"is an HTML page .* in zip"),
    "archives without end": (
        lambda d: zipped(zipped(zipped(zipped(d, "d"), "c"), "b"), "a"),
        "archives in archives, more than 3 deep",
    ),
}


@pytest.mark.parametrize("damage", REFUSED)
def test_damage_is_refused_with_one_line(damage: str, tmp_path: Path) -> None:
    change, message = REFUSED[damage]
    line = refusal(BMX, change(BMX.data), tmp_path)
    assert pd.Series([line]).str.contains(message).item(), line


@pytest.mark.parametrize("name", ["/x", "../x", "a/../../x", "C:\\x", "\\x"])
def test_a_zip_that_reaches_outside_is_refused(name: str, tmp_path: Path) -> None:
    assert "outside of its folder" in refusal(BMX, zipped(BMX.data, name), tmp_path)


def test_a_zip_that_unpacks_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    path.write_bytes(zipped(b"\0" * 3_000_000))
    with pytest.raises(SpiroError, match="unpacks to 3,000,000 bytes; at most 1,000,000 are read"):
        repair_file(path, BMX.file, tmp_path / "t.parquet", largest=1_000_000)


def test_an_archive_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(CURVES.data[:1024] + b"\0" * 3_000_000))
    with pytest.raises(SpiroError, match=r"beyond 1,000,000 bytes|damaged"):
        repair_file(path, CURVES.file, tmp_path / "t.parquet", largest=1_000_000)


def test_another_cycles_file_is_refused(tmp_path: Path) -> None:
    file = dataclasses.replace(codebook.FILES["BMX_F"], columns=BMX.file.columns, rows=40)
    assert "is a file of cycle G" in refusal(BMX._replace(file=file), BMX.data, tmp_path)


def test_another_table_under_the_name_is_refused(tmp_path: Path) -> None:
    assert "which DEMO_G has not" in refusal(DEMO, BMX.data, tmp_path)


def test_a_column_that_the_pipeline_needs_is_missed(tmp_path: Path) -> None:
    table = BMX.table.drop(columns="BMXHT")
    pyreadstat.write_xport(table, tmp_path / "x.xpt", file_format_version=5)
    assert "has no column BMXHT" in refusal(BMX, (tmp_path / "x.xpt").read_bytes(), tmp_path)


def test_a_participant_that_comes_twice_is_refused(tmp_path: Path) -> None:
    table = BMX.table.copy()
    seqn = table["SEQN"].to_numpy()
    table["SEQN"] = np.where(np.arange(len(table)) == 7, seqn[6], seqn)
    pyreadstat.write_xport(table, tmp_path / "x.xpt", file_format_version=5)
    line = refusal(BMX, (tmp_path / "x.xpt").read_bytes(), tmp_path)
    assert f"holds SEQN {seqn[6]:.0f} 2 times (rows 6 and 7)" in line


def as_arrays(table: pd.DataFrame) -> tuple[list[Column], dict[str, np.ndarray]]:
    """Columns and values as sas7bdat takes them; a curve may already be its text."""
    values: dict[str, np.ndarray] = {}
    for name in map(str, table):
        if name == "SPXRAW":
            values[name] = np.array(
                [c if isinstance(c, bytes) else ",".join(map(str, c)).encode() for c in table[name]]
            )
        elif codebook.is_text(name):
            values[name] = table[name].to_numpy(object).astype(bytes)
        else:
            values[name] = table[name].to_numpy(np.float64)
    kinds = [Column(name, "", codebook.is_text(name), array.dtype.itemsize) for name, array in values.items()]
    return placed(sorted(kinds, key=lambda column: column.text)), values


def curves_changed(**changed: Any) -> bytes:
    """CURVES with some columns changed before it is written."""
    table = CURVES.table.assign(**changed)
    columns, values = as_arrays(table)
    out = io.BytesIO()
    sas7bdat_writer.write(
        out, "SPXRAW_G", columns, [sas7bdat_writer.row_bytes(columns, values)], len(table), page_size=4096
    )
    return out.getvalue()


def with_curve(row: int, text: bytes) -> list:
    curves = list(CURVES.table["SPXRAW"])
    curves[row] = text
    return curves


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"1,2,three", "row 5: SPXRAW is no list of numbers: "),
        (b"1,2,3", "row 5: SPXRAW has 3 values, SPXPTS says"),
        (b"", "row 5: SPXRAW has 1 values, SPXPTS says"),
    ],
)
def test_a_curve_that_is_no_list_of_numbers_is_refused(text: bytes, message: str, tmp_path: Path) -> None:
    assert message in refusal(CURVES, curves_changed(SPXRAW=with_curve(5, text)), tmp_path)


@pytest.mark.parametrize("text", [b", ", b",  "])
def test_blanks_behind_commas_and_a_comma_at_the_end_change_nothing(text: bytes, tmp_path: Path) -> None:
    curves = [text.join(str(value).encode() for value in curve) + b"," for curve in CURVES.table["SPXRAW"]]
    (tmp_path / "raw.bin").write_bytes(curves_changed(SPXRAW=curves))
    repair_file(tmp_path / "raw.bin", CURVES.file, tmp_path / "t.parquet")
    found = pq.read_table(tmp_path / "t.parquet")["SPXRAW"].to_pylist()
    assert found == [curve.tolist() for curve in CURVES.table["SPXRAW"]]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"500", "row 5: SPXRAW holds 500 mL, outside -64 to 192"),
        (b"", "row 5: SPXRAW holds '', which is no number of mL"),
        (b"--3", "row 5: SPXRAW holds '--3'"),
        (b"3 4", "row 5: SPXRAW holds '3 4'"),
        (b"99999999", "row 5: SPXRAW holds '99999999'"),
    ],
)
def test_a_value_that_no_spirometer_gave_is_refused(value: bytes, message: str, tmp_path: Path) -> None:
    points = int(CURVES.table["SPXPTS"][5])
    text = b",".join([value] + [b"1"] * (points - 1))
    assert message in refusal(CURVES, curves_changed(SPXRAW=with_curve(5, text)), tmp_path)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("SPATTYPE", "Post", "row 3: SPATTYPE is 'Post', the codebook has 'Bron', 'Pre'"),
        ("SPAFACT", 1.5, "row 3: SPAFACT is 1.5, the codebook has 1.03 to 1.15 with 3 decimals"),
        ("SPAFACT", 1.0812345, "row 3: SPAFACT is 1.0812345"),
        ("SPAMANU", np.nan, "row 3: SPAMANU is missing"),
        ("SEQN", 1.0, "row 3: SEQN is 1, which is none of cycle G"),
        ("SEQN", 51700.0, "row 3: SEQN 51700 is of cycle F, not G"),
        ("SPAQEFF", "E", "row 3: SPAQEFF is 'E'"),
    ],
)
def test_values_outside_the_codebook_are_refused(column: str, value: object, message: str, tmp_path: Path) -> None:
    changed = CURVES.table[column].copy()
    changed[3] = value
    assert message in refusal(CURVES, curves_changed(**{column: changed}), tmp_path)


def test_a_grade_that_contradicts_acceptability_is_refused(tmp_path: Path) -> None:
    turned = np.where(CURVES.table["SPAACC"] == "Y", "N", "Y")
    assert "row 0: SPAACC is" in refusal(CURVES, curves_changed(SPAACC=turned), tmp_path)


def test_a_name_that_is_lost_is_restored_by_the_published_columns(tmp_path: Path) -> None:
    """A byte of the pointer to a name."""
    at = int(0.1224 * len(CURVES.data))
    (mended,) = repaired(CURVES, overwritten(CURVES.data, at, b"\0"), tmp_path)["mended"]
    assert mended.startswith("name of column ")


def test_a_page_written_over_another_is_told(tmp_path: Path) -> None:
    again = CURVES.data[:9216] + CURVES.data[5120:9216] + CURVES.data[13312:]
    (tmp_path / "raw.bin").write_bytes(again)
    report = repair_file(tmp_path / "raw.bin", CURVES.file, tmp_path / "t.parquet")
    assert any("holds 6 curves twice" in warning for warning in report["warnings"])
    assert "holds 6 curves twice" in refusal(CURVES, again, tmp_path)


def test_a_page_too_many_is_refused(tmp_path: Path) -> None:
    full = sas7bdat_sample(42, 4)  # pages of 6 rows, so that the last one is as full as the others
    again = full.data[:9216] + full.data[5120:]
    assert "more bytes than its 8 pages" in refusal(full, again, tmp_path)


# --- what is known of the release -----------------------------------------------------------------------------


def test_zeros_that_mean_missing_become_missing_and_are_counted(tmp_path: Path) -> None:
    table = SPX.table.copy()
    table.loc[4, "SPXNF257"] = 0.0
    pyreadstat.write_xport(table, tmp_path / "x.xpt", file_format_version=5)
    report = repair_file(tmp_path / "x.xpt", SPX.file, tmp_path / "t.parquet")
    assert report["nulled"] == {"SPXNF257": 1}
    assert pq.read_table(tmp_path / "t.parquet")["SPXNF257"].to_pandas().isna()[4]


def test_an_earlier_release_is_read_with_a_warning(tmp_path: Path) -> None:
    size, digest = len(BMX.data), hashlib.sha256(BMX.data).hexdigest()
    releases = (
        codebook.Release(size + 800, "0" * 64, BMX.file.columns[0]),
        codebook.Release(size, digest, BMX.file.columns[0], current=False),
    )
    sample = BMX._replace(file=dataclasses.replace(BMX.file, releases=releases))
    report = repaired(sample, BMX.data, tmp_path)
    assert report["release"] == "superseded"
    assert report["warnings"] == [f"is an earlier release ({size:,} bytes); the CDC's current one has {size + 800:,}"]
    mended = repaired(sample, overwritten(BMX.data, 240, b"\0" * 80), tmp_path)
    assert mended["release"] == "superseded"  # what was mended is the release, byte by byte
    padded = repaired(sample, BMX.data + b"\0" * 100, tmp_path)
    assert padded["mended"] == ["100 bytes around the CDC's file removed"]


def test_altered_values_of_a_known_release_are_told(tmp_path: Path) -> None:
    releases = (codebook.Release(len(BMX.data), "0" * 64, BMX.file.columns[0]),)
    sample = BMX._replace(file=dataclasses.replace(BMX.file, releases=releases))
    assert "no release that is known" in repaired(sample, BMX.data, tmp_path)["warnings"][0]


def test_counts_that_the_codebook_does_not_give_are_told_and_of_curves_refused(tmp_path: Path) -> None:
    sample = CURVES._replace(file=dataclasses.replace(CURVES.file, counts=(("SPATTYPE", "Pre", 1),)))
    assert "in 1 by the codebook" in refusal(sample, CURVES.data, tmp_path)
    sample = BMX._replace(file=dataclasses.replace(BMX.file, counts=(("BMXHT", None, 1),)))
    assert "in 1 by the codebook" in repaired(sample, BMX.data, tmp_path)["warnings"][0]


# --- force ----------------------------------------------------------------------------------------------------


SAMPLES = samples()


@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_makes_a_wrong_table(kind: str, tmp_path: Path) -> None:
    """40 mutations of each kind; benchmarks/fuzz_repair.py runs as many as one likes."""
    for i in range(40):
        sample = SAMPLES[i % len(SAMPLES)]
        verdict = judge(sample, damaged(sample, kind, np.random.default_rng([7, i])), tmp_path)
        assert verdict.outcome != FAILED, (i, sample.name, verdict)


# --- compressed -----------------------------------------------------------------------------------------------


def compressed(table: pd.DataFrame) -> bytes:
    """SPXRAW as SAS compresses it, by run lengths; of the commands only the one that copies is used."""
    columns, values = as_arrays(table)
    rows = sas7bdat_writer.row_bytes(columns, values)
    out = io.BytesIO()
    size = 65536
    sas7bdat_writer.write(out, "SPXRAW_G", columns, [rows], len(rows), page_size=size)
    data = bytearray(out.getvalue()[: 1024 + size])
    at = data.index(b"DATASTEP") - 12
    data[at : at + 8] = b"SASYZCRL"
    data[204:208] = struct.pack("<I", 2)
    page, end = bytearray(size), size
    page[16:22] = struct.pack("<HHH", 0x0000, len(rows), len(rows))
    for i, row in enumerate(rows.tobytes()[k : k + rows.shape[1]] for k in range(0, rows.size, rows.shape[1])):
        runs = [row[k : k + 16] for k in range(0, len(row), 16)]
        packed = b"".join(bytes([0x80 | len(run) - 1]) + run for run in runs)
        end -= len(packed)
        page[end : end + len(packed)] = packed
        page[24 + 12 * i : 36 + 12 * i] = struct.pack("<IIBBH", end, len(packed), 4, 1, 0)
    return bytes(data) + bytes(page)


def test_a_compressed_file_is_read_by_pyreadstat(tmp_path: Path) -> None:
    path = tmp_path / "x.sas7bdat"
    path.write_bytes(zipped(compressed(CURVES.table)))
    report = repair_file(path, CURVES.file, tmp_path / "t.parquet", published=True)
    assert report["kind"] == "compressed SAS7BDAT in zip"
    found = pq.read_table(tmp_path / "t.parquet").to_pandas()[list(CURVES.table)]
    pd.testing.assert_frame_equal(found, CURVES.table, check_dtype=False)


@pytest.mark.parametrize("at", [1024 + 48, 1024 + 96])
def test_what_pyreadstat_raises_is_a_line(at: int, tmp_path: Path) -> None:
    """A bit of the pointers to the subheaders, and to a row."""
    data = bytearray(compressed(CURVES.table))
    data[at] ^= 1
    assert "is a damaged SAS7BDAT" in refusal(CURVES, bytes(data), tmp_path)


def test_what_pyreadstat_warns_of_is_a_line(tmp_path: Path) -> None:
    """Two columns of one name."""
    data = compressed(CURVES.table).replace(b"SPXPTS", b"SPXRAW", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "its description is damaged" in refusal(CURVES, data, tmp_path)


# --- the stage ------------------------------------------------------------------------------------------------


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A folder of small files of cycle G."""
    rng = np.random.default_rng(5)
    tables = {name: invented(codebook.FILES[f"{name}_G"], 20, rng) for name in ("DEMO", "BMX", "SPX")}
    write_cycle({**tables, "SPXRAW": CURVES.table}, "G", tmp_path / "raw")
    return tmp_path / "raw"


def run(raw: Path) -> dict:
    folder = raw.parent
    repair_stage(
        Params(largest_gb=1.0), raw=raw, repaired=folder / "repaired", metrics=folder / "metrics" / "files.json"
    )
    return json.loads((folder / "metrics" / "files.json").read_text())


def test_the_stage_makes_a_table_of_each_file(raw: Path) -> None:
    report = run(raw)
    assert set(report) == {"DEMO_G", "BMX_G", "SPX_G", "SPXRAW_G"}
    assert sorted(p.name for p in (raw.parent / "repaired").iterdir()) == [f"{name}.parquet" for name in sorted(report)]
    assert report["SPXRAW_G"]["kind"] == "SAS7BDAT in zip"


def test_the_stage_gives_the_same_bytes_again(raw: Path) -> None:
    run(raw)
    first = {path.name: path.read_bytes() for path in (raw.parent / "repaired").iterdir()}
    run(raw)
    assert {path.name: path.read_bytes() for path in (raw.parent / "repaired").iterdir()} == first


def test_a_refused_file_leaves_earlier_tables_as_they_were(raw: Path, capsys: pytest.CaptureFixture) -> None:
    run(raw)
    before = {path.name: path.read_bytes() for path in (raw.parent / "repaired").iterdir()}
    (raw / "SPX_G.xpt").write_bytes(HTML)
    with pytest.raises(SpiroError, match=r"SPX_G\.xpt: is an HTML page"):
        run(raw)
    assert {path.name: path.read_bytes() for path in (raw.parent / "repaired").iterdir()} == before
    assert [path.name for path in raw.parent.iterdir() if path.name.startswith(".")] == []


def test_tables_of_cycles_that_are_gone_leave(raw: Path) -> None:
    (raw.parent / "repaired").mkdir()
    (raw.parent / "repaired" / "DEMO_E.parquet").write_bytes(b"old")
    run(raw)
    assert not (raw.parent / "repaired" / "DEMO_E.parquet").exists()


def test_a_missing_file_is_named(raw: Path) -> None:
    (raw / "BMX_G.xpt").unlink()
    with pytest.raises(SpiroError, match=r"raw: holds no BMX_G\.xpt"):
        run(raw)


def test_a_file_that_changed_since_download_is_refused_unless_damage_explains_it(
    raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = (raw / "BMX_G.xpt").read_bytes()
    (raw / "manifest.json").write_text(json.dumps({"source": "folder", "files": {"BMX_G.xpt": {"sha256": "0" * 64}}}))
    with pytest.raises(SpiroError, match=r"BMX_G\.xpt: is not what download brought"):
        run(raw)
    (raw / "BMX_G.xpt").write_bytes(b"\xef\xbb\xbf" + data)
    assert run(raw)["BMX_G"]["mended"] == ["3 bytes before the header removed"]
    assert "repair: BMX_G: 3 bytes before the header removed" in capsys.readouterr().err


def test_no_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpiroError, match="no such folder; make it with"):
        repair_folder(tmp_path / "nowhere", tmp_path / "repaired")


# --- the real files -------------------------------------------------------------------------------------------


@real_files
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("BMX_J.XPT", r"is an HTML page \('Page Not Found | CDC'\)"),
        ("header_only.xpt", "holds a header and nothing else"),
    ],
)
def test_the_damaged_files_that_people_met_are_told(name: str, message: str, tmp_path: Path) -> None:
    line = refusal(BMX, (SHARED / "damaged" / name).read_bytes(), tmp_path)
    assert pd.Series([line]).str.contains(message).item(), line


@real_files
def test_the_full_size_files_are_repaired(tmp_path: Path) -> None:
    report = repair_folder(SHARED, tmp_path / "repaired")
    assert {name: found["rows"] for name, found in report.items()} == {
        "DEMO_G": 9756,
        "BMX_G": 9338,
        "SPX_G": 7495,
        "SPXRAW_G": 37661,
    }
    assert {name: found["release"] for name, found in report.items()} == {
        "DEMO_G": "current",
        "BMX_G": "superseded",
        "SPX_G": "current",
        "SPXRAW_G": "unknown",
    }
    assert "earlier release" in report["BMX_G"]["warnings"][0]
