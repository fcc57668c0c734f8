"""Turn raw files into verified tables: damage that can be undone exactly is undone, any other is refused.

The catalogue of damages is docs/repair.md. A file passes four steps: `archives` takes it out of its archives
and detects its kind by content; `xport_repair` or `sas7bdat` parse and repair its format; `spxraw` and
`validate` checks every value against SPXPTS and the codebooks; this module compares the whole with what is known
of the release, and writes.
"""

import contextlib
import io
import zlib
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from spiro_diffusion.core.artifacts import atomic, folder_beside, read_json, sha256
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.formats import sas7bdat, spxraw, xport
from spiro_diffusion.formats.archives import LARGEST, Content, opened
from spiro_diffusion.formats.repair_log import Findings
from spiro_diffusion.formats.sniff import Kind
from spiro_diffusion.nhanes import codebook, validate, xport_repair
from spiro_diffusion.nhanes.raw_folder import MANIFEST, find

ROWS_AT_ONCE = 704  # rows of SPXRAW held together: 64 pages, 8 MB
SHORT_CURVE = 100  # points; efforts that were broken off can be equal by chance
LARGEST_XPORT = 32 << 20  # bytes; XPORT is read whole and takes ten times its size, the largest of ours has 4 MB
XPORT_SHARE = 125  # of what an archive may unpack to, XPORT may have one such part where that is more
Counted = tuple[str, float | str | None]  # a column and a value that the codebook counts
Values = dict[str, np.ndarray]  # numbers as float64, NaN where missing; texts as bytes ('S')

_ADVICE = {
    Kind.HTML: "the CDC answers moved addresses with a page: fetch it again (dvc repro -f download)",
    Kind.CPORT: "only SAS reads it: PROC CIMPORT there, then give the CDC's own file",
    Kind.CSV: "tables saved as text have lost what can be verified: give the CDC's own file",
    Kind.BZIP2: "unpack it first",
    Kind.XZ: "unpack it first",
    Kind.SEVEN_ZIP: "unpack it first",
}


def repair_file(
    path: Path,
    file: codebook.File,
    out: Path,
    published: bool = False,
    largest: int = LARGEST,
) -> dict[str, Any]:
    """Write the table in `path` as Parquet to `out`; return what was found and done.

    `published` says that the file should be the CDC's, so that its rows have to be as many as published.
    `largest` is the most that an archive may unpack to, in bytes.

    Keys of the result: `kind`, from the inside to the outside; `rows`, `columns`; `mended`, each damage that
    was undone; `nulled`, sentinels that became missing, by column; `release`, current, superseded or unknown;
    `warnings`.

    Raises SpiroError that names the file, what it really is or what is wrong with it, and what to do.
    """
    findings = Findings()
    try:
        with opened(path, largest) as content:
            kind = content.what
            batches = _batches(content, file, findings, published, max(LARGEST_XPORT, largest // XPORT_SHARE))
            table = _write(batches, file, out, findings, published)
    except SpiroError as error:
        raise SpiroError(f"{path}: {error}") from None
    return {
        "kind": f"compressed {kind}" if findings.compressed else kind,
        "rows": table.rows,
        "columns": table.columns,
        "mended": findings.mended,
        "nulled": findings.nulled,
        "release": table.release,
        "warnings": findings.warnings,
    }


# --- reading --------------------------------------------------------------------------------------------------


def _batches(
    content: Content, file: codebook.File, findings: Findings, published: bool, largest_xport: int
) -> Iterator[Values]:
    if content.kind in (Kind.XPORT, Kind.XPORT8):
        return _xport_batches(content.stream, file, findings, file.rows if published else None, largest_xport)
    if content.kind is Kind.SAS7BDAT:
        return _sas7bdat_batches(content.stream, file, findings)
    raise SpiroError(f"is {content.what}, not a SAS file; {_ADVICE.get(content.kind, 'fetch it again')}")


def _xport_batches(
    stream: io.BufferedReader, file: codebook.File, findings: Findings, rows: int | None, largest: int
) -> Iterator[Values]:
    data = stream.read(largest + 1)
    if len(data) > largest:
        raise SpiroError(f"is an XPORT file of more than {largest:,} bytes; {file.filename} has some MB")
    parts = xport_repair.parsed(data, file, findings, rows)
    values: Values = {}
    for column in parts.columns:
        if column.text:
            values[column.name] = xport.texts(parts.rows, column)
        else:
            values[column.name], wrong = xport.from_ibm(xport.ibm_bits(parts.rows, column))
            if wrong.any():
                raise SpiroError(f"row {wrong.argmax()}: {column.name} is no IBM floating point number; fetch it again")
    yield values


def _sas7bdat_batches(stream: io.BufferedReader, file: codebook.File, findings: Findings) -> Iterator[Values]:
    names: list[str] = []
    for columns in sas7bdat.read(stream, findings, ROWS_AT_ONCE):
        if not names:
            names, restored = validate.known_names([name for name, _ in columns], file)
            findings.mended += [f"name of column {name} restored" for name in restored]
        values: Values = {}
        for name, (_, column) in zip(names, columns, strict=True):
            if codebook.is_text(name) != (column.dtype.kind == "S"):
                raise SpiroError(f"its description is damaged (type of column {name}); fetch it again")
            values[name] = column
        yield values


# --- writing --------------------------------------------------------------------------------------------------


class _Table(NamedTuple):
    rows: int
    columns: int
    release: str  # current, superseded or unknown


def _ahead(batches: Iterator[Values]) -> Generator[Values, None, None]:
    """The same batches; while one is used the next is unpacked and taken apart, on another core."""
    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(next, batches, None)
        while (values := following.result()) is not None:
            following = reader.submit(next, batches, None)
            yield values


def _write(batches: Iterator[Values], file: codebook.File, out: Path, findings: Findings, published: bool) -> _Table:
    """Verify the batches and write them, a row group each."""
    done, width, twice = 0, 0, 0
    counts = {(column, value): 0 for column, value, _ in file.counts}
    people: list[np.ndarray] = []
    curves: set[tuple] = set()
    with atomic(out) as part:
        with contextlib.ExitStack() as stack:
            writer: pq.ParquetWriter | None = None
            for values in stack.enter_context(contextlib.closing(_ahead(batches))):
                validate.needed(list(values), file)
                validate.seqn(values["SEQN"], file, done)
                group = pa.table({name: _verified(name, values, done, findings) for name in values})
                if file.table == "SPXRAW":
                    validate.complete(values, done)
                    validate.efforts(group["SPAACC"].to_numpy(), group["SPAQEFF"].to_numpy(), done)
                    twice += _twice(values, group["SPXRAW"].chunk(0), curves)
                people.append(values["SEQN"])
                for column, value in counts:
                    if column in group.column_names:
                        counts[column, value] += _count(group[column], value)
                writer = writer or stack.enter_context(pq.ParquetWriter(part, group.schema))
                writer.write_table(group)
                done, width = done + len(group), group.num_columns
        if not done:
            raise SpiroError("holds no rows; fetch it again")
        if published and file.rows not in (done, None):
            raise SpiroError(f"holds {done} rows, {file.rows} were published; fetch it again")
        if twice and published:
            raise SpiroError(f"holds {twice} curves twice; a part was written over another: fetch it again")
        if twice:
            findings.warnings.append(f"holds {twice} curves twice; a part may have been written over another")
        if file.table != "SPXRAW":
            validate.one_row_each(np.concatenate(people))
        if people:
            _ascending(np.concatenate(people), published, findings)
        if published or file.rows == done:
            _compare_counts(counts, file, findings, published)
        release = _release(file, findings, published)
    return _Table(done, width, release)


def _ascending(seqn: np.ndarray, published: bool, findings: Findings) -> None:
    """The CDC's rows ascend by SEQN: others are refused where they should be the CDC's, else reported."""
    try:
        validate.ascending(seqn)
    except SpiroError as error:
        if published:
            raise
        findings.warnings.append(str(error))


def _verified(name: str, values: Values, first_row: int, findings: Findings) -> pa.Array:
    """A column as an Arrow array, every value held against the codebook."""
    column = values[name]
    if name == "SPXRAW" and column.dtype.kind == "S":
        return spxraw.curves(column, values["SPXPTS"], first_row)
    if column.dtype.kind == "S":
        texts = np.char.rstrip(np.char.decode(column, "latin-1"), " ")
        validate.texts(name, texts, first_row)
        return pa.array(texts)
    if name in codebook.ZERO_MEANS_MISSING and (column == 0).any():
        findings.nulled[name] = findings.nulled.get(name, 0) + int((column == 0).sum())
        column = np.where(column == 0, np.nan, column)
    validate.numbers(name, column, first_row)
    return pa.array(column, mask=np.isnan(column))


def _twice(values: Values, curves: pa.ListArray, seen: set[tuple]) -> int:
    """Number of rows that have come before, as a page of SAS7BDAT written over another would bring."""
    samples, ends = curves.flatten().to_numpy(), curves.offsets.to_numpy()
    twice = 0
    for row, (seqn, test, number) in enumerate(zip(values["SEQN"], values["SPATTYPE"], values["SPAMANU"], strict=True)):
        key = (seqn, test, number, zlib.crc32(samples[ends[row] : ends[row + 1]]))
        twice += key in seen and ends[row + 1] - ends[row] > SHORT_CURVE
        seen.add(key)
    return twice


def _count(column: pa.ChunkedArray, value: float | str | None) -> int:
    if value is None:
        return len(column) - column.null_count
    return int(pc.sum(pc.equal(column, value)).as_py() or 0)


def _compare_counts(counts: dict[Counted, int], file: codebook.File, findings: Findings, published: bool) -> None:
    """Hold how often values occur against the codebook: of the CDC's SPXRAW other counts are refused, else reported."""
    if any(findings.sha256.startswith(release.sha256) for release in file.releases):
        return
    for column, value, count in file.counts:
        seen = counts[column, value]
        if seen != count:
            what = f"{column} is {'not missing' if value is None else repr(value)} in {seen} rows"
            if published and file.table == "SPXRAW":  # of which no release is known, that would show what was changed
                raise SpiroError(f"{what}, in {count} by the codebook; fetch it again")
            findings.warnings.append(f"{what}, in {count} by the codebook: not the CDC's")


def _release(file: codebook.File, findings: Findings, published: bool) -> str:
    """Hold a table against what is known of its releases: current, superseded or unknown, with warnings."""
    for release in file.releases:
        if findings.sha256.startswith(release.sha256):
            if release.current:
                return "current"
            newest = next(r for r in file.releases if r.current)
            findings.warnings.append(
                f"is an earlier release ({release.size:,} bytes); the CDC's current one has {newest.size:,}"
            )
            return "superseded"
    if published and file.releases:
        findings.warnings.append("is no release that is known here; altered values within the limits do not show")
    return "unknown"


# --- a folder of raw files ------------------------------------------------------------------------------------


def repair_folder(raw: Path, repaired: Path, largest: int = LARGEST) -> dict[str, Any]:
    """Repair the files that `download` brought into `raw`; return the report of each by name.

    The tables take their places together when all are sound; tables of other cycles leave.

    Raises SpiroError where one of a cycle's files is missing, is refused, or is not what the manifest says.
    """
    report: dict[str, Any] = {}
    manifest = read_json(raw / MANIFEST) if (raw / MANIFEST).exists() else {}
    with folder_beside(repaired) as folder:
        for file, path in tqdm(_files_in(raw), desc="repairing", unit="file"):
            out = folder / f"{file.name}.parquet"
            file = replace(file, simulated=manifest.get("source") == "simulated")  # noqa: PLW2901
            published = _is_published(raw, file.cycle, manifest)
            if file.table == "SPXRAW" and manifest.get("source") != "nhanes":
                published = False  # derived from its own rows: differences are reported, not refused
            found = repair_file(path, file, out, published, largest)
            _unchanged(path, manifest.get("files", {}).get(path.name), found)
            report[file.name] = found
        repaired.mkdir(exist_ok=True)
        for old in repaired.glob("*.parquet"):
            if old.stem not in report:
                old.unlink()
        for name in report:
            (folder / f"{name}.parquet").replace(repaired / f"{name}.parquet")
    return report


def _files_in(raw: Path) -> list[tuple[codebook.File, Path]]:
    """The files of each cycle that `raw` holds any file of."""
    if not raw.is_dir():
        raise SpiroError(f"{raw}: no such folder; make it with `dvc repro download`")
    names = {path.name.split(".")[0].upper() for path in raw.iterdir()}
    cycles = sorted({codebook.FILES[name].cycle for name in names if name in codebook.FILES})
    if not cycles:
        raise SpiroError(f"{raw}: holds no file of NHANES; make it with `dvc repro -f download`")
    return [(file, find(raw, file)) for file in codebook.files(cycles)]


def _is_published(raw: Path, cycle: str, manifest: dict[str, Any]) -> bool:
    """Whether a cycle's files are the CDC's, which a folder does not say: its SPXRAW has the published rows."""
    if manifest.get("source") in ("simulated", "nhanes"):
        return bool(manifest["source"] == "nhanes")
    file = codebook.FILES[f"SPXRAW_{cycle}"]
    with contextlib.suppress(SpiroError), opened(find(raw, file)) as content:
        return content.kind is Kind.SAS7BDAT and sas7bdat.rows_announced(content.stream) == file.rows
    return False


def _unchanged(path: Path, recorded: dict[str, Any] | None, found: dict[str, Any]) -> None:
    """Compare a file with the manifest. Repaired damage explains a difference; nothing else does."""
    if recorded is None or sha256(path) == recorded.get("sha256"):
        return
    if not found["mended"]:
        raise SpiroError(f"{path}: is not what download brought (its SHA-256 differs); dvc repro -f download")
    found["warnings"].append("is not what download brought, which the damage above may explain")
