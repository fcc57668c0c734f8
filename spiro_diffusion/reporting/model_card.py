"""The model card: data, use, limits and figures of a trained model as Markdown, made from what the judge found.

After Mitchell et al. 2019 (doi 10.1145/3287560.3287596). It lies beside the checkpoints and is no output of a stage:
writing it changes nothing that DVC knows.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spiro_diffusion.core.artifacts import read_json
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.version import VERSION
from spiro_diffusion.reporting.report import INDICES, LEVELS, SOURCES, VERDICTS

FIGURES = {  # of metrics/evaluate/summary.json, best acceptable efforts of held-out participants: what it says, ideal
    "best_fev1_residual_sd_ratio": ("spread of FEV1 at given age, height, sex, over the real", "1"),
    "best_fvc_residual_sd_ratio": ("spread of FVC, over the real", "1"),
    "best_pef_residual_sd_ratio": ("spread of PEF, over the real", "1"),
    "best_fev1_coverage_80": ("share of real FEV1 in the generated 80 % interval", "0.80"),
    "best_fvc_coverage_80": ("share of real FVC in the generated 80 % interval", "0.80"),
    "best_wasserstein_over_floor": ("distance of the distributions by sex and age, over chance", "1"),
    "best_auc_clinical": ("generated told from real by their indices (AUC)", "0.5"),
    "best_auc_fine": ("generated told from real by their samples (AUC)", "0.5"),
    "best_utility_ratio": ("use for training a predictor, over real curves", "1"),
    "best_nearest_share": ("curves nearer to a training than to a held-out curve", "0.5"),
}
GROUPS = {"sex_age": "sex and age", "ethnicity": "race and Hispanic origin", "obstruction": "obstruction"}
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


class Found(NamedTuple):
    """What a judge left in a folder."""

    data: dict[str, Any]  # who was judged, `judge.json`'s
    targets: list[dict[str, Any]]
    summary: dict[str, float | None]
    spread: dict[str, Any]  # by level, index; empty where only a published run's figures are there
    groups: dict[str, Any]  # by level, kind, index, group
    note: str  # of a published run


def read(metrics: Path) -> Found:
    """Figures of a folder: `metrics/evaluate` as the stage leaves it, or `metrics/full` as it is published.

    Raises SpiroError where it holds neither.
    """
    summary = read_json(metrics / "summary.json")
    if (metrics / "judge.json").is_file():
        judge = read_json(metrics / "judge.json")
        by_level = {
            kind: {level: tree["unweighted"] for level, tree in judge["generator"][kind].items()}
            for kind in ("spread", "groups")
        }
        return Found(judge["data"], judge["targets"], summary, by_level["spread"], by_level["groups"], "")
    if not (metrics / "targets.json").is_file():
        raise SpiroError(
            f"{metrics / 'judge.json'}: no such file; make it with `dvc repro evaluate`, or `dvc pull evaluate`"
        )
    about = read_json(metrics / "about.json")
    groups = read_json(metrics / "groups.json") if (metrics / "groups.json").is_file() else {}
    note = f"{about['data']}. Machine: {about['machine']}. {about['note']}".strip()
    return Found(about["judged"], read_json(metrics / "targets.json"), summary, {}, groups, note)


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
    label, explanation = SOURCES[data["source"]]
    counts = ", ".join(f"{sum(t['verdict'] == v for t in found.targets)} {word}" for v, word in VERDICTS.items())
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
        f"**Source: {label}.** {explanation}" + (f"\n\n{found.note}" if found.note else ""),
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
        _list(limits()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def limits() -> tuple[str, ...]:
    """What every user of the model must know."""
    from spiro_diffusion.generation.intended_use import LIMITS  # noqa: PLC0415 (torch)

    return (
        *LIMITS,
        "US participants of 2007-2012 and one type of spirometer, or a simulation or a stand-in of them: see Data.",
        "Small groups have wide intervals; a figure near 1 there is no proof of fairness.",
    )


def headline(summary: Mapping[str, float | None]) -> str:
    """The headline figures as a Markdown table."""
    rows = [(what, f"{v:.2f}", best) for k, (what, best) in FIGURES.items() if (v := summary.get(k)) is not None]
    return markdown(("figure", "value", "ideal"), rows)


def markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as Markdown."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _missed(targets: list[dict[str, Any]]) -> list[str]:
    """Targets missed or open, a line each, with the worst figure."""
    lines = []
    for target in targets:
        if target["verdict"] not in ("missed", "open"):
            continue
        worst = next(f for f in target["figures"] if f["path"] == target["worst"])
        shown = worst.get("reason", "not determined") if worst["value"] is None else _figure(worst)
        verdict, level = VERDICTS[target["verdict"]], LEVELS[target["level"]]
        lines.append(f"{verdict} ({level}): {target['text']}. Worst: `{target['worst']}` {shown}")
    return lines


def _groups(found: Found) -> list[str]:
    """Residual SD by sex, and the distance of each group's distribution from the real one over its floor."""
    parts = []
    if found.spread:
        best, names = found.spread["best"], [f"residual_sd_ratio{sex}" for sex in ("", "_male", "_female")]
        rows = [(label, *(_figure(best[index][name]) for name in names)) for index, label in INDICES.items()]
        parts += [
            "Residual SD given age, height and sex, generated over real (ideal 1; 95 % interval):",
            markdown(("index", "all", "male", "female"), rows),
        ]
    else:
        rows = [
            (LEVELS[target["level"]], f"`{figure['path'].split('.', 3)[-1]}`", _figure(figure))
            for target in found.targets
            for figure in target["figures"]
            if "residual_sd_ratio_" in figure["path"]
        ]
        parts += ["Residual SD given age, height and sex, generated over real (ideal 1; 95 % interval):"]
        parts += [markdown(("level", "figure", "value"), rows)]
    for kind, name in GROUPS.items():
        tree = found.groups.get("best", {}).get(kind)
        if not tree:
            continue
        names = sorted({group for index in INDICES for group in tree[index]}, key=_order)
        rows = [(_words(group), *(_over_floor(tree[index].get(group)) for index in INDICES)) for group in names]
        parts += [
            f"By {name}: Wasserstein distance from the real distribution, over what as many other participants have "
            "(1 is chance; **bold** is beyond the limit that chance passes in 5 % of such tables):",
            markdown(("group", *INDICES.values()), rows),
        ]
    return parts


def _order(group: str) -> tuple[str, int, str]:
    """Sexes apart, ages in order."""
    sex, _, rest = group.partition("_")
    first = rest.split("_")[0]
    return (sex, int(first), "") if first.isdigit() else ("", 0, group)


def _words(group: str) -> str:
    """Such as `female, 6 to 12`."""
    parts = group.split("_")
    return f"{parts[0]}, {parts[1]} to {parts[2]}" if parts[-1].isdigit() else " ".join(parts)


def _over_floor(group: Mapping[str, Any] | None) -> str:
    if group is None or group["over_floor"]["value"] is None:
        return "too few"
    text = f"{group['over_floor']['value']:.2f}"
    return f"**{text}**" if group["beyond"]["value"] else text


def _figure(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "–"
    interval = f" ({figure['low']:.3g} to {figure['high']:.3g})" if "low" in figure else ""
    return f"{figure['value']:.3g}{interval}"
