"""The judge of sessions in small worlds with known laws: what it lets pass, and what it finds out."""

import judge_world as world
import numpy as np
import pandas as pd
import pytest

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.vocabulary import JUDGED
from spiro_diffusion.evaluation import (
    session_candidates,
    session_copies,
    session_figures,
    session_judge,
    session_values,
)
from spiro_diffusion.evaluation.bootstrap import Resamples
from spiro_diffusion.evaluation.conditional import ReferenceSurface
from spiro_diffusion.evaluation.figures import Figure, Tree
from spiro_diffusion.evaluation.real import Real
from spiro_diffusion.evaluation.registry import at
from spiro_diffusion.evaluation.session_candidates import Session
from spiro_diffusion.physiology import time_grid

PARTICIPANTS, EACH, RESAMPLES = 70, 4, 200


@pytest.fixture(scope="module")
def real() -> Real:
    return world.real(PARTICIPANTS, EACH)


def lungs(efforts: pd.DataFrame, seed: int, *, person_sd: float = 1.0, effort: float = 1.0) -> Session:
    """Sessions by the world's laws; `person_sd` and `effort` scale how people, and the efforts of one, differ."""
    rng = np.random.default_rng(seed)
    person = np.unique(efforts["seqn"], return_inverse=True)[1]
    of_person = person_sd * (rng.standard_normal((person.max() + 1, 3)) * world.PERSON_SD)[person]
    deviation = of_person + effort * rng.standard_normal((len(efforts), 3)) * world.EFFORT_SD
    return Session(efforts["grade"].to_numpy(), world.signals(efforts, deviation, rng))


def strangers(efforts: pd.DataFrame, seed: int) -> Session:
    """Each effort of its own lung."""
    return Session(efforts["grade"].to_numpy(), world.perfect(efforts, 1, seed)[:, 0])


def judged(real: Real, *samplers: session_candidates.SessionSampler) -> list[Tree]:
    people = real.held_out.people
    curves = {}
    for number, sampler in enumerate(samplers):
        drawn = sampler(session_candidates.efforts_of(people), 7 + number)
        curves[str(number)] = session_candidates.counted(drawn, people, number, time_grid.FINE_BINS)
    record = session_judge.judge(real.held_out, curves, real.reference_surface(best=False), resamples=RESAMPLES, seed=1)
    return list(record.candidates.values())


def outside(tree: Tree) -> set[str]:
    """Figures whose interval does not hold 0."""
    found = set()
    for one in session_figures.FIGURES:
        interval = at(tree, f"figures.{one.name}.difference").interval
        if interval and not interval[0] <= 0 <= interval[1]:
            found.add(one.name)
    return found


def value(tree: Tree, path: str) -> float:
    found = at(tree, path).value
    assert found is not None
    return found


@pytest.fixture(scope="module")
def trees(real: Real) -> dict[str, Tree]:
    """One lung by the world's laws, strangers, and one lung that hardly differs from effort to effort."""
    found = judged(real, lungs, strangers, lambda efforts, seed: lungs(efforts, seed, effort=0.4))
    return dict(zip(("lungs", "strangers", "too even"), found, strict=True))


def test_a_generator_that_knows_the_laws_passes(trees: dict[str, Tree]) -> None:
    assert outside(trees["lungs"]) == set()
    auc = at(trees["lungs"], "auc")
    assert auc.value is not None
    assert auc.value < 0.58
    assert auc.interval is not None
    assert auc.interval[0] < 0.5


def test_efforts_of_strangers_are_no_session(trees: dict[str, Tree]) -> None:
    assert value(trees["strangers"], "auc") > 0.95
    found = outside(trees["strangers"])
    assert {"fev1_sd", "fvc_cv", "fvc_gap", "fev1_correlation", "overlap", "repeats"} <= found
    assert abs(value(trees["strangers"], "figures.fvc_correlation.candidate")) < 0.2
    assert value(trees["strangers"], "figures.fvc_correlation.held_out") > 0.9


def test_efforts_too_much_alike_are_found_out(trees: dict[str, Tree]) -> None:
    assert value(trees["too even"], "auc") > 0.75
    assert {"fvc_cv", "pef_cv", "overlap"} <= outside(trees["too even"])
    assert value(trees["too even"], "figures.pef_cv.difference") < 0


def test_half_widths_are_those_of_the_corrected_intervals(trees: dict[str, Tree]) -> None:
    for one in session_figures.FIGURES:
        found = at(trees["lungs"], f"figures.{one.name}.difference")
        half = value(trees["lungs"], f"figures.{one.name}.half_width")
        assert found.value is not None
        assert found.interval == pytest.approx((found.value - half, found.value + half), abs=1e-5)


def test_floor_and_baselines_stand_beside_the_generator(real: Real) -> None:
    independent = session_candidates.of_sampler(strangers, real.held_out.people, 3)
    record = session_judge.judge_generator(real, lungs, independent, resamples=RESAMPLES, seed=1)
    assert list(record.candidates) == ["generator", "floor", *session_judge.BASELINES]
    assert outside(record.candidates["floor"]) == set()
    assert value(record.candidates["independent efforts"], "auc") > 0.9
    assert len(outside(record.candidates["nearest training session"])) <= 1  # other people, a few of them twice
    assert record.data["sessions"] == PARTICIPANTS
    assert record.data["efforts"] == PARTICIPANTS * EACH


def test_the_record_comes_back_from_its_file(trees: dict[str, Tree], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("record")
    record = session_judge.Record({"participants": PARTICIPANTS}, trees)
    record.write(folder)
    assert session_judge.Record.read(folder) == record
    (folder / session_judge.FILE).write_text('{"data": {}}')
    with pytest.raises(SpiroError, match=r"sessions\.json: not a record of sessions"):
        session_judge.Record.read(folder)


# By hand


def efforts_by_hand() -> tuple[pd.DataFrame, np.ndarray]:
    """Three people: FVC 4.00, 3.95, 3.80; 4.00, 3.88, 3.70, and a poor 5.00; one effort alone."""
    rows = [
        (1, 4.00, "A"),
        (1, 3.95, "B"),
        (1, 3.80, "A"),
        (2, 3.70, "A"),
        (2, 4.00, "A"),
        (2, 3.88, "A"),
        (2, 5.00, "D"),
        (3, 4.00, "A"),
    ]
    table = pd.DataFrame(rows, columns=["seqn", "fvc", "grade"])
    table = table.assign(test_type="Pre", age=30.0, height=170.0, sex=1, fev1=0.8 * table["fvc"], pef=2 * table["fvc"])
    table = table.assign(fef2575=table["fvc"], bev=0.05, fet=6.0, last_second=0.01, end_flow=0.02, cough=0.0)
    table = table.assign(cough075=0.0, fev075=0.7 * table["fvc"], t99=4.0)
    middle = (time_grid.EDGES_S[:-1] + time_grid.EDGES_S[1:]) / 2
    shape = np.exp(-np.clip(middle, 0, None)) * (middle > 0)
    shape /= (shape * time_grid.WIDTHS_S).sum()
    return table, table["fvc"].to_numpy()[:, None] * shape


@pytest.fixture(scope="module")
def by_hand() -> pd.DataFrame:
    efforts, signals = efforts_by_hand()
    flat = ReferenceSurface({name: np.zeros(12) for name in JUDGED})
    return session_values.of_efforts(efforts, signals, flat).set_index("seqn")


def test_a_session_by_hand(by_hand: pd.DataFrame) -> None:
    assert by_hand["good"].tolist() == [3, 3, 1]
    assert by_hand["grade_D"].tolist() == [0, 0.25, 0]
    assert by_hand.loc[[1, 2], "fvc_gap"].tolist() == pytest.approx([0.05, 0.12])
    assert by_hand.loc[[1, 2], "fvc_first"].tolist() == pytest.approx([1, 3.7 / 4])
    assert by_hand.loc[1, "fvc_sd"] == pytest.approx(np.std([4, 3.95, 3.8], ddof=1))
    assert by_hand.loc[3, ["fvc_sd", "fvc_gap", "fvc_first", "overlap", "fvc_skewness"]].isna().all()
    assert (by_hand.loc[[1, 2], "fvc_skewness"] < 0).all()  # efforts fall short of the best, not of the mean


def test_grades_and_repeats_by_hand(by_hand: pd.DataFrame) -> None:
    assert by_hand["nhanes_fvc"].tolist() == ["A", "B", "D"]  # within 100, within 150 mL; one effort alone
    assert by_hand["nhanes_fev1"].tolist() == ["A", "A", "D"]  # 96 mL
    assert by_hand["repeats"].tolist() == [1, 0, 0]  # 2019 asks the curve, not the grade: 5.00 L counts
    resamples = Resamples(by_hand.index.to_numpy(), 10, np.random.default_rng(0))
    share = session_figures.share_of("nhanes_fvc", "B")(by_hand.reset_index(), resamples)
    assert share[0] == pytest.approx(1 / 3)


def test_overlap_of_equal_and_of_halved_flow() -> None:
    _, signals = efforts_by_hand()
    session, good = np.array([0, 0]), np.array([True, True])
    same = session_values.overlaps(signals[[0, 0]], session, good)
    assert same[0] == pytest.approx(1)
    volume = time_grid.volume(signals[[0]])[0]
    slowed = np.diff(np.interp(time_grid.EDGES_S / 2, time_grid.EDGES_S, volume)) / time_grid.WIDTHS_S
    half = session_values.overlaps(np.stack([signals[0], slowed]), session, good)
    assert half[0] == pytest.approx(0.5, abs=0.03)


def test_correlation_is_of_residuals_and_of_pairs() -> None:
    rng = np.random.default_rng(0)
    people, person_sd, each = 4000, 0.2, 0.1
    residual = person_sd * rng.standard_normal((people, 1)) + each * rng.standard_normal((people, 3)) + 0.05
    square, total = (residual**2).sum(axis=1), residual.sum(axis=1)
    table = pd.DataFrame({"fvc_residual": total / 3, "fvc_square": square / 3, "fvc_product": (total**2 - square) / 6})
    resamples = Resamples(np.arange(people), 50, rng)
    found = session_figures.correlation("fvc")(table, resamples)
    assert found[0] == pytest.approx(person_sd**2 / (person_sd**2 + each**2), abs=0.02)


def test_few_people_give_no_figures() -> None:
    efforts, signals = efforts_by_hand()
    flat = ReferenceSurface({name: np.zeros(12) for name in JUDGED})
    sessions = session_values.of_efforts(efforts, signals, flat)
    resamples = Resamples(sessions["seqn"], 10, np.random.default_rng(0))
    found = session_figures.beside((sessions, resamples), (sessions, resamples))
    assert all(isinstance(figure, Figure) and figure.value is None for figure in found.values())
    assert session_figures.holds(found) == (0, 0)


def test_noise_of_one_effort_has_the_training_sessions_size(real: Real) -> None:
    train = real.train.assign(**{name: real.train_indices[name] for name in JUDGED})
    size, speed = session_candidates.noise_of(train)
    assert size == pytest.approx(np.hypot(world.EFFORT_SD[0], 0.013), abs=0.006)  # lesser efforts: 3 % below the best
    noisy = session_candidates.one_effort_with_noise(real.held_out, train, 0)
    spread = pd.Series(np.log(noisy.indices["fvc"])).groupby(noisy.seqn).std()
    assert np.sqrt((spread**2).mean()) == pytest.approx(size, rel=0.15)
    assert speed > 0


def test_a_copied_session_is_found_out(real: Real) -> None:
    people, rng = real.held_out.people, np.random.default_rng(3)
    copied = session_candidates.nearest_session(people, real.train, real.train_signals, 5)
    fair = session_candidates.of_sampler(lungs, people, 11)
    found = {
        name: session_copies.copies(curves, real, RESAMPLES, rng)
        for name, curves in {"copied": copied, "fair": fair}.items()
    }
    assert value(found["copied"], "nearer_than_held") > 0.9
    assert value(found["copied"], "authenticity") < 0.1
    of_copies = at(found["copied"], "nearest_share").interval  # of as many training people as held-out ones
    assert of_copies is not None
    assert of_copies[0] > 0.5
    interval = at(found["fair"], "nearest_share").interval
    assert interval is not None
    assert interval[0] <= 0.5 <= interval[1]


def test_a_session_is_the_mean_of_its_efforts_and_how_they_differ() -> None:
    shapes = np.array([[0.0, 1.0], [2.0, 1.0], [5.0, 5.0], [9.0, 9.0]], np.float32)
    people = pd.DataFrame({"seqn": [1, 1, 2, 2], "test_type": ["Pre", "Pre", "Pre", "Bron"]})
    points, seqn = session_copies.of_efforts(shapes, people)
    assert seqn.tolist() == [1, 2]
    assert points.tolist() == [[1, 1, 1, 0], [5, 5, 0, 0]]
