"""`SpiroError`, the error that a user can cause and that ends a program in one line, and helpers for its text."""

import math


class SpiroError(Exception):
    """An error that a user can correct: the message says what is wrong, where, and what to do."""


def within(settings: object, **ranges: tuple[float, float]) -> None:
    """Hold attributes against their least and largest values; both are allowed, a NaN is not.

    Raises ValueError that names the first beyond them.
    """
    for name, (least, largest) in ranges.items():
        value = getattr(settings, name)
        if not least <= value <= largest:
            expected = f"{least:g} or more" if largest == math.inf else f"{least:g} to {largest:g}"
            raise ValueError(f"{name} is {value:g}; expected {expected}")


def printable(value: object, most: int = 60) -> str:
    """What a user's file says, as it can stand in a line: what does not print is escaped, what is long is cut."""
    text = str(value)
    text = text if len(text) <= most else f"{text[:most]}..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
