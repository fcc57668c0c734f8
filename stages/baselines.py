"""Stage baselines: judge simple rivals with the same questions, on the same participants as the generator."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from spiro_diffusion import artifacts
from spiro_diffusion.evaluation import baselines as rivals
from spiro_diffusion.evaluation import candidates, data
from spiro_diffusion.evaluation.candidates import Candidate
from spiro_diffusion.evaluation.judge import judge
from spiro_diffusion.evaluation.real import Real
from spiro_diffusion.stage import run_stage


@dataclass(frozen=True)
class Params:
    """The section `baselines`."""

    split: Literal["validation", "test"]  # the same as evaluate.split
    draws: int  # curves for each held-out curve
    resamples: int  # of the participants, for the 95 % intervals
    seed: int  # the same as evaluate.seed, so that both know the same floor

    def __post_init__(self) -> None:
        for name, least in (("draws", 2), ("resamples", 100)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {least} or more")


def pca(real: Real, params: Params) -> Candidate:
    """24 principal components, Gaussian given the conditions."""
    model = rivals.PCA.fit(real.train_signals, real.train)
    return candidates.of_sampler(model.sample, real, params.draws, params.seed, "PCA")


def neighbours(real: Real, params: Params) -> Candidate:
    """A training curve of someone alike."""
    model = rivals.Neighbours(real.train_signals, real.train)
    return candidates.of_sampler(model.sample, real, params.draws, params.seed, "neighbours")


def reference(real: Real, params: Params) -> Candidate:
    """GLI Global and Hankinson."""
    return candidates.reference(real, params.draws, params.seed)


# The origin's recipe joins them as one more function here.
BASELINES: dict[str, Callable[[Real, Params], Candidate]] = {
    "PCA": pca,
    "neighbours": neighbours,
    "GLI and Hankinson": reference,
}


def baselines(params: Params, *, signals: Path, curves: Path, repaired: Path, metrics: Path) -> None:
    """Fit each rival to the training curves, let it draw for the held-out participants, and judge it."""
    real = data.load_real(signals, curves, repaired, params.split, params.seed)
    for name, make in BASELINES.items():
        figures = judge(make(real, params), real, resamples=params.resamples, seed=params.seed, name=name)
        content = {"name": name, "data": asdict(params) | {"held": data.fingerprint(real)}, "figures": figures}
        artifacts.write_json(metrics / f"{make.__name__}.json", content)


if __name__ == "__main__":
    run_stage(baselines, Params)
