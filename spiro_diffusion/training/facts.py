"""Training task of the facts' denoiser, on single efforts and on all efforts of a person; see `loop.Task`."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from spiro_diffusion.core.vocabulary import GRADES
from spiro_diffusion.models import conditioning, index_diffusion
from spiro_diffusion.models.condition_tokens import Augmentation
from spiro_diffusion.models.edm import Noise, denoising_loss, draw_sigma
from spiro_diffusion.models.effort_facts import CHANNELS
from spiro_diffusion.models.effort_sets import BEST, MAXIMA, EffortSets, with_ratio
from spiro_diffusion.models.index_diffusion import ALONE, EFFORT, TOKENS, Facts

SHARE = 8  # a batch of B efforts alone comes with B / SHARE people
REPEATS = 8  # noise levels at which each validation row is denoised: a few numbers average little
PLACE_HIDDEN = 0.5  # share of efforts alone whose place in the session is hidden
GRADES_HIDDEN = 0.5  # share of people whose efforts' grades are all hidden
BEST_HIDDEN = 0.5  # share of rows whose best values are all hidden, and of the others' best values each
BEST_JITTER = 0.02  # SD of noise on them, in residual SDs


class Examples(NamedTuple):
    """The training data: n efforts, and P people with a slot for each effort."""

    clean: Tensor  # (n, CHANNELS)
    sets: Tensor  # (P, TOKENS, CHANNELS), see `Facts.as_set`
    conditions: Tensor  # (n, c) `conditioning.encode`
    place: Tensor  # (n,) as a condition
    effort_values: Tensor  # (n, 5) each effort's own values, as `Facts.known_best` gives them
    best: Tensor  # (P, 5) the session's best, likewise
    set_rows: Tensor  # (P, EFFORTS) rows of the table
    role: Tensor  # (P, TOKENS)
    person: Tensor  # (n,)

    @classmethod
    def of(cls, facts: Facts, table: pd.DataFrame, logs: NDArray, features: Tensor, train: NDArray) -> "Examples":
        """Of efforts (seqn, place, indices, conditions) with facts `logs` (n, 9) of people with `features` (n, 12).

        From the rows `train` the facts get the scales of efforts after the bronchodilator.
        """
        sets = EffortSets.of(table)
        grade = torch.from_numpy(np.array(GRADES).searchsorted(table["grade"].to_numpy(str)))
        standardised = facts.standardise(torch.from_numpy(logs).float(), features)
        clean = torch.cat([standardised, index_diffusion.bits(grade)], dim=1)
        present = torch.from_numpy(sets.present)
        people = clean[torch.from_numpy(sets.rows)] * present[..., None]
        learned = torch.from_numpy(np.unique(sets.person[train]))
        facts.fit_sessions(people[learned], present[learned])
        effort_values = with_ratio(table[list(MAXIMA)].to_numpy(float))
        first = features[torch.from_numpy(sets.rows[:, 0])]
        return cls(
            clean,
            facts.as_set(people, present),
            torch.from_numpy(conditioning.encode(table)),
            index_diffusion.place_condition(table["place"].to_numpy(float)),
            facts.known_best(torch.from_numpy(effort_values).float(), features),
            facts.known_best(torch.from_numpy(sets.best(table)).float(), first),
            torch.from_numpy(sets.rows),
            index_diffusion.roles(present),
            torch.from_numpy(sets.person),
        )

    def to(self, device: torch.device) -> "Examples":
        """The same on another device."""
        return Examples(*(t.to(device) for t in self))


class FactsTask:
    """Denoising of efforts alone and of people; the loss is the sum of both means.

    A batch's people are those of its first efforts, each with a weight that makes up for being met as often as it has
    efforts.
    """

    def __init__(
        self, facts: Facts, examples: Examples, choosing: Tensor, noise: Noise, augmentation: Augmentation, seed: int
    ) -> None:
        self.model, self.examples, self.noise, self.augmentation = facts.denoiser, examples, noise, augmentation
        device = examples.conditions.device
        people = examples.person[choosing].unique()
        self.choosing, self.people = choosing.repeat(REPEATS), people.repeat(REPEATS)
        efforts = (examples.role == EFFORT).float().sum(dim=1)
        self.weights = (efforts.mean() / efforts)[examples.person]  # about mean 1 over efforts
        generator = torch.Generator().manual_seed(seed)
        self.fixed = []
        for n, shape in ((len(self.choosing), (1, CHANNELS)), (len(self.people), (TOKENS, CHANNELS))):
            sigma = draw_sigma(n, noise, generator, torch.device("cpu")).to(device)
            self.fixed.append((sigma, torch.randn((n, *shape), generator=generator).to(device)))

    def start_epoch(self, epoch: int, generator: torch.Generator) -> bool:
        return False

    def draw(self, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        device, draws = self.examples.conditions.device, []
        for shape in ((1, CHANNELS), (TOKENS, CHANNELS)):
            sigma = draw_sigma(rows, self.noise, generator, device)
            noise = torch.randn((rows, *shape), generator=generator, device=device)
            draws += [sigma, noise, self.augmentation.draw(rows, generator), self._hidden_best(rows, generator)]
            draws.append(torch.rand(rows, generator=generator, device=device))
        return tuple(draws)

    def _hidden_best(self, rows: int, generator: torch.Generator) -> Tensor:
        """What is added to best values, (rows, 5): noise, and NaN where one is hidden."""
        device = self.examples.conditions.device
        noise = BEST_JITTER * torch.randn((rows, len(BEST)), generator=generator, device=device)
        draw = torch.rand((rows, len(BEST) + 1), generator=generator, device=device) < BEST_HIDDEN
        return noise.masked_fill(draw[:, 1:] | draw[:, :1], torch.nan)

    def loss(self, rows: Tensor, draws: tuple[Tensor, ...]) -> dict[str, Tensor]:
        sigma, noise, change, best, chance = draws[:5]
        hidden = torch.where(chance < PLACE_HIDDEN, torch.nan, 0.0)
        alone = denoising_loss(
            self.model, self.examples.clean[rows][:, None], self._alone(rows, change, best, hidden), sigma, noise
        ).mean()
        m = max(1, len(rows) // SHARE)
        sigma, noise, change, best, chance = (draw[:m] for draw in draws[5:])
        people = self.examples.person[rows[:m]]
        hidden = torch.where(chance < GRADES_HIDDEN, torch.nan, 0.0)
        found = self._together(people, sigma, noise, self._set(people, change, best, hidden))
        together = (found * self.weights[rows[:m]]).mean()
        return {"loss": alone + together, "alone": alone, "together": together}

    def validate(self) -> dict[str, float]:
        examples, (alone, together) = self.examples, self.fixed
        rows, people = self.choosing, self.people
        conditions = self._alone(
            rows, examples.conditions.new_zeros(()), examples.effort_values.new_full((), torch.nan), torch.tensor(0.0)
        )
        first = denoising_loss(self.model, examples.clean[rows][:, None], conditions, *alone).double()
        weights = self.weights[rows].double()
        unknown = examples.effort_values.new_full((), torch.nan)
        conditions = self._set(
            people, examples.conditions.new_zeros(()), unknown, examples.conditions.new_full((1,), torch.nan)
        )
        second = self._together(people, *together, conditions).double()
        found = ((first * weights).sum() / weights.sum()).item(), second.mean().item()
        return {"score": sum(found), "score_alone": found[0], "score_together": found[1]}

    def _alone(self, rows: Tensor, change: Tensor, best: Tensor, hidden: Tensor) -> Tensor:
        """Conditions (B, 1, k) of efforts alone."""
        examples = self.examples
        conditions, place = examples.conditions[rows] + change, (examples.place[rows] + hidden)[:, None]
        return torch.cat(
            [conditions, place, examples.effort_values[rows] + best, torch.full_like(place, float(ALONE))], dim=1
        )[:, None]

    def _set(self, people: Tensor, change: Tensor, best: Tensor, hidden: Tensor) -> Tensor:
        """Conditions (B, TOKENS, k) of people; which effort is the best is always masked, `hidden` (B,) goes to the
        grades."""
        examples = self.examples
        rows = examples.set_rows[people]
        conditions = examples.conditions[rows] + (change[:, None] if change.ndim else change)
        masking = [torch.zeros_like(hidden)] * len(conditioning.NAMES)
        masking[conditioning.NAMES.index("grade")] = hidden
        masking[conditioning.NAMES.index("best")] = torch.full_like(hidden, torch.nan)
        conditions = conditions + torch.stack(masking, dim=-1)[:, None]
        best = examples.best[people] + best
        return index_diffusion.together(conditions, examples.place[rows], best, examples.role[people])

    def _together(self, people: Tensor, sigma: Tensor, noise: Tensor, conditions: Tensor) -> Tensor:
        """Loss (B,) of people."""
        present = (self.examples.role[people] > 0).to(noise.dtype)
        noise = noise * present[..., None]
        return denoising_loss(self.model, self.examples.sets[people], conditions, sigma, noise, present)
