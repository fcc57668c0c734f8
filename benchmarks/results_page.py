"""Publish a full-size run: its figures to metrics/full/, and the page docs/results.md that shows them.

    python -m benchmarks.results_page runs/full --machine "one NVIDIA H100" --commit 0123abc --data "..." \
        --seeds runs/seed2 runs/seed3

Reads what `spiro_diffusion.pipeline.run` left in the folder, and in those of other seeds of the trainings. Nothing is
computed here, and nothing written by hand.
"""

import argparse
import subprocess
from pathlib import Path
from typing import Any

import yaml

from benchmarks import loops_page
from spiro_diffusion.core import artifacts
from spiro_diffusion.evaluation import registry, response, session_judge, targets
from spiro_diffusion.evaluation.figures import to_json
from spiro_diffusion.evaluation.record import Record
from spiro_diffusion.evaluation.registry import ALL_LEVELS, READ_VERDICTS, at
from spiro_diffusion.reporting import cells, session_plots

SECTIONS = ("train_vqvae", "train_cldm", "evaluate")


def targets_table(record: Record) -> list[str]:
    """A line a target: what is asked, on which level, the verdict, how many figures pass, the worst figure."""
    lines = ["| target | level | verdict | figures that pass | worst figure |", "| --- | --- | --- | --- | --- |"]
    for target in record.targets:
        worst = target.decisive
        worst_figure = worst.reason or ""
        if worst.value is not None:
            worst_figure = f"{target.worst}: {cells.write(worst, registry.line_at(target.worst).form).text}"
        passed = f"{target.passed} of {len(target.computed)}"
        verdict, level = READ_VERDICTS[target.verdict], ALL_LEVELS[target.level]
        lines.append(f"| {target.text} | {level} | **{verdict}** | {passed} | {worst_figure} |")
    return lines


def figures_table(record: Record, level: registry.Level) -> list[str]:
    """The table of the report for one level: generator, floor, round trip, baselines."""
    trees = record.candidates
    lines = ["| figure | " + " | ".join(trees) + " |", "| --- " * (len(trees) + 1) + "|"]
    for line in registry.table(level):
        written = [cells.write(at(tree, line.path), line.form).text for tree in trees.values()]
        lines.append(f"| {line.label} | " + " | ".join(written) + " |")
    return lines


BASELINES = {
    "last_value": "as it stopped",
    "exponential": "exponential",
    "two_exponentials": "two exponentials",
    "neighbours": "neighbours",
    "ridge": "ridge",
    "boosted_trees": "boosted trees",
    "boosted_quantiles": "boosted quantiles",
    "nearest_lungs": "regression on the nearest",
}


def interrupted_table(judged: dict[str, Any]) -> list[str]:
    """Interrupted efforts completed: the generator's errors and intervals, and the baselines' median errors of FVC."""
    baselines = [name for name in BASELINES if all(name in case for case in judged["cases"].values())]
    head = ["interrupted", "FVC (mL)", "FEF25-75 (L/s)", "90 % interval of FVC: coverage, width (mL)"]
    head += ["FEV1/FVC bias, obstructed", *(BASELINES[name] for name in baselines), "CRPS over the best baseline's"]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for name, case in judged["cases"].items():
        model, fvc = case["generator"], case["generator"]["fvc"]
        cells = [
            _interruption(name),
            _text(fvc["error"], ".1f", 1000),
            _text(model["fef2575"]["error"], ".3f"),
            f"{_text(fvc['coverage_90'], '.1f', 100)} %, {_text(fvc['width_90'], '.0f', 1000)}",
            _text(case["ratio_bias"]["obstructed"]["bias"], "+.4f"),
            *(_text(case[r]["fvc"]["error"], ".1f", 1000) for r in baselines),
            _ratio(*(case[r]["fvc"]["crps_ratio"] for r in baselines)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def others_table(judged: dict[str, Any]) -> list[str]:
    """The same interrupted efforts without and with the person's best other effort: FVC, both sides by plain paths."""
    head = ["interrupted", "FVC error (mL)", "90 % width (mL)", "90 % coverage", "CRPS, given over without"]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for name, case in judged["others"]["cases"].items():
        sides = [case["fvc"][side] for side in ("without", "given")]
        cells = [
            _interruption(name),
            ", ".join(_text(side["error"], ".1f", 1000) for side in sides),
            ", ".join(_text(side["width_90"], ".0f", 1000) for side in sides),
            ", ".join(f"{_text(side['coverage_90'], '.1f', 100)} %" for side in sides),
            _ratio(case["fvc"]["crps_ratio"]),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _text(figure: dict[str, Any], form: str, scale: float = 1) -> str:
    return "–" if figure["value"] is None else format(scale * figure["value"], form)


def _ratio(*figures: dict[str, Any]) -> str:
    """The largest of those known, with its interval."""
    defined = [figure for figure in figures if figure["value"] is not None]
    if not defined:
        return "–"
    worst = max(defined, key=lambda figure: figure["value"])
    return f"{worst['value']:.2f} ({worst['low']:.2f} to {worst['high']:.2f})"


def _interruption(name: str) -> str:
    return {"cough": "a cough"}.get(name, f"cut at {name[-1]} s")


DRAWN = "These curves were drawn, not recorded: the errors are those on lungs of that law. "  # all but the CDC's own
DRAWN_TOGETHER = (
    "The efforts of one person share their tail by rule here: how much another effort tells of real lungs is not known."
)


def interrupted_section(judged: dict[str, Any] | None) -> list[str]:
    """What the judge of completions found, as lines of Markdown; what is said of drawn curves is not said of NHANES."""
    if judged is None:
        return []
    about = judged["data"]
    real = about["source"] == "nhanes"
    return [
        "",
        "## Interrupted efforts, completed",
        "",
        f"The best full effort of {about['efforts']} {about['split']} participants, interrupted, with {about['draws']} "
        f"draws each; the densities learned from {about['training_efforts']:,} full training efforts. Median absolute "
        f"errors; the baselines' are of FVC (mL). {'' if real else DRAWN}"
        "[reconstruction.md](reconstruction.md) has the rest.",
        "",
        *interrupted_table(judged),
        "",
        "The same efforts without, and given the person's best other acceptable effort of the same kind of test."
        + ("" if real else f" {DRAWN_TOGETHER}"),
        "",
        *others_table(judged),
    ]


def sessions_section(folder: Path) -> list[str]:
    """What the judge of sessions and responses found, as lines of Markdown."""
    found = session_plots.contents(session_judge.Record.read(folder))
    names = ["generator", *found["others"]]
    after = session_plots.responses(*response.read(folder))
    data = found["data"]
    return [
        "",
        "## Sessions of one lung",
        "",
        f"Sessions of the {data['participants']} participants: {data['sessions']}, of {data['efforts']:,} efforts; the "
        f"figures are of good efforts before the bronchodilator, intervals of differences {found['confidence']} %, "
        f"which corrects for the {data['figures']} figures. [evaluation.md](evaluation.md#sessions) says what each is.",
        "",
        *_table(
            ["", *names],
            [
                ["two-sample AUC", *(found["auc"][name].text for name in names)],
                ["differences that hold 0", *(found["holds"][name] for name in names)],
            ],
        ),
        "",
        *_differences(found["rows"]),
        "",
        "### Before and after a bronchodilator",
        "",
        f"The {after['people']} people who took it (two puffs, at least ten minutes), drawn given their own best FEV1 "
        f"and FVC before it; training participants are among them. Of the differences {after['holds']} hold 0 "
        f"(intervals {after['confidence']} %).",
        "",
        *_differences(after["rows"]),
    ]


def _differences(rows: list[dict[str, Any]]) -> list[str]:
    """Figures of held-out and generated people, and their difference."""
    cells = [[r["label"], r["held_out"].text, r["generated"].text, r["difference"]["cell"].text] for r in rows]
    return _table(["figure", "held out", "generated", "difference"], cells)


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


SEEDS = {  # of the summary.json of both judges
    "targets_met": ("targets met", "{:.0f}"),
    "targets_within_noise": ("targets within noise", "{:.0f}"),
    "targets_missed": ("targets missed", "{:.0f}"),
    "every_auc_clinical": ("two-sample AUC, clinical, every effort", "{:.3f}"),
    "every_auc_fine": ("two-sample AUC, fine, every effort", "{:.3f}"),
    "best_auc_clinical": ("two-sample AUC, clinical, best efforts", "{:.3f}"),
    "best_auc_fine": ("two-sample AUC, fine, best efforts", "{:.3f}"),
    "fev1_crps_over_gli": ("CRPS of FEV1 over GLI Global's, best efforts", "{:.3f}"),
    "fvc_crps_over_gli": ("CRPS of FVC over GLI Global's, best efforts", "{:.3f}"),
    "every_nearest_share": ("share nearest to a training curve, every effort", "{:.3f}"),
    "cut_1_fvc_error_ml": ("completion after 1 s: median error of FVC (mL)", "{:.0f}"),
    "cut_1_fvc_coverage_90": ("completion after 1 s: its 90 % interval holds", "{:.3f}"),
    "cut_1_fvc_crps_ratio_worst": ("completion after 1 s: CRPS over the best baseline's", "{:.3f}"),
    "cut_2_fvc_crps_ratio_worst": ("completion after 2 s: CRPS over the best baseline's", "{:.3f}"),
    "cut_3_fvc_crps_ratio_worst": ("completion after 3 s: CRPS over the best baseline's", "{:.3f}"),
    "cut_4_fvc_crps_ratio_worst": ("completion after 4 s: CRPS over the best baseline's", "{:.3f}"),
    "cough_fvc_crps_ratio_worst": ("completion of a cough: CRPS over the best baseline's", "{:.3f}"),
}


def seeds_section(folders: list[Path]) -> list[str]:
    """Headline figures of runs that differ in the seeds of their trainings alone, as lines of Markdown."""
    if len(folders) < 2:
        return []
    parts = ("metrics/evaluate/summary.json", "metrics/reconstruct/summary.json")
    found = [artifacts.read_json(folder / parts[0]) | artifacts.read_json(folder / parts[1]) for folder in folders]
    sessions = [session_plots.contents(session_judge.Record.read(f / "metrics/evaluate")) for f in folders]
    rows = [[words, *(form.format(run[name]) for run in found)] for name, (words, form) in SEEDS.items()]
    rows += [["sessions: two-sample AUC", *(one["auc"]["generator"].text for one in sessions)]]
    rows += [["sessions: differences that hold 0", *(one["holds"]["generator"] for one in sessions)]]
    return [
        "",
        f"## {len(folders)} seeds",
        "",
        "The same run with other seeds of all trainings; the page is of the first.",
        "",
        *_table(["figure", *(f"seed {number}" for number in range(1, len(folders) + 1))], rows),
    ]


def page(record: Record, about: dict[str, Any], judged: dict[str, Any] | None, folders: list[Path]) -> str:
    """The page as Markdown; `folders`: of the run, and of those with other seeds."""
    data, counts = record.data, targets.counts(record.targets)
    verdicts = ", ".join(f"{counts[v]} {words}" for v, words in READ_VERDICTS.items())
    reconstruction = [
        f"| {line.label} | {cells.write(at(record.generator, line.path), line.form).text} |"
        for line in registry.round_trip_table()
    ]
    return "\n".join(
        [
            "# Results at full size",
            "",
            "How good is a generator that was trained at full size? "
            "*Written by `benchmarks/results_page.py` from a run's files; `metrics/full/` holds the figures as JSON.*",
            "",
            f"Data: **{about['data']}**. {data['training_curves']:,} efforts of {data['training_participants']:,} "
            f"participants trained the models; {data['curves']:,} efforts of {data['participants']} {data['split']} "
            f"participants judge, each against {data['draws']} draws at its own conditions.",
            f"Machine: {about['machine']}. Commit {about['commit']}.",
            *([about["note"]] if about["note"] else []),
            "",
            f"Of {len(record.targets)} targets: {verdicts}. What each figure is: [evaluation.md](evaluation.md).",
            "",
            *targets_table(record),
            "",
            "## The autoencoder",
            "",
            "| held-out efforts, read back | |",
            "| --- | --- |",
            *reconstruction,
            *[
                line
                for level in registry.LEVELS
                for line in ("", f"## {registry.LEVELS[level].capitalize()}", "", *figures_table(record, level))
            ],
            *sessions_section(folders[0] / "metrics/evaluate"),
            *interrupted_section(judged),
            *seeds_section(folders),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the run")
    parser.add_argument("--machine", required=True)
    parser.add_argument("--data", required=True, help="what the files are; a stand-in is called one")
    parser.add_argument(
        "--commit",
        default=subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip(),
    )
    parser.add_argument("--note", default="")
    parser.add_argument("--seeds", type=Path, nargs="*", default=[], help="folders of runs with other seeds")
    options = parser.parse_args()
    baselines, evaluated = (options.folder / "metrics" / name for name in ("baselines", "evaluate"))
    record = Record.read(baselines if (baselines / "judge.json").is_file() else evaluated)
    params = yaml.safe_load((options.folder / "params.yaml").read_text(encoding="utf-8"))
    about = {"machine": options.machine, "data": options.data, "commit": options.commit, "note": options.note}
    full = Path("metrics/full")
    artifacts.write_json(
        full / "about.json", about | {"judged": record.data, "params": {s: params[s] for s in SECTIONS}}
    )
    artifacts.write_json(full / "targets.json", [target.to_json() for target in record.targets])
    groups = {level: registry.node_at(record.generator, f"groups.{level}.unweighted") for level in registry.LEVELS}
    artifacts.write_json(full / "groups.json", to_json(groups))  # for the model card
    artifacts.write_json(full / "summary.json", artifacts.read_json(options.folder / "metrics/evaluate/summary.json"))
    completed = options.folder / "metrics/reconstruct"
    judged = artifacts.read_json(completed / "judge.json") if (completed / "judge.json").is_file() else None
    if judged is not None:
        artifacts.write_json(full / "reconstruct.json", artifacts.read_json(completed / "summary.json"))
    written = page(record, about, judged, [options.folder, *options.seeds])
    if loops_page.FIGURES.is_file():
        written = loops_page.with_section(written, artifacts.read_json(loops_page.FIGURES))
    artifacts.write_text(loops_page.PAGE, written)


if __name__ == "__main__":
    main()
