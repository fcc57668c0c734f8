"""Can somebody tell from a trained generator whose sessions it was trained on: an attack with shadow models.

python -m benchmarks.shadow_models --data data --models models [--overtrained 60] [--count 8] [--jobs 2] [--out FILE]

Of the training participants each of `count` models sees a random half, each by a draw of its own.
Each model is then attacked with the knowledge of the others: for each participant the attacked model's loss on their
whole session is compared with the losses of the models that saw them and of those that did not (Carlini et al. 2022,
the likelihood ratio of two normal distributions). Both networks are attacked: the one that draws the facts of a
person's efforts, and the one that draws the curves given them. The VQ-VAE and the scales are those of the default run.

`--overtrained N` takes only 2 N people, trains without dropout or hidden conditions, and keeps the weights that fit its
N training people best: the same attack must find such a model out.
"""

import argparse
import dataclasses
import math
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spiro_diffusion.compute import runtime
from spiro_diffusion.core.artifacts import read_json, write_json
from spiro_diffusion.core.params import load_params
from spiro_diffusion.dataset.signals import load_rows, pieces
from spiro_diffusion.models import conditioning, effort_facts, index_diffusion
from spiro_diffusion.models.condition_tokens import Augmentation
from spiro_diffusion.models.edm import Denoiser, denoising_loss
from spiro_diffusion.models.latent_diffusion import CLDM, load_cldm
from spiro_diffusion.models.vqvae import CHANNELS, TOKENS
from spiro_diffusion.physiology import mean_surface
from spiro_diffusion.pipeline.train_cldm import Efforts, Params
from spiro_diffusion.training import facts as facts_training
from spiro_diffusion.training import loop
from spiro_diffusion.training.denoising import DenoisingTask, Examples

LEVELS = {"facts": np.linspace(-2.0, 1.0, 8), "curves": np.linspace(-1.0, 2.5, 8)}  # log sigma, as `Generator` asks
REPEATS = {"facts": 8, "curves": 1}  # draws of noise at each level
FALSE = 0.01  # share of false positives at which true ones are counted
RESAMPLES = 1000
OVERTRAINED_EPOCHS = 1500, 400  # of the facts, of the curves
Floats = NDArray[np.float64]


class World(NamedTuple):
    """What all models share."""

    model: CLDM  # the default run's, whose scales are taken; its weights are not
    params: Params
    efforts: Efforts
    facts: facts_training.Examples
    clean: Tensor  # (n, TOKENS, r) latents
    conditions: Tensor  # (n, c + 9) conditions and facts

    @classmethod
    def read(cls, data: Path, models: Path, facts_alone: bool) -> "World":
        params = load_params(Params, "train_cldm", Path("params.yaml"))
        efforts, total = Efforts.read(data / "curves.parquet")
        model, _ = load_cldm(models / "cldm.safetensors")
        logs = torch.from_numpy(efforts.logs).float()
        features = torch.from_numpy(mean_surface.features(efforts.table)).float()
        facts = facts_training.Examples.of(model.facts, efforts.table, efforts.logs, features, efforts.train)
        clean = torch.empty((len(efforts.rows), TOKENS, model.config.network.channels))
        if not facts_alone:
            latents = load_rows(data / "latents.npy", total, (TOKENS, CHANNELS))
            for part, tokens in pieces(latents, efforts.rows):
                clean[part] = model.standardise(torch.from_numpy(tokens))
        conditions = torch.from_numpy(conditioning.encode(efforts.table))
        return cls(
            model, params, efforts, facts, clean, torch.cat([conditions, model.facts.as_conditions(logs)], dim=1)
        )

    @property
    def person(self) -> NDArray[np.int64]:
        """The person (n,) of each effort."""
        return self.facts.person.numpy()


class Plan(NamedTuple):
    """One model to be trained."""

    number: int
    people: NDArray[np.int64]  # that it sees
    overtrained: bool
    facts_alone: bool


def assigned(people: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Who is in which model (count, people): each with probability 1/2, whatever the others saw. Were everybody in just
    half of them, the others would give away what the attacked one saw."""
    return rng.random((count, len(people))) < 0.5


def losses(world: World, plan: Plan) -> list[Floats]:
    """Train one model; mean losses (P,) of every person of its facts' denoiser, and of its curves'."""
    torch.manual_seed(plan.number)
    params, model = world.params, CLDM(world.model.config)
    scales = {name: value for name, value in world.model.state_dict().items() if ".network." not in name}
    model.load_state_dict(scales, strict=False)
    train = torch.from_numpy(np.flatnonzero(np.isin(world.person, plan.people)))
    train = train[torch.isin(train, torch.from_numpy(world.efforts.train))]
    choosing = torch.from_numpy(world.efforts.choosing)
    changes = params.augmentation(0), params.augmentation(len(effort_facts.NAMES))
    recipes = [_plain(params.facts_recipe), _plain(params)]
    if plan.overtrained:
        choosing, changes = train, (_none(changes[0]), _none(changes[1]))
        options: dict[str, Any] = {"weight_decay": 0.0, "validate_every": 50}
        recipes = [
            dataclasses.replace(recipe, epochs=epochs, **options)
            for recipe, epochs in zip(recipes, OVERTRAINED_EPOCHS, strict=True)
        ]
        for module in model.facts.modules():
            if isinstance(module, index_diffusion.EffortBlock):
                module.dropout = 0.0
    place = runtime.configure(runtime.RuntimeParams(device="cpu", threads=1))
    with place.applied():
        facts_task = facts_training.FactsTask(
            model.facts, world.facts, choosing, model.config.facts_noise, changes[0], params.seed
        )
        fitted = loop.fit(facts_task, recipes[0], train, place.exact(), f"shadow_{plan.number}_facts", "once")
        model.facts.denoiser.load_state_dict(fitted.weights)
        if plan.facts_alone:
            return [_of_facts(world, model.eval())]
        weights = loop.equal_people(world.efforts.table["seqn"].to_numpy()[choosing.numpy()])
        examples = Examples(world.clean, world.conditions, choosing, weights)
        task = DenoisingTask(model.denoiser, examples, model.config.noise, changes[1], params.seed)
        fitted = loop.fit(task, recipes[1], train, place, f"shadow_{plan.number}_curves", "once")
        model.denoiser.load_state_dict(fitted.weights)
        return [_of_facts(world, model.eval()), _of_curves(world, model)]


def _none(change: Augmentation) -> Augmentation:
    """No noise, and nothing hidden."""
    zeros = torch.zeros_like(change.jitter)
    return Augmentation(zeros, zeros, zeros.bool(), 0.0)


def _plain(recipe: loop.Recipe) -> loop.Recipe:
    return loop.Recipe(**{field.name: getattr(recipe, field.name) for field in dataclasses.fields(loop.Recipe)})


@torch.inference_mode()
def _of_facts(world: World, model: CLDM) -> Floats:
    """Of each person's whole set."""
    facts, people = world.facts, torch.arange(len(world.facts.set_rows))
    conditions = world.facts.conditions[facts.set_rows].clone()
    for hidden in ("best", "grade"):
        conditions[..., conditioning.NAMES.index(hidden)] = torch.nan
    best = torch.full_like(facts.best, torch.nan)
    set_conditions = index_diffusion.together(conditions, facts.place[facts.set_rows], best, facts.role)
    present = (facts.role > 0).float()
    total = np.zeros(len(people))
    for generator, level in _levels("facts"):
        noise = torch.randn(facts.sets.shape, generator=generator) * present[..., None]
        sigma = torch.full((len(people),), math.exp(level))
        total += (
            denoising_loss(model.facts.denoiser, facts.sets, set_conditions, sigma, noise, present).double().numpy()
        )
    return total


@torch.inference_mode()
def _of_curves(world: World, model: CLDM) -> Floats:
    """Of each person, the mean over their curves."""
    total = np.zeros(len(world.clean))
    denoiser: Denoiser = model.denoiser
    for generator, level in _levels("curves"):
        noise = torch.randn(world.clean.shape, generator=generator)
        for rows in torch.arange(len(world.clean)).split(512):
            sigma = torch.full((len(rows),), math.exp(level))
            found = denoising_loss(denoiser, world.clean[rows], world.conditions[rows], sigma, noise[rows])
            total[rows.numpy()] += found.double().numpy()
    return np.bincount(world.person, total) / np.bincount(world.person)


def _levels(name: str) -> list[tuple[torch.Generator, float]]:
    return [
        (torch.Generator().manual_seed(1000 * i + repeat), float(level))
        for i, level in enumerate(LEVELS[name])
        for repeat in range(REPEATS[name])
    ]


def scores(found: Floats, inside: NDArray[np.bool_]) -> Floats:
    """Log likelihood ratio (count, P) of having been seen, of losses (count, P), each model by the others' losses; NaN
    where all others saw someone, or none did."""
    out = np.empty_like(found)
    for target in range(len(found)):
        others = np.arange(len(found)) != target
        loss, seen = found[others], inside[others]
        with np.errstate(invalid="ignore"):
            middle = [np.where(side, loss, 0).sum(0) / side.sum(0) for side in (seen, ~seen)]
        defined = np.isfinite(middle).all(0)
        left = (loss - np.where(seen, *middle))[:, defined]
        variance = (left**2).sum() / (left.size - 2 * left.shape[1])
        widths = [variance * (1 + 1 / np.maximum(side.sum(0), 1)) for side in (seen, ~seen)]
        first, second = (
            (found[target] - mean) ** 2 / width + np.log(width) for mean, width in zip(middle, widths, strict=True)
        )
        out[target] = (second - first) / 2
    return out


def success(score: Floats, inside: NDArray[np.bool_], rng: np.random.Generator) -> dict[str, Any]:
    """AUC, and the share of members found at 1 % false, with 95 % intervals over resamples of the people."""
    draws = [np.arange(score.shape[1]), *rng.integers(score.shape[1], size=(RESAMPLES, score.shape[1]))]
    aucs, found = [], []
    for people in draws:
        of_people, member = score[:, people], inside[:, people]
        defined = np.isfinite(of_people)
        members, others = of_people[defined & member], np.sort(of_people[defined & ~member])
        below = np.searchsorted(others, members, "left") + np.searchsorted(others, members, "right")
        aucs.append(below.mean() / (2 * len(others)))
        found.append((members > np.quantile(others, 1 - FALSE)).mean())
    return {name: _interval(np.array(values)) for name, values in (("auc", aucs), ("true_at_1_percent", found))}


def _interval(values: Floats) -> dict[str, float]:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return {"value": round(float(values[0]), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


_WORLD: list[World] = []  # of a worker process


def _start(data: Path, models: Path, facts_alone: bool, params: Path, home: str) -> None:
    torch.set_num_threads(1)
    os.chdir(params.parent)
    _WORLD.append(World.read(data, models, facts_alone))
    os.chdir(home)  # the states of the trainings lie there


def _work(plan: Plan) -> list[Floats]:
    return losses(_WORLD[0], plan)


def attack(options: argparse.Namespace) -> dict[str, Any]:
    """Train the models, attack each, and say how far it led."""
    data, models, params = options.data.resolve(), options.models.resolve(), Path("params.yaml").resolve()
    world, rng = World.read(data, models, options.facts_alone), np.random.default_rng(options.seed)
    people = np.unique(world.person[world.efforts.train])
    if options.overtrained:
        people = rng.permutation(people)[: 2 * options.overtrained]
    inside = assigned(people, options.count, rng)
    plans = [Plan(i, people[row], bool(options.overtrained), options.facts_alone) for i, row in enumerate(inside)]
    with tempfile.TemporaryDirectory() as home:
        arguments = data, models, options.facts_alone, params, home
        pool = ProcessPoolExecutor(options.jobs, get_context("spawn"), _start, arguments)
        with pool:
            found = list(pool.map(_work, plans))
    names = list(LEVELS)[: len(found[0])]
    parts = {name: np.stack([each[i] for each in found])[:, people] for i, name in enumerate(names)}
    by_part = {name: scores(values, inside) for name, values in parts.items()}
    result: dict[str, Any] = {
        "people": len(people),
        "models": options.count,
        "people_each": round(float(inside.sum(1).mean())),
    }
    together = {} if options.facts_alone else {"both": np.sum(list(by_part.values()), axis=0)}
    for name, score in {**by_part, **together}.items():
        result[name] = success(score, inside, np.random.default_rng([options.seed, 1]))
    return result


def main() -> None:
    """Attack, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--count", type=int, default=8, help="models")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once")
    parser.add_argument("--facts-alone", action="store_true", help="attack the network of a person's facts alone")
    parser.add_argument("--overtrained", type=int, default=0, metavar="N", help="of 2 N people, as the docstring says")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON; what is there already under other names stays")
    parser.add_argument("--name", default="default", help="under which the figures are written")
    options = parser.parse_args()
    result = attack(options)
    print(result)
    if options.out:
        before = read_json(options.out) if options.out.is_file() else {}
        write_json(options.out, before | {options.name: result})


if __name__ == "__main__":
    main()
