"""Waveform files as user curves; the user states BTPS where a file does not."""

import re

from spiro_diffusion.formats import waveform_file
from spiro_diffusion.user_curves.efforts import UNITS, Quantity, RawBlow
from spiro_diffusion.user_curves.source import Source

QUANTITIES: dict[str, Quantity] = {"VT": "volume", "FT": "flow"}


def recognises(source: Source) -> bool:
    return waveform_file.is_marked(source.head_text)


def read(source: Source) -> tuple[list[RawBlow], list[str]]:
    """The one waveform of a file.

    Raises SpiroError as `waveform_file.parse` does.
    """
    found = waveform_file.parse(source.text(), source.where)
    quantity = QUANTITIES[found.kind]
    notes = [] if found.factor else [f"{found.kind} has no unit; read as {UNITS[quantity]}"]
    conditions = re.search(r"\b(BTPS|ATPS)\b", found.settings, re.IGNORECASE)
    btps = 1.0 if conditions and conditions[1].upper() == "BTPS" else None
    values = found.values * (found.factor or 1.0)
    return [RawBlow("", quantity, values, found.period_s, found.times, btps, column=found.kind)], notes
