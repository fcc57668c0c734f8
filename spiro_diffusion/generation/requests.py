"""Requests for patients: known values, pattern and kind of effort, parsed and checked for contradictions.

A request is given by keywords for all people, or by columns of the table of people: known_fev1, known_fvc, known_ratio,
known_pef, known_fef2575, pattern and effort.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.generation import contradictions, known_values, personal_conditions
from spiro_diffusion.generation.conditions import CONDITIONS
from spiro_diffusion.generation.known_values import NAMES, Box, KnownValue, parse
from spiro_diffusion.generation.subjects import Accepted, accepted
from spiro_diffusion.physiology import effort_kinds, patterns
from spiro_diffusion.physiology.effort_kinds import Kind
from spiro_diffusion.physiology.patterns import DEFINITIONS, Label

WORDS = (*NAMES, "pattern", "effort")  # keywords
COLUMNS = {**{f"known_{name}": name for name in NAMES}, "pattern": "pattern", "effort": "effort"}  # and keyword
MOST_LISTED = 5  # rows listed with their reason; the others are counted


@dataclass(frozen=True)
class Request:
    """The request for one patient's curves."""

    known: Mapping[str, KnownValue] = field(default_factory=dict)  # by NAMES
    pattern: Label | None = None
    effort: Kind | None = None

    def __bool__(self) -> bool:
        return bool(self.known) or self.pattern is not None or self.effort is not None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Request":
        """From keywords (WORDS); a missing one is None.

        Raises SpiroError if one cannot be read, or no lung has it.
        """
        known = {name: parse(name, given[name]) for name in NAMES if given.get(name) is not None}
        pattern = _word("pattern", given.get("pattern"), patterns.LABELS)
        effort = _word("effort", given.get("effort"), effort_kinds.KINDS)
        return cls(known, cast(Label | None, pattern), cast(Kind | None, effort))

    @property
    def after(self) -> bool:
        """Whether the pattern is defined on values after a bronchodilator."""
        return self.pattern is not None and DEFINITIONS[self.pattern].after


class Requirements(NamedTuple):
    """Requirements on the curves of n people."""

    requests: list[Request]
    known: dict[str, Box]  # by NAMES, in L, L/s or as a ratio
    bounds: dict[str, Box]  # likewise, of the patterns

    def take(self, rows: Sequence[int]) -> "Requirements":
        """The requirements on some of the people."""
        at = np.asarray(rows, dtype=np.int64)
        some = [{name: box.take(at) for name, box in boxes.items()} for boxes in self[1:]]
        return Requirements([self.requests[row] for row in rows], *some)


def requirements(requests: Sequence[Request], people: pd.DataFrame, invalid: dict[int, str]) -> Requirements:
    """The requirements on n people (age, height, sex as 1 or 2, optionally ethnicity), in L, L/s and as ratios.

    `invalid` gets, by row, why no curve can meet them.
    """
    known = {name: known_values.box(name, [r.known.get(name) for r in requests], people, invalid) for name in NAMES}
    bounds = {name: _of_patterns(name, requests, people) for name in NAMES}
    limits = {name: known[name].within(bounds[name]) for name in NAMES}
    for row, request in enumerate(requests):
        person, ends = people.iloc[row], (_row(known, row), _row(limits, row))
        if reason := contradictions.reason(request.known, request.pattern, person, *ends):
            invalid.setdefault(row, reason)
    contradictions.beyond_seen([r.known for r in requests], known, people, invalid)
    return Requirements(list(requests), known, bounds)


def accept(
    table: pd.DataFrame,
    trained: Mapping[str, Any],
    given: Mapping[str, Any],
    *,
    skip_invalid: bool = False,
    any_effort: bool = False,
) -> tuple[Accepted, Requirements | None]:
    """The people of a table as of `subjects.accepted`, with the requirements on their curves; None if nothing is
    requested beyond the conditions.

    By default, a GOLD grade is drawn after the bronchodilator, and a kind of effort among efforts of any grade.
    `given`: keywords for all people whose cell is empty: WORDS, `personal_conditions.NAMES`, CONDITIONS.

    Raises SpiroError that names why a request is impossible, unless `skip_invalid` leaves it out and others are left.
    """
    requests, invalid = _read(table, given)
    defaults = {condition.name: given.get(condition.name) for condition in CONDITIONS}
    table = _after(table, requests, defaults, invalid)
    faulty = np.array([request.effort is not None for request in requests])
    kept = accepted(table, trained, skip_invalid=skip_invalid, any_effort=faulty | any_effort, **defaults)
    kept = kept._replace(table=personal_conditions.added(kept.table, given, trained.get("cycles") or ()))
    if not any(requests) and not invalid:
        return kept, None
    reasons = {at: invalid[row] for at, row in enumerate(kept.rows) if row in invalid}
    found = requirements([requests[row] for row in kept.rows], kept.table, reasons)
    warnings = [*kept.warnings, *_refuse({kept.rows[at]: why for at, why in reasons.items()}, len(table), skip_invalid)]
    rows = [at for at in range(len(kept.table)) if at not in reasons]
    accepted_rows, as_given = (frame.iloc[rows].reset_index(drop=True) for frame in (kept.table, kept.given))
    return Accepted(accepted_rows, as_given, warnings, [kept.rows[at] for at in rows]), found.take(rows)


def _read(table: pd.DataFrame, given: Mapping[str, Any]) -> tuple[list[Request], dict[int, str]]:
    """The request of each row, its cells before the keywords; by row why one is invalid."""
    common = Request.of(given)
    columns = [column for column in COLUMNS if column in table]
    requests, invalid = [common] * len(table), {}
    for row, cells in enumerate(table[columns].to_dict(orient="records") if columns else []):
        of_row = {COLUMNS[str(c)]: cell for c, cell in cells.items() if not _blank(cell)}
        try:
            requests[row] = Request.of({**given, **of_row})
        except SpiroError as error:
            invalid[row] = str(error)
    return requests, invalid


def _after(
    table: pd.DataFrame, requests: list[Request], defaults: Mapping[str, str | None], invalid: dict[int, str]
) -> pd.DataFrame:
    """The table with `Bron` where a pattern needs it and no test type is given; `invalid` gets the rows with `Pre`."""
    if not any(request.after for request in requests):
        return table
    cells = list(table["test_type"]) if "test_type" in table else [None] * len(table)
    for row, request in enumerate(requests):
        test_type = defaults.get("test_type") if _blank(cells[row]) else cells[row]
        if request.after and test_type is None:
            cells[row] = "Bron"
        elif request.after and str(test_type).strip().lower() == "pre":
            invalid[row] = f"{request.pattern} is of values after a bronchodilator; leave out test_type Pre"
    return table.assign(test_type=pd.Series(cells, index=table.index, dtype=object))


def _refuse(reasons: Mapping[int, str], rows: int, skip_invalid: bool) -> list[str]:
    """A warning on the rows that are left out.

    Raises SpiroError if there are some and none may be left out, or no other is left.
    """
    if not reasons:
        return []
    if rows == 1:
        raise SpiroError(next(iter(reasons.values())))
    texts = [f"row {row + 1}: {why}" for row, why in sorted(reasons.items())]
    if len(texts) > MOST_LISTED:
        texts = [*texts[:MOST_LISTED], f"and {len(texts) - MOST_LISTED} others"]
    text = f"{len(reasons)} of {rows} rows have contradictory requests: {' | '.join(texts)}"
    if not skip_invalid or len(reasons) == rows:
        raise SpiroError(f"people: {text}; correct them, or leave them out (--skip-invalid)")
    return [f"left out: {text}"]


def _of_patterns(name: str, requests: Sequence[Request], people: pd.DataFrame) -> Box:
    """The bounds of the patterns on an index of n people."""
    low, high = np.full(len(people), -np.inf), np.full(len(people), np.inf)
    for label in {r.pattern for r in requests if r.pattern is not None}:
        rows = np.array([row for row, r in enumerate(requests) if r.pattern == label])
        for bound in DEFINITIONS[label].bounds:
            if bound.name == name:
                ends = [KnownValue(bound.low, bound.high, bound.unit)] * len(rows)
                box = known_values.box(name, ends, people.iloc[rows], {})
                low[rows] = box.low
                # the upper end is excluded
                high[rows] = np.where(np.isfinite(box.high), np.nextafter(box.high, -np.inf), np.inf)
    return Box(low, high, np.full(len(people), np.nan))


def _row(boxes: Mapping[str, Box], row: int) -> dict[str, tuple[float, float]]:
    return {name: (float(box.low[row]), float(box.high[row])) for name, box in boxes.items()}


def _word(name: str, given: object, words: Sequence[str]) -> str | None:
    if given is None:
        return None
    word = str(given).strip().lower().replace(" ", "-").replace("_", "-")
    if word not in words:
        raise SpiroError(f"{name} is {printable(given)}; expected one of {', '.join(words)}")
    return word


def _blank(cell: object) -> bool:
    return cell is None or (isinstance(cell, float) and np.isnan(cell)) or not str(cell).strip()
