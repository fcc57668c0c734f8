"""What the generator must reach, as data, and whether it does.

A figure is `met` where its value keeps the bounds (and its interval holds what it must), `within_noise` where
only its 95 % interval does, else `missed`; `open` where it could not be computed.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from spiro_diffusion.evaluation.figures import Figure, missing, rounded

Tree = dict[str, Any]
VERDICTS = ("missed", "open", "within_noise", "met")  # from the worst


@dataclasses.dataclass(frozen=True)
class Rule:
    """Bounds of a figure, and a value that its interval must hold."""

    low: float = -np.inf
    high: float = np.inf
    holds: float | None = None

    def verdict(self, figure: Figure) -> str:
        value: float | None = figure["value"]
        if value is None:
            return "open"
        low, high = float(figure.get("low", value)), float(figure.get("high", value))
        if self.holds is not None and not low <= self.holds <= high:
            return "missed"
        if self.low <= value <= self.high:
            return "met"
        return "within_noise" if low <= self.high and high >= self.low else "missed"

    def excess(self, figure: Figure) -> float:
        """How far the value lies from what is asked, in units of the figure; 0 where it could not be computed."""
        value: float | None = figure["value"]
        if value is None:
            return 0.0
        outside = max(self.low - value, value - self.high, 0.0)
        return outside + (0.0 if self.holds is None else abs(value - self.holds))


@dataclasses.dataclass(frozen=True)
class Target:
    """One line of the table: paths of figures below the generator's tree, and their rule.

    `over_floor` paths are divided by the floor's figure of the same path.
    """

    name: str
    text: str
    paths: tuple[str, ...]
    rule: Rule
    over_floor: bool = False


INDICES = ("fev1", "fvc", "pef", "fef2575")
COVERAGES = tuple(
    Target(
        f"coverage_{n}",
        f"coverage of the {n} % intervals of FEV1, FVC, PEF, FEF25-75 within 3 points of nominal",
        tuple(f"calibration.{{level}}.unweighted.{i}.coverage_{n}" for i in INDICES),
        Rule(n / 100 - 0.03, n / 100 + 0.03),
    )
    for n in (50, 80, 90)
)
AT_BOTH_LEVELS = (
    Target(
        "explained_variance",
        "explained variance of log FEV1, FVC, PEF, FEF25-75, generated minus real: interval holds 0, at most 0.03",
        tuple(f"spread.{{level}}.unweighted.{i}.explained_variance_difference" for i in INDICES),
        Rule(-0.03, 0.03, holds=0.0),
    ),
    Target(
        "residual_sd",
        "residual SD, generated over real, whole and by sex: interval holds 1, within 0.95 to 1.05",
        tuple(
            f"spread.{{level}}.unweighted.{i}.residual_sd_ratio{part}"
            for i in INDICES
            for part in ("", "_male", "_female")
        ),
        Rule(0.95, 1.05, holds=1.0),
    ),
    *COVERAGES,
    Target(
        "wasserstein",
        "Wasserstein distance by sex and age band, over the floor: at most 1.0 on average",
        ("groups.{level}.unweighted.sex_age_mean_over_floor",),
        Rule(high=1.0),
    ),
    Target(
        "wasserstein_groups",
        "groups by sex and age band beyond the floor's 95 % limit, corrected for their number: none",
        ("groups.{level}.unweighted.sex_age_beyond",),
        Rule(high=0.0),
    ),
    Target(
        "auc_clinical",
        "two-sample AUC, clinical embedding: at most 0.55",
        ("two_sample.{level}.clinical.auc",),
        Rule(high=0.55),
    ),
    Target(
        "auc_fine", "two-sample AUC, fine embedding: at most 0.70", ("two_sample.{level}.fine.auc",), Rule(high=0.70)
    ),
    Target(
        "overlap",
        "precision, recall, density, coverage over the floor's: at least 0.95",
        tuple(
            f"two_sample.{{level}}.{kind}.{k}"
            for kind in ("clinical", "fine")
            for k in ("precision", "recall", "density", "coverage")
        ),
        Rule(low=0.95),
        over_floor=True,
    ),
    Target(
        "utility",
        "train on generated, test on real, over train on real: at least 0.98",
        ("utility.{level}.ratio",),
        Rule(low=0.98),
    ),
    Target(
        "nearest_share",
        "share of curves nearest to a training curve: interval holds 0.50",
        ("copying.{level}.nearest_share",),
        Rule(holds=0.5),
    ),
    Target(
        "membership",
        "membership-inference AUC: interval holds 0.50, at most 0.53",
        ("copying.{level}.membership_loss_auc", "copying.{level}.membership_distance_auc"),
        Rule(high=0.53, holds=0.5),
    ),
    Target(
        "impossible",
        "impossible curves above the real rate: at most 0.2 percentage points",
        tuple(
            f"physics.{{level}}.unweighted.{rule}_difference"
            for rule in ("falling", "second_peak", "no_plateau", "large_bev", "implausible")
        ),
        Rule(high=0.002),
    ),
)
ONCE = (
    Target(
        "vqvae_volumes",
        "VQ-VAE: median absolute error of FEV1 and FVC at most 10 mL",
        ("reconstruction.fev1_ml", "reconstruction.fvc_ml"),
        Rule(high=10.0),
    ),
    Target(
        "vqvae_flows",
        "VQ-VAE: median absolute error of PEF and FEF25-75 at most 1 %",
        ("reconstruction.pef_percent", "reconstruction.fef2575_percent"),
        Rule(high=1.0),
    ),
    Target("codebook", "VQ-VAE: codebook in use at least 95 %", ("reconstruction.codes_in_use",), Rule(low=0.95)),
    Target(
        "crps_gli",
        "CRPS of FEV1 and FVC of best efforts asked for as grade A: below GLI Global's",
        ("crps_gli.best.fev1.ratio", "crps_gli.best.fvc.ratio"),
        Rule(high=1.0),
    ),
    Target(
        "crps_baselines",
        "CRPS of FEV1 and FVC of all curves: at most 1 % above the best baseline's",
        ("crps_rivals.fev1", "crps_rivals.fvc"),
        Rule(high=1.01),
    ),
)


def verdicts(tree: Tree, floor: Tree) -> list[dict[str, Any]]:
    """Every target with its figures and its verdict: the worst of its figures'.

    Returns:
        A list of `name`, `level` (`every`, `best` or `all`), `text`, `verdict`, `worst` (the path of the figure
        that decides it), and `figures`: path, value, interval, verdict each.
    """
    return [
        _judged(target, level, tree, floor)
        for level, targets in (("all", ONCE), ("every", AT_BOTH_LEVELS), ("best", AT_BOTH_LEVELS))
        for target in targets
    ]


def _judged(target: Target, level: str, tree: Tree, floor: Tree) -> dict[str, Any]:
    figures = []
    for pattern in target.paths:
        path = pattern.format(level=level)
        found = at(tree, path)
        if target.over_floor:
            found = _over(found, at(floor, path))
        figures.append({"path": path, **found, "verdict": target.rule.verdict(found)})
    worst = min(figures, key=lambda f: (VERDICTS.index(f["verdict"]), -target.rule.excess(f)))
    return {
        "name": target.name,
        "level": level,
        "text": target.text,
        "verdict": worst["verdict"],
        "worst": worst["path"],
        "figures": figures,
    }


def _over(found: Figure, floor: Figure) -> Figure:
    if found["value"] is None:
        return found
    if not floor["value"]:
        return missing("the floor has no such figure")
    return {k: rounded(found[k] / floor["value"]) for k in ("value", "low", "high") if k in found}


SUMMARY = {
    f"{level}_{name}": path.format(level=level)
    for level in ("every", "best")
    for name, path in {
        **{
            f"{i}_explained_variance_difference": f"spread.{{level}}.unweighted.{i}.explained_variance_difference"
            for i in INDICES
        },
        **{f"{i}_residual_sd_ratio": f"spread.{{level}}.unweighted.{i}.residual_sd_ratio" for i in INDICES},
        **{f"{i}_coverage_80": f"calibration.{{level}}.unweighted.{i}.coverage_80" for i in INDICES},
        **{f"{i}_crps": f"calibration.{{level}}.unweighted.{i}.crps" for i in INDICES},
        "wasserstein_over_floor": "groups.{level}.unweighted.sex_age_mean_over_floor",
        "auc_clinical": "two_sample.{level}.clinical.auc",
        "auc_fine": "two_sample.{level}.fine.auc",
        "utility_ratio": "utility.{level}.ratio",
        "nearest_share": "copying.{level}.nearest_share",
        "violations_above_real": "physics.{level}.unweighted.any_difference",
    }.items()
} | {
    "fev1_crps_over_gli": "crps_gli.best.fev1.ratio",
    "fvc_crps_over_gli": "crps_gli.best.fvc.ratio",
    **{
        f"vqvae_{name}": f"reconstruction.{name}"
        for name in ("fev1_ml", "fvc_ml", "pef_percent", "fef2575_percent", "codes_in_use", "perplexity")
    },
}


def summary(tree: Tree, judged: list[dict[str, Any]]) -> dict[str, float | None]:
    """The headline figures under flat names, and how many targets have each verdict."""
    counts = {f"targets_{v}": float(sum(t["verdict"] == v for t in judged)) for v in VERDICTS}
    return counts | {name: at(tree, path)["value"] for name, path in SUMMARY.items()}


def at(tree: Tree, path: str) -> Figure:
    """The figure at a path, or why there is none."""
    node: Any = tree
    for key in path.split("."):
        if "reason" in node:
            return node
        if key not in node:
            return missing("not asked")
        node = node[key]
    return node


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Figure]]:
    """Paths and figures of a tree."""
    for key, node in tree.items():
        if "value" in node:
            yield prefix + key, node
        else:
            yield from leaves(node, f"{prefix}{key}.")
