"""Tables of scores: one line a figure on the screen, one line a submission in Markdown."""

from pathlib import Path
from typing import NamedTuple

from spiro_diffusion.benchmark.protocol import Task
from spiro_diffusion.benchmark.score import Scored
from spiro_diffusion.core.artifacts import write_text
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.version import VERSION
from spiro_diffusion.evaluation.figures import missing
from spiro_diffusion.evaluation.registry import COUNT, PERCENT, RATIO, Form, Line, line_at, named
from spiro_diffusion.evaluation.session_figures import FIGURES as SESSION_FIGURES
from spiro_diffusion.reporting import cells

NONE = missing("not in the record")
ML = Form("mL", 0, 1000)
HEAD = """# Results of the benchmark

Written by `spiro benchmark score --table`; docs/benchmark.md says what each figure means. Not for diagnosis.
"""
ABOUT = ("row", "data", "participants", "draws", "version", "date")


class Column(NamedTuple):
    """A figure of the table; `ideal`: what it would be of a perfect submission."""

    path: str
    label: str
    form: Form
    ideal: str


def _generation() -> tuple[Column, ...]:
    """The figures of every effort, and of the best ones against GLI Global."""
    chosen = (
        *((named("crps", "every", index), "least") for index in ("fev1", "fvc")),
        *((named("crps_over_gli", index=index), "least") for index in ("fev1", "fvc")),
        (named("residual_sd_ratio", "every", "fev1"), "1"),
        (named("coverage_80", "every", "fev1"), "80 %"),
        (named("wasserstein_over_floor", "every"), "1"),
        *((named(name, "every"), "0.5") for name in ("auc_clinical", "auc_fine")),
        (named("utility_ratio", "every"), "1"),
        (named("nearest_share", "every"), "50 %"),
        (named("violations_above_real", "every"), "0"),
    )
    lines: list[tuple[Line, str]] = [(line_at(path), ideal) for path, ideal in chosen]
    copies = Column(
        "copying.every.near_copies", "nearer to a training curve than 95 % of pairs of efforts", PERCENT, "few"
    )
    return (*(Column(line.path, line.label, line.form, ideal) for line, ideal in lines), copies)


def _completion() -> tuple[Column, ...]:
    """Error, CRPS, coverage and score of FVC by the interruption, and FEF25-75's error where it was hidden most."""
    cuts = {f"cut_{at}": f"cut at {at} s" for at in (1, 2, 3, 4)}
    cases = cuts | {"cough": "cough"}
    return (
        *(Column(f"{case}.fvc.error", f"FVC error, {words}", ML, "0") for case, words in cases.items()),
        *(Column(f"{case}.fvc.crps", f"FVC CRPS, {words}", ML, "least") for case, words in cuts.items()),
        *(
            Column(f"{case}.fvc.coverage_90", f"FVC in the 90 % interval, {words}", PERCENT, "90 %")
            for case, words in cuts.items()
        ),
        *(
            Column(f"{case}.fvc.interval_score", f"FVC interval score, {words}", ML, "least")
            for case, words in cuts.items()
        ),
        Column("cut_1.fef2575.error", "FEF25-75 error, cut at 1 s", Form("L/s", 3), "0"),
    )


LISTED_FIGURES = (  # of session_figures.FIGURES; all are in the JSON
    *(f"{index}_{what}" for what in ("cv", "gap", "first") for index in ("fev1", "fvc", "pef")),
    "fvc_skewness",
    *(f"{index}_correlation" for index in ("fev1", "fvc", "pef")),
    *("overlap", "repeats", "nhanes_fvc_A", "nhanes_fev1_A"),
)


def _sessions() -> tuple[Column, ...]:
    """The two-sample test, how many figures agree, some of them, and copies."""
    by_name = {one.name: one for one in SESSION_FIGURES}
    many = len(SESSION_FIGURES)
    figures = (by_name[name] for name in LISTED_FIGURES)
    return (
        Column("auc", "two-sample AUC of sessions", RATIO, "0.5"),
        Column("holds", f"of {many} figures, differences from held-out people that hold 0", COUNT, str(many)),
        *(Column(f"figures.{one.name}.candidate", one.label, one.form, "held-out") for one in figures),
        Column("copies.nearest_share", "nearest to a training session", PERCENT, "50 %"),
        Column("copies.nearer_than_held", "nearer to training sessions than held-out ones are, AUC", RATIO, "0.5"),
    )


COLUMNS: dict[Task, tuple[Column, ...]] = {
    "generation": _generation(),
    "sessions": _sessions(),
    "completion": _completion(),
}


def on_screen(scored: Scored) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and lines: a line a figure; the submission's with its 95 % interval, the others' without."""
    first, *others = scored.rows
    lines = []
    for column in COLUMNS[scored.task]:
        text = cells.write(scored.rows[first].get(column.path, NONE), column.form).text
        rest = (cells.write(scored.rows[name].get(column.path, NONE), column.form).value for name in others)
        lines.append((column.label, column.ideal, text, *rest))
    return ("figure", "ideal", first, *others), lines


def update(path: Path, scored: Scored, date: str) -> None:
    """Write the rows into the Markdown table of their task; those of the same name and data are replaced, others stay.

    Raises SpiroError where the file holds something else.
    """
    kept = _read(path)
    for name, row in scored.rows.items():
        data = scored.data
        draws = str(data["draws"]) if row is next(iter(scored.rows.values())) else ""
        about = (name, f"{data['source']}, {data['part']}", str(data["participants"]), draws, VERSION, date)
        found = [cells.write(row.get(column.path, NONE), column.form).text for column in COLUMNS[scored.task]]
        kept[scored.task][about[:3]] = _line(*about, *found)
    sections = [HEAD]
    for task, lines in kept.items():
        if lines:
            columns = COLUMNS[task]
            ideal = _line("*ideal*", *[""] * (len(ABOUT) - 1), *(column.ideal for column in columns))
            head = [_line(*ABOUT, *(column.label for column in columns)), _line(*["---"] * (len(ABOUT) + len(columns)))]
            sections.append("\n".join([f"## {task}\n", *head, ideal, *lines.values()]) + "\n")
    write_text(path, "\n".join(sections))


def _read(path: Path) -> dict[Task, dict[tuple[str, ...], str]]:
    """The lines of each task's table by name, data and participants; a column that the file lacks is `–`."""
    kept: dict[Task, dict[tuple[str, ...], str]] = {task: {} for task in COLUMNS}
    if not path.exists():
        return kept
    text = path.read_text(encoding="utf-8")
    if not text.startswith(HEAD):
        raise SpiroError(f"{path}: is no table of the benchmark; name another file with --table")
    for section in text.split("\n## ")[1:]:
        title, _, rest = section.partition("\n")
        lines = [_cells(line) for line in rest.splitlines() if line.startswith("| ")]
        for task in kept:
            if task == title:
                rows = [dict(zip(lines[0], cells, strict=False)) for cells in lines[3:]]  # after head, rule, ideal
                chosen = (*ABOUT, *(column.label for column in COLUMNS[task]))
                kept[task] = {
                    tuple(row[name] for name in ABOUT[:3]): _line(*(row.get(name, "–") for name in chosen))
                    for row in rows
                }
    return kept


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _line(*texts: str) -> str:
    return f"| {' | '.join(texts)} |"
