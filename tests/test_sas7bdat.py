"""SAS7BDAT: our writer and reader against pandas and pyreadstat, and pages that lie."""

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyreadstat
import pytest
from corruption import sas7bdat_sample

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.formats import sas7bdat
from spiro_diffusion.formats.column import Column, placed
from spiro_diffusion.formats.repair_log import Findings
from spiro_diffusion.formats.sas7bdat import Layout

COLUMNS = placed(
    [Column("SEQN", "Number", False, 8), Column("SPXPTS", "Points", False, 8), Column("SPXRAW", "Raw curve", True, 101)]
)
ROWS = 90
PAGE = 4096
NARROW = Layout()
LAYOUTS = [Layout(wide, little) for wide in (False, True) for little in (True, False)]


def table() -> dict[str, np.ndarray]:
    return {
        "SEQN": np.arange(ROWS) + 62161.0,
        "SPXPTS": np.where(np.arange(ROWS) % 7, 3.0, np.nan),
        "SPXRAW": np.array([b"1,2,%d" % i for i in range(ROWS)]),
    }


def written(layout: Layout = NARROW, rows: int = ROWS) -> bytes:
    out = io.BytesIO()
    values = {name: column[:rows] for name, column in table().items()}
    batches = [
        sas7bdat.row_bytes(COLUMNS, {k: v[part] for k, v in values.items()}, layout)
        for part in (slice(7), slice(7, None))
    ]
    sas7bdat.write(out, "SPXRAW_G", COLUMNS, batches, rows, layout, PAGE)
    return out.getvalue()


def read(data: bytes, findings: Findings | None = None) -> pd.DataFrame:
    return pd.concat(sas7bdat.read(io.BufferedReader(io.BytesIO(data)), findings or Findings(), 50), ignore_index=True)


def assert_is_table(found: pd.DataFrame, rows: int = ROWS) -> None:
    for name, expected in table().items():
        actual = found[name].to_numpy()
        if expected.dtype.kind == "S":
            actual = np.array([text.encode() if isinstance(text, str) else text for text in actual])
        np.testing.assert_array_equal(actual, expected[:rows])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_we_read_what_we_write(layout: Layout) -> None:
    assert_is_table(read(written(layout)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pandas_reads_what_we_write(tmp_path: Path, layout: Layout) -> None:
    (tmp_path / "x.sas7bdat").write_bytes(written(layout))
    assert_is_table(pd.read_sas(tmp_path / "x.sas7bdat", encoding="latin-1"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pyreadstat_reads_what_we_write(tmp_path: Path, layout: Layout) -> None:
    (tmp_path / "x.sas7bdat").write_bytes(written(layout))
    found, meta = pyreadstat.read_sas7bdat(tmp_path / "x.sas7bdat")
    assert_is_table(found)
    assert meta.column_names_to_labels == {column.name: column.label for column in COLUMNS}
    assert meta.table_name == "SPXRAW_G"


def test_the_same_rows_give_the_same_bytes() -> None:
    assert written() == written()


def test_a_wrong_number_of_rows_is_not_written() -> None:
    with pytest.raises(ValueError, match="announced"):
        sas7bdat.write(io.BytesIO(), "X", COLUMNS, [sas7bdat.row_bytes(COLUMNS, table())], ROWS + 1)


def mixed(data: bytes, rows: int) -> bytes:
    """The first rows moved into the page of the subheaders, as SAS does with small tables."""
    layout, width = Layout(), 120
    page = bytearray(data[1024 : 1024 + PAGE])
    _, _, pointers = layout.unpack("HHH", bytes(page), 16)
    start = 24 + pointers * layout.pointer
    start += -start % 8
    first = data[1024 + PAGE + 24 :][: rows * width]
    page[start : start + len(first)] = first
    page[16:22] = layout.pack("HHH", 0x0200, pointers + rows, pointers)
    row_size = layout.unpack("WW", bytes(page), 24)[0]
    page[row_size + 60 : row_size + 64] = layout.pack("W", rows)  # rows on a mixed page
    per_page = (PAGE - 24) // width
    body = b"".join(
        data[1024 + PAGE * (1 + i // per_page) + 24 + i % per_page * width :][:width] for i in range(rows, ROWS)
    )
    pages = [body[i : i + per_page * width] for i in range(0, len(body), per_page * width)]
    whole = b"".join(
        (b"\0" * 16 + layout.pack("HHHH", 0x0100, len(p) // width, 0, 0) + p).ljust(PAGE, b"\0") for p in pages
    )
    head = bytearray(data[:1024])
    head[204:208] = layout.pack("I", 1 + len(pages))
    return bytes(head) + bytes(page) + whole


def test_rows_beside_subheaders_are_read_as_others_read_them(tmp_path: Path) -> None:
    data = mixed(written(), 5)
    (tmp_path / "x.sas7bdat").write_bytes(data)
    assert_is_table(read(data))
    assert_is_table(pd.read_sas(tmp_path / "x.sas7bdat", encoding="latin-1"))
    assert_is_table(pyreadstat.read_sas7bdat(tmp_path / "x.sas7bdat")[0])


def test_missing_numbers_are_missing() -> None:
    assert read(written())["SPXPTS"].isna().sum() == np.isnan(table()["SPXPTS"]).sum() > 0


def test_bytes_around_the_file_are_left_out() -> None:
    findings = Findings()
    assert_is_table(read(b"\xef\xbb\xbf" + written() + b"\0" * 700, findings))
    assert findings.mended == ["3 bytes before the header removed", "700 bytes behind the last page left out"]


def overwritten(at: int, new: bytes) -> bytes:
    data = written()
    return data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (written()[:500], "its header has 500 of 1024 bytes"),
        (written()[:-1], r"page 4 of 4 has 4095 of 4096 bytes"),
        (written()[:-PAGE], r"page 4 of 4 has 0 of 4096 bytes"),
        (overwritten(200, struct.pack("<I", 5)), "header is damaged"),
        (overwritten(204, struct.pack("<I", 3)), "hold 66 rows, its header says 90"),
        (overwritten(1024 + PAGE + 16, struct.pack("<H", 0x0130)), "page 2 is damaged .its type"),
        (overwritten(1024 + PAGE + 16, struct.pack("<H", 0x0180)), "deleted"),
        (overwritten(1024 + PAGE + 18, struct.pack("<H", 32)), "hold 89 rows, its header says 90"),
        (overwritten(1024 + PAGE + 18, struct.pack("<H", 900)), "900 rows do not fit"),
        (overwritten(1024 + PAGE, b"\0" * PAGE), "hold 57 rows, its header says 90"),
        (overwritten(1024 + 24, struct.pack("<I", 5000)), "subheader of 480 bytes at 5000"),
    ],
)
def test_pages_that_lie_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(SpiroError, match=message):
        read(data)


def test_what_pyreadstat_raises_or_warns_of_is_a_line() -> None:
    """One bit of the pointer to the names: a TypeError in pyreadstat. A name that is there twice: a warning."""
    data = bytearray(sas7bdat_sample(40, 4).data)
    data[1080] ^= 4
    with pytest.raises(SpiroError, match="is a damaged SAS7BDAT"):
        read(bytes(data))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "SPXPTS" not in read(written().replace(b"SPXPTS", b"SPXRAW"))


@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("width", range(3, 8))
def test_short_numbers_and_names_beyond_ascii_are_read(width: int, little: bool) -> None:
    layout = Layout(little=little)
    columns = placed([Column("SEQN", "", False, 8), Column("SHORT", "", False, width)])
    number = (np.arange(ROWS) * 2.0).astype(f"{layout.order}f8")
    eight = number.view(np.uint8).reshape(ROWS, 8)
    rows = np.zeros((ROWS, 16), np.uint8)
    rows[:, :8] = eight
    rows[:, 8 : 8 + width] = eight[:, 8 - width :] if little else eight[:, :width]  # SAS keeps the leading bytes
    out = io.BytesIO()
    sas7bdat.write(out, "X", columns, [rows], ROWS, layout, PAGE)
    found = read(out.getvalue().replace(b"SEQN", "GRÖ".encode()))
    assert list(found) == ["GRÖ", "SHORT"]
    np.testing.assert_array_equal(found["SHORT"], number)


def test_a_file_of_several_pages_streams_in_batches() -> None:
    sample = sas7bdat_sample(40, 0)
    batches = sas7bdat.read(io.BufferedReader(io.BytesIO(sample.data)), Findings(), 10)
    assert [len(batch) for batch in batches] == [10] * 4
