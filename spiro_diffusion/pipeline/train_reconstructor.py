"""Stage train_reconstructor: train the densities of the missing part of an interrupted effort."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from spiro_diffusion.compute import runtime
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.dataset.raw_curves import read_table
from spiro_diffusion.dataset.signals import load_rows
from spiro_diffusion.dataset.splits import rows_of_part
from spiro_diffusion.models.header import MadeFrom
from spiro_diffusion.models.mixture_density import Density, DensityConfig
from spiro_diffusion.physiology.time_grid import N_SAMPLES
from spiro_diffusion.reconstruction import examples, sibling_efforts, trials
from spiro_diffusion.reconstruction.densities import save_densities
from spiro_diffusion.reconstruction.examples import Examples
from spiro_diffusion.reconstruction.segments import Segment
from spiro_diffusion.training import loop
from spiro_diffusion.training.likelihood import DensityTask
from spiro_diffusion.training.log import Log

CHOOSING_EXAMPLES = 4  # of each effort to choose by


@dataclass(frozen=True)
class Params(loop.Recipe):
    """The section `train_reconstructor`: the recipe of the densities and their shape."""

    examples: int  # how often each training effort is hidden anew
    width: int
    components: int
    dropout: float

    def __post_init__(self) -> None:
        if self.examples < 1:
            raise ValueError(f"examples is {self.examples}; expected 1 or more")

    def density(self, learned: Examples) -> DensityConfig:
        """The shape of a density for these examples."""
        features, numbers = learned.features.shape[1], learned.numbers.shape[1]
        optional = numbers + sibling_efforts.COMPARED
        return DensityConfig(features, numbers, optional, self.width, self.components, self.dropout)


class Training(NamedTuple):
    """Where and under which name a density is trained."""

    compute: runtime.Runtime
    name: str
    run: str
    log: Log


def train_reconstructor(
    params: Params, *, signals: Path, curves: Path, manifest: Path, reconstructor: Path, metrics: Path
) -> None:
    """Train the densities on full training efforts, hidden at random; keep those under which the efforts of the
    participants to choose by are likeliest, and correct their intervals by the same participants."""
    run = loop.fingerprint(params, [signals, curves], Path(__file__))
    with runtime.start().exact().applied() as compute:
        table = read_table(curves)
        flow = load_rows(signals, len(table), (N_SAMPLES,))
        full = examples.full(table, flow)
        parts = rows_of_part(table, "train"), rows_of_part(table, "choosing")
        train, choosing = (rows[full[rows]] for rows in parts)
        if not len(train) or not len(choosing):
            raise SpiroError(f"{curves}: holds no full effort to learn from or to choose by; use more participants")
        learned = examples.examples(flow, table, train, params.examples, params.seed)
        checked = examples.examples(flow, table, choosing, CHOOSING_EXAMPLES, params.seed + 1)
        densities = {}
        for segment, rows in learned.items():
            log = Log(metrics / segment)
            training = Training(compute, f"train_reconstructor_{segment}", run, log)
            densities[segment] = _trained(params, rows, checked[segment], table, training)
            log.close()
        made_from = MadeFrom.of(artifacts.read_json(manifest)["source"], table.iloc[train])
        corrections = trials.corrections(densities[Segment.TAIL], learned[Segment.TAIL], flow, table, choosing)
        save_densities(reconstructor, densities, made_from, corrections)
        loop.done(run, *(f"train_reconstructor_{segment}" for segment in densities))


def _trained(params: Params, learned: Examples, checked: Examples, table: pd.DataFrame, training: Training) -> Density:
    """One density, its weights those under which the checked examples are likeliest."""
    features, numbers = (
        torch.from_numpy(np.concatenate([getattr(e, part) for e in (learned, checked)]))
        for part in ("features", "numbers")
    )
    first, compute = len(learned.rows), training.compute
    torch.manual_seed(params.seed)
    model = Density(params.density(learned))
    with threadpool_limits(limits=1, user_api="blas"):  # the same digits on any number of cores
        model.fit_scales(features[:first], numbers[:first])
    model.to(compute.device)
    rows = torch.arange(len(features), device=compute.device)
    weights = loop.equal_people(table["seqn"].to_numpy()[checked.rows]).to(compute.device)
    task = DensityTask(model, features.to(compute.device), numbers.to(compute.device), rows[first:], weights)
    fitted = loop.fit(task, params, rows[:first], compute, training.name, training.run, training.log)
    model.load_state_dict(fitted.weights)
    return model
