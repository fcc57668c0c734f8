"""The model card: data, use, limits and figures of a trained model as Markdown.

After Mitchell et al. 2019 (doi 10.1145/3287560.3287596). It lies beside the checkpoints and is no output of a stage:
writing it changes nothing that DVC knows.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spiro_diffusion.core.artifacts import read_json
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.version import VERSION
from spiro_diffusion.core.vocabulary import INDICES, JUDGED
from spiro_diffusion.evaluation import targets
from spiro_diffusion.evaluation.figures import Figure, Tree, from_json
from spiro_diffusion.evaluation.groups import group_names, group_words
from spiro_diffusion.evaluation.record import Record
from spiro_diffusion.evaluation.registry import ALL_LEVELS, GROUPINGS, READ_VERDICTS, at, headline_rows, named
from spiro_diffusion.evaluation.targets import Judged
from spiro_diffusion.generation.intended_use import LIMITS
from spiro_diffusion.reporting.sources import source_of

USES = (
    "Curves to develop and test software, algorithms and statistics on, where real ones may not be shared.",
    "Teaching; the spread of normal and abnormal curves at a given age, height and sex.",
    "More training data for a model whose result is then measured on real people.",
)
NO_USES = (
    "**Diagnosis, screening, treatment, insurance or hiring:** no curve stands for a patient.",
    "Reference values or limits of normal: use GLI's.",
    "The repeatability of one person's efforts: each curve is a lung of its own.",
)
CARD_LIMITS = (
    *LIMITS,
    "US participants of 2007-2012 and one type of spirometer, or a simulation or a stand-in of them: see Data.",
    "Small groups have wide intervals; a figure near 1 there is no proof of fairness.",
)


class Found(NamedTuple):
    """What a judge left in a folder."""

    data: dict[str, Any]  # who was judged, `judge.json`'s
    targets: list[Judged]
    summary: dict[str, float | None]
    groups: Tree  # the generator's, below `groups`; empty where they were not published
    note: str  # of a published run


def read(metrics: Path) -> Found:
    """Figures of a folder: `metrics/evaluate` as the stage leaves it, or `metrics/full` as it is published.

    Raises SpiroError where it holds neither.
    """
    summary = read_json(metrics / "summary.json")
    if (metrics / "judge.json").is_file():
        record = Record.read(metrics)
        return Found(record.data, record.targets, summary, record.generator, "")
    if not (metrics / "targets.json").is_file():
        raise SpiroError(
            f"{metrics / 'judge.json'}: no such file; make it with `dvc repro evaluate`, or `dvc pull evaluate`"
        )
    about = read_json(metrics / "about.json")
    groups = read_json(metrics / "groups.json") if (metrics / "groups.json").is_file() else {}
    tree = from_json({"groups": {level: {"unweighted": kinds} for level, kinds in groups.items()}})
    note = f"{about['data']}. Machine: {about['machine']}. {about['note']}".strip()
    targets = [Judged.from_json(target) for target in read_json(metrics / "targets.json")]
    return Found(about["judged"], targets, summary, tree, note)


def card(made_from: Mapping[str, Any], found: Found) -> str:
    """The model card as Markdown.

    Raises SpiroError where the figures are of a model that was trained on other curves.
    """
    data = found.data
    for key in ("curves", "participants"):
        if made_from[key] != data[f"training_{key}"]:
            raise SpiroError(
                f"the figures are of a model trained on {data[f'training_{key}']} {key}, this one was on "
                f"{made_from[key]}; judge it with `dvc repro evaluate` or `spiro evaluate`"
            )
    source, counted = source_of(data["source"]), targets.counts(found.targets)
    counts = ", ".join(f"{counted[v]} {words}" for v, words in READ_VERDICTS.items())
    parts = [
        "# Model card: Spiro-Diffusion",
        "Draws forced expirations (flow in L/s, volume in L at BTPS) for a person of a given age, height and sex. "
        "For research; **not for diagnosis**.",
        f"*Written by `spiro card` (spiro {VERSION}) from the figures of the judge; nothing is written by hand.*",
        "## Model",
        "- a VQ-VAE (512 samples of flow to 64 tokens and back), a diffusion of seven facts of an effort, and a "
        "latent diffusion of the tokens by a 1D U-Net with cross-attention; `docs/architecture.md`\n"
        "- files: `vqvae.safetensors`, `cldm.safetensors`, with their configuration inside\n"
        f"- licence: Apache-2.0; the VQ-VAE it belongs to has SHA-256 `{made_from['vqvae']}`",
        "## Data",
        f"**Source: {source.label}.** {source.explanation}" + (f"\n\n{found.note}" if found.note else ""),
        "- trained on {:,} efforts of {:,} participants, ages {:g} to {:g} years, heights {:g} to {:g} cm".format(
            made_from["curves"], made_from["participants"], *made_from["age"], *made_from["height"]
        )
        + f"\n- judged on {data['curves']:,} efforts of {data['participants']:,} {data['split']} participants, whom "
        f"training never saw, of them {data['best']:,} best acceptable efforts; {data['draws']} draws for each",
        "## Use",
        _list(USES),
        "### Not for",
        _list(NO_USES),
        "## Figures",
        f"Of {len(found.targets)} targets: {counts}. What each figure is: `docs/evaluation.md`. Best acceptable "
        "efforts before a bronchodilator:",
        headline(found.summary),
        "### Targets that are not met",
        _list(_missed(found.targets)) or "None.",
        "## Figures by group",
        *_groups(found),
        "## Limits",
        _list(CARD_LIMITS),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def headline(summary: Mapping[str, float | None]) -> str:
    """The headline figures as a Markdown table."""
    return markdown(("figure", "value", "ideal"), headline_rows(summary))


def markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as Markdown."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _missed(targets: list[Judged]) -> list[str]:
    """Targets missed or open, a line each, with the worst figure."""
    return [
        f"{target.verdict} ({ALL_LEVELS[target.level]}): {target.text}. Worst: `{target.worst}` "
        + (target.decisive.reason or "not determined" if target.decisive.value is None else _figure(target.decisive))
        for target in targets
        if target.verdict in ("missed", "open")
    ]


def _groups(found: Found) -> list[str]:
    """Residual SD by sex, and the distance of each group's distribution from the held-out one over its floor."""
    figures = {f.path: f.figure for target in found.targets for f in target.figures}
    parts: list[str] = []
    rows = []
    for index in JUDGED:
        paths = [named(f"residual_sd_ratio{part}", "best", index) for part in ("", "_male", "_female")]
        if set(paths) <= set(figures):
            rows.append((INDICES[index].label, *(_figure(figures[path]) for path in paths)))
    if rows:
        parts += [
            "Residual SD given age, height and sex, generated over held-out (ideal 1; 95 % interval):",
            markdown(("index", "all", "male", "female"), rows),
        ]
    for kind, name in GROUPINGS.items():
        base = f"groups.best.unweighted.{kind}"
        if names := group_names(found.groups, base):
            rows = [
                (group_words(group), *(_over_floor(found.groups, f"{base}.{index}.{group}") for index in JUDGED))
                for group in names
            ]
            parts += [
                f"By {name}: Wasserstein distance from the held-out distribution, over what as many other participants "
                "have (1 is chance; **bold** is beyond the limit that chance passes in 5 % of such tables):",
                markdown(("group", *(INDICES[index].label for index in JUDGED)), rows),
            ]
    return parts


def _over_floor(tree: Tree, path: str) -> str:
    over, beyond = (at(tree, f"{path}.{name}") for name in ("over_floor", "beyond"))
    if over.value is None:
        return "too few"
    return f"**{over.value:.2f}**" if beyond.value else f"{over.value:.2f}"


def _figure(figure: Figure) -> str:
    if figure.value is None:
        return "–"
    interval = f" ({figure.low:.3g} to {figure.high:.3g})" if figure.interval else ""
    return f"{figure.value:.3g}{interval}"
