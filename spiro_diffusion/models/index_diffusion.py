"""Diffusion of the facts of a person's efforts: the reported indices, drawn before the curves.

How large, how fast and how long an effort is, given the person, is a distribution of a few numbers, and a small
network learns it from thousands of people without memorising them. The curve is then drawn for these numbers
(cf. the prior of Ramesh et al. 2022). Each fact is a logarithm, or a share as its logit, as its distance from the mean
surface of the training participants, so that what the network has to learn is the residual: an untrained network
already draws a normal distribution around the surface.

The efforts of one person are one lung. They are drawn together, as a set whose members attend to each other (cf. Zaheer
et al. 2017): what a session reaches, what a bronchodilator changes of it, and what each effort differs by, each in its
own unit, so that efforts as alike as real ones are no more to learn than how they are distributed. An effort alone is a
set of one. Beside its facts an effort has its grade, drawn with them as two bits (analog bits, Chen et al. 2023).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from spiro_diffusion.core.errors import within
from spiro_diffusion.core.vocabulary import GRADES
from spiro_diffusion.models import conditioning
from spiro_diffusion.models.condition_tokens import ConditionTokens
from spiro_diffusion.models.edm import Denoiser
from spiro_diffusion.models.effort_facts import (
    BITS,
    CHANNELS,
    INDICES,
    NAMES,
    PLACE,
    REACHED,
    SHAPES,
)
from spiro_diffusion.models.effort_sets import BEST, EFFORTS, PLACES
from spiro_diffusion.models.layers import step_phase, table, zero_linear
from spiro_diffusion.models.volumes import TargetVolumes
from spiro_diffusion.physiology import mean_surface

NOISE_MINIMUM, NOISE_MAXIMUM = 0.005, 30.0  # of the sampler, in residual SDs: 0.1 % of FEV1; no trace of it
HEAD = 32  # channels of an attention head
ALONE, PERSON, RESPONSE, EFFORT = range(1, 5)  # roles of a set's members; 0 is an empty slot
TOKENS = 2 + EFFORTS  # of a person's set: what is reached, the response, the efforts
OF_EFFORT = tuple(c for c in conditioning.CATEGORIES if c.name in ("grade", "test_type", "best"))  # not the person's


def target_volumes(logs: Tensor) -> TargetVolumes:
    """The volumes that an effort with these facts (B, 9) has."""
    fev1, fvc, fef2575 = (logs[:, INDICES.index(name)].exp() for name in ("fev1", "fvc", "fef2575"))
    early, late = (logs[:, len(INDICES) + i].sigmoid() for i in range(len(SHAPES)))
    return TargetVolumes(early * fev1, fev1, fev1 + late * (fvc - fev1), fvc, fef2575)


def place_condition(place: NDArray) -> Tensor:
    """Places of efforts in their session (n,), from 1, as a condition."""
    return torch.from_numpy((place - PLACE[0]) / PLACE[1]).float()


def bits(grades: Tensor) -> Tensor:
    """Grades (...,), positions in `vocabulary.GRADES`, as (..., 2)."""
    return table(BITS, torch.float32, grades.device)[grades.long()]


def grades(drawn: Tensor) -> Tensor:
    """The grades (...,), positions as float32, of drawn efforts (..., CHANNELS)."""
    first, second = drawn[..., -2] > 0, drawn[..., -1] > 0
    return torch.where(first, torch.where(second, 2.0, 3.0), torch.where(second, 1.0, 0.0))


@dataclass(frozen=True)
class FactsConfig:
    """What decides the shapes of the network."""

    width: int = 128
    blocks: int = 3
    dropout: float = 0.1

    def __post_init__(self) -> None:
        within(self, width=(1, 4096), blocks=(0, 64), dropout=(0, 1))


class EffortTokens(nn.Module):
    """Conditions of a set (B, E, k) → (B, E, width + 1): what is known of each member, and whether it is there at all.

    k are `conditioning.CONDITIONS`, the position in the session, `effort_sets.BEST` (NaN where unknown), and the role.
    Properties of the person are the same for all members, and read at the first.
    """

    not_the_persons: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.person = ConditionTokens(width, len(BEST))
        self.kinds = [conditioning.NAMES.index(c.name) for c in OF_EFFORT]
        of_effort = [i in self.kinds for i in range(len(conditioning.NAMES))] + [False] * len(BEST)
        self.register_buffer("not_the_persons", torch.tensor(of_effort), persistent=False)
        wide = sum(len(c.values) + 1 for c in OF_EFFORT) + 2 + EFFORT
        self.effort = nn.Sequential(nn.Linear(wide, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, conditions: Tensor) -> Tensor:
        first, last = len(conditioning.NAMES), conditions.shape[-1] - 1
        person = torch.cat([conditions[:, 0, :first], conditions[:, 0, first + 1 : last]], dim=1)
        person = person.masked_fill(self.not_the_persons, torch.nan)
        place, role = conditions[..., first : first + 1], conditions[..., last:]
        parts = [torch.isnan(place), torch.nan_to_num(place), *(role == i for i in range(ALONE, EFFORT + 1))]
        for at, condition in zip(self.kinds, OF_EFFORT, strict=True):
            value = torch.nan_to_num(conditions[..., at : at + 1], nan=-1.0)
            parts += [value == i for i in range(-1, len(condition.values))]
        effort = self.effort(torch.cat([part.to(conditions.dtype) for part in parts], dim=-1))
        return torch.cat([self.person(person).mean(1)[:, None] + effort, (role > 0).to(effort.dtype)], dim=-1)


class EffortBlock(nn.Module):
    """Efforts look at those of the same person, then each passes a layer that its conditions scale and shift."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = max(1, width // HEAD), dropout
        self.look, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries, self.out = nn.Linear(width, 3 * width), zero_linear(width, width)
        self.modulate, self.widen = nn.Linear(width, 2 * width), nn.Linear(width, 2 * width)
        self.narrow = zero_linear(2 * width, width)

    def forward(self, h: Tensor, context: Tensor, hidden: Tensor) -> Tensor:
        """h and context (B, E, width); hidden (B, 1, 1, E): 0, or far below it for an empty slot."""
        h = h + self.out(self._seen(self.look(h), hidden))
        scale, shift = self.modulate(context).chunk(2, dim=-1)
        inner = F.silu(self.widen(self.norm(h) * (1 + scale) + shift))
        return h + self.narrow(F.dropout(inner, self.dropout, self.training))

    def _seen(self, x: Tensor, hidden: Tensor) -> Tensor:
        """What each effort takes from those of its set; from a set of one, all: traced with such a set, a network has
        no attention."""
        if x.shape[1] == 1:
            return F.linear(x, *(part.chunk(3)[2] for part in (self.queries.weight, self.queries.bias)))
        query, key, value = (
            t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.queries(x).chunk(3, dim=-1)
        )
        weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + hidden).softmax(-1)
        return (weights @ value).transpose(1, 2).flatten(2)


class FactsNet(nn.Module):
    """x (B, E, CHANNELS), c_noise (B,), conditions (B, E, k) as of `EffortTokens` → as x."""

    def __init__(self, config: FactsConfig) -> None:
        super().__init__()
        self.conditions = EffortTokens(config.width)
        self.step = nn.Linear(64, config.width)
        self.enter = nn.Linear(CHANNELS, config.width)
        self.blocks = nn.ModuleList(EffortBlock(config.width, config.dropout) for _ in range(config.blocks))
        self.leave = zero_linear(config.width, CHANNELS)

    def forward(self, x: Tensor, c_noise: Tensor, conditions: Tensor) -> Tensor:
        return self.with_prepared(x, c_noise, self.prepare(conditions))

    def prepare(self, conditions: Tensor) -> Tensor:
        """The efforts' tokens (B, E, width + 1), which no noise level changes."""
        return self.conditions(conditions)

    def with_prepared(self, x: Tensor, c_noise: Tensor, tokens: Tensor) -> Tensor:
        """`forward` with the efforts' tokens."""
        hidden = (tokens[..., -1][:, None, None] - 1) * 1e4
        context = F.silu(self.step(step_phase(c_noise))[:, None] + tokens[..., :-1])
        h = self.enter(x)
        for block in self.blocks:
            h = block(h, context, hidden)
        return self.leave(h)


class Facts(nn.Module):
    """Denoiser of the facts, their mean surface, and their scales."""

    coefficients: Tensor
    residual_sd: Tensor
    ratio_sd: Tensor
    centre: Tensor
    spread: Tensor
    within: Tensor
    within_sd: Tensor
    response: Tensor
    response_sd: Tensor

    def __init__(self, config: FactsConfig) -> None:
        super().__init__()
        n = len(NAMES)
        self.denoiser = Denoiser(FactsNet(config))
        self.register_buffer("coefficients", torch.zeros(12, n))  # of `mean_surface.features`
        self.register_buffer("residual_sd", torch.ones(n))  # around the surface
        self.register_buffer("ratio_sd", torch.ones(()))  # of log FEV1/FVC around its surface
        self.register_buffer("centre", torch.zeros(n))  # of all curves
        self.register_buffer("spread", torch.ones(n))
        self.register_buffer("within", torch.zeros(n))  # mean of what efforts differ by from what their session reaches
        self.register_buffer("within_sd", torch.ones(n))
        self.register_buffer("response", torch.zeros(n))  # of what a session reaches to the bronchodilator
        self.register_buffer("response_sd", torch.ones(n))

    def fit_scales(self, logs: np.ndarray, people: pd.DataFrame) -> None:
        """Set the surface and the scales from the facts (n, 9) of training curves and their people."""
        x = mean_surface.features(people)
        coefficients = np.linalg.lstsq(x, logs, rcond=None)[0]
        left = logs - x @ coefficients
        found = coefficients, left.std(0), (left[:, 0] - left[:, 1]).std(), logs.mean(0), logs.std(0)
        names = ("coefficients", "residual_sd", "ratio_sd", "centre", "spread")
        for name, value in zip(names, found, strict=True):
            getattr(self, name).copy_(torch.tensor(value, dtype=torch.float32))

    def fit_sessions(self, people: Tensor, present: Tensor) -> None:
        """Set the scales of sets from training people: standardised efforts (P, EFFORTS, CHANNELS), and who has which
        slot (P, EFFORTS)."""
        before, after = reached(people, present)
        left = (people[..., : len(NAMES)] - _per_slot(before.facts, after.facts))[present.bool()]
        self.within.copy_(left.mean(0))
        self.within_sd.copy_(left.std(0).clamp(min=0.01))
        both = before.any & after.any
        if both.sum() > len(NAMES):
            self.response.copy_((after.facts - before.facts)[both].mean(0))
            self.response_sd.copy_((after.facts - before.facts)[both].std(0).clamp(min=0.01))

    def as_set(self, people: Tensor, present: Tensor) -> Tensor:
        """Efforts (P, EFFORTS, CHANNELS) as sets (P, TOKENS, CHANNELS): what the session reaches, the response, and
        what each effort differs by."""
        before, after = reached(people, present)
        person = torch.where(before.any[:, None], before.facts, after.facts)
        response = (after.facts - before.facts - self.response) / self.response_sd
        left = (people[..., : len(NAMES)] - _per_slot(before.facts, after.facts) - self.within) / self.within_sd
        members = F.pad(torch.stack([person, response], dim=1), (0, CHANNELS - len(NAMES)))
        found = torch.cat([members, torch.cat([left, people[..., len(NAMES) :]], dim=2)], dim=1)
        return found * (roles(present) > 0)[..., None]

    def of_set(self, found: Tensor, present: Tensor) -> Tensor:
        """The inverse of `as_set`; of sets that a network drew, whose largest efforts it misses by a little, too: the
        largest of a session is what the session reaches."""
        some, others = present[:, :PLACES].any(dim=1), present[:, PLACES:].any(dim=1)
        person, response = found[:, 0, : len(NAMES)], found[:, 1, : len(NAMES)]
        after = person + torch.where((some & others)[:, None], self.response + response * self.response_sd, 0.0)
        efforts = found[:, 2:]
        left = torch.cat([efforts[..., : len(NAMES)] * self.within_sd + self.within, efforts[..., len(NAMES) :]], dim=2)
        missed = [F.pad(one.facts[:, :REACHED], (0, len(NAMES) - REACHED)) for one in reached(left, present)]
        facts = left[..., : len(NAMES)] + _per_slot(person, after) - _per_slot(*missed)
        return torch.cat([facts, efforts[..., len(NAMES) :]], dim=2)

    def standardise(self, logs: Tensor, features: Tensor) -> Tensor:
        """Facts (..., 9) of people with these features (..., 12) → (..., 9), what the surface leaves."""
        return (logs - features @ self.coefficients) / self.residual_sd

    def restore(self, drawn: Tensor, features: Tensor) -> Tensor:
        """Facts (..., 9) of drawn efforts (..., CHANNELS), the inverse of `standardise`."""
        return features @ self.coefficients + drawn[..., : len(NAMES)] * self.residual_sd

    def as_conditions(self, logs: Tensor) -> Tensor:
        """Facts (B, 9) as conditions of the curve, about standard normal over all curves."""
        return (logs - self.centre) / self.spread

    def known_best(self, values: Tensor, features: Tensor) -> Tensor:
        """Best values (..., 5) of BEST, NaN where unknown, of people with these features (..., 12), as conditions."""
        surface = features @ self.coefficients
        places = [INDICES.index(name) if name in INDICES else None for name in BEST]
        columns = []
        for i, place in enumerate(places):
            middle = surface[..., 0] - surface[..., 1] if place is None else surface[..., place]
            sd = self.ratio_sd if place is None else self.residual_sd[place]
            columns.append((values[..., i].log() - middle) / sd)
        return torch.stack(columns, dim=-1)


class Reached(NamedTuple):
    """What a session of each of P people reaches."""

    facts: Tensor  # (P, 9): the largest of the first REACHED, the mean of the others
    any: Tensor  # (P,) whether there is any effort


def reached(people: Tensor, present: Tensor) -> tuple[Reached, Reached]:
    """Of the sessions before and after the bronchodilator of people (P, EFFORTS, CHANNELS); efforts that failed (grade
    D) count where there are no others."""
    found = []
    for slots in (slice(0, PLACES), slice(PLACES, EFFORTS)):
        there, facts = present[:, slots].bool(), people[:, slots, : len(NAMES)]
        good = there & (grades(people[:, slots]) < GRADES.index("D"))
        counts = good | (there & ~good.any(1, keepdim=True))
        total = counts.sum(1)
        mean = (facts * counts[..., None]).sum(1) / total.clamp(min=1)[:, None]
        largest = facts.masked_fill(~counts[..., None], -torch.inf).amax(1)
        largest = torch.where((total > 0)[:, None], largest, 0.0)
        found.append(Reached(torch.cat([largest[:, :REACHED], mean[:, REACHED:]], dim=1), total > 0))
    return found[0], found[1]


def _per_slot(before: Tensor, after: Tensor) -> Tensor:
    """The values of each session (P, 9), repeated for its slots (P, EFFORTS, 9)."""
    return torch.cat([before[:, None].expand(-1, PLACES, -1), after[:, None].expand(-1, PLACES, -1)], dim=1)


def roles(present: Tensor) -> Tensor:
    """The roles (P, TOKENS) in the sets of people whose slots are taken (P, EFFORTS)."""
    some, others = present[:, :PLACES].any(dim=1), present[:, PLACES:].any(dim=1)
    first = torch.stack([torch.full_like(some, PERSON, dtype=torch.float32), (some & others) * float(RESPONSE)], dim=1)
    return torch.cat([first, present * float(EFFORT)], dim=1)


def alone(conditions: Tensor) -> Tensor:
    """Conditions (B, c) of efforts, each a set of one of which nothing else is known: (B, 1, k)."""
    unknown = torch.full((len(conditions), 1 + len(BEST)), torch.nan, dtype=conditions.dtype, device=conditions.device)
    role = torch.full((len(conditions), 1), float(ALONE), dtype=conditions.dtype, device=conditions.device)
    return torch.cat([conditions, unknown, role], dim=1)[:, None]


def together(of_efforts: Tensor, place: Tensor, best: Tensor, role: Tensor) -> Tensor:
    """Conditions (P, TOKENS, k) of sets.

    Args:
        of_efforts: (P, EFFORTS, c) of the efforts, at an empty slot those of any effort of the person; place:
            (P, EFFORTS); best: (P, 5) as `Facts.known_best` gives them; role: (P, TOKENS).
    """
    members = of_efforts[:, :1].expand(-1, 2, -1)
    conditions = torch.cat([members, of_efforts], dim=1)
    places = torch.cat([torch.full_like(place[:, :2], torch.nan), place], dim=1)
    return torch.cat([conditions, places[..., None], best[:, None].expand(-1, TOKENS, -1), role[..., None]], dim=2)


def with_grades(conditions: Tensor, drawn: Tensor) -> Tensor:
    """Conditions (B, c) with the grades of drawn efforts (B, CHANNELS) where none is given."""
    place = conditioning.NAMES.index("grade")
    given_grade = conditions[:, place]
    return torch.cat(
        [
            conditions[:, :place],
            torch.where(torch.isnan(given_grade), grades(drawn), given_grade)[:, None],
            conditions[:, place + 1 :],
        ],
        dim=1,
    )
