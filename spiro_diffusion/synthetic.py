"""A synthetic population: people drawn as NHANES weighs its participants, and a session of efforts for each.

A smoothed bootstrap: a participant by survey weight, age and height moved a little, sex and the kinds of that
participant's efforts (grade, test type, which is the best) as they are.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance
from tqdm import tqdm

from spiro_diffusion import __version__, card, output, reference
from spiro_diffusion.api import LIMITS, SpiroGenerator, trained_on
from spiro_diffusion.artifacts import atomic, read_json, write_text
from spiro_diffusion.curves import read_table
from spiro_diffusion.errors import SpiroError

JITTER = {"age": 0.5, "height": 1.0}  # SD, years and cm: nobody is a participant, and the population hardly wider
DECIMALS = 1  # of age and height, as height is measured
EFFORTS = ["grade", "test_type", "best"]
COMPARED = ("fev1", "fvc", "ratio", "pef", "fef2575")  # with the participants' own: L, L, -, L/s, L/s
PIECE = 1024  # efforts at once: 18 MB
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


def draw_people(curves: pd.DataFrame, n: int, trained: dict[str, Any], rng: np.random.Generator) -> pd.DataFrame:
    """Efforts of `n` people: person, effort (from 1), age (years), height (cm), sex, grade, test_type, best.

    Args:
        curves: efforts of participants (seqn, age, height, sex, mec_weight and EFFORTS), as data/curves.parquet has.
        trained: `age` and `height`, lowest and highest each: nobody lies beyond them.

    Raises SpiroError where no participant with a weight lies within them.
    """
    known = np.all([curves[name].between(*trained[name]) for name in JITTER], axis=0)
    efforts = curves[known & (curves["mec_weight"] > 0)].sort_values("seqn", kind="stable", ignore_index=True)
    if efforts.empty:
        raise SpiroError("no participant with a survey weight is within the ages and heights that the model knows")
    participants = efforts.groupby("seqn", sort=True).agg({"mec_weight": "first", "age": "size"})
    counts = participants["age"].to_numpy()
    first = np.cumsum(counts) - counts
    weights = participants["mec_weight"].to_numpy()
    chosen = rng.choice(len(participants), size=n, p=weights / weights.sum())
    person = np.repeat(np.arange(n), counts[chosen])
    effort = np.arange(len(person)) - np.repeat(np.cumsum(counts[chosen]) - counts[chosen], counts[chosen])
    rows = efforts.iloc[np.repeat(first[chosen], counts[chosen]) + effort].reset_index(drop=True)
    out = pd.DataFrame({"person": person, "effort": effort + 1})
    for name, sd in JITTER.items():
        moved = np.round(efforts[name].to_numpy()[first[chosen]] + rng.normal(0, sd, n), DECIMALS)
        out[name] = np.clip(moved, *trained[name])[person]
    return out.join(rows[["sex", *EFFORTS]])


def write_cohort(
    path: Path, generator: SpiroGenerator, data: Path, people: int, seed: int, progress: bool = False
) -> pd.DataFrame:
    """Draw a population, and write its efforts as Parquet, a row an effort, and the data card beside.

    Columns: those of `draw_people`, the indices and z-scores of `output.indices_table`, and `flow_l_s`: a list of
    float32, L/s at BTPS, mean of each 10 ms from -0.50 s to the last with flow.

    Returns the table without the curves. Raises SpiroError where `data` has no curves.parquet.
    """
    wanted = ["seqn", "age", "height", "sex", "mec_weight", *EFFORTS, *(n for n in COMPARED if n != "ratio")]
    curves = read_table(data / "curves.parquet", wanted)
    efforts = draw_people(curves, people, generator.made_from, np.random.default_rng(seed))
    tables = []

    def pieces() -> Iterator[pd.DataFrame]:
        starts = range(0, len(efforts), PIECE)
        for i, start in enumerate(tqdm(starts, desc="cohort", unit="piece", disable=not progress)):
            asked = efforts.iloc[start : start + PIECE].reset_index(drop=True)
            own_seed = int(np.random.SeedSequence([seed, i]).generate_state(1)[0])
            drawn = generator.draw(asked, 1, own_seed)
            points = output.ends(drawn.flow)
            who = (asked[name] for name in ("age", "height", "sex"))
            tables.append(asked.join(output.indices_table(drawn.flow, points, *who)))
            yield tables[-1].assign(flow_l_s=[flow[:end] for flow, end in zip(drawn.flow, points, strict=True)])

    with atomic(path) as part:
        output.write_parquet(part, pieces())
    table = pd.concat(tables, ignore_index=True)
    source, judged = data / "curves.parquet", data.parent / SUMMARY
    summary = read_json(judged) if judged.is_file() else {}
    write_text(card_path(path), data_card(path.name, table, generator.made_from, seed, source, curves, summary))
    return table


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
        (", ".join(output.SHOWN), "indices of the curve: L, L/s, s; ratio is FEV1/FVC"),
        (", ".join(f"{z}_z" for z in output.Z_SCORES), "GLI Global z-scores"),
        ("flow_l_s", "list: L/s at BTPS, mean of each 10 ms from 0.5 s before time zero to the end of the effort"),
    ]
    parts = [
        f"# Data card of `{name}`",
        "A **synthetic** population of forced expirations. For research; **not for diagnosis**.",
        "## What and how",
        f"- {len(people)} people, {len(table)} efforts, seed {seed}, spiro {__version__}\n"
        f"- the model was trained on {trained_on(made_from)}\n"
        f"- people: drawn by survey weight (WTMEC2YR) from {curves['seqn'].nunique()} participants of `{source}`, "
        f"age and height moved by SD {JITTER['age']:g} years and {JITTER['height']:g} cm, with a session as theirs",
        "## People",
        card.markdown(("sex", "people"), sexes),
        _quantiles(people[["age", "height"]].assign(efforts=session.to_numpy())),
        "## Efforts asked for",
        card.markdown(("test type", "grade", "efforts"), [(*kind, count) for kind, count in kinds.items()]),  # type: ignore[misc]
        f"## Indices of the {len(best)} efforts asked for as a person's best",
        _quantiles(best[[*output.SHOWN, *(f"{z}_z" for z in output.Z_SCORES)]]),
        *fidelity(table, curves, summary),
        "## Columns",
        card.markdown(("column", "holds"), columns),
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
        judged = [said, card.headline(summary)]
    return [
        "## Fidelity",
        f"Best efforts of the cohort beside those of the {real['seqn'].nunique()} participants it was drawn after, who "
        "count by their survey weight; most of them trained the model. Mean ± SD, and the Wasserstein distance between "
        "the two distributions in % of the mean. Part of it is chance: participants and people are few.",
        card.markdown(("", "participants", "cohort", "distance"), rows),
        *judged,
    ]


def _quantiles(table: pd.DataFrame) -> str:
    found = table.quantile(list(QUANTILES)).T
    rows = [(name, *(f"{v:.2f}" for v in values)) for name, *values in found.itertuples(name=None)]
    return card.markdown(("percentile", *(f"{100 * q:g}" for q in QUANTILES)), rows)
