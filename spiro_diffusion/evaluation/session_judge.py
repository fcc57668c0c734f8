"""The judge of sessions: whether efforts of one generated subject differ as those of one participant do.

It computes the figures of `session_figures`, and the two-sample test by trees of what does not depend on the efforts'
order. The result is a record that `sessions.json` holds.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from spiro_diffusion.core.artifacts import read_json, write_json
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.vocabulary import GRADES, JUDGED
from spiro_diffusion.evaluation import session_candidates, session_copies, session_figures, two_sample
from spiro_diffusion.evaluation.bootstrap import Resamples
from spiro_diffusion.evaluation.conditional import ReferenceSurface
from spiro_diffusion.evaluation.figures import Tree, from_json, series, to_json
from spiro_diffusion.evaluation.measured import Measured
from spiro_diffusion.evaluation.real import Real
from spiro_diffusion.evaluation.session_candidates import SessionSampler
from spiro_diffusion.evaluation.session_values import COMPARED, of_measured

FILE = "sessions.json"
BASELINES = ("independent efforts", "one effort with noise", "nearest training session")
CLASSIFIER_FEATURES = (  # what a classifier sees of a session
    "efforts",
    "good",
    *(f"grade_{grade}" for grade in GRADES),
    *(f"{i}_{what}" for i in COMPARED for what in ("mean", "best", "cv", "gap", "first")),
    "fvc_skewness",
    "fef2575_residual",
    "overlap",
    *(f"{i}_log{what}" for i in ("fvc", "fet", "bev") for what in ("", "_sd")),
)
PRE = "Pre"


@dataclasses.dataclass(frozen=True)
class Record:
    """What was found. `data`: who was judged; a tree for each candidate: see `judge`."""

    data: dict[str, Any]
    candidates: dict[str, Tree]

    def write(self, folder: Path) -> None:
        write_json(folder / FILE, {"data": self.data, "candidates": to_json(self.candidates)})

    @classmethod
    def read(cls, folder: Path) -> "Record":
        """The record of a folder.

        Raises SpiroError where there is none, or it is of another version.
        """
        content = read_json(folder / FILE)
        try:
            return cls(content["data"], {name: from_json(tree) for name, tree in content["candidates"].items()})
        except (KeyError, TypeError, AttributeError) as error:
            raise SpiroError(
                f"{folder / FILE}: not a record of sessions ({error!r}); judge again with `dvc repro evaluate`"
            ) from None


def judge_generator(real: Real, sampler: SessionSampler, independent: Measured, *, resamples: int, seed: int) -> Record:
    """The generator's sessions, the floor and the baselines; each tree has `copies` too, see `session_copies`.

    Args:
        sampler: draws sessions of one lung each. independent: a curve for each held-out effort, each of its own lung.
    """
    people = real.held_out.people
    generated = session_candidates.of_sampler(sampler, people, seed)
    train = real.train.assign(**{name: real.train_indices[name] for name in JUDGED})
    noisy = session_candidates.one_effort_with_noise(generated, train, seed)
    nearest = session_candidates.nearest_session(people, real.train, real.train_signals, seed)
    candidates = {"generator": generated, "floor": real.members}
    candidates |= dict(zip(BASELINES, (independent, noisy, nearest), strict=True))
    record = judge(real.held_out, candidates, real.reference_surface(best=False), resamples=resamples, seed=seed)
    for number, (name, curves) in enumerate(candidates.items()):
        rng = np.random.default_rng([seed, number, 1])
        record.candidates[name]["copies"] = session_copies.copies(curves, real, resamples, rng)
    return record


def judge(
    held_out: Measured,
    candidates: Mapping[str, Measured],
    reference_surface: ReferenceSurface,
    *,
    resamples: int,
    seed: int,
) -> Record:
    """Judge sessions by name against those of held-out people; each candidate's tree holds

    - `figures`: see `session_figures.beside`; of sessions before the bronchodilator
    - `auc`: of a two-sample test of all sessions by trees on CLASSIFIER_FEATURES
    - `gaps`: for a plot, best less second best (L, L/s) of FEV1, FVC and PEF of every session: `held_out`, `candidate`
    """
    sessions = of_measured(held_out, reference_surface)
    trees = {}
    with threadpool_limits(limits=1, user_api="blas"):
        for number, (name, curves) in enumerate(candidates.items()):
            trees[name] = compare(
                sessions,
                of_measured(curves, reference_surface),
                resamples=resamples,
                rng=np.random.default_rng([seed, number]),
            )
    data = {
        "participants": int(sessions["seqn"].nunique()),
        "sessions": len(sessions),
        "before_bronchodilator": int((sessions["test_type"] == PRE).sum()),
        "efforts": int(sessions["efforts"].sum()),
        "figures": len(session_figures.FIGURES),
        "error": session_figures.ERROR,
    }
    return Record(data, trees)


def compare(held_out: pd.DataFrame, candidate: pd.DataFrame, *, resamples: int, rng: np.random.Generator) -> Tree:
    """One candidate's sessions beside held-out people's, both tables of `session_values.of_efforts`."""
    sides = resampled(held_out, candidate, resamples, rng)
    before = [(table["test_type"] == PRE).to_numpy() for table in (held_out, candidate)]
    first, second = (
        (table[rows], side.restricted(rows))
        for table, side, rows in zip((held_out, candidate), sides, before, strict=True)
    )
    features = [table[list(CLASSIFIER_FEATURES)].to_numpy(float) for table in (held_out, candidate)]
    return {
        "figures": session_figures.beside(first, second),
        "auc": two_sample.classifier_auc(features[0], features[1], sides, two_sample.trees, rng),
        "gaps": {
            f"{index}_{side}": series(np.sort(table[f"{index}_gap"].dropna().to_numpy()))
            for index in COMPARED
            for side, table in (("held_out", first[0]), ("candidate", second[0]))
        },
    }


def resampled(
    held_out: pd.DataFrame, candidate: pd.DataFrame, count: int, rng: np.random.Generator
) -> tuple[Resamples, Resamples]:
    """Resamples of both sides' participants; the same draws where they are the same people."""
    first = Resamples(held_out["seqn"], count, rng)
    if np.array_equal(np.unique(candidate["seqn"]), first.people):
        return first, first.of(candidate["seqn"])
    return first, Resamples(candidate["seqn"], count, rng)
