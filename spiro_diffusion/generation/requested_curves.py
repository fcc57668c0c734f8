"""Curves of requested patients, marked where they are extrapolation, with a warning where too few were found."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.dataset import label_counts
from spiro_diffusion.dataset.label_counts import FEWEST
from spiro_diffusion.generation import conditional_draws, drawn_curves
from spiro_diffusion.generation.conditional_draws import Drawer, Found
from spiro_diffusion.generation.conditions import DRUG
from spiro_diffusion.generation.drawn_curves import Curves
from spiro_diffusion.generation.requests import Requirements
from spiro_diffusion.generation.session_curves import Size, of_effort
from spiro_diffusion.generation.subjects import Accepted

AFTER = f"drawn after a bronchodilator: {DRUG}, as NHANES 2011-2012 gave albuterol"
MOST_LISTED = 5  # people listed in a message with their number of curves


def notes(people: pd.DataFrame) -> list[str]:
    """Remarks if efforts after a bronchodilator are drawn."""
    return [AFTER] if (people["test_type"] == "Bron").any() else []


def curves(
    drawer: Drawer,
    kept: Accepted,
    required: Requirements,
    made_from: Mapping[str, Any],
    *,
    each: int | Size,
    seed: int,
    tell: Callable[[str], object],
    progress: bool = False,
) -> Curves:
    """Draw a number of curves or sessions for each person that meet the request; fewer if the search budget is spent.
    `tell` is called with a warning that names the people concerned, and what is extrapolation. `given` of the curves
    has the columns pattern, effort and extrapolation too, if they are requested; for sessions the kind of effort is
    `requested_effort`.

    Raises SpiroError if none was found.
    """
    marks, warnings = _marks(kept, required, made_from)
    for warning in warnings:
        tell(warning)
    if session := isinstance(each, Size):
        n, efforts = each.lungs, each.efforts(kept.table)
    else:
        n, efforts = int(each), kept.table.assign(person=np.arange(len(kept.table)), place=np.nan)
    found = conditional_draws.draw(drawer, efforts, required, n, seed, progress=progress)
    short = _short(found, kept, required, n)
    if short and not found.counts.any():
        raise SpiroError(short)
    if short:
        tell(short)
    if session:
        marks["requested_effort"] = marks.pop("effort")
    given = kept.given.assign(**{name: values for name, values in marks.items() if any(v is not None for v in values)})
    person = found.efforts["person"].to_numpy(np.int64)
    table = of_effort(found.efforts) if session else None
    return Curves(kept.table, person, found.draw, found.signals, given.reset_index(drop=True), table)


def _marks(
    kept: Accepted, required: Requirements, made_from: Mapping[str, Any]
) -> tuple[dict[str, list[Any]], list[str]]:
    """For each person the pattern, the kind of effort and whether they are extrapolation, None if not requested or
    unknown; and remarks."""
    table = kept.table
    groups = label_counts.groups(table["age"].to_numpy(float), table["sex"].to_numpy(int))
    counts, note_of_label = made_from.get("labels") or None, {}
    marks: dict[str, list[Any]] = {"pattern": [], "effort": [], "extrapolation": []}
    for request, group in zip(required.requests, groups, strict=True):
        labels = [str(label) for label in (request.pattern, request.effort) if label is not None]
        beyond = label_counts.extrapolated(counts, labels, group) if labels else None
        for name, value in zip(marks, (request.pattern, request.effort, beyond), strict=True):
            marks[name].append(value)
        for label in labels:
            if label_counts.extrapolated(counts, [label], group):
                people = (counts or {})[label].get(group, 0)
                note_of_label[label, group] = (
                    f"{label} is extrapolation: {people} {group} of the training people carry it"
                )
    if counts is None and any(request.pattern or request.effort for request in required.requests):
        note_of_label["", ""] = (
            f"the checkpoint does not record whether at least {FEWEST} training people meet the request"
        )
    return marks, list(note_of_label.values())


def _short(found: Found, kept: Accepted, required: Requirements, n: int) -> str:
    """A remark on people with fewer than `n` curves; "" if there are none."""
    short = np.flatnonzero(found.counts < n)
    if not len(short):
        return ""
    texts = []
    for row in short[:MOST_LISTED]:
        person = drawn_curves.describe(kept.table.iloc[row]) if len(kept.table) == 1 else f"row {kept.rows[row] + 1}"
        texts.append(
            f"{found.counts[row]} of {n} for {person} (tried {found.facts[row]:,} lungs, {found.curves[row]:,} curves)"
        )
    more = f" and {len(short) - MOST_LISTED} others" if len(short) > MOST_LISTED else ""
    return f"found {', '.join(texts)}{more}: the request is rare in the model; request less, or a wider range"
