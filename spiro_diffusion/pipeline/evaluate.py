"""Stage evaluate: judge the generator on participants that were not trained on."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from spiro_diffusion.compute import distributed, runtime
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.errors import within
from spiro_diffusion.dataset.raw_curves import read_table
from spiro_diffusion.dataset.splits import JudgedSplit, judged_part
from spiro_diffusion.evaluation import autoencoder, candidates, data, measured, response, session_judge, targets
from spiro_diffusion.evaluation.bootstrap import Resamples
from spiro_diffusion.evaluation.figures import Figure, figure, missing
from spiro_diffusion.evaluation.judge import judge_all, over_baselines
from spiro_diffusion.evaluation.measured import Measured
from spiro_diffusion.evaluation.plot_data import plot_arrays
from spiro_diffusion.evaluation.real import Real
from spiro_diffusion.evaluation.record import Record
from spiro_diffusion.evaluation.session_candidates import Session
from spiro_diffusion.generation.generator import Generator
from spiro_diffusion.generation.sessions import draw_facts, draw_sessions
from spiro_diffusion.models import conditioning
from spiro_diffusion.models.effort_sets import PLACES
from spiro_diffusion.models.quantiser import codebook_use

RESPONSE_DRAWS = 4  # of each person who took the bronchodilator


@dataclass(frozen=True)
class Params:
    """The section `evaluate`."""

    split: JudgedSplit  # whose participants judge; auto: test for simulated people, else validation
    draws: int  # curves for each held-out curve
    resamples: int  # of the participants, for the 95 % intervals
    guidance: float  # 1 samples the true conditional
    seed: int

    def __post_init__(self) -> None:
        within(self, draws=(2, math.inf), resamples=(100, math.inf))


def evaluate(
    params: Params,
    *,
    signals: Path,
    curves: Path,
    repaired: Path,
    manifest: Path,
    vqvae: Path,
    cldm: Path,
    metrics: Path,
) -> None:
    """Draw curves and sessions for the held-out participants, put every question to them, write down the answers."""
    generator = Generator.from_checkpoints(vqvae, cldm, runtime.start())
    if distributed.rank():
        generator.help()
        return
    source = artifacts.read_json(manifest)["source"]
    part = judged_part(params.split, source)
    real = data.load_real(signals, curves, repaired, part, params.seed)

    def sampler(people: pd.DataFrame, draws: int, seed: int) -> np.ndarray:
        return generator.sample(_usual(people), draws, seed, guidance=params.guidance)

    def sessions(efforts: pd.DataFrame, seed: int) -> Session:
        """Efforts of one lung a person; of a session of more than a set holds the rest are another set."""
        more, slot = np.divmod(efforts["place"].to_numpy() - 1, PLACES)
        conditions = efforts[["test_type", "age", "height", "sex"]]
        requested = conditions.assign(person=efforts["seqn"] * (1 + PLACES) + more, place=slot + 1)
        drawn = draw_sessions(generator, requested, seed)
        return Session(drawn.table["grade"].to_numpy(), drawn.signals)

    held_out, members = real.held_out.signals(), real.members.signals()
    losses = (
        generator.denoising_loss(members, _usual(real.members.people), params.seed),
        generator.denoising_loss(held_out, _usual(real.held_out.people), params.seed),
    )
    candidate = candidates.of_sampler(sampler, real, params.draws, params.seed, "generator", losses, smooth=True)
    again = measured.generated(generator.reconstruct(held_out), real.held_out.people, params.seed, flutter_from=0)
    use = codebook_use(generator.codes(held_out), generator.vqvae.quantiser.codes)
    record = judged(params, real, candidate, again, {k: figure(v) for k, v in use.items()})
    sampling = {name: getattr(generator.cldm.config.sampling, name) for name in ("sampler", "steps")}
    record.data.update(data.about(real, source, part, asdict(params) | sampling), models=artifacts.sha256(cldm))
    record.write(metrics)
    assert candidate.curves is not None
    session_judge.judge_generator(real, sessions, candidate.curves, resamples=params.resamples, seed=params.seed).write(
        metrics
    )
    table = read_table(curves)
    table = table if part == "test" else table[table["split"] != "test"]  # trials exclude the test participants
    responded = response.judge(
        table,
        lambda efforts, seed, known_best: draw_facts(generator, efforts, seed, known_best).table,
        draws=RESPONSE_DRAWS,
        resamples=params.resamples,
        seed=params.seed,
    )
    response.write(metrics, responded, response.taken_by(table)["seqn"].nunique())
    artifacts.write_json(metrics / "summary.json", targets.summary(record.generator, record.targets))
    artifacts.write_npz(metrics / "plot_data.npz", plot_arrays(real, candidate, sessions, again, params.seed))
    distributed.dismiss()


def _usual(people: pd.DataFrame) -> pd.DataFrame:
    """The table without the conditions that users seldom know; the baselines do without them too."""
    seldom = [name for name in conditioning.NAMES if name not in conditioning.USUAL]
    return people.drop(columns=seldom, errors="ignore")


def judged(
    params: Params, real: Real, candidate: candidates.Candidate, again: Measured, codebook: dict[str, Figure]
) -> Record:
    """The record of the generator and both floors, but for what it says of the data.

    Args:
        candidate: the generator's curves.
        again: the held-out curves read back by the autoencoder, which has used `codebook`.
    """
    trip = candidates.round_trip(real, params.seed)
    trees = judge_all(
        {"generator": candidate, "floor": candidates.floor(real, params.draws, params.seed), "grid_round_trip": trip},
        real,
        resamples=params.resamples,
        seed=params.seed,
        questions={"grid_round_trip": candidates.ROUND_TRIP_QUESTIONS},
    )
    assert trip.curves is not None
    people = Resamples(real.held_out.seqn, params.resamples, np.random.default_rng(params.seed))
    none = dict.fromkeys(codebook, missing("no codebook is used"))
    for name, curves, use in (("generator", again, codebook), ("grid_round_trip", trip.curves, none)):
        errors = autoencoder.errors(real.held_out, curves, people)
        trees[name]["reconstruction"] = {**errors, **use} if isinstance(errors, dict) else errors
    trees["generator"]["crps_over_baselines"] = over_baselines(trees["generator"], {}, params.resamples, params.seed)
    verdicts = targets.verdicts(trees["generator"], trees["floor"])
    return Record({}, **trees, baselines={}, targets=verdicts)  # the stage baselines adds them
