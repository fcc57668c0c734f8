"""The data card of a synthetic population: README.md of its folder, with the head that Hugging Face reads."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from spiro_diffusion.cohorts import columns
from spiro_diffusion.cohorts.metadata import KEYWORDS, LICENSE_NAME, About
from spiro_diffusion.cohorts.parts import Drawn
from spiro_diffusion.cohorts.prevalences import BANDS, GRADED, LETTERS, PREVALENCES, Means, of_group
from spiro_diffusion.core.version import VERSION
from spiro_diffusion.core.vocabulary import INDICES, SEXES
from spiro_diffusion.generation.intended_use import EVALUATED, LIMITS, trained_on
from spiro_diffusion.generation.populations import BETWEEN_VISITS, JITTER, TOGETHER
from spiro_diffusion.models.effort_sets import BEST, PLACES
from spiro_diffusion.reporting import model_card

UNKNOWN = {"folder": ": files that were given to it, whose origin is not recorded"}  # by source
SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)  # as Hugging Face names them
NAMED = ("1K", "10K", "100K", "1M", "10M")
RETESTS = (
    "Retests are not trained: NHANES examined each participant once. Their best values differ from the first visit's "
    "by the week-to-week variation of healthy adults that ATS/ERS 2005 published (doi 10.1183/09031936.05.00035205, "
    f"table 12), within-person SDs of {100 * BETWEEN_VISITS['fev1']:.1f} % (FEV1), {100 * BETWEEN_VISITS['fvc']:.1f} % "
    f"(FVC) and {100 * BETWEEN_VISITS['fef2575']:.1f} % (FEF25-75); that PEF moves as FEV1 does, and the correlation "
    f"{TOGETHER:g} between them, are assumptions. Drawn PEF and FEF25-75 vary more than that, as the model does not "
    "reproduce them. Patients and children vary more in reality; ages do not change between visits."
)
COHORT_LIMITS = (
    "Synthetic: no participant is a real person. People are modelled on participants: age and height are those of a "
    "participant of a public survey, moved a little.",
    *LIMITS,
    f"A participant with more than {PLACES} efforts before or after the bronchodilator gives {PLACES}.",
    "Flow is 10 ms means before the spirometer's counter of whole millilitres, without a real effort's tremor; the "
    "participants' curves have both, and grades by ATS/ERS 2019, which look at each curve, are compared across that.",
    "Means and shares are of people whose values are known: those with an effort graded A to C.",
)


class Made(NamedTuple):
    """Provenance of a population."""

    retests: int
    seed: int
    made_from: dict[str, Any]  # of the model
    source: Path  # efforts of the participants
    participants: int


def card(about: About, made: Made, drawn: Drawn, participants: Means, judged: Mapping[str, float | None]) -> str:
    """The data card as Markdown.

    Args:
        participants: figures of the people that it is modelled on, by survey weight.
        judged: the evaluation summary of the model, empty if it was not evaluated.
    """
    real, synthetic = participants.table(), drawn.means.table()
    figures = [f"The figures of the model are not known: `{EVALUATED}` is not beside the data."]
    if judged:
        heading = "What the judge found of the model, on participants that training never saw:"
        figures = [heading, model_card.headline(judged)]
    limits = (*COHORT_LIMITS, RETESTS) if made.retests else COHORT_LIMITS
    sections = [
        f"{_head(about, drawn.efforts)}\n# {about.title}",
        about.description,
        "## What and how",
        _made(made, drawn),
        "## Shares of people",
        f"Participants: {participants.people} of the survey, by weight, most of whom trained the model. Drawn: "
        f"{drawn.people}, ± one standard error, which is the chance of their number. Published: NHANES 2011-2012. "
        "Best values are the largest FEV1 and FVC of efforts graded A to C before the bronchodilator.",
        model_card.markdown(("", "published", "participants", "drawn"), _shares(real, synthetic)),
        "## Grades of sessions before the bronchodilator",
        "% of participants / of drawn people. NHANES's rule counts efforts graded A to C.",
        model_card.markdown(("", *GRADED.values()), _grades(real, synthetic)),
        "## Indices by sex and age",
        "Best values, mean ± SD of participants / of drawn people (L, L/s, cm).",
        model_card.markdown(("", "height", *(INDICES[name].label for name in BEST)), _groups(real, synthetic)),
        *figures,
        "## Columns",
        "`efforts/`, a row an effort:",
        _columns(columns.EFFORTS),
        "`people.parquet`, a row a person:",
        _columns(columns.PEOPLE),
        "## Load it",
        LOADING,
        "## Limits",
        "\n".join(f"- {limit}" for limit in limits),
        "## Licence and citation",
        f"{LICENSE_NAME} (LICENSE). {about.citation} `sha256sum -c SHA256SUMS` checks the files.",
    ]
    return "\n\n".join(sections) + "\n"


LOADING = """```python
import pandas as pd

people, efforts = pd.read_parquet("people.parquet"), pd.read_parquet("efforts")
```

```python
import polars as pl

efforts = pl.scan_parquet("efforts/*.parquet")
```

```python
from datasets import load_dataset

efforts = load_dataset("parquet", data_files="efforts/*.parquet", split="train", streaming=True)
```"""


def _head(about: About, efforts: int) -> str:
    """The YAML header for Hugging Face."""
    size = next((i for i, most in enumerate(SIZES) if efforts < most), None)
    low = "n" if size == 0 else NAMED[-1 if size is None else size - 1]
    category = f"n<{NAMED[0]}" if size == 0 else f"{low}<n<{NAMED[size]}" if size else f"n>{NAMED[-1]}"
    content = {
        "pretty_name": about.name,
        "license": LICENSE_NAME.lower(),
        "tags": [word.replace(" ", "-") for word in KEYWORDS],
        "size_categories": [category],
        "configs": [
            {"config_name": "efforts", "data_files": "efforts/*.parquet", "default": True},
            {"config_name": "people", "data_files": "people.parquet"},
        ],
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False)}---\n"


def _made(made: Made, drawn: Drawn) -> str:
    """The provenance, a line for each fact."""
    lines = (
        f"{drawn.people} people, {drawn.efforts} efforts, seed {made.seed}, spiro {VERSION}",
        f"the model was trained on {trained_on(made.made_from)}{UNKNOWN.get(made.made_from['data'], '')}",
        f"people: drawn by survey weight (WTMEC2YR) from {made.participants} participants of `{made.source.name}`, age "
        f"and height moved by SD {JITTER['age']:g} years and {JITTER['height']:g} cm, the rest as theirs",
        "each person has one lung: the efforts of a session and their grades are drawn together, after the "
        "bronchodilator too where the participant had such efforts",
        f"visits: {1 + made.retests} of each person",
    )
    return "\n".join(f"- {line}" for line in lines)


def _shares(real: pd.DataFrame, drawn: pd.DataFrame) -> list[tuple[str, ...]]:
    """A row for each of PREVALENCES."""
    rows: list[tuple[str, ...]] = []
    for name, share in PREVALENCES.items():
        count, mean, sd = (float(value) for value in drawn.loc[name].to_numpy(float))
        error = f" ± {_percent(sd / math.sqrt(count))}" if count else ""
        rows.append((share.words, share.published, f"{_percent(real['mean'][name])} %", f"{_percent(mean)}{error} %"))
    return rows


def _grades(real: pd.DataFrame, drawn: pd.DataFrame) -> list[tuple[str, ...]]:
    """A row for each grade."""

    def cell(key: str) -> str:
        return f"{_percent(real['mean'][key])} / {_percent(drawn['mean'][key])}"

    return [(letter, *(cell(f"{name}={letter}") for name in GRADED)) for letter in LETTERS]


def _groups(real: pd.DataFrame, drawn: pd.DataFrame) -> list[tuple[str, ...]]:
    """A row for each sex and band of ages."""

    def cell(table: pd.DataFrame, key: str) -> str:
        count, mean, sd = table.loc[key]
        decimals = 1 if key.startswith("height") else 2
        return f"{mean:.{decimals}f} ± {sd:.{decimals}f}" if count else "-"

    rows: list[tuple[str, ...]] = []
    for sex in SEXES.values():
        for band in BANDS:
            keys = (of_group(name, sex, band) for name in ("height", *BEST))
            cells = (f"{cell(real, key)} / {cell(drawn, key)}" for key in keys)
            rows.append((f"{sex}, {band[0]} to {band[1] - 1}", *cells))
    return rows


def _columns(described: tuple[columns.Column, ...]) -> str:
    rows = [(f"`{c.name}`", c.kind, c.unit, c.meaning) for c in described]
    return model_card.markdown(("column", "type", "unit", "holds"), rows)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if math.isfinite(share) else "-"


def shares(participants: Means, drawn: Means) -> list[tuple[str, str, str]]:
    """The first PREVALENCES for the screen: label, share of participants, share of drawn people."""
    real, synthetic = participants.table()["mean"], drawn.table()["mean"]
    return [
        (PREVALENCES[name].words.partition(":")[0], f"{_percent(real[name])} %", f"{_percent(synthetic[name])} %")
        for name in list(PREVALENCES)[:3]
    ]
