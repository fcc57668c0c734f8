"""Format figures as table cells."""

from typing import NamedTuple

from spiro_diffusion.evaluation.figures import Figure
from spiro_diffusion.evaluation.registry import Form


class Cell(NamedTuple):
    """A figure as text."""

    value: str
    interval: str = ""

    @property
    def text(self) -> str:
        return f"{self.value} ({self.interval})" if self.interval else self.value


def write(figure: Figure, form: Form) -> Cell:
    """A figure and its interval as text."""
    if figure.value is None:
        return Cell("–")
    value = f"{_number(figure.value, form)} {form.unit}".strip()
    if figure.interval is None:
        return Cell(value)
    return Cell(value, " to ".join(_number(end, form) for end in figure.interval))


def _number(value: float, form: Form) -> str:
    rounded = round(form.scale * value, form.decimals) + 0.0  # no negative zeros
    return f"{rounded:{'+' if form.signed else ''}.{form.decimals}f}"
