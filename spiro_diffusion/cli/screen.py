"""Printing of `spiro`: tables, JSON, messages.

Nothing of a user's file is read as markup, or reaches the terminal as a control character.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from spiro_diffusion.core.errors import printable
from spiro_diffusion.core.vocabulary import INDICES

if TYPE_CHECKING:
    import pandas as pd

WIDEST = 400  # characters of a table on the screen; longer names are cut
MOST_ROWS = 40  # curves listed on the screen; of more, percentiles
PROVISIONAL = "provisional"  # instead of no: an FVC that waits for an effort that repeats it
HEADS = {"acceptable": "ok", "session": "grade"}  # of pairs, FEV1's and FVC's


def print_error(line: str) -> None:
    """One line on stderr."""
    typer.echo(f"spiro: {clean(line)}", err=True)


def warn(line: str) -> None:
    """A warning on stderr."""
    print_error(f"warning: {line}")


def print_line(line: str) -> None:
    """One line on stdout."""
    typer.echo(clean(line))


def clean(line: str) -> str:
    """A text as one line without control characters."""
    return printable(" ".join(line.split()), most=20_000)


def wrote(files: Sequence[Path]) -> None:
    """Print which files were written."""
    for file in files:
        print_line(f"wrote {file}")


def print_json(content: Any) -> None:
    """Print JSON; a NaN is refused (ValueError)."""
    typer.echo(json.dumps(content, indent=2, allow_nan=False))


def records(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Rows as dictionaries, None for what is not determined."""
    return [{str(k): _plain(v) for k, v in row.items()} for row in table.to_dict(orient="records")]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


def print_figures(figures: dict[str, float | None], summary: Path) -> None:
    """The headline figures of a judge's summary, and how many targets are met."""
    from spiro_diffusion.evaluation.registry import READ_VERDICTS, headline_rows  # noqa: PLC0415 (pandas)

    print_table("held-out participants, best efforts", ("figure", "value", "ideal"), headline_rows(figures))
    counts = [
        f"{v:.0f} {label}" for word, label in READ_VERDICTS.items() if (v := figures.get(f"targets_{word}")) is not None
    ]
    print_line(f"targets: {', '.join(counts)} (of {summary})")


def print_indices(table: "pd.DataFrame", title: str, keys: list[str]) -> None:
    """A table of indices: those of `columns.COLUMNS` that fit a screen; of many rows, percentiles."""
    from spiro_diffusion.generation.columns import COLUMNS, INSPIRED_ON_SCREEN, Z_SCORES  # noqa: PLC0415 (pandas)

    labels = {c.name: c.written.label for c in COLUMNS if c.on_screen}
    labels |= {name: INDICES[name].label for name in INSPIRED_ON_SCREEN}
    heads = labels | {f"{name}_z": f"z{labels[name]}" for name in Z_SCORES} | HEADS
    for name in HEADS:
        if f"{name}_fev1" in table:
            fev1, fvc = ([cell(v) for v in table[f"{name}_{index}"]] for index in ("fev1", "fvc"))
            if name == "acceptable":
                fvc = [PROVISIONAL if first else v for first, v in zip(table["provisional_fvc"], fvc, strict=True)]
            table = table.assign(**{name: ["/".join(pair) for pair in zip(fev1, fvc, strict=True)]})
    table = table[[name for name in (*keys, *heads) if name in table]]
    if len(table) > MOST_ROWS:
        table = table.drop(columns=keys).select_dtypes("number").quantile([0.05, 0.5, 0.95])
        table.insert(0, "percentile", ["5", "50", "95"])
    rows = [tuple(cell(v) for v in row) for row in table.to_numpy(dtype=object)]
    explanation = "; ok, grade: of FEV1/of FVC" if "session" in table else ""
    print_table(
        f"{title} (volumes L, flows L/s{explanation})", tuple(heads.get(str(name), str(name)) for name in table), rows
    )


def cell(value: Any) -> str:
    """A value of a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{round(value, 2) + 0.0:.2f}" if math.isfinite(value) else "-"  # no -0.00
    return str(value)


def print_table(title: str, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A table as wide as it has to be: a narrow terminal wraps lines, it does not lose figures."""
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    def plain(text: str) -> Text:
        return Text(printable(text, WIDEST))

    table = Table(title=plain(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for i, name in enumerate(header):
        table.add_column(plain(name), justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(plain, row))
    console = Console()
    whole = console.measure(table, options=console.options.update(max_width=WIDEST)).maximum
    Console(width=max(console.width, whole)).print(table)
