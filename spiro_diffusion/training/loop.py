"""The training loop shared by all models.

Data lie on the device and a batch is an index; every random number of an epoch comes from a
generator seeded by (seed, epoch), drawn for the global batch and then shared out, so that a resumed
run and one on several processes see the same batches and the same noise. Nothing is read back from
the device inside an epoch.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from spiro_diffusion.compute import distributed
from spiro_diffusion.compute.graphs import Graph
from spiro_diffusion.compute.runtime import Runtime
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.code_closure import closure
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.models.checkpoint import load_checkpoint, save_checkpoint
from spiro_diffusion.training.log import Log


@dataclass(frozen=True)
class Recipe:
    """What decides a training run, besides the network and its data."""

    epochs: int  # passes over the training curves
    batch: int  # curves a step, over all processes
    lr: float  # peak learning rate of AdamW
    warmup: float  # share of the steps over which the rate rises
    weight_decay: float
    clip: float  # largest norm of the gradient
    ema: float  # decay a step of the averaged weights; 0 keeps the last ones
    validate_every: int  # epochs
    seed: int


class Task(Protocol):
    """What `fit` trains: a model, its draws and its loss."""

    @property
    def model(self) -> nn.Module:
        """What is trained."""

    def start_epoch(self, epoch: int, generator: torch.Generator) -> bool:
        """Called before each epoch; whether the loss is computed in another way from here on."""

    def draw(self, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Random numbers for a global batch; each tensor's first dimension is `rows`."""

    def loss(self, rows: Tensor, draws: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Means over the batch: 'loss' is minimised, the others are logged."""

    def validate(self) -> dict[str, float]:
        """Figures of the model as it is, on participants to choose by; 'score' is better when smaller."""


class Fitted(NamedTuple):
    """The result of `fit`: the weights kept, and one record an epoch."""

    weights: dict[str, Tensor]
    history: list[dict[str, float]]


def fingerprint(params: Any, inputs: list[Path], code: Path) -> str:
    """Names a run: its params, the bytes of its inputs, and the file `code` that trains with all that it imports."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(params), sort_keys=True).encode())
    for path in [*inputs, *closure(code)]:
        digest.update(artifacts.sha256(path).encode())
    return digest.hexdigest()[:16]


def fit(
    task: Task, recipe: Recipe, train_rows: Tensor, runtime: Runtime, name: str, run: str, log: Log | None = None
) -> Fitted:
    """Train `task.model` on `train_rows` and return the weights with the best validation score.

    `name` is the model, `run` the fingerprint of its stage: a run that was killed goes on from its last state in
    `.scratch/<name>/<run>.safetensors`. The state stays until the stage has written what it makes and says `done`.

    Raises SpiroError where another process trains the same, or the loss is not finite.
    """
    first = distributed.rank() == 0
    state = _state(name, run)
    state.parent.mkdir(parents=True, exist_ok=True)
    refusal = f"{state.parent}: another run is training here; wait for it or end it"
    lock = artifacts.locked(state.parent / "lock", refusal) if first else contextlib.nullcontext()
    with lock, runtime.applied():
        loop = _Loop(task, recipe, train_rows, runtime)
        if state.is_file():
            loop.restore(state)
        write = log.step if log else (lambda record: None)
        for record in loop.history:
            write(record)
        saved = time.monotonic()
        epochs = range(len(loop.history), recipe.epochs)
        bar = tqdm(
            epochs, desc=name, initial=epochs.start, total=recipe.epochs, unit="epoch", disable=not first, mininterval=1
        )
        for epoch in bar:
            record = loop.epoch(epoch)
            bar.set_postfix({k: f"{v:.4g}" for k, v in record.items() if k in ("loss", "score")}, refresh=False)
            write(record)
            last = epoch + 1 == recipe.epochs
            if first and (last or time.monotonic() - saved > runtime.save_every):
                loop.save(state)
                saved = time.monotonic()
        return Fitted(loop.best, loop.history)


def done(run: str, *names: str) -> None:
    """Forget the states of these models: what was made of them is written."""
    if distributed.rank() == 0:
        for name in names:
            _state(name, run).unlink(missing_ok=True)


def _state(name: str, run: str) -> Path:
    return artifacts.SCRATCH / name / f"{run}.safetensors"


def equal_people(seqn: np.ndarray) -> Tensor:
    """Weights (n,) of efforts with which every participant counts the same; their sum is 1."""
    _, person, efforts = np.unique(seqn, return_inverse=True, return_counts=True)
    return torch.from_numpy(1 / efforts[person] / len(efforts))


def learning_rate(step: int, steps: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine to zero (Loshchilov & Hutter 2017)."""
    warm = max(1, round(recipe.warmup * steps))
    if step < warm:
        return recipe.lr * (step + 1) / warm
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


class _Loop:
    """State of a run between two epochs; what `save` writes is all that decides the rest."""

    def __init__(self, task: Task, recipe: Recipe, train_rows: Tensor, runtime: Runtime) -> None:
        self.task, self.recipe, self.runtime = task, recipe, runtime
        self.model = task.model
        self.rows = train_rows
        self.batch = min(recipe.batch, len(train_rows))
        self.steps = len(train_rows) // self.batch  # a rest smaller than a batch waits for another shuffle
        self.parameters: list[Tensor] = [p for p in self.model.parameters() if p.requires_grad]
        self.ema = [p.detach().clone() for p in self.parameters] if recipe.ema else []
        cuda = runtime.device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=torch.tensor(recipe.lr, device=runtime.device) if cuda else recipe.lr,
            weight_decay=recipe.weight_decay,
            betas=(0.9, 0.99),
            fused=True,
            capturable=cuda,
        )
        self.graph = Graph(self._compute) if runtime.graphs else None
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}  # weights of the best validated epoch
        self.done = 0  # optimiser steps

    def epoch(self, epoch: int) -> dict[str, float]:
        generator = torch.Generator(self.runtime.device).manual_seed(self.recipe.seed * 1_000_003 + epoch)
        torch.manual_seed(self.recipe.seed * 1_000_003 + epoch + (distributed.rank() << 40))  # dropout
        if self.task.start_epoch(epoch, generator) and self.graph:
            self.graph.forget()
        self.model.train()
        order = self.rows[torch.randperm(len(self.rows), generator=generator, device=self.rows.device)]
        sums: dict[str, Tensor] = {}
        part = distributed.share(self.batch)
        for i in range(self.steps):
            rows = order[i * self.batch : (i + 1) * self.batch]
            draws = self.task.draw(self.batch, generator)
            for key, value in self._step(rows[part], tuple(d[part] for d in draws)).items():
                sums[key] = sums[key] + value if key in sums else value
        record = {k: distributed.total(v / self.steps).item() for k, v in sums.items()}
        record["epoch"] = epoch
        if not math.isfinite(record["loss"]):
            raise SpiroError(
                f"training diverged in epoch {epoch}: the loss is {record['loss']}; lower the learning rate"
            )
        last = epoch + 1 == self.recipe.epochs
        if last or (epoch + 1) % self.recipe.validate_every == 0:
            record |= self._validate()
        self.history.append(record)
        return record

    def _step(self, rows: Tensor, draws: tuple[Tensor, ...]) -> dict[str, Tensor]:
        self._set_rate(learning_rate(self.done, self.steps * self.recipe.epochs, self.recipe))
        losses = self.graph(rows, *draws) if self.graph else self._compute(rows, *draws)
        self.done += 1
        if self.ema:
            decay = min(self.recipe.ema, (1 + self.done) / (10 + self.done))  # short at first: the start is forgotten
            with torch.no_grad():
                torch._foreach_lerp_(self.ema, self.parameters, 1 - decay)
        return losses

    def _compute(self, rows: Tensor, *draws: Tensor) -> dict[str, Tensor]:
        share = len(rows) / self.batch  # a mean over this process's rows, as a part of the global mean
        self.optimizer.zero_grad(set_to_none=True)
        with self.runtime.autocast():
            losses = self.task.loss(rows, draws)
        (losses["loss"] * share).backward()
        distributed.sum_gradients(self.parameters)
        nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        self.optimizer.step()
        return {k: v.detach() * share for k, v in losses.items()}

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        self.model.eval()
        with self._averaged():
            figures = self.task.validate()
            best = min((h["score"] for h in self.history if "score" in h), default=math.inf)
            if not self.best or figures["score"] <= best:
                self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        return figures

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """The averaged weights in the model, for the time of the block."""
        if not self.ema:
            yield
            return
        live = [p.detach().clone() for p in self.parameters]
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, self.ema)
            yield
            torch._foreach_copy_(self.parameters, live)

    def save(self, path: Path) -> None:
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        tensors |= {f"ema.{i}": v for i, v in enumerate(self.ema)}
        for i, parameter in enumerate(self.parameters):
            tensors |= {f"adam.{i}.{k}": v for k, v in self.optimizer.state[parameter].items()}
        history = json.dumps(self.history)  # as text: an early epoch may have a figure that is not a number
        save_checkpoint(path, "training state", tensors, {"history": history, "done": self.done})

    def restore(self, path: Path) -> None:
        tensors, config = load_checkpoint(path, "training state")
        tensors = {k: v.to(self.runtime.device) for k, v in tensors.items()}

        def named(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.model.load_state_dict(named("model."))
        self.best = named("best.")
        for i, average in enumerate(self.ema):
            average.copy_(tensors[f"ema.{i}"])
        for i, parameter in enumerate(self.parameters):
            state = named(f"adam.{i}.")
            step = state.pop("step").to("cpu" if self.runtime.device.type == "cpu" else parameter.device)
            # laid out in memory as the parameter: the fused optimiser pairs numbers by their place there
            moments = {k: torch.empty_like(parameter, requires_grad=False).copy_(v) for k, v in state.items()}
            self.optimizer.state[parameter] = {"step": step, **moments}
        self.history, self.done = json.loads(config["history"]), config["done"]
