"""Efforts of several people of known age, height and sex: a folder of curves with a table."""

import gzip
import io
import re
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.subjects import read_people
from spiro_diffusion.user_curves.efforts import UserCurves
from spiro_diffusion.user_curves.reader import read

TABLE = "people.csv"
NAMES = ("person", "curve", "file", "id", "name")  # columns of the table, one of which names the person of the curves
MOST_HEAD = 4096  # bytes of a line of names
MOST_BYTES = 256 << 20  # that a compressed file may hold


class PeopleCurves(NamedTuple):
    """The n people with curves, the rows of their table, and the efforts of each."""

    people: pd.DataFrame
    curves: list[UserCurves]
    notes: list[str]  # on files that were not used, and people without a curve


def read_folder(folder: Path, *, btps: float | None = None) -> PeopleCurves:
    """Read the people of FOLDER/people.csv and their curves.

    The table has age (years), height (cm), sex, and a column `person` (or `curve`, `file`, `id`, `name`). The curves of
    a person are in a file of that name, with any ending, or under that name in the one other file of curves of the
    folder (a text may be `.gz`), in any format of docs/formats.md.

    Raises SpiroError, which names no patient, if there is no table, no curve of anyone in it, or a file of curves
    cannot be read.
    """
    if not folder.is_dir():
        raise SpiroError(f"{folder}: no such folder; expected one of curves with a table {TABLE}")
    table = read_people(folder / TABLE)
    column = next((name for name in NAMES if name in table), None)
    if column is None:
        raise SpiroError(f"{folder / TABLE}: no column {NAMES[0]} that says whose curves are whose")
    names = [_plain(cell) for cell in table[column]]
    if len({*names}) < len(names):
        row = next(i for i, name in enumerate(names, 1) if name in names[: i - 1])
        raise SpiroError(f"{folder / TABLE}: the {column} of row {row} occurs twice; give one row for each person")
    files = sorted(f for f in folder.iterdir() if f.is_file() and f.name != TABLE and not f.name.startswith("."))
    files_of = {name: [f for f in files if name in (f.name, f.name.split(".")[0])] for name in names}
    if any(files_of.values()):
        found = {
            name: _joined([_read(file, btps) for file in person_files])
            for name, person_files in files_of.items()
            if person_files
        }
    else:
        found = _in_one_file(files, names, btps)
    if not found:
        raise SpiroError(f"{folder}: holds no curve of the people in {TABLE}; name files or curves as its {column}")
    kept = [i for i, name in enumerate(names) if name in found]
    without = len(names) - len(kept)
    notes = [f"{folder / TABLE}: {without} of {len(names)} people have no curve and are left out"] if without else []
    return PeopleCurves(table.iloc[kept].reset_index(drop=True), [found[names[i]] for i in kept], notes)


def _in_one_file(files: list[Path], names: list[str], btps: float | None) -> dict[str, UserCurves]:
    """The curves of these people in the first file with any; the folder may contain notes or tables too."""
    for file in files:
        try:
            curves = _read(file, btps)
        except SpiroError:
            if len(files) == 1:
                raise
            continue
        curve_persons = [curve.split(" (")[0] for curve in curves.names]
        rows = {name: [i for i, one in enumerate(curve_persons) if one == name] for name in names}
        if any(rows.values()):
            return {name: _some(curves, person_rows) for name, person_rows in rows.items() if person_rows}
    return {}


def _read(file: Path, btps: float | None) -> UserCurves:
    """The curves of a file; in a table with a column `person` and no `curve`, curves are named by the person."""
    data = _unpacked(file) if file.suffix == ".gz" else None
    with file.open("rb") as opened:
        first = data.split(b"\n", 1)[0] if data is not None else opened.readline(MOST_HEAD)
    if re.search(rb"\bperson\b", first) and not re.search(rb"\bcurve\b", first):
        whole = file.read_bytes() if data is None else data
        data = re.sub(rb"\bperson\b", b"curve", whole, count=1)
    return read(file, btps=btps) if data is None else read(io.BytesIO(data), str(file), btps=btps)


def _unpacked(file: Path) -> bytes:
    try:
        with gzip.open(file) as packed:
            data = packed.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise SpiroError(f"{file}: a damaged gzip file ({error}); fetch it again") from None
    if len(data) > MOST_BYTES:
        raise SpiroError(f"{file}: unpacks to more than {MOST_BYTES >> 20} MB; give it in parts")
    return data


def _plain(cell: object) -> str:
    """A name as files and curves are called: 7, not 7.0."""
    text = str(cell).strip()
    return text[:-2] if text.endswith(".0") else text


def _some(curves: UserCurves, rows: list[int]) -> UserCurves:
    record = curves.record.iloc[rows].reset_index(drop=True)
    return UserCurves([curves.names[i] for i in rows], curves.flow[rows], curves.points[rows], record)


def _joined(parts: list[UserCurves]) -> UserCurves:
    longest = max(part.flow.shape[1] for part in parts)
    flow = np.concatenate([_wide(part.flow, longest) for part in parts])
    record = pd.concat([part.record for part in parts], ignore_index=True)
    return UserCurves([n for p in parts for n in p.names], flow, np.concatenate([p.points for p in parts]), record)


def _wide(flow: NDArray, samples: int) -> NDArray:
    return np.pad(flow, ((0, 0), (0, samples - flow.shape[1])))
