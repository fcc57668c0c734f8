"""The data card of a synthetic population, as Markdown."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance

from spiro_diffusion.core.artifacts import read_json, write_text
from spiro_diffusion.core.version import VERSION
from spiro_diffusion.generation.columns import NAMES, Z_NAMES
from spiro_diffusion.generation.intended_use import LIMITS, trained_on
from spiro_diffusion.generation.populations import COMPARED, JITTER
from spiro_diffusion.physiology import reference
from spiro_diffusion.reporting import model_card

SUMMARY = Path("metrics/evaluate/summary.json")  # beside the folder of the data, as in dvc.yaml
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
COHORT_LIMITS = (
    "Synthetic: nobody in it exists.",
    *LIMITS,
    "Efforts of one person share age, height, sex and session, not a lung: each was drawn by itself, so the spread "
    "within a person is that between people. Take one effort a person (`best`) where people are compared; do not "
    "study repeatability.",
    "`grade`, `test_type` and `best` are what was asked for, not what was found: the largest effort of a person need "
    "not be the one asked for as the best.",
    "The file holds 10 ms means of flow before the spirometer's counter of whole millilitres.",
)


def write_data_card(
    path: Path, table: pd.DataFrame, curves: pd.DataFrame, made_from: dict[str, Any], seed: int, data: Path
) -> None:
    """Write the data card beside the cohort `path` that was drawn after the participants `curves` of `data`."""
    judged = data.parent / SUMMARY
    summary = read_json(judged) if judged.is_file() else {}
    source = data / "curves.parquet"
    write_text(card_path(path), data_card(path.name, table, made_from, seed, source, curves, summary))


def card_path(path: Path) -> Path:
    """Where the data card goes, beside the cohort."""
    return path.with_name(f"{path.stem}_card.md")


def data_card(
    name: str,
    table: pd.DataFrame,
    made_from: dict[str, Any],
    seed: int,
    source: Path,
    curves: pd.DataFrame,
    summary: Mapping[str, float | None],
) -> str:
    """The data card: what is in the file, how it was made, its distributions and limits, as Markdown."""
    people = table.drop_duplicates("person")
    best = table[table["best"].astype(bool)]
    sexes = [(word, int((people["sex"] == code).sum())) for code, word in reference.SEXES.items()]
    kinds = table.groupby(["test_type", "grade"]).size()
    session = table.groupby("person").size()
    columns = [
        ("person, effort", "number of the person from 0, of the effort in the session from 1"),
        ("age, height, sex", "years; cm; 1 male, 2 female"),
        (
            "grade, test_type, best",
            "kind of effort asked for: A to D, Pre or Bron (after the bronchodilator), the best",
        ),
        (", ".join(NAMES), "indices of the curve: L, L/s, s; ratio is FEV1/FVC"),
        (", ".join(Z_NAMES), "GLI Global z-scores"),
        ("flow_l_s", "list: L/s at BTPS, mean of each 10 ms from 0.5 s before time zero to the end of the effort"),
    ]
    parts = [
        f"# Data card of `{name}`",
        "A **synthetic** population of forced expirations. For research; **not for diagnosis**.",
        "## What and how",
        f"- {len(people)} people, {len(table)} efforts, seed {seed}, spiro {VERSION}\n"
        f"- the model was trained on {trained_on(made_from)}\n"
        f"- people: drawn by survey weight (WTMEC2YR) from {curves['seqn'].nunique()} participants of `{source}`, "
        f"age and height moved by SD {JITTER['age']:g} years and {JITTER['height']:g} cm, with a session as theirs",
        "## People",
        model_card.markdown(("sex", "people"), sexes),
        _quantiles(people[["age", "height"]].assign(efforts=session.to_numpy())),
        "## Efforts asked for",
        model_card.markdown(("test type", "grade", "efforts"), [(*kind, count) for kind, count in kinds.items()]),  # type: ignore[misc]
        f"## Indices of the {len(best)} efforts asked for as a person's best",
        _quantiles(best[[*NAMES, *Z_NAMES]]),
        *fidelity(table, curves, summary),
        "## Columns",
        model_card.markdown(("column", "holds"), columns),
        "## Limits",
        "\n".join(f"- {limit}" for limit in COHORT_LIMITS),
    ]
    return "\n\n".join(parts) + "\n"


def fidelity(table: pd.DataFrame, curves: pd.DataFrame, summary: Mapping[str, float | None]) -> list[str]:
    """How far the cohort is from the participants it was drawn after, and what the judge found, as Markdown.

    Args:
        table: efforts of the cohort, with indices.
        curves: efforts of the participants, with `mec_weight` and indices.
        summary: figures of the judge by name; none where the model was not judged.
    """
    real = curves[curves["best"].astype(bool) & (curves["mec_weight"] > 0)].assign(ratio=curves["fev1"] / curves["fvc"])
    made = table[table["best"].astype(bool)]
    rows = []
    for name in ("age", "height", *COMPARED):
        known = real[[name, "mec_weight"]].dropna()
        values, weights, drawn = known[name].to_numpy(), known["mec_weight"].to_numpy(), made[name].dropna().to_numpy()
        if not len(values) or not len(drawn):
            continue
        mean = float(np.average(values, weights=weights))
        sd = float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))
        apart = wasserstein_distance(values, drawn, weights)
        rows.append(
            (name, f"{mean:.2f} ± {sd:.2f}", f"{drawn.mean():.2f} ± {drawn.std():.2f}", f"{100 * apart / mean:.1f} %")
        )
    judged = [f"The model's own figures are not known: `{SUMMARY}` is not beside the data."]
    if summary:
        said = "What the judge found of the model, on participants that training never saw (docs/evaluation.md):"
        judged = [said, model_card.headline(summary)]
    return [
        "## Fidelity",
        f"Best efforts of the cohort beside those of the {real['seqn'].nunique()} participants it was drawn after, who "
        "count by their survey weight; most of them trained the model. Mean ± SD, and the Wasserstein distance between "
        "the two distributions in % of the mean. Part of it is chance: participants and people are few.",
        model_card.markdown(("", "participants", "cohort", "distance"), rows),
        *judged,
    ]


def _quantiles(table: pd.DataFrame) -> str:
    found = table.quantile(list(QUANTILES)).T
    rows = [(name, *(f"{v:.2f}" for v in values)) for name, *values in found.itertuples(name=None)]
    return model_card.markdown(("percentile", *(f"{100 * q:g}" for q in QUANTILES)), rows)
