"""A user's curves in the format of NHANES: SPXRAW as the CDC publishes it, as the pipeline repairs it, or as CSV."""

import re
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.dataset import raw_curves
from spiro_diffusion.formats import sniff, spxraw
from spiro_diffusion.formats.sniff import Kind
from spiro_diffusion.generation.subjects import numbers, read_csv
from spiro_diffusion.nhanes import codebook
from spiro_diffusion.nhanes.repair import repair_file
from spiro_diffusion.physiology import counter
from spiro_diffusion.user_curves.delimited import OwnCurves

OWN_AS_CSV = "give curves of your own as CSV, with time_s and flow_l_s or volume_l"
MOST_CURVES = 50_000  # in memory at once, as `api` draws: a whole cycle has some 37,000
ABOUT = {"SEQN": "seqn", "SPATTYPE": "test_type", "SPAMANU": "curve_number", "SPAQEFF": "effort_grade"}
PEOPLE = {"DEMO": {"RIDAGEYR": "age", "RIAGENDR": "sex"}, "BMX": {"BMXHT": "height"}}  # years, 1 or 2, cm


class NhanesCurves(NamedTuple):
    """n curves, and a table of n rows about them: curve, seqn, test_type, curve_number, effort_grade (the file's own),
    and age (completed years), sex and height (cm) where DEMO and BMX are known."""

    own: OwnCurves
    about: pd.DataFrame


def is_nhanes(path: Path) -> bool:
    """Whether a file is no CSV of time and flow or volume, but SAS's, zipped, Parquet, or a CSV with SPXRAW.

    Raises SpiroError where there is no such file.
    """
    try:
        with path.open("rb") as file:
            head = file.read(sniff.HEAD)
    except OSError as error:
        raise SpiroError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    found = sniff.kind(head)
    if found in (Kind.CSV, Kind.TEXT):
        return b"spxraw" in head.splitlines()[0].lower()
    return found in (Kind.SAS7BDAT, Kind.ZIP, Kind.GZIP, Kind.PARQUET, Kind.XPORT, Kind.XPORT8)


def read_nhanes(path: Path, seqn: int | None = None, people: bool = True) -> NhanesCurves:
    """The curves of a file of SPXRAW, or those of one participant; with `people` also who blew, from DEMO and BMX.

    A CSV needs the columns SPAFACT (the BTPS factor) and SPXRAW (mL per 10 ms at ATPS, a text of integers), and may
    have SEQN, SPATTYPE, SPAMANU, SPAQEFF, SPXPTS.

    Raises SpiroError that says what is wrong with the file, or that the participant is not in it.
    """
    table = _spxraw(path)
    if seqn is not None:
        table = table[table["SEQN"] == seqn].reset_index(drop=True)
        if table.empty:
            raise SpiroError(f"{path}: holds no curve of participant {seqn}")
    if len(table) > MOST_CURVES:
        raise SpiroError(f"{path}: {len(table)} curves are more than {MOST_CURVES} at once; choose by --seqn")
    points = table["SPXRAW"].map(len).to_numpy(np.int64)
    counts = np.zeros((len(table), int(points.max())), np.int16)
    for row, curve in enumerate(table["SPXRAW"]):
        counts[row, : len(curve)] = curve
    about = table[list(ABOUT)].rename(columns=ABOUT)
    names = about[["seqn", "test_type", "curve_number"]].astype(str).agg("/".join, axis=1)
    about.insert(0, "curve", names)
    who, note = _people(path) if people else (None, "")
    if who is not None:
        about = about.join(who, on="seqn")
    flow = counter.flow(counts, table["SPAFACT"].to_numpy(np.float64)).astype(np.float64)
    return NhanesCurves(OwnCurves(list(names), flow, points, [note] if note else []), about)


def _spxraw(path: Path) -> pd.DataFrame:
    """SEQN, SPATTYPE, SPAMANU, SPAFACT, SPAQEFF and SPXRAW (arrays) of a file."""
    with path.open("rb") as file:
        found = sniff.kind(file.read(sniff.HEAD))
    if found in (Kind.CSV, Kind.TEXT):
        return _from_csv(path)
    if found is Kind.PARQUET and not raw_curves.read_table(path, [], optional=("SPXRAW",)).columns.size:
        raise SpiroError(f"{path}: is no table of NHANES's SPXRAW; {OWN_AS_CSV}")
    if found is Kind.ZIP and path.suffix.lower() == ".npz":
        raise SpiroError(f"{path}: holds arrays, not NHANES's SPXRAW; {OWN_AS_CSV}")
    cycle = _cycle(path) or "G"
    return _sas_or_parquet(path, codebook.FILES[f"SPXRAW_{cycle}"], [*ABOUT, "SPAFACT", "SPXRAW"])


def _from_csv(path: Path) -> pd.DataFrame:
    table = read_csv(path).rename(columns=str.upper)
    missing = [name for name in ("SPAFACT", "SPXRAW") if name not in table]
    if missing:
        raise SpiroError(f"{path}: no column {missing[0]}; NHANES's curves are SPXRAW, with SPAFACT, the BTPS factor")
    if table.empty:
        raise SpiroError(f"{path}: holds no curves")
    texts = table["SPXRAW"].astype(str)
    table["SPAFACT"] = numbers(table, "SPAFACT", str(path))
    outside = ~table["SPAFACT"].between(1.0, 1.2)  # 1.039 to 1.129 in NHANES
    if outside.any():
        raise SpiroError(
            f"{path}: SPAFACT is {table['SPAFACT'][outside].iloc[0]:g} in row {int(outside.argmax()) + 1}; expected "
            "the factor from ATPS to BTPS, about 1.1"
        )
    given = numbers(table, "SPXPTS", str(path)) if "SPXPTS" in table else texts.str.strip(", ").str.count(",") + 1
    encoded = np.array([text.encode() for text in texts.str.ljust(int(texts.str.len().max()))])  # padded as SAS pads
    try:
        parsed = spxraw.curves(encoded, np.asarray(given, dtype=np.float64))
    except SpiroError as error:
        raise SpiroError(f"{path}: {error}") from None
    table["SPXRAW"] = parsed.to_numpy(zero_copy_only=False)
    defaults: dict[str, Any] = {"SEQN": 1, "SPATTYPE": "Pre", "SPAMANU": np.arange(1, len(table) + 1), "SPAQEFF": ""}
    for name in defaults.keys() - set(table):
        table[name] = defaults[name]
    return table


def _sas_or_parquet(path: Path, file: codebook.File, columns: list[str]) -> pd.DataFrame:
    """Columns of a table as the CDC publishes it, or as `repair` writes it."""
    with tempfile.TemporaryDirectory() as folder:
        source = path
        if path.suffix.lower() != ".parquet":
            source = Path(folder) / "table.parquet"
            repair_file(path, file, source)
        table = raw_curves.read_table(source, columns)
    for name in ("SEQN", "SPAMANU"):
        if name in table:
            table[name] = table[name].astype(np.int64)
    return table


def _people(path: Path) -> tuple[pd.DataFrame | None, str]:
    """Age, sex and height by SEQN from DEMO and BMX beside a file of SPXRAW, or None and why not."""
    cycle = _cycle(path)
    if cycle is None:
        return (
            None,
            "age, height and sex are not known: the file's name has no cycle, as SPXRAW_G has",
        )
    frames = []
    for table, columns in PEOPLE.items():
        file = codebook.FILES[f"{table}_{cycle}"]
        beside = [p for p in sorted(path.parent.iterdir()) if p.name.split(".")[0].upper() == file.name]
        if not beside:
            return None, f"age, height and sex are not known: {file.filename} is not beside {path.name}"
        frame = _sas_or_parquet(beside[0], file, ["SEQN", *columns])
        frames.append(frame.set_index("SEQN").rename(columns=columns))
    return frames[0].join(frames[1]), ""


def _cycle(path: Path) -> str | None:
    """The cycle that a file's name says, E, F or G."""
    found = re.fullmatch(r"SPXRAW_([EFG])", path.name.split(".")[0].upper())
    return found[1] if found else None
