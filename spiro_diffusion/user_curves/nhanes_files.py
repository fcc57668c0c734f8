"""Curves in NHANES format: SPXRAW as the CDC publishes it, as the pipeline repairs it, or as delimited text."""

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.dataset import raw_curves
from spiro_diffusion.formats import dialect, sniff, spxraw
from spiro_diffusion.formats.sniff import Kind
from spiro_diffusion.nhanes import codebook, validate
from spiro_diffusion.nhanes.repair import repair_file
from spiro_diffusion.physiology import counter, spirometry
from spiro_diffusion.user_curves.delimited import numbers
from spiro_diffusion.user_curves.efforts import UserCurves, distinct_names
from spiro_diffusion.user_curves.source import Source

CSV_ADVICE = "give other curves as CSV, with time_s and flow_l_s or volume_l"
MOST_CURVES = 50_000  # in memory at once, as `api` draws: a whole cycle has some 37,000
ABOUT = {"SEQN": "seqn", "SPATTYPE": "test_type", "SPAMANU": "curve_number", "SPAQEFF": "effort_grade"}
PEOPLE = {"DEMO": {"RIDAGEYR": "age", "RIAGENDR": "sex"}, "BMX": {"BMXHT": "height"}}  # years, 1 or 2, cm
TEXTS = (Kind.CSV, Kind.TEXT)
TABLES = (Kind.SAS7BDAT, Kind.ZIP, Kind.GZIP, Kind.PARQUET, Kind.XPORT, Kind.XPORT8)
BTPS_RANGE = (1.0, 1.2)  # SPAFACT is 1.039 to 1.145 in NHANES
AS_BYTES = re.compile(r"b(['\"])(.*)\1")  # a text that Python printed as bytes


def recognises(source: Source) -> bool:
    """Whether a file is SAS's, zipped, Parquet, or a text with a column SPXRAW."""
    return source.kind in TABLES or "SPXRAW" in _names(source.head)


def _names(head: bytes) -> list[str]:
    return [name.upper() for name in dialect.first_names(head)] if sniff.kind(head) in TEXTS else []


def read(source: Source, seqn: int | None = None, people: bool = True) -> UserCurves:
    """Read the curves of a file of SPXRAW, or those of one participant; with `people` also age, height and sex, from
    DEMO and BMX.

    Text needs the columns SPAFACT (the BTPS factor) and SPXRAW (mL per 10 ms at ATPS, a text of integers), and may have
    SEQN, SPATTYPE, SPAMANU, SPAQEFF, SPXPTS. The table `about` has curve, seqn, test_type, curve_number, effort_grade
    (that of the file), and age (completed years), sex and height (cm) if DEMO and BMX are known.

    Raises SpiroError that names the problem with the file, or if the participant is not in it.
    """
    with source.on_disk() as path:
        try:
            table, notes = _spxraw(path, source.kind)
        except SpiroError as error:
            raise SpiroError(str(error).replace(str(path), source.where)) from None
    if seqn is not None:
        table = table[table["SEQN"] == seqn].reset_index(drop=True)
        if table.empty:
            raise SpiroError(f"{source.where}: holds no curve of participant {seqn}")
    if len(table) > MOST_CURVES:
        raise SpiroError(f"{source.where}: {len(table)} curves are more than {MOST_CURVES} at once; choose by --seqn")
    points = table["SPXRAW"].map(len).to_numpy(np.int64)
    counts = np.zeros((len(table), int(points.max())), np.int16)
    for row, curve in zip(counts, table["SPXRAW"], strict=True):
        row[: len(curve)] = curve
    about = table[list(ABOUT)].rename(columns=ABOUT)
    names = list(distinct_names(about[["seqn", "test_type", "curve_number"]].astype(str).agg("/".join, axis=1)))
    about.insert(0, "curve", names)
    if people:
        participants, note = _people(source.path) if source.path else (None, "age, height and sex are not known")
        about = about if participants is None else about.join(participants, on="seqn")
        notes += [note] if note else []
    flow = counter.flow(counts, table["SPAFACT"].to_numpy(np.float64)).astype(np.float64)
    return UserCurves(names, flow, points, spirometry.indices(flow, points).to_pandas(), notes, about)


def _spxraw(path: Path, kind: Kind) -> tuple[pd.DataFrame, list[str]]:
    """SEQN, SPATTYPE, SPAMANU, SPAFACT, SPAQEFF and SPXRAW (arrays) of a file, and notes."""
    if kind in TEXTS:
        return _from_text(path)
    if kind is Kind.PARQUET and "SPXRAW" not in _parquet(path, [], optional=("SPXRAW",)):
        raise SpiroError(f"{path}: is no table of NHANES's SPXRAW; {CSV_ADVICE}")
    if kind is Kind.ZIP and path.suffix.lower() == ".npz":
        raise SpiroError(f"{path}: holds arrays, not NHANES's SPXRAW; {CSV_ADVICE}")
    file = codebook.FILES[f"SPXRAW_{_cycle(path) or 'G'}"]
    table = _sas_or_parquet(path, file, [*ABOUT, "SPAFACT", "SPXRAW"])
    if kind is Kind.PARQUET:
        _check_curves(table, path)
    return table, []


# --- delimited text -------------------------------------------------------------------------------------------------


def _from_text(path: Path) -> tuple[pd.DataFrame, list[str]]:
    table = _text_table(path, "SPXRAW", ("SPAFACT", "SPXRAW"))
    texts = table["SPXRAW"].fillna("").str.strip().str.replace(AS_BYTES, r"\2", regex=True)
    empty = (texts == "").to_numpy()
    notes = []
    if empty.any():
        rows = ", ".join(str(row) for row in np.flatnonzero(empty)[:5])
        notes = [f"{empty.sum()} rows without a curve left out (row {rows}{', ...' if empty.sum() > 5 else ''})"]
        table, texts = table[~empty].reset_index(drop=True), texts[~empty].reset_index(drop=True)
    if table.empty:
        raise SpiroError(f"{path}: holds no curves")
    table["SPAFACT"] = numbers(table["SPAFACT"], "SPAFACT", str(path))
    _check_factor(table["SPAFACT"].to_numpy(np.float64), path)
    has_lengths = "SPXPTS" in table
    given = numbers(table["SPXPTS"], "SPXPTS", str(path)) if has_lengths else texts.str.strip(", ").str.count(",") + 1
    encoded = np.array([text.encode() for text in texts.str.ljust(int(texts.str.len().max()))])  # padded as SAS pads
    try:
        parsed = spxraw.curves(encoded, np.asarray(given, dtype=np.float64))
    except SpiroError as error:
        raise SpiroError(f"{path}: {error}") from None
    table["SPXRAW"] = parsed.to_numpy(zero_copy_only=False)
    count = np.arange(1, len(table) + 1)
    for name, default in {"SEQN": np.ones(len(table)), "SPAMANU": count}.items():
        table[name] = _whole(table, name, path) if name in table else default.astype(np.int64)
    for name, word in {"SPATTYPE": "Pre", "SPAQEFF": ""}.items():
        table[name] = table[name].fillna(word) if name in table else word
    return table, notes


def _text_table(path: Path, key: str, needed: tuple[str, ...]) -> pd.DataFrame:
    """A text's table of texts, names in capitals; the line that names `key` names the columns."""
    with path.open("rb") as file:
        found = dialect.sniff(file.read(dialect.HEAD), lambda names: int(key in [n.strip().upper() for n in names]))
        file.seek(0)
        dialect.refuse_many_columns(file, str(path), f"expected {', '.join(needed)}", found.separator if found else ",")
    if found is None:
        raise SpiroError(f"{path}: no column {key}, or too many columns")
    names = [name.strip().upper() for name in found.names]
    missing = [name for name in needed if name not in names]
    if missing:
        raise SpiroError(f"{path}: no column {missing[0]}; NHANES's curves are SPXRAW, with SPAFACT, the BTPS factor")
    if len(set(names)) < len(names):
        raise SpiroError(f"{path}: two columns are named {printable(max(names, key=names.count))}; keep one")
    options: dict[str, Any] = {"sep": found.separator, "encoding": found.encoding, "skiprows": found.begin}
    return dialect.rows(path, str(path), **options, header=None, names=names, dtype=str)


def _whole(table: pd.DataFrame, name: str, path: Path) -> NDArray[np.int64]:
    values = numbers(table[name], name, str(path))
    bad = np.flatnonzero((values % 1 != 0) | (values < 0) | (values > 1e9))
    if len(bad):
        raise SpiroError(f"{path}: {name} is {values[bad[0]]:g} in row {bad[0] + 1}; expected a whole number")
    return values.astype(np.int64)


# --- the CDC's and the pipeline's tables ----------------------------------------------------------------------------


def _sas_or_parquet(path: Path, file: codebook.File, columns: list[str]) -> pd.DataFrame:
    """Columns of a table as the CDC publishes it, or as `repair` writes it."""
    with path.open("rb") as opened, tempfile.TemporaryDirectory() as folder:
        source = path
        if sniff.kind(opened.read(sniff.HEAD)) is not Kind.PARQUET:
            source = Path(folder) / "table.parquet"
            repair_file(path, file, source)
        table = _parquet(source, columns)
    if table.empty:
        raise SpiroError(f"{path}: holds no rows")
    for name in ("SEQN", "SPAMANU"):
        if name in table:
            table[name] = _whole(table, name, path)
    return table


def _parquet(path: Path, columns: list[str], optional: tuple[str, ...] = ()) -> pd.DataFrame:
    """Columns of a Parquet table; the various exceptions of Arrow for damaged files become one line."""
    try:
        table = raw_curves.read_table(path, columns, optional)
        table = table[[*columns, *(name for name in optional if name in table)]]  # one may have become the index
        texts = table.columns[[kind.kind == "O" for kind in table.dtypes]]
        return table.astype(dict.fromkeys(texts, object))  # texts are decoded now, not where they are first shown
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        reason = printable(" ".join(str(error).split()), 80)
        raise SpiroError(f"{path}: is a damaged Parquet table ({reason}); make it again") from None


def _check_curves(table: pd.DataFrame, path: Path) -> None:
    """Raises SpiroError if a table that `repair` may not have written contains anything but curves of SPXRAW."""
    raw = table["SPXRAW"]
    if not raw.map(lambda cell: isinstance(cell, np.ndarray) and cell.dtype.kind == "i" and cell.size > 0).all():
        raise SpiroError(f"{path}: SPXRAW does not hold lists of whole numbers, mL in each 10 ms; {CSV_ADVICE}")
    if raw.map(lambda cell: int(np.abs(cell.astype(np.int64)).max())).max() > np.iinfo(np.int16).max:
        raise SpiroError(f"{path}: SPXRAW holds more mL in 10 ms than any lung breathes; make it again")
    _check_factor(numbers(table["SPAFACT"], "SPAFACT", str(path)), path)


def _check_factor(factor: NDArray[np.float64], path: Path) -> None:
    """Raises SpiroError if a factor (n,) from ATPS to BTPS is invalid."""
    low, high = BTPS_RANGE
    outside = np.flatnonzero((factor < low) | (factor > high))
    if len(outside):
        raise SpiroError(
            f"{path}: SPAFACT is {factor[outside[0]]:g} in row {outside[0] + 1}; expected the factor from ATPS to "
            "BTPS, about 1.1"
        )


def _people(path: Path) -> tuple[pd.DataFrame | None, str]:
    """Age, sex and height by SEQN from DEMO and BMX in the folder of a file of SPXRAW, or None and the reason."""
    cycle = _cycle(path)
    if cycle is None:
        return None, "age, height and sex are not known: the file's name has no cycle, as SPXRAW_G has"
    frames = []
    for table, columns in PEOPLE.items():
        file = codebook.FILES[f"{table}_{cycle}"]
        beside = _table_beside(path.parent, file)
        if beside is None:
            return None, f"age, height and sex are not known: {file.filename} is not beside {path.name}"
        frames.append(_table_of_people(beside, file, columns))
    return frames[0].join(frames[1]), ""


def _table_beside(folder: Path, file: codebook.File) -> Path | None:
    """The file of that name whose content is a table (codebook pages may be in the folder too). That of the CDC comes
    first."""
    named = [p for p in sorted(folder.iterdir()) if p.name.split(".")[0].upper() == file.name and p.is_file()]
    for path in sorted(named, key=lambda p: p.name.lower() != file.filename):
        with path.open("rb") as opened:
            head = opened.read(dialect.HEAD)
        if sniff.kind(head) in TABLES or "SEQN" in _names(head):
            return path
    return None


def _table_of_people(path: Path, file: codebook.File, columns: dict[str, str]) -> pd.DataFrame:
    with path.open("rb") as opened:
        kind = sniff.kind(opened.read(sniff.HEAD))
    if kind in TEXTS:
        table = _text_table(path, "SEQN", ("SEQN",))
        missing = [name for name in columns if name not in table]
        if missing:
            raise SpiroError(f"{path}: no column {missing[0]}; give {file.filename} as the CDC publishes it")
        table = table.assign(SEQN=_whole(table, "SEQN", path))
        for name in columns:
            values = table[name].fillna("").str.strip()
            table[name] = numbers(values.replace({"": "-1", ".": "-1"}), name, str(path))
            table[name] = table[name].where(table[name] != -1)
            try:
                validate.numbers(name, table[name].to_numpy(np.float64))
            except SpiroError as error:
                raise SpiroError(f"{path}: {error}") from None
    else:
        table = _sas_or_parquet(path, file, ["SEQN", *columns])
    try:
        validate.one_row_each(table["SEQN"].to_numpy(np.float64))
    except SpiroError as error:
        raise SpiroError(f"{path}: {error}") from None
    return table[["SEQN", *columns]].set_index("SEQN").rename(columns=columns)


def _cycle(path: Path) -> str | None:
    """The cycle by the name of a file, E, F or G."""
    found = re.fullmatch(r"SPXRAW_([EFG])", path.name.split(".")[0].upper())
    return found[1] if found else None
