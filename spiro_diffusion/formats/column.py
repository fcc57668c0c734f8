"""A column as described by the two SAS file formats."""

from typing import NamedTuple


class Column(NamedTuple):
    """One column of a SAS table; its bytes lie at `offset` in each row."""

    name: str
    label: str
    text: bool  # blank-padded text, else a number
    width: int  # bytes
    offset: int = 0


def placed(columns: list[Column]) -> list[Column]:
    """The columns with the offsets they get when they lie one behind the other."""
    offsets = [sum(c.width for c in columns[:i]) for i in range(len(columns))]
    return [column._replace(offset=offset) for column, offset in zip(columns, offsets, strict=True)]
