"""Registry of the judge's figures: path in the tree, label, unit, form and target of each, defined once.

The targets, the summary, the tables of the report and of the results, the model card and the plots read this list.
A new figure is its question's code and an entry here. In a path, `{level}` stands for `every` and `best`, `{index}` for
each index of the entry.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, get_args

import numpy as np

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.vocabulary import INDICES, JUDGED
from spiro_diffusion.evaluation.figures import Figure, Node, Series, Tree, missing

Level = Literal["every", "best"]
LEVELS: dict[Level, str] = {"every": "every effort", "best": "best acceptable effort"}  # before the bronchodilator
ALL_LEVELS = {str(level): words for level, words in LEVELS.items()} | {"all": "overall"}
Weighting = Literal["unweighted", "weighted"]  # weighted: by WTMEC2YR, for the population
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)
Grouping = Literal["sex_age", "ethnicity", "obstruction"]
GROUPINGS: dict[Grouping, str] = {
    "sex_age": "sex and age",
    "ethnicity": "race and Hispanic origin",
    "obstruction": "obstruction",
}
Question = Literal[  # in the order of the time that they take, longest first
    "two_sample",
    "groups",
    "copying",
    "utility",
    "spread",
    "calibration",
    "crps_gli",
    "crps_people",
    "physics",
]
QUESTIONS: tuple[Question, ...] = get_args(Question)
ONCE = ("reconstruction", "crps_over_baselines")  # computed for the generator apart from the questions
Verdict = Literal["missed", "open", "within_noise", "met"]  # from the worst
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
READ_VERDICTS: dict[Verdict, str] = {  # in words, in the order in which they are read
    "met": "met",
    "within_noise": "within noise",
    "missed": "missed",
    "open": "open",
}
COVERAGES = (50, 80, 90)  # %: central intervals
CARD_INDICES = ("fev1", "fvc", "pef")  # whose headline figures are shown


class Form(NamedTuple):
    """How a number is written."""

    unit: str
    decimals: int
    scale: float = 1.0
    signed: bool = False


RATIO, COUNT = Form("", 3), Form("", 0)
DIFFERENCE = Form("", 3, signed=True)
PERCENT, POINTS = Form("%", 1, 100), Form("points", 2, 100, signed=True)


@dataclasses.dataclass(frozen=True)
class Rule:
    """Bounds of a figure, and a value that its interval must hold."""

    low: float = -np.inf
    high: float = np.inf
    holds: float | None = None

    def verdict(self, figure: Figure) -> Verdict:
        if figure.value is None:
            return "open"
        low, high = figure.interval or (figure.value, figure.value)
        if self.holds is not None and not low <= self.holds <= high:
            return "missed"
        if self.low <= figure.value <= self.high:
            return "met"
        return "within_noise" if low <= self.high and high >= self.low else "missed"

    def excess(self, figure: Figure) -> float:
        """How far the value lies from its target, in units of the figure; 0 where it could not be computed."""
        if figure.value is None:
            return 0.0
        outside = max(self.low - figure.value, figure.value - self.high, 0.0)
        return outside + (0.0 if self.holds is None else abs(figure.value - self.holds))


class Target(NamedTuple):
    """What the figures that name it must reach; `over_floor` ones are divided by the floor's first."""

    text: str
    rule: Rule
    over_floor: bool = False


TARGETS = {
    "vqvae_volumes": Target("VQ-VAE: median absolute error of FEV1 and FVC at most 10 mL", Rule(high=10.0)),
    "vqvae_flows": Target("VQ-VAE: median absolute error of PEF and FEF25-75 at most 1 %", Rule(high=1.0)),
    "codebook": Target("VQ-VAE: codebook in use at least 95 %", Rule(low=0.95)),
    "crps_gli": Target("CRPS of FEV1 and FVC of best efforts asked for as grade A: below GLI Global's", Rule(high=1.0)),
    "crps_baselines": Target(
        "CRPS of FEV1 and FVC of all curves: at most 1 % above the best baseline's", Rule(high=1.01)
    ),
    "explained_variance": Target(
        "explained variance of log FEV1, FVC, PEF, FEF25-75, generated minus held-out: interval holds 0, at most 0.03",
        Rule(-0.03, 0.03, holds=0.0),
    ),
    "residual_sd": Target(
        "residual SD, generated over held-out, whole and by sex: interval holds 1, within 0.95 to 1.05",
        Rule(0.95, 1.05, holds=1.0),
    ),
    **{
        f"coverage_{n}": Target(
            f"coverage of the {n} % intervals of FEV1, FVC, PEF, FEF25-75 within 3 points of nominal",
            Rule(n / 100 - 0.03, n / 100 + 0.03),
        )
        for n in COVERAGES
    },
    "wasserstein": Target(
        "Wasserstein distance by sex and age band, over the floor: at most 1.0 on average", Rule(high=1.0)
    ),
    "wasserstein_groups": Target(
        "groups by sex and age band beyond the floor's 95 % limit, corrected for their number: none", Rule(high=0.0)
    ),
    "auc_clinical": Target("two-sample AUC, clinical embedding: at most 0.55", Rule(high=0.55)),
    "auc_fine": Target("two-sample AUC, fine embedding: at most 0.70", Rule(high=0.70)),
    "overlap": Target(
        "precision, recall, density, coverage over the floor's: at least 0.95", Rule(low=0.95), over_floor=True
    ),
    "utility": Target(
        "train on generated, test on held-out, over train on training curves: at least 0.98", Rule(low=0.98)
    ),
    "nearest_share": Target("share of curves nearest to a training curve: interval holds 0.50", Rule(holds=0.5)),
    "membership": Target("membership-inference AUC: interval holds 0.50, at most 0.53", Rule(high=0.53, holds=0.5)),
    "impossible": Target("impossible curves above the held-out rate: at most 0.2 percentage points", Rule(high=0.002)),
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A figure, or one for each of `indices` with `{index}` in the texts.

    `name`: its key in plots, and its name in summary.json, after the level and the index. `label`: its row of the
    tables; none without it. `target`: the one of TARGETS that judges it.
    `headline`: what the model card and `spiro report` say of it, of best efforts, beside its `ideal`.
    """

    name: str
    path: str
    label: str = ""
    form: Form = RATIO
    target: str | None = None
    summary: bool = False
    headline: str = ""
    ideal: str = ""
    indices: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Line:
    """One figure of the tree: an entry at a level (None where it is computed once), of an index where it has some."""

    entry: Entry
    level: Level | None
    index: str | None

    @property
    def path(self) -> str:
        return self.entry.path.format(level=self.level, index=self.index)

    @property
    def label(self) -> str:
        return _of_index(self.entry.label, self.index)

    @property
    def form(self) -> Form:
        form = self.entry.form
        return form if form.unit != "index" else form._replace(unit=INDICES[self.index or ""].unit)

    @property
    def summary(self) -> str:
        """The name in summary.json."""
        return "_".join(part for part in (self.level, self.index, self.entry.name) if part)


_SPREAD, _CALIBRATION = "spread.{level}.unweighted.{index}.", "calibration.{level}.unweighted.{index}."
_GROUPS, _TWO_SAMPLE, _COPYING = "groups.{level}.unweighted.", "two_sample.{level}.", "copying.{level}."
_PHYSICS = "physics.{level}.unweighted."

EMBEDDINGS = {"clinical": "clinical", "detailed": "detailed", "fine": "fine, to 1 s", "whole": "fine, to 10 s"}
OVERLAPS = ("precision", "recall", "density", "coverage")
RULES = {
    "falling": "volume falls",
    "second_peak": "second peak",
    "no_plateau": "no plateau (grades A, B)",
    "large_bev": "late start (A, B, C)",
    "implausible": "beyond any person",
}

ENTRIES = (
    Entry(
        "explained_variance_difference",
        _SPREAD + "explained_variance_difference",
        "explained variance, log {index}, minus that of held-out curves",
        DIFFERENCE,
        target="explained_variance",
        summary=True,
        indices=JUDGED,
    ),
    Entry(
        "residual_sd_ratio",
        _SPREAD + "residual_sd_ratio",
        "residual SD of {index}, over that of held-out curves",
        target="residual_sd",
        summary=True,
        headline="spread of {index} at given age, height, sex, over that of held-out curves",
        ideal="1",
        indices=JUDGED,
    ),
    *(
        Entry(f"residual_sd_ratio_{sex}", f"{_SPREAD}residual_sd_ratio_{sex}", target="residual_sd", indices=JUDGED)
        for sex in ("male", "female")
    ),
    *(
        Entry(name, _SPREAD + name, indices=JUDGED)
        for name in ("explained_variance", "explained_variance_real", "residual_sd", "residual_sd_real")
    ),
    *(
        Entry(
            f"coverage_{n}",
            f"{_CALIBRATION}coverage_{n}",
            "coverage of 80 % intervals, {index}" if n == 80 else "",
            PERCENT,
            target=f"coverage_{n}",
            summary=n == 80,
            headline="share of held-out {index} in the generated 80 % interval" if n == 80 else "",
            ideal="0.80",
            indices=JUDGED,
        )
        for n in COVERAGES
    ),
    Entry("pit", _CALIBRATION + "pit", indices=JUDGED),
    Entry("crps", _CALIBRATION + "crps", "CRPS of {index}", Form("index", 3), summary=True, indices=JUDGED),
    Entry(
        "crps_over_gli",
        "crps_gli.best.{index}.ratio",
        "CRPS of {index}, asked for grade A, over GLI Global's",
        target="crps_gli",
        summary=True,
        indices=("fev1", "fvc"),
    ),
    Entry("crps_over_baselines", "crps_over_baselines.{index}", target="crps_baselines", indices=("fev1", "fvc")),
    Entry(
        "wasserstein_over_floor",
        _GROUPS + "sex_age_mean_over_floor",
        "Wasserstein distance by sex and age, over the floor",
        target="wasserstein",
        summary=True,
        headline="distance of the distributions by sex and age, over chance",
        ideal="1",
    ),
    Entry(
        "wasserstein_beyond",
        _GROUPS + "sex_age_beyond",
        "groups by sex and age beyond the limit",
        COUNT,
        target="wasserstein_groups",
    ),
    Entry(
        "auc_clinical",
        _TWO_SAMPLE + "clinical.auc",
        "two-sample AUC, clinical",
        target="auc_clinical",
        summary=True,
        headline="two-sample test of generated and held-out curves by their indices (AUC)",
        ideal="0.5",
    ),
    Entry("auc_detailed", _TWO_SAMPLE + "detailed.auc", "two-sample AUC, detailed"),
    Entry(
        "auc_fine",
        _TWO_SAMPLE + "fine.auc",
        "two-sample AUC, fine, to 1 s",
        target="auc_fine",
        summary=True,
        headline="two-sample test of generated and held-out curves by their samples (AUC)",
        ideal="0.5",
    ),
    Entry("auc_whole", _TWO_SAMPLE + "whole.auc", "two-sample AUC, fine, to 10 s"),
    *(
        Entry(f"{name}_{kind}", f"{_TWO_SAMPLE}{kind}.{name}", label, target="overlap")
        for kind in ("clinical", "fine")
        for name in OVERLAPS
        for label in (f"{name}, clinical" if kind == "clinical" else "",)
    ),
    Entry(
        "utility_ratio",
        "utility.{level}.ratio",
        "trained on it, tested on held-out curves, over trained on training curves",
        target="utility",
        summary=True,
        headline="use for training a predictor, over training curves",
        ideal="1",
    ),
    Entry(
        "nearest_share",
        _COPYING + "nearest_share",
        "nearest to a training curve",
        PERCENT,
        target="nearest_share",
        summary=True,
        headline="curves nearer to a training than to a held-out curve",
        ideal="0.5",
    ),
    Entry("authenticity", _COPYING + "authenticity", "authenticity", PERCENT),
    *(
        Entry(f"membership_{by}", f"{_COPYING}membership_{by}_auc", f"membership AUC by {by}", target="membership")
        for by in ("loss", "distance")
    ),
    *(Entry(f"{rule}_difference", f"{_PHYSICS}{rule}_difference", form=POINTS, target="impossible") for rule in RULES),
    *(Entry(f"{rule}{side}", f"{_PHYSICS}{rule}{side}", form=PERCENT) for rule in RULES for side in ("", "_real")),
    Entry(
        "violations_above_real",
        _PHYSICS + "any_difference",
        "impossible or not as asked, above the rate of held-out curves",
        POINTS,
        summary=True,
    ),
    *(
        Entry(
            f"vqvae_{index}_{unit}",
            f"reconstruction.{index}_{unit}",
            f"{INDICES[index].label}, median absolute error",
            Form("mL", 1) if unit == "ml" else Form("%", 2),
            target="vqvae_volumes" if unit == "ml" else "vqvae_flows",
            summary=True,
        )
        for index, unit in (("fev1", "ml"), ("fvc", "ml"), ("pef", "percent"), ("fef2575", "percent"))
    ),
    Entry("vqvae_flow_rmse", "reconstruction.flow_rmse", "flow, root mean square error", Form("L/s", 3)),
    Entry(
        "vqvae_codes_in_use",
        "reconstruction.codes_in_use",
        "codebook in use",
        PERCENT,
        target="codebook",
        summary=True,
    ),
    Entry("vqvae_perplexity", "reconstruction.perplexity", "perplexity of the codebook", Form("", 1), summary=True),
)
_NAMED = {entry.name: entry for entry in ENTRIES}


def lines(level: Level | None = None) -> Iterator[Line]:
    """The figures of one level, or those that are computed once."""
    for entry in ENTRIES:
        if ("{level}" in entry.path) == (level is not None):
            for index in entry.indices or (None,):
                yield Line(entry, level, index)


def table(level: Level) -> list[Line]:
    """The rows of the table that compares all candidates on one level."""
    once = [line for line in lines() if line.path.startswith(f"crps_gli.{level}.")]
    rows = [line for line in lines(level) if line.label]
    place = next(i for i, line in enumerate(rows) if line.path.startswith("groups."))
    return [*rows[:place], *once, *rows[place:]]


def round_trip_table() -> list[Line]:
    """The rows of the table of the autoencoder."""
    return [line for line in lines() if line.label and line.path.startswith("reconstruction.")]


def headline_rows(summary: Mapping[str, float | None]) -> list[tuple[str, str, str]]:
    """Words, value and ideal of the headline figures that a summary.json holds."""
    return [
        (_of_index(line.entry.headline, line.index), f"{value:.2f}", line.entry.ideal)
        for line in lines("best")
        if line.entry.headline and line.index in (None, *CARD_INDICES)
        if (value := summary.get(line.summary)) is not None
    ]


def line_at(path: str) -> Line:
    """The figure of a path.

    Raises SpiroError where the registry has none.
    """
    for level in (*LEVELS, None):
        for line in lines(level):
            if line.path == path:
                return line
    raise SpiroError(f"{path}: the judge has no such figure")


def named(name: str, level: Level | None = None, index: str | None = None) -> str:
    """The path of a figure by its entry's name; a name that no entry has is a KeyError."""
    return Line(_NAMED[name], level, index).path


def at(tree: Tree, path: str) -> Figure:
    """The figure at a path of a judged tree; why there is none, where its branch or question was not computed.

    Raises SpiroError where the tree holds no such figure.
    """
    node = node_at(tree, path)
    if not isinstance(node, Figure):
        raise SpiroError(f"{path}: is no figure")
    return node


def node_at(tree: Tree, path: str) -> Node:
    """What stands at a path, or the figure in the place of a branch above it that says why nothing does.

    Raises SpiroError where the tree holds nothing there.
    """
    question = path.split(".", maxsplit=1)[0]
    if question not in tree and question in (*QUESTIONS, *ONCE):
        return missing("not asked")
    node: Node = tree
    for key in path.split("."):
        if isinstance(node, Figure):
            return node
        if isinstance(node, Series) or key not in node:
            raise SpiroError(f"{path}: the judge found no such figure; judge again with `dvc repro evaluate`")
        node = node[key]
    return node


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Figure | Series]]:
    """Paths and figures of a tree."""
    for key, node in tree.items():
        if isinstance(node, dict):
            yield from leaves(node, f"{prefix}{key}.")
        else:
            yield prefix + key, node


def _of_index(text: str, index: str | None) -> str:
    return text.format(index=INDICES[index].label) if index else text
