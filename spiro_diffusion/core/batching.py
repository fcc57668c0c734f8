"""Split rows into batches."""

from collections.abc import Iterator


def batches(rows: int, size: int) -> Iterator[slice]:
    """Slices that cover `rows`, of `size` rows each but the last."""
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))
