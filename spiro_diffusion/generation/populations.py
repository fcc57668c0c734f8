"""Synthetic populations: subjects drawn by NHANES weights, each with a lung and its visits.

A smoothed bootstrap: a participant is drawn by survey weight; age and height are moved a little; sex and the number of
efforts before and after the bronchodilator are kept.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.dataset.raw_curves import read_table
from spiro_diffusion.generation.engine import Engine, draw_sessions
from spiro_diffusion.models.effort_sets import ACCEPTED, BEST, MAXIMA, PLACES, EffortSets, Floats, with_ratio

# SD, years and cm: no subject equals a participant, and the population is only slightly wider
JITTER = {"age": 0.5, "height": 1.0}
DECIMALS = 1  # of age and height, as height is measured
EFFORTS = ["grade", "test_type", "best"]
READ = ("fev1", "fvc", "pef", "fef2575", "fev075", "bev", "fet", "t99", "last_second", "end_flow", "cough", "cough075")
SESSIONS = 1024  # drawn at once
SIGNIFICANT = {"fev1": 0.12, "fvc": 0.11, "fef2575": 0.21}  # change from week to week, see `retest_values`
BETWEEN_VISITS = {name: change / (1.96 * np.sqrt(2)) for name, change in SIGNIFICANT.items()}  # SD of logarithms
BETWEEN_VISITS["pef"] = BETWEEN_VISITS["fev1"]
TOGETHER = 0.8  # correlation of the moves: that of FEV1/FVC has an SD of 2.6 %
OF_VISIT = ("person", "session", "effort", "test_type", "grade", "best", "age", "height", "sex")


class Visits(NamedTuple):
    """The efforts of some people: OF_VISIT of each, the sessions of a person one after another, and the curves."""

    table: pd.DataFrame  # person from 0, session from 1, effort from 1 before and after the bronchodilator
    signals: NDArray[np.float32]  # (n, 512) L/s, before any counter


def draw_people(curves: pd.DataFrame, n: int, trained: dict[str, Any], rng: np.random.Generator) -> pd.DataFrame:
    """Draw `n` people and their efforts: person, effort (from 1), age (years), height (cm), sex, grade, test_type,
    best.

    Args:
        curves: efforts of participants (seqn, age, height, sex, mec_weight and EFFORTS), as in data/curves.parquet.
        trained: `age` and `height`, lowest and highest each: all subjects are within them.

    Raises SpiroError if no participant with a weight is within them.
    """
    in_range = np.all([curves[name].between(*trained[name]) for name in JITTER], axis=0)
    efforts = curves[in_range & (curves["mec_weight"] > 0)].sort_values("seqn", kind="stable", ignore_index=True)
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


def draw_visits(generator: Engine, curves: pd.DataFrame, people: int, retests: int, seed: int) -> Iterator[Visits]:
    """Draw people modelled on the participants of `curves`: for each a lung, and its efforts at each visit, some people
    at a time, so that memory does not grow with their number.

    Each has as many efforts before and after the bronchodilator as the participant had, up to PLACES each; their grades
    are drawn. A retest is a session of a lung whose best values are those of the person, changed by `retest_values`.
    The same seed gives the same people with every engine.

    Args:
        curves: efforts of participants, as for `draw_people`.
        retests: further visits of each person.

    Raises SpiroError if no participant with a weight is within the trained ages and heights.
    """
    most = max(1, SESSIONS // (1 + retests))
    for i, first in enumerate(range(0, people, most)):
        rng = np.random.default_rng([seed, i])
        drawn = draw_people(curves, min(most, people - first), generator.made_from, rng)
        efforts = seated(drawn)
        seeds = rng.integers(2**63, size=1 + retests)
        visit = draw_sessions(generator, efforts, int(seeds[0]))
        later = retest_values(reached(visit.table), retests, rng)
        visits = [visit, *(draw_sessions(generator, efforts, int(s), v) for s, v in zip(seeds[1:], later, strict=True))]
        tables = [v.table.assign(session=number + 1) for number, v in enumerate(visits)]
        table = pd.concat(tables, ignore_index=True).rename(columns={"place": "effort"})
        table["person"] += first
        order = np.lexsort((np.arange(len(table)), table["person"]))  # a person's sessions follow one another
        signals = np.concatenate([v.signals for v in visits])
        yield Visits(table[list(OF_VISIT)].iloc[order].reset_index(drop=True), signals[order])


def seated(efforts: pd.DataFrame) -> pd.DataFrame:
    """Efforts of `draw_people` in the form of `draw_sessions`: person, age (years), height (cm), sex, test_type, place.

    Places are counted before and after the bronchodilator; efforts beyond the model's PLACES are left out.
    """
    table = efforts[["person", "age", "height", "sex", "test_type"]].sort_values(
        ["person", "test_type"], ascending=[True, False], kind="stable"
    )  # Pre before Bron
    table["place"] = table.groupby(["person", "test_type"]).cumcount() + 1
    return table[table["place"] <= PLACES].reset_index(drop=True)


def reached(efforts: pd.DataFrame) -> Floats:
    """`effort_sets.BEST` (P, 5) of the sessions of people, in order of appearance: L, -, L/s.

    If no effort of a session has a grade that counts, all of its efforts count: they describe the lung even if nothing
    would be reported.
    """
    sets = EffortSets.of(efforts, "person")
    best = sets.best(efforts)
    return np.where(np.isnan(best), sets.best(efforts.assign(grade=ACCEPTED[0])), best)


def retest_values(first: Floats, retests: int, rng: np.random.Generator) -> list[Floats]:
    """Best values of further visits of people, each like `first` (P, 5), the `effort_sets.BEST` of their first visit.

    The values of a visit are those of the person times exp(e), e normal with the SDs of BETWEEN_VISITS; the first visit
    has such an e too, so that all visits of a person have the same distribution. NHANES examined each participant once:
    none of this is trained. It is the week-to-week variation of healthy adults that ATS/ERS 2005 published (Pellegrino
    et al., doi 10.1183/09031936.05.00035205, table 12): changes of 12 % in FEV1, 11 % in FVC and 21 % in FEF25-75 are
    significant. Taken as 95 % limits of a difference, 1.96 sqrt(2) SD, they give within-person SDs of
    4.3, 4.0 and 7.6 %. PEF, which the table lacks, is given the SD of FEV1, and the correlation TOGETHER of the four is
    an assumption.
    """
    sd = np.array([BETWEEN_VISITS[name] for name in MAXIMA])
    shape = (1 + retests, len(first), len(MAXIMA))
    common, independent = rng.normal(size=(*shape[:2], 1)), rng.normal(size=shape)
    e = sd * (np.sqrt(TOGETHER) * common + np.sqrt(1 - TOGETHER) * independent)
    columns = [BEST.index(name) for name in MAXIMA]
    return [with_ratio(first[:, columns] * np.exp(e[visit] - e[0])) for visit in range(1, 1 + retests)]


def read_participants(data: Path) -> pd.DataFrame:
    """Read the efforts that a population is modelled on and compared with, from the pipeline's folder `data`.

    Raises SpiroError if it has no curves.parquet.
    """
    return read_table(data / "curves.parquet", ["seqn", "age", "height", "sex", "mec_weight", *EFFORTS, *READ])
