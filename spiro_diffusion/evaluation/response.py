"""Bronchodilator response of generated subjects, compared with participants who were tested before and after.

NHANES gave two puffs of albuterol and waited at least ten minutes (2011-2012 procedures manual). Who took it was
selected, so each person's own best FEV1 and FVC before it are given, and sessions before and after it are drawn with as
many efforts. Best values are the largest of a session's efforts of grade A, B or C, as those that NHANES publishes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.artifacts import read_json, write_json
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.evaluation.bootstrap import Resamples
from spiro_diffusion.evaluation.figures import Tree, from_json, to_json
from spiro_diffusion.evaluation.registry import PERCENT, Form
from spiro_diffusion.evaluation.session_figures import Published, SessionFigure, Statistic, beside, mean_of
from spiro_diffusion.models.effort_sets import ACCEPTED, BEST, PLACES

FILE = "response.json"
INDICES = ("fev1", "fvc", "pef")
LEAST_SHARE, LEAST_L = 0.12, 0.2  # of a response (ATS/ERS 2005)
OBSTRUCTED = 0.7  # FEV1/FVC below it (GOLD)
Drawer = Callable[
    [pd.DataFrame, int, NDArray[np.float64]], pd.DataFrame
]  # (efforts, seed, known_best) -> table with indices


def sd_of(column: str) -> Statistic:
    """SD over people."""

    def statistic(people: pd.DataFrame, resamples: Resamples) -> NDArray:
        values = people[column].to_numpy(float)
        return np.sqrt(np.maximum(resamples.means(values**2) - resamples.means(values) ** 2, 0))

    return statistic


def correlation_of(first: str, second: str) -> Statistic:
    """Correlation of two columns over people."""

    def statistic(people: pd.DataFrame, resamples: Resamples) -> NDArray:
        a, b = people[first].to_numpy(float), people[second].to_numpy(float)
        mean = [resamples.means(v) for v in (a, b, a * b, a * a, b * b)]
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.sqrt((mean[3] - mean[0] ** 2) * (mean[4] - mean[1] ** 2))
            return np.asarray((mean[2] - mean[0] * mean[1]) / spread)

    return statistic


_ML, _FLOW = Form("mL", 0, 1000), Form("L/s", 2)


def _figure(name: str, label: str, form: Form, statistic: Statistic, published: str) -> SessionFigure:
    return SessionFigure(name, label, form, statistic, Published(nhanes=published))


FIGURES = (
    _figure("fev1_mean", "change of FEV1, mean", _ML, mean_of("fev1"), "198 mL"),
    _figure("fev1_sd", "change of FEV1, SD", _ML, sd_of("fev1"), "186 mL"),
    _figure("fvc_mean", "change of FVC, mean", _ML, mean_of("fvc"), "26 mL"),
    _figure("fvc_sd", "change of FVC, SD", _ML, sd_of("fvc"), "188 mL"),
    _figure("correlation", "correlation of both changes", Form("", 2), correlation_of("fev1", "fvc"), "0.53"),
    _figure("pef_mean", "change of PEF, mean", _FLOW, mean_of("pef"), "0.64 L/s"),
    _figure("pef_sd", "change of PEF, SD", _FLOW, sd_of("pef"), "0.71 L/s"),
    _figure("responds", "12 % and 200 mL in FEV1 (ATS/ERS 2005)", PERCENT, mean_of("responds"), "26.5 %"),
    _figure("either", "12 % and 200 mL in FEV1 or FVC", PERCENT, mean_of("either"), "27.4 %"),
    _figure("before", "FEV1/FVC below 0.70 before", PERCENT, mean_of("before"), "57.8 %"),
    _figure("after", "FEV1/FVC below 0.70 after", PERCENT, mean_of("after"), "27.6 %"),
)


def taken_by(table: pd.DataFrame) -> pd.DataFrame:
    """The efforts of people with a session before and one after, with `person` and `place`; of a session of more than a
    set holds the first PLACES. `table` as curves.parquet."""
    counts = table["grade"].isin(ACCEPTED) & table[[*INDICES]].notna().all(axis=1)
    kinds = table[counts].groupby("seqn")["test_type"].nunique()
    efforts = table[table["seqn"].isin(kinds.index[kinds == 2])].sort_values("seqn", kind="stable")
    place = efforts.groupby(["seqn", "test_type"]).cumcount() + 1
    return efforts.assign(person=efforts["seqn"], place=place)[place <= PLACES].reset_index(drop=True)


def of_people(efforts: pd.DataFrame) -> pd.DataFrame:
    """One row a person, by number: changes of the best FEV1, FVC (L) and PEF (L/s), what follows from them (0 or 1),
    and the best values before it, `fev1_before` and `fvc_before`.
    """
    counts = efforts["grade"].isin(ACCEPTED)
    best = {
        kind: efforts[counts & (efforts["test_type"] == kind)].groupby("person")[[*INDICES]].max()
        for kind in ("Pre", "Bron")
    }
    pre, post = (one.reindex(best["Pre"].index.union(best["Bron"].index)) for one in best.values())
    change = post - pre
    good = {name: (change[name] >= LEAST_L) & (change[name] >= LEAST_SHARE * pre[name]) for name in ("fev1", "fvc")}
    found = change.assign(
        responds=good["fev1"].astype(float),
        either=(good["fev1"] | good["fvc"]).astype(float),
        before=(pre["fev1"] / pre["fvc"] < OBSTRUCTED).astype(float),
        after=(post["fev1"] / post["fvc"] < OBSTRUCTED).astype(float),
        fev1_before=pre["fev1"],
        fvc_before=pre["fvc"],
    )
    return found[change.notna().all(axis=1).to_numpy()]


def judge(table: pd.DataFrame, draw: Drawer, *, draws: int, resamples: int, seed: int) -> Tree:
    """FIGURES of people who took the bronchodilator beside those of generated ones given the same FEV1 and FVC before.

    A generated person without an effort that counts in both sessions is left out.
    """
    efforts = taken_by(table)
    participants = of_people(efforts)
    efforts = efforts[efforts["person"].isin(participants.index)].reset_index(drop=True)
    requested = efforts[["person", "place", "test_type", "age", "height", "sex"]]
    order = pd.unique(requested["person"])
    known_best = np.full((len(order), len(BEST)), np.nan)
    for name in ("fev1", "fvc"):
        known_best[:, BEST.index(name)] = participants[f"{name}_before"].reindex(order)
    drawn = [of_people(draw(requested, seed + i, known_best)) for i in range(draws)] if len(order) else [participants]
    generated = pd.concat(drawn)
    people = Resamples(participants.index, resamples, np.random.default_rng([seed, 5]))
    return beside((participants, people), (generated, people.of(generated.index)), FIGURES)


def write(folder: Path, tree: Tree, people: int) -> None:
    """Into the folder, as `read` reads it."""
    write_json(folder / FILE, {"people": people, "figures": to_json(tree)})


def read(folder: Path) -> tuple[int, Tree]:
    """How many people took it, and the figures.

    Raises SpiroError where there are none, or they are of another version.
    """
    content: dict[str, Any] = read_json(folder / FILE)
    try:
        return content["people"], from_json(content["figures"])
    except (KeyError, TypeError, AttributeError) as error:
        raise SpiroError(
            f"{folder / FILE}: not figures of a response ({error!r}); judge again with `dvc repro evaluate`"
        ) from None
