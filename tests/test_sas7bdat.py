"""SAS7BDAT: our writer and reader against pandas and pyreadstat, and pages that lie."""

import io
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pyreadstat
import pytest
from corruption import sas7bdat_sample

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.formats import sas7bdat, sas7bdat_writer
from spiro_diffusion.formats.column import Column, placed
from spiro_diffusion.formats.repair_log import Findings
from spiro_diffusion.formats.sas7bdat_layout import NARROW, Layout

COLUMNS = placed(
    [Column("SEQN", "Number", False, 8), Column("SPXPTS", "Points", False, 8), Column("SPXRAW", "Raw curve", True, 101)]
)
ROWS = 90
PAGE = 4096
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
        sas7bdat_writer.row_bytes(COLUMNS, {k: v[part] for k, v in values.items()}, layout)
        for part in (slice(7), slice(7, None))
    ]
    sas7bdat_writer.write(out, "SPXRAW_G", COLUMNS, batches, rows, layout, PAGE)
    return out.getvalue()


def read(data: bytes, findings: Findings | None = None) -> pd.DataFrame:
    batches = list(sas7bdat.read(io.BufferedReader(io.BytesIO(data)), findings or Findings(), 50))
    names = [name for name, _ in batches[0]]
    assert all([name for name, _ in batch] == names for batch in batches)
    whole = [np.concatenate([batch[i][1] for batch in batches]) for i in range(len(names))]
    return pd.DataFrame(dict(zip(names, whole, strict=True)))


def assert_is_table(found: pd.DataFrame, rows: int = ROWS) -> None:
    for name, expected in table().items():
        actual = found[name].to_numpy()
        if expected.dtype.kind == "S":
            actual = np.array([text.encode() if isinstance(text, str) else text.rstrip() for text in actual])
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
        sas7bdat_writer.write(io.BytesIO(), "X", COLUMNS, [sas7bdat_writer.row_bytes(COLUMNS, table())], ROWS + 1)


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


def test_names_and_texts_are_those_of_pyreadstat(tmp_path: Path) -> None:
    """Of columns whose bytes lie in another order than their names, with blanks and zeros behind the texts."""
    columns = [Column("B", "", True, 9, 16), Column("A", "", False, 8, 8), Column("C", "", True, 5, 0)]
    rows = np.full((ROWS, 32), ord(" "), np.uint8)
    rows[:, :5] = np.frombuffer(b"ab\0\0\0", np.uint8)
    rows[:, 8:16] = np.arange(ROWS, dtype="<f8").view(np.uint8).reshape(ROWS, 8)
    rows[::2, 16:20] = np.frombuffer(b" x y", np.uint8)
    out = io.BytesIO()
    sas7bdat_writer.write(out, "X", columns, [rows], ROWS, NARROW, PAGE)
    (tmp_path / "x.sas7bdat").write_bytes(out.getvalue())
    expected, _ = pyreadstat.read_sas7bdat(tmp_path / "x.sas7bdat")
    found = read(out.getvalue())
    assert list(found) == list(expected) == ["B", "A", "C"]
    np.testing.assert_array_equal(found["A"], expected["A"])
    for name in ("B", "C"):
        assert [text.decode().rstrip() for text in found[name]] == list(expected[name])


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
        (overwritten(1024 + 24 + 2 * 12 + 8, b"\4"), "page 1 is damaged .a compressed row in a plain table"),
    ],
)
def test_pages_that_lie_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(SpiroError, match=message):
        read(data)


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
    sas7bdat_writer.write(out, "X", columns, [rows], ROWS, layout, PAGE)
    found = read(out.getvalue().replace(b"SEQN", "GRÖ".encode()))
    assert list(found) == ["GRÖ", "SHORT"]
    np.testing.assert_array_equal(found["SHORT"], number)


def test_a_file_of_several_pages_streams_in_batches() -> None:
    sample = sas7bdat_sample(40, 0)
    batches = sas7bdat.read(io.BufferedReader(io.BytesIO(sample.data)), Findings(), 10)
    assert [[len(column) for _, column in batch] for batch in batches] == [[10] * len(sample.table.columns)] * 4
