"""The efforts of one person are one lung: they are drawn together, as a set."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from spiro_diffusion.api import SpiroGenerator
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.generator import Generator
from spiro_diffusion.generation.sessions import draw_facts, draw_sessions
from spiro_diffusion.models import conditioning, effort_facts, index_diffusion
from spiro_diffusion.models.condition_tokens import Augmentation
from spiro_diffusion.models.edm import Noise
from spiro_diffusion.models.effort_facts import CHANNELS
from spiro_diffusion.models.effort_sets import EFFORTS, PLACES, EffortSets
from spiro_diffusion.models.index_diffusion import TOKENS, EffortBlock, Facts, FactsConfig, FactsNet
from spiro_diffusion.models.samplers import heun, karras_sigmas
from spiro_diffusion.training.facts import Examples, FactsTask


def efforts(*sizes: int, after: int = 0) -> pd.DataFrame:
    """People with so many efforts each before the bronchodilator, and `after` after it."""
    kinds = [("Pre", n) for n in sizes]
    rows = [
        (person, place + 1, kind)
        for person, (_, n) in enumerate(kinds)
        for kind, count in (("Pre", n), ("Bron", after))
        for place in range(count)
    ]
    table = pd.DataFrame(rows, columns=["person", "place", "test_type"])
    return table.assign(age=30.0 + 10 * (table["person"] % 5), height=170.0, sex=1 + table["person"] % 2)


@pytest.fixture(scope="module")
def generator(models: Path) -> Generator:
    """One whose layers that start at zero do not, so that efforts see each other."""
    found = SpiroGenerator.from_checkpoint(models, device="cpu")._torch
    random = torch.Generator().manual_seed(1)
    for parameter in found.cldm.facts.parameters():
        if not parameter.any():
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=random)
    return found


def test_each_effort_has_a_seat_by_its_order_before_and_after_the_bronchodilator() -> None:
    table = efforts(2, 3, after=1).sample(frac=1, random_state=0).reset_index(drop=True)
    found = EffortSets.of(table, "person")
    people = pd.unique(table["person"])
    for person, rows, there in zip(people, found.rows, found.present, strict=True):
        of_person = table.iloc[rows[there]]
        assert set(of_person["person"]) == {person}
        assert of_person["test_type"].tolist() == ["Pre"] * [2, 3][person] + ["Bron"]
        assert there[[0, PLACES]].all()
        assert of_person["place"].tolist() == [*range(1, [2, 3][person] + 1), 1]
    assert people[found.person].tolist() == table["person"].tolist()


def test_best_values_are_the_largest_of_efforts_that_count() -> None:
    table = efforts(3, 1, after=1).assign(
        fev1=[3.0, 3.2, 9.9, 8.0, 2.0, 7.0],
        fvc=[4.0, 3.9, 9.9, 8.0, 3.0, 7.0],
        pef=8.0,
        fef2575=3.0,
        grade=["A", "C", "D", "A", "D", "A"],
    )
    found = EffortSets.of(table, "person").best(table)
    assert found[0].tolist() == [3.2, 4.0, 0.8, 8.0, 3.0], "neither a failed effort nor one after the bronchodilator"
    assert np.isnan(found[1]).all(), "no effort before the bronchodilator counts"


def test_empty_seats_decide_nothing() -> None:
    torch.manual_seed(0)
    network = FactsNet(FactsConfig(width=32, blocks=2))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    network.eval()
    x, conditions = torch.randn(1, 5, CHANNELS), torch.randn(1, 5, len(conditioning.NAMES) + 7)
    conditions[..., conditioning.NAMES.index("sex") :] = 0.0
    conditions[..., -1] = torch.tensor([2.0, 4.0, 4.0, 0.0, 0.0])
    here = network(x, torch.zeros(1), conditions)[:, :3]
    other = x.clone()
    other[:, 3:] = 9.0
    torch.testing.assert_close(network(other, torch.zeros(1), conditions)[:, :3], here)
    torch.testing.assert_close(network(x[:, :3], torch.zeros(1), conditions[:, :3]), here)
    other[:, 1] = 3.0
    assert not torch.allclose(network(other, torch.zeros(1), conditions)[:, :1], here[:, :1]), "efforts see each other"


@pytest.mark.parametrize("there", [1.0, 0.0])
def test_a_set_of_one_sees_itself_as_with_empty_slots_beside_it(there: float) -> None:
    """Without attention, as it is computed, and with it: also in training, and where its one slot is empty."""
    torch.manual_seed(0)
    block = EffortBlock(64, dropout=0.0)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    h, context = torch.randn(2, 7, 1, 64)
    empty, beside = torch.zeros(7, 2, 64), torch.full((7, 1, 1, 2), -2e4)
    hidden = torch.full((7, 1, 1, 1), (there - 1) * 1e4)

    def computed(h: torch.Tensor, context: torch.Tensor, hidden: torch.Tensor) -> list[torch.Tensor]:
        block.zero_grad()
        found = block(h, context, hidden)[:, :1]
        found.square().sum().backward()
        return [found, *(parameter.grad.clone() for parameter in block.parameters() if parameter.grad is not None)]

    one = computed(h, context, hidden)
    longer, contexts = (torch.cat([x, empty], dim=1) for x in (h, context))
    several = computed(longer, contexts, torch.cat([hidden, beside], dim=3))
    assert len(one) == len(several) == 1 + len(list(block.parameters())), "every parameter has a gradient"
    for alone, among in zip(one, several, strict=True):
        torch.testing.assert_close(alone, among, rtol=1e-4, atol=1e-3)
    queries = block.queries.weight.grad
    assert queries is not None
    assert queries.is_contiguous(), "as `sum_gradients` needs it"


def test_a_persons_efforts_do_not_depend_on_the_batch(generator: Generator) -> None:
    table = efforts(*[3, 5, 1, 8] * 40)
    whole = draw_facts(generator, table, seed=4)
    some = table["person"] < 70
    part = draw_facts(generator, table[some].reset_index(drop=True), seed=4)
    np.testing.assert_allclose(part.logs, whole.logs[some], rtol=0, atol=1e-4)
    assert np.abs(draw_facts(generator, table, seed=5).logs - whole.logs).max() > 0.1


def test_what_is_known_stays_and_the_rest_is_drawn(generator: Generator) -> None:
    table = efforts(4, 4).assign(grade=[np.nan, "D", "A", "B"] * 2)
    drawn = draw_sessions(generator, table, seed=1)
    assert drawn.signals.shape == (8, 512)
    assert drawn.table["grade"].tolist()[1:4] == ["D", "A", "B"]
    assert drawn.table["grade"].isin(list("ABCD")).all()
    best = drawn.table[drawn.table["best"]]
    allowed = drawn.table[drawn.table["grade"] != "D"]
    size = allowed["fev1"] + allowed["fvc"]
    assert best.index.tolist() == size.groupby(allowed["person"]).idxmax().tolist()
    known_best = np.full((2, 5), np.nan)
    known_best[0, 0] = 1.5
    conditioned = draw_facts(generator, table, 1, known_best).logs
    assert draw_facts(generator, table, 1, known_best).table[:4].query("grade != 'D'")["fev1"].max() == pytest.approx(
        1.5
    )
    np.testing.assert_allclose(conditioned[4:, 0], np.log(drawn.table["fev1"].to_numpy()[4:]), atol=1e-4)


def test_more_efforts_than_a_session_holds_are_refused(generator: Generator) -> None:
    with pytest.raises(SpiroError, match="more than 8 efforts before or after the bronchodilator; request fewer"):
        draw_facts(generator, efforts(9), seed=0)


def test_a_set_gives_back_the_efforts_that_it_was_made_of() -> None:
    torch.manual_seed(0)
    facts = Facts(FactsConfig(width=16, blocks=1))
    present = torch.rand(60, EFFORTS) < 0.5
    people = torch.randn(60, 1, CHANNELS) + 0.1 * torch.randn(60, EFFORTS, CHANNELS)
    people[:, PLACES:] += 2.0
    facts.fit_sessions(people, present)
    found = facts.as_set(people, present)
    torch.testing.assert_close(facts.of_set(found, present)[present], people[present], atol=1e-5, rtol=0)
    left = found[:, 2:, :9][present]
    assert left.std(0).numpy() == pytest.approx(np.ones(9), abs=0.05), "what efforts differ by has a unit of its own"
    assert facts.response.numpy() == pytest.approx(np.full(9, 2.0), abs=0.15)
    # a network misses the largest effort by a little: the session still reaches what the person's member says
    found[:, 2:, :9] += 0.3
    again = facts.of_set(found, present)
    some = present[:, :PLACES].any(1)
    for tensor in (people, again):
        good = present[:, :PLACES] & (index_diffusion.grades(people[:, :PLACES]) < 3)
        good = torch.where(good.any(1, keepdim=True), good, present[:, :PLACES])
        largest = tensor[:, :PLACES, :3].masked_fill(~good[..., None], -torch.inf).amax(1)[some]
        torch.testing.assert_close(largest, found[:, 0, :3][some], atol=1e-5, rtol=0)


def test_training_learns_what_a_person_s_efforts_share() -> None:
    """In a world in which nine tenths of the variance are the person's, efforts alone and together are drawn so; and
    where people of NHANES E blow less than those of G, who says the cycle gets that, and who does not the mixture."""
    rng = np.random.default_rng(0)
    table = efforts(*[4] * 500)
    shared = 0.95 * rng.standard_normal((500, 9))[table["person"]]
    cycle = table["person"].to_numpy() % 3
    logs = 0.2 * (shared + 0.31 * rng.standard_normal(shared.shape) + (cycle - 1.0)[:, None])
    table = table.assign(seqn=table["person"], grade="A", weight=70.0, ethnicity=3, best=False)
    table["cycle"] = np.array(["E", "F", "G"])[cycle]
    table = table.assign(**{name: np.exp(logs[:, i]) for i, name in enumerate(effort_facts.INDICES)})
    torch.manual_seed(0)
    facts = Facts(FactsConfig(width=32, blocks=2, dropout=0.0))
    facts.fit_scales(logs, table)
    features = torch.zeros((len(table), 12))
    examples = Examples.of(facts, table, logs, features, np.arange(len(table)))
    noise = Noise(-1.2, 1.6, index_diffusion.NOISE_MINIMUM, index_diffusion.NOISE_MAXIMUM)
    augmentation = Augmentation.of(0.1, 0.1)
    task = FactsTask(facts, examples, torch.arange(80), noise, augmentation, seed=1)
    before = task.validate()
    optimizer, generator = torch.optim.Adam(facts.parameters(), 3e-3), torch.Generator().manual_seed(0)
    for _ in range(200):
        rows = torch.randint(len(table), (160,), generator=generator)
        optimizer.zero_grad()
        task.loss(rows, task.draw(160, generator))["loss"].backward()
        optimizer.step()
    facts.eval()
    assert task.validate()["score"] < before["score"]
    conditions = task._set(
        torch.arange(200), torch.zeros(()), torch.full((), torch.nan), torch.full((1,), torch.nan)
    ).clone()
    sigmas = karras_sigmas(24, 0.005, 40.0)
    start = torch.randn((200, TOKENS, CHANNELS), generator=generator) * sigmas[0] * (conditions[..., -1:] > 0)
    present = torch.zeros((200, EFFORTS), dtype=torch.bool)
    present[:, :4] = True

    def draw(conditions: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            drawn = heun(lambda x, sigma: facts.denoiser(x, sigma.expand(len(x)), conditions), start, sigmas)
        return facts.of_set(drawn, present)[:, :4, :4]

    drawn = draw(conditions)
    total, within = drawn.var(dim=(0, 1)), drawn.var(dim=1).mean(0)
    assert (total > 0.4).all()
    assert (within / total < 0.25).all(), "of untrained draws it is 1"
    small, large = (drawn[torch.arange(200) % 3 == i].mean((0, 1)) for i in (0, 2))
    assert (large - small > 0.6).all(), "1.5 residual SD in the world"
    conditions[..., conditioning.NAMES.index("cycle")] = torch.nan
    mixed = draw(conditions)
    small, large = (mixed[torch.arange(200) % 3 == i].mean((0, 1)) for i in (0, 2))
    assert ((large - small).abs() < 0.4).all()
