"""Read the sessions of all people of a folder into one table; an error in one session does not stop the others."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from tqdm import tqdm

from spiro_diffusion.core import artifacts
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.version import VERSION
from spiro_diffusion.generation.subjects import read_people
from spiro_diffusion.sessions.interpretation import Interpretation, interpret
from spiro_diffusion.sessions.reading import read_session
from spiro_diffusion.sessions.records import Person
from spiro_diffusion.user_curves.people import NAMES

TABLE, ROWS, PAGES = "sessions.csv", "rows", "pages"
MOST_NAME = 80  # characters
POST = "post"  # a column of the table: the file of the blows after the bronchodilator


class Pages(NamedTuple):
    """The ending of the files of reports, a text that changes when earlier reports must be made anew, and the function
    that writes one."""

    suffix: str
    version: str
    write: Callable[[Interpretation, Path], object]


class Found(NamedTuple):
    """Number of people in the table, of sessions read now, and of sessions kept from an earlier call; and the people
    whose session could not be read, with reasons."""

    people: int
    read: int
    kept: int
    failed: list[tuple[str, str]]


def read_folder(
    folder: Path,
    people: Path,
    out: Path,
    *,
    btps: float | None = None,
    pages: Pages | None = None,
) -> Found:
    """Write OUT/sessions.csv, a row for each person, and OUT/pages.

    Args:
        folder: a file of blows for each person, named as the person, with any ending.
        people: table with age (years), height (cm), sex and a column person, file, id or name; optionally group,
            and post, the name of the file of the blows after the bronchodilator.

    A session is kept from an earlier call of this version if its files and its row of the table have not changed and
    its report exists.

    Raises SpiroError if the table cannot be read or has no column that names the files.
    """
    table = read_people(people)
    column = next((name for name in NAMES if name in table), None)
    if column is None:
        raise SpiroError(f"{people}: no column {NAMES[0]} that says whose file is whose")
    if not folder.is_dir():
        raise SpiroError(f"{folder}: no such folder; expected one of files of blows")
    rows: list[dict[str, Any]] = []
    failed, counts, seen = [], {"read": 0, "kept": 0}, set()
    for number, row in enumerate(tqdm(list(_rows(table)), desc="sessions", unit="person", leave=False), start=1):
        name = str(row[column]).removesuffix(".0")
        try:
            if name in seen:
                raise SpiroError(f"row {number} of {people} names this person again")
            seen.add(name)
            found, new = _row(_files(folder, name, row), row | {"btps": btps}, name, out, pages)
            counts["read" if new else "kept"] += 1
            rows.append(found)
        except SpiroError as error:
            failed.append((name, str(error)))
        except OSError as error:
            failed.append((name, f"{error.filename or folder}: {(error.strerror or str(error)).lower()}"))
    out.mkdir(parents=True, exist_ok=True)
    artifacts.write_text(out / TABLE, pd.DataFrame(rows).to_csv(index=False))
    return Found(len(table), counts["read"], counts["kept"], failed)


def _rows(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    return ({str(key): value for key, value in row.items()} for row in table.to_dict(orient="records"))


def _cell(row: dict[str, Any], column: str) -> str:
    """The content of a cell that may be empty."""
    cell = row.get(column)
    return "" if cell is None or cell != cell else str(cell).strip()  # noqa: PLR0124 (NaN)


def _files(folder: Path, name: str, row: dict[str, Any]) -> list[Path]:
    """The file of a person's blows, and of those after the bronchodilator where the table names one."""
    post = _cell(row, POST)
    files = sorted(
        f for f in folder.iterdir() if f.is_file() and name in (f.name, f.name.split(".")[0]) and f.name != post
    )
    if not files:
        raise SpiroError(f"{folder}: holds no file {name}")
    if len(files) > 1:
        raise SpiroError(
            f"{folder}: holds {len(files)} files {name} ({', '.join(f.name for f in files[:3])}); put the blows into "
            f"one, or name that of the blows after the bronchodilator in a column {POST}"
        )
    return [*files, *([folder / post] if post else [])]


def _row(
    files: list[Path],
    row: dict[str, Any],
    name: str,
    out: Path,
    pages: Pages | None,
) -> tuple[dict[str, Any], bool]:
    """A person's row of the table, and whether it was computed now."""
    made = (VERSION, *((pages.suffix, pages.version) if pages else ()))
    content = json.dumps([made, {key: str(value) for key, value in row.items()}], sort_keys=True)
    key = hashlib.sha256(content.encode())
    for file in files:
        if not file.is_file():
            raise SpiroError(f"{file}: no such file")
        key.update(artifacts.sha256(file).encode())
    stored = out / ROWS / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"
    page = out / PAGES / f"{_file_name(name)}{pages.suffix}" if pages else None
    there = page is None or page.is_file()
    if there and stored.is_file() and (before := artifacts.read_json(stored)).get("key") == key.hexdigest():
        return dict(before["row"]), False
    person = Person(row["age"], row["height"], row["sex"], _cell(row, "group") or None, name)  # type: ignore[arg-type]
    post = files[1] if len(files) > 1 else None
    read = interpret(read_session(files[0], person, post=post, btps=row["btps"]))
    if pages and page:
        page.parent.mkdir(parents=True, exist_ok=True)
        pages.write(read, page)
    found = as_row(read)
    stored.parent.mkdir(parents=True, exist_ok=True)
    artifacts.write_json(stored, {"key": key.hexdigest(), "row": list(found.items())})  # in order
    return found, True


def _file_name(person: str) -> str:
    """A person's name as a file name; all are different."""
    plain = re.sub(r"[^\w. -]", "_", person)[:MOST_NAME]
    return plain if plain == person else f"{plain}-{hashlib.sha256(person.encode()).hexdigest()[:8]}"


def as_row(read: Interpretation) -> dict[str, Any]:
    """A session as a row: by phase and index the best value, z and percent of predicted; grades; pattern; response."""
    person = read.session.person
    row: dict[str, Any] = {"person": person.name, "age": person.age, "height": person.height, "sex": person.sex}
    for phase in read.session.phases:
        grades, finding = read.session.grades[phase], read.findings[phase]
        row |= {f"{phase}_grade_fev1": grades.fev1, f"{phase}_grade_fvc": grades.fvc}
        row |= {
            f"{phase}_pattern": finding.pattern,
            f"{phase}_severity": None if finding.withheld else finding.severity,
        }
        for name, values in read.values.items():
            best = values.best.get(phase)
            row |= {f"{phase}_{name}": best and round(best.value, 4)}
            if values.reference is not None:
                row |= {f"{phase}_{name}_z": best and best.z and round(best.z, 3)}
                row |= {f"{phase}_{name}_percent": best and best.percent and round(best.percent, 1)}
    for response in read.responses:
        row[f"response_{response.edition}"] = response.significant
    row["sentences"] = " ".join(read.sentences())
    return row
