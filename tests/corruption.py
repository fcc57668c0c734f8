"""Small files in the CDC's formats, and a thousand ways to damage them; shared by the tests and benchmarks/fuzz_repair.

`judge` judges: a damaged file may become the exact table or a refusal in one line; where bytes of values were
changed in their places, a table that differs in the cells of those bytes alone, with a warning where the sound
file's SHA-256 is known. Anything else is a failure.
"""

import dataclasses
import gzip
import hashlib
import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pyreadstat

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.formats import sas7bdat_writer, xport
from spiro_diffusion.formats.column import Column
from spiro_diffusion.formats.sas7bdat_layout import HEADER_SIZE, NARROW, Layout
from spiro_diffusion.nhanes import codebook
from spiro_diffusion.nhanes.repair import repair_file
from spiro_diffusion.simulation.files import spxraw_rows

Rng = np.random.Generator
PAGE_SIZE = 4096


# --- sound files ----------------------------------------------------------------------------------------------


class Sample(NamedTuple):
    """A sound file and what is in it."""

    name: str
    file: codebook.File
    data: bytes
    table: pd.DataFrame
    header: int  # bytes before the first row
    cells: np.ndarray  # row * columns + column of each byte, -1 where it belongs to no value


def invented(file: codebook.File, rows: int, rng: Rng) -> pd.DataFrame:
    """A table with every published column, its values drawn from the codebook's limits."""
    first = codebook.CYCLES[file.cycle].first_seqn
    table: dict[str, object] = {}
    for name in file.columns[0]:
        limits = codebook.CODEBOOK.get(name, codebook.Numbers(0, 9))
        if name == "SEQN":
            table[name] = (first + np.cumsum(rng.integers(1, 4, rows))).astype(float)
        elif isinstance(limits, codebook.Texts):
            table[name] = rng.choice(sorted(limits.values or {""}), rows)
        else:
            drawn = rng.uniform(limits.lowest, limits.highest, rows).round(
                4 if limits.decimals is None else limits.decimals
            )
            missing = rng.random(rows) < (0.0 if file.table == "SPXRAW" else 0.2)
            table[name] = np.where(missing | (drawn == 0), np.nan, drawn)
    return pd.DataFrame(table)


def invented_curves(file: codebook.File, rows: int, rng: Rng, longest: int = 160) -> pd.DataFrame:
    """A SPXRAW table: curves of some whole mL, with their number of points."""
    table = invented(file, rows, rng)
    curves = [rng.integers(-64, 193, rng.integers(100, longest)).astype(np.int16) for _ in range(rows)]
    grade = rng.choice(list("ABCD"), rows)
    return table.assign(
        SPAQEFF=grade,
        SPAACC=np.where(grade == "D", "N", "Y"),
        SPXPTS=[float(len(curve)) for curve in curves],
        SPXRAW=pd.Series(curves, table.index),
    )


def xport_sample(table: str, rows: int, seed: int) -> Sample:
    """DEMO_G, BMX_G or SPX_G in XPORT v5."""
    file = dataclasses.replace(codebook.FILES[f"{table}_G"], rows=rows, releases=(), counts=())
    frame = invented(file, rows, np.random.default_rng(seed))
    out = io.BytesIO()
    xport.write(out, file.name, frame)
    data = out.getvalue()
    header = xport.NAMESTR_START + xport.padded_size(140 * frame.shape[1]) + xport.RECORD
    widths = [1 if codebook.is_text(name) else 8 for name in frame.columns]
    columns = np.repeat(np.arange(len(widths)), widths)
    cells = np.full(len(data), -1)
    body = np.arange(rows)[:, None] * len(widths) + columns
    cells[header : header + body.size] = body.ravel()
    release = codebook.Release(len(data), hashlib.sha256(data).hexdigest(), file.columns[0])
    return Sample(file.name, dataclasses.replace(file, releases=(release,)), data, frame, header, cells)


def version_8_sample(rows: int, seed: int) -> Sample:
    """BMX_G in XPORT v8, as pyreadstat writes it."""
    sample = xport_sample("BMX", rows, seed)
    with tempfile.NamedTemporaryFile(suffix=".xpt") as file:
        pyreadstat.write_xport(sample.table, file.name, file_format_version=8, table_name="BMX_G")
        data = Path(file.name).read_bytes()
    for at in (144, 160, 464, 480):  # the times, which would make every file another
        data = _overwrite(data, at, xport.TIMESTAMP)
    header = data.index(xport.VERSION_8.observations) + xport.RECORD
    cells = np.full(len(data), -1)
    cells[header : header + 8 * sample.table.size] = np.repeat(np.arange(sample.table.size), 8)
    unreleased = dataclasses.replace(sample.file, releases=())
    return Sample("BMX_G, version 8", unreleased, data, sample.table, header, cells)


def sas7bdat_sample(rows: int, seed: int, layout: Layout = NARROW) -> Sample:
    """SPXRAW_G as a bare SAS7BDAT of several pages."""
    file = dataclasses.replace(codebook.FILES["SPXRAW_G"], rows=rows, counts=())
    frame = invented_curves(file, rows, np.random.default_rng(seed))
    columns, batches = spxraw_rows(frame)
    frame = frame[[column.name for column in columns]]
    numbers = sum(not column.text for column in columns)  # come first, little-endian
    if not layout.little:
        batches = (_turned(batch, numbers) for batch in batches)
    out = io.BytesIO()
    sas7bdat_writer.write(out, file.name, columns, batches, rows, layout, PAGE_SIZE)
    data = out.getvalue()
    name = f"{file.name}{', 64-bit' * layout.wide}{', big-endian' * (not layout.little)}"
    cells = _cells(data, columns, frame, layout)
    return Sample(name, file, data, frame, HEADER_SIZE + PAGE_SIZE, cells)


def _turned(batch: np.ndarray, numbers: int) -> np.ndarray:
    """Rows whose numbers are in the other byte order."""
    turned = batch.copy()
    turned[:, : 8 * numbers] = batch[:, : 8 * numbers].reshape(-1, numbers, 8)[:, :, ::-1].reshape(len(batch), -1)
    return turned


def _cells(data: bytes, columns: list[Column], frame: pd.DataFrame, layout: Layout) -> np.ndarray:
    width = -(-max(c.offset + c.width for c in columns) // 8) * 8
    row_cells = np.full(width, -1)
    for column in columns:
        row_cells[column.offset : column.offset + column.width] = frame.columns.get_loc(column.name)
    cells = np.full(len(data), -1)
    head, per_page = layout.page_header, (PAGE_SIZE - layout.page_header) // width
    for row in range(len(frame)):
        page = HEADER_SIZE + PAGE_SIZE * (1 + row // per_page)
        start = page + head + row % per_page * width
        cells[start : start + width] = np.where(row_cells < 0, -1, row * frame.shape[1] + row_cells)
    return cells


def zipped(data: bytes, name: str = "table.sas7bdat") -> bytes:
    """A zip of one member."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


# --- damage ---------------------------------------------------------------------------------------------------


def _somewhere(data: bytes, rng: Rng, size: int, until: int | None = None) -> tuple[int, int]:
    start = int(rng.integers(0, max(1, (until or len(data)) - size)))
    return start, start + size


def _overwrite(data: bytes, start: int, new: bytes) -> bytes:
    return data[:start] + new + data[start + len(new) :]


def flip_bits(data: bytes, rng: Rng, until: int | None = None) -> bytes:
    """One to four bits, wherever they are."""
    damaged = bytearray(data)
    for place in rng.integers(0, until or len(data), rng.integers(1, 5)):
        damaged[place] ^= 1 << rng.integers(8)
    return bytes(damaged)


def random_run(data: bytes, rng: Rng, until: int | None = None) -> bytes:
    """Up to 32 bytes become random."""
    start, end = _somewhere(data, rng, int(rng.integers(1, 33)), until)
    return _overwrite(data, start, rng.bytes(end - start))


def constant_run(data: bytes, rng: Rng, until: int | None = None) -> bytes:
    """Up to 2,000 bytes become zeros, blanks, FF, or a digit."""
    start, end = _somewhere(data, rng, int(2 ** rng.uniform(0, 11)), until)
    return _overwrite(data, start, bytes([rng.choice([0, 32, 255, 49])]) * (end - start))[: len(data)]


def delete_run(data: bytes, rng: Rng) -> bytes:
    start, end = _somewhere(data, rng, int(2 ** rng.uniform(0, 11)))
    return data[:start] + data[end:]


def insert_run(data: bytes, rng: Rng) -> bytes:
    start, _ = _somewhere(data, rng, 1)
    return data[:start] + rng.bytes(int(2 ** rng.uniform(0, 11))) + data[start:]


def repeat_run(data: bytes, rng: Rng) -> bytes:
    """A run comes twice, as after a resumed transfer; often whole records, sectors or pages."""
    size = int(rng.choice([1, 8, 80, 140, 512, 4096, int(2 ** rng.uniform(0, 12))]))
    start, _ = _somewhere(data, rng, size)
    start = start // size * size if rng.random() < 0.5 else start
    return data[: start + size] + data[start:]


def shift_stretch(data: bytes, rng: Rng) -> bytes:
    """Some bytes are lost and as many come in further on, so that the length stays; more than a row between."""
    size = int(rng.integers(1, 100))
    start, end = _somewhere(data, rng, min(len(data) - size - 1, 4000 + size))
    return data[:start] + data[start + size : end] + rng.bytes(size) + data[end:]


def swap_runs(data: bytes, rng: Rng) -> bytes:
    """Two records, sectors or pages change places."""
    size = int(rng.choice([80, 140, 512, 4096]))
    blocks = len(data) // size
    if blocks < 2:
        return data[::-1]
    a, b = sorted(rng.choice(blocks, 2, replace=False) * size)
    return data[:a] + data[b : b + size] + data[a + size : b] + data[a : a + size] + data[b + size :]


def truncate(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def append(data: bytes, rng: Rng) -> bytes:
    choices = [b"\r\n", b"\n", b"\x1a", b"\0" * int(rng.integers(1, 5000)), b" " * int(rng.integers(1, 200))]
    choices += [rng.bytes(int(rng.integers(1, 300))), b"<html></html>", data[-int(rng.integers(1, 400)) :], data]
    return data + choices[rng.integers(len(choices))]


def prepend(data: bytes, rng: Rng) -> bytes:
    choices = [b"\xef\xbb\xbf", b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n"]
    choices += [
        b"\0" * int(rng.integers(1, 600)),
        rng.bytes(int(rng.integers(1, 600))),
        b" " * int(rng.integers(1, 99)),
    ]
    return choices[rng.integers(len(choices))] + data


def cut_front(data: bytes, rng: Rng) -> bytes:
    return data[int(2 ** rng.uniform(0, 11)) :]


def line_ends(data: bytes, rng: Rng) -> bytes:
    """A program took the file for text and changed its line ends."""
    pairs = [
        (b"\n", b"\r\n"),
        (b"\r\n", b"\n"),
        (b"\r", b""),
        (b"\n", b""),
        (b"\r", b"\n"),
        (b"\n", b"\r"),
        (b"\0", b""),
    ]
    pairs += [(b"\0", b" "), (b"\t", b"    "), (b"\x1a", b"")]
    old, new = pairs[rng.integers(len(pairs))]
    return data.replace(old, new)


def encodings(data: bytes, rng: Rng) -> bytes:
    """A program took the file for text and changed its encoding."""
    changed = [
        data.decode("latin-1").encode("utf-8"),
        data.decode("cp1252", "replace").encode("utf-8"),
        data.decode("utf-8", "replace").encode("utf-8"),
        data.decode("utf-8", "ignore").encode("utf-8"),
        data.decode("ascii", "replace").encode("utf-8"),
        data.decode("latin-1").encode("utf-16"),
        bytes(byte & 0x7F for byte in data),
        data.upper(),
        data.lower(),
    ]
    return changed[rng.integers(len(changed))]


def wrap(data: bytes, rng: Rng) -> bytes:
    """Archives around it, some of them damaged."""
    archive = [gzip.compress(data), zipped(data), zipped(zipped(data), "a.zip"), gzip.compress(zipped(data))][
        rng.integers(4)
    ]
    damage = rng.integers(6)
    if damage == 0:
        return archive[: int(rng.integers(0, len(archive)))]
    if damage == 1:
        return flip_bits(archive, rng)
    if damage == 2:
        return append(archive, rng)
    return archive


ANYWHERE: dict[str, Callable[[bytes, Rng], bytes]] = {
    "bits flipped": flip_bits,
    "bytes randomised": random_run,
    "bytes overwritten with one value": constant_run,
    "bytes lost": delete_run,
    "bytes inserted": insert_run,
    "bytes repeated": repeat_run,
    "stretch shifted": shift_stretch,
    "records or pages swapped": swap_runs,
    "truncated": truncate,
    "bytes appended": append,
    "bytes prepended": prepend,
    "start cut off": cut_front,
    "line ends changed": line_ends,
    "encoding changed": encodings,
    "archived, and some archives damaged": wrap,
}
HEADER: dict[str, Callable[[bytes, Rng, int], bytes]] = {
    "header: bits flipped": flip_bits,
    "header: bytes randomised": random_run,
    "header: bytes overwritten": constant_run,
}
KINDS = [*ANYWHERE, *HEADER]


def damaged(sample: Sample, kind: str, rng: Rng) -> bytes:
    """The sample's bytes after one damage of a kind."""
    if kind in HEADER:
        return HEADER[kind](sample.data, rng, sample.header)
    return ANYWHERE[kind](sample.data, rng)


# --- judge ----------------------------------------------------------------------------------------------------

EXACT, MENDED, REFUSED, WARNED, ALTERED, FAILED = OUTCOMES = (
    "exact, nothing to repair",
    "exact, repaired",
    "refused",
    "altered in place, warned of",
    "altered in place, not seen",
    "FAILED",
)


class Verdict(NamedTuple):
    outcome: str
    detail: str


def judge(sample: Sample, data: bytes, folder: Path, known: bool = True, touched: set[int] | None = None) -> Verdict:
    """Repair damaged bytes and say what became of them.

    `known` tells repair how many rows there should be and, of XPORT, the SHA-256 of the sound file. `touched` are the
    cells of which a byte was changed; without it those that differ in their places.
    """
    path, out = folder / "damaged.bin", folder / "table.parquet"
    path.write_bytes(data)
    file = sample.file if known else dataclasses.replace(sample.file, rows=None, releases=())
    try:
        report = repair_file(path, file, out, published=known)
    except SpiroError as error:
        one_line = str(error).startswith(str(path)) and "\n" not in str(error)
        return Verdict(REFUSED if one_line else FAILED, str(error))
    found = pq.read_table(out).to_pandas()
    if found.shape != sample.table.shape or list(found.columns) != list(sample.table.columns):
        return Verdict(FAILED, f"{found.shape} instead of {sample.table.shape}, {report}")
    wrong = _differing(found, sample.table)
    if wrong.size:
        in_place = set(wrong) <= (_touched(sample, data) if touched is None else touched)
        seen = any("no release that is known" in warning for warning in report["warnings"])
        outcome = WARNED if seen else FAILED if file.releases else ALTERED
        return Verdict(outcome if in_place else FAILED, f"cells {wrong[:5]}, {report}")
    return Verdict(MENDED if report["mended"] else EXACT, "; ".join(report["mended"]))


def _differing(found: pd.DataFrame, expected: pd.DataFrame) -> np.ndarray:
    """row * columns + column of each cell that is not as expected."""
    wrong = []
    for place, name in enumerate(expected.columns):
        if name == "SPXRAW":
            different = [not np.array_equal(a, b) for a, b in zip(found[name], expected[name], strict=True)]
        elif expected[name].dtype.kind == "f":
            a, b = found[name].to_numpy(), expected[name].to_numpy()
            different = ~((a == b) | (np.isnan(a) & np.isnan(b)))
        else:
            different = found[name].to_numpy() != expected[name].to_numpy()
        wrong += [row * len(expected.columns) + place for row in np.flatnonzero(different)]
    return np.array(wrong, dtype=int)


def _touched(sample: Sample, data: bytes) -> set[int]:
    """Cells of which a byte was changed in its place."""
    if len(data) != len(sample.data):
        return set()
    changed = np.frombuffer(data, np.uint8) != np.frombuffer(sample.data, np.uint8)
    cells = sample.cells[changed]
    return set(cells[cells >= 0].tolist())


def samples() -> list[Sample]:
    """One small file of each format and table."""
    return [
        xport_sample("DEMO", 30, 1),
        xport_sample("BMX", 40, 2),
        xport_sample("SPX", 30, 3),
        sas7bdat_sample(40, 4),
        version_8_sample(40, 5),
    ]
