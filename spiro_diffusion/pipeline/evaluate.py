"""Stage evaluate: judge the generator on participants that training never saw."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from spiro_diffusion.compute import distributed, runtime
from spiro_diffusion.core import artifacts
from spiro_diffusion.evaluation import autoencoder, candidates, data, measured, targets
from spiro_diffusion.evaluation.bootstrap import Resamples
from spiro_diffusion.evaluation.figures import figure
from spiro_diffusion.evaluation.judge import judge_all, rivals
from spiro_diffusion.generation.generator import Generator
from spiro_diffusion.models.quantiser import codebook_use
from spiro_diffusion.reporting import report


@dataclass(frozen=True)
class Params:
    """The section `evaluate`."""

    split: Literal["validation", "test"]  # whose participants judge: test once, validation for trials
    draws: int  # curves for each held-out curve
    resamples: int  # of the participants, for the 95 % intervals
    sampler: str
    steps: int
    guidance: float  # 1 samples the true conditional
    seed: int

    def __post_init__(self) -> None:
        for name, least in (("draws", 2), ("resamples", 100), ("steps", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {least} or more")


def evaluate(
    params: Params,
    *,
    signals: Path,
    curves: Path,
    repaired: Path,
    manifest: Path,
    vqvae: Path,
    cldm: Path,
    align_metrics: Path,
    filter_metrics: Path,
    resample_metrics: Path,
    resample_plots: Path,
    vqvae_metrics: Path,
    cldm_metrics: Path,
    facts_metrics: Path,
    metrics: Path,
    plots: Path,
    report_file: Path,
) -> None:
    """Draw curves for the held-out participants, put every question to them, and show the answers."""
    generator = Generator.from_checkpoints(vqvae, cldm, runtime.start())
    if distributed.rank():
        generator.help()
        return
    real = data.load_real(signals, curves, repaired, params.split, params.seed)

    def sampler(people: pd.DataFrame, draws: int, seed: int) -> np.ndarray:
        options = {"sampler": params.sampler, "steps": params.steps, "guidance": params.guidance}
        return generator.sample(people, draws, seed, **options)  # type: ignore[arg-type]

    held, members = candidates.signals(real.held), candidates.signals(real.members)
    losses = (
        generator.denoising_loss(members, real.members.people, params.seed),
        generator.denoising_loss(held, real.held.people, params.seed),
    )
    own = candidates.of_sampler(sampler, real, params.draws, params.seed, "generator", losses)
    floor = candidates.floor(real, params.draws, params.seed)
    trip = candidates.round_trip(real, params.seed)
    again = measured.generated(generator.reconstruct(held), real.held.people, params.seed)
    trees: dict[str, Any] = judge_all(
        {"generator": own, "floor": floor, "grid_round_trip": trip},
        real,
        resamples=params.resamples,
        seed=params.seed,
        questions={"grid_round_trip": candidates.ROUND_TRIP_QUESTIONS},
    )
    assert trip.curves is not None
    people = Resamples(real.held.seqn, params.resamples, np.random.default_rng(params.seed))
    trees["generator"]["reconstruction"] = {
        **autoencoder.errors(real.held, again, people),
        **{k: figure(v) for k, v in codebook_use(generator.codes(held), generator.vqvae.quantiser.codes).items()},
    }
    trees["grid_round_trip"]["reconstruction"] = autoencoder.errors(real.held, trip.curves, people)
    trees["generator"]["crps_rivals"] = rivals(trees["generator"], {}, params.resamples, params.seed)
    verdicts = targets.verdicts(trees["generator"], trees["floor"])
    about = data.about(real, artifacts.read_json(manifest)["source"], asdict(params))
    result = {"data": about, **trees, "baselines": {}, "targets": verdicts}  # the stage baselines adds them
    artifacts.write_json(metrics / "judge.json", result)
    artifacts.write_json(metrics / "summary.json", targets.summary(trees["generator"], verdicts))

    from spiro_diffusion.reporting import gallery  # noqa: PLC0415 (Matplotlib: half a second that work does not wait for)

    logs = gallery.training_logs({"VQ-VAE": vqvae_metrics, "facts": facts_metrics, "latents": cldm_metrics})
    drawn = gallery.draw(plots, real, own, sampler, again, trees, logs, params.seed)
    drawn |= {name: resample_plots / f"{name}.png" for name in ("bland_altman", "grid_round_trip")}
    earlier = {"align": align_metrics, "filter": filter_metrics, "resample": resample_metrics}
    page = report.render(result, drawn, {name: artifacts.read_json(path) for name, path in earlier.items()})
    artifacts.write_text(report_file, page)
    distributed.dismiss()
