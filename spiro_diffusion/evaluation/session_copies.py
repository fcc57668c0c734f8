"""Memorisation of sessions: distance of generated sessions to training sessions, against held-out participants'.

A session before the bronchodilator is a point: the mean of its efforts' shapes and their SD, so that the lung and how
its efforts differ are compared. The questions are those of `copying`.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.evaluation import copying
from spiro_diffusion.evaluation.bootstrap import Resamples
from spiro_diffusion.evaluation.copying import Cloud, Points
from spiro_diffusion.evaluation.figures import Tree
from spiro_diffusion.evaluation.measured import Measured
from spiro_diffusion.evaluation.real import Real
from spiro_diffusion.evaluation.shapes import of_measured

FIGURES = ("nearest_share", "nearer_than_held", "authenticity")
PRE = "Pre"


def of_efforts(shapes: NDArray, people: pd.DataFrame) -> tuple[NDArray[np.float32], NDArray]:
    """Points (s, 2 d) of the sessions in a table of efforts with shapes (n, d), and their participants (s,)."""
    before = (people["test_type"] == PRE).to_numpy()
    seqn, session = np.unique(people["seqn"].to_numpy()[before], return_inverse=True)
    count = np.bincount(session)[:, None]
    sums = np.zeros((2, len(seqn), shapes.shape[1]))
    for total, values in zip(sums, (shapes[before], shapes[before] ** 2), strict=True):
        np.add.at(total, session, values)
    mean = sums[0] / count
    sd = np.sqrt(np.maximum(sums[1] / count - mean**2, 0))
    return np.concatenate([mean, sd], axis=1).astype(np.float32), seqn


def copies(curves: Measured, real: Real, resamples: int, rng: np.random.Generator) -> Tree:
    """FIGURES of a candidate's sessions; see `copying.copies`."""
    train = Cloud.of(*of_efforts(real.train_shapes, real.train))
    held_out, people = of_efforts(real.held_out_shapes, real.held_out.people)
    generated, drawn = of_efforts(of_measured(curves), curves.people)
    first = Resamples(people, resamples, rng)
    second = first.of(drawn) if np.array_equal(np.unique(drawn), first.people) else Resamples(drawn, resamples, rng)
    found = copying.copies(Points(generated, second), train, Points(held_out, first), np.empty(0))
    return {name: found[name] for name in FIGURES}
