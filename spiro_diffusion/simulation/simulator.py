"""The simulator: participants, sessions and curves like those of NHANES, drawn from a seed.

No participant here is real. Bodies and lung function follow the summaries in `population`, curves the model in
`expiration`. A session repeats the test until it is good, as the technicians did, so that efforts below
the best, stopped early, coughed or started late come with it. Every curve passes the spirometer's
counter, and the published values (SPX) are read off the counted curves.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import expit

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.nhanes.codebook import CODE, CODEBOOK, CYCLES, FILES, LARGEST_SEQN, SEQN_STEP, Numbers
from spiro_diffusion.physiology import ats_ers, counter, reference, spirometry
from spiro_diffusion.physiology.spirometry import SAMPLE_PERIOD_S
from spiro_diffusion.simulation import expiration, lung_shapes
from spiro_diffusion.simulation.lung_shapes import Flutter, LungShapes
from spiro_diffusion.simulation.population import POPULATION

Floats = NDArray[np.float64]
Rng = np.random.Generator

SHAPES = lung_shapes.load()
TESTED_SHARE = 6689 / 9756  # of the people in DEMO_G, those with curves
EXAMINED_SHARE = 0.957  # of the people in DEMO_G, those who came to the examination
NO_HEIGHT_SHARE = 37 / 6689  # of those with curves
# The share of the published spread that is between persons: the counter, tremor and the choice of the best effort
# add the rest. Of FVC, what the best effort of a session gives. Both from docs/simulator.md.
PERSON_SPREAD_SHARE = {"fvc": 0.972, "ratio": 0.965, "pef": 0.94}
BEST_OF_FVC = 0.994
BEST_OF_PEF = 1.01  # the highest of several efforts, each with its flutter
MOST_BEV, MOST_BEV_L = 0.047, 0.094  # of FVC, L: efforts that start slower are not accepted (ATS/ERS 2019: 5 %, 100 mL)
ATTEMPTS = 8  # a session ends after so many (NHANES procedures)
MOST_POINTS = 2044  # SPXPTS: the record ends there
OBSTRUCTED_RATIO = 0.70  # FEV1/FVC below this, or below its lower limit, selects for the bronchodilator
BRONCHODILATOR_SHARE = 457 / 842  # of those selected for it, those who took it
# Some never blow on: 7 % of the published expiratory times are below 4 s, nearly all of sessions without grade A or B.
HASTY_SHARE, HASTY_STOP_S = 0.33, 2.0  # of sessions, by the share of their efforts in trouble; median of the habit
CHUNK = 512  # efforts at a time
MOST_BLOCKS = (LARGEST_SEQN + 1) // SEQN_STEP  # of people, each of as many as a cycle has SEQN for


class Within(NamedTuple):
    """The size of a difference between efforts of a session: of the median session, and its spread between them."""

    median: float
    spread: float  # SD of its logarithm

    def of(self, score: Floats) -> Floats:
        """Sizes (n,) of sessions with these normal scores."""
        return self.median * np.exp(self.spread * score)


# 91 sessions of three efforts or more of 62 real adults (real_loops); docs/simulator.md has the figures they answer to.
DEFICIT = Within(0.07, 0.9)  # mean share of the drive missing at the start: peak flow
PACE = Within(0.033, 1.0)  # SD of the log rate of emptying: FEV1 and FEF25-75 at one FVC
LENGTH = Within(0.065, 0.5)  # scale of log FET (Student, 3 degrees)
WITHIN_START = 0.10  # SD of the log time that the drive takes to come
UNEVEN = 0.5  # correlation of the first two sizes between sessions


def simulate(cycle: str, participants: int, seed: int, shapes: LungShapes = SHAPES) -> dict[str, pd.DataFrame]:
    """Draw the four files of a cycle.

    A cycle has SEQN for some thousand people. Further ones come in blocks of as many, each drawn from a seed of its own
    (the first block is the same whatever follows), with the cycle's SEQN and so many times SEQN_STEP added.

    Args:
        cycle: `E`, `F` or `G`: it sets SEQN, and which columns hold ethnicity and age in months.
        participants: people with curves, about 5.6 each; DEMO holds half as many more without.
        seed: the same seed gives the same tables.
        shapes: facts of real expirations, by default of all people who gave them.

    Returns:
        `DEMO`, `BMX`, `SPX` and `SPXRAW` with NHANES's column names and codes: numbers are float64 with NaN
        for missing, texts have "" for missing, SPXRAW.SPXRAW holds int16 arrays (mL per 10 ms at ATPS).

    Raises:
        SpiroError: an unknown cycle, no participants, or more than SEQN of eight digits suffice for.
    """
    if cycle not in CYCLES:
        raise SpiroError(f"cycle {cycle!r} is unknown; choose from {', '.join(CYCLES)}")
    block = int((CYCLES[cycle].last_seqn - CYCLES[cycle].first_seqn + 1) * TESTED_SHARE)
    most = MOST_BLOCKS * block
    if not 1 <= participants <= most:
        raise SpiroError(f"{participants} simulated participants in cycle {cycle}: choose from 1 to {most}")
    blocks = [
        _block(cycle, number, min(block, participants - number * block), seed, shapes)
        for number in range(-(-participants // block))
    ]
    if len(blocks) == 1:
        return blocks[0]
    return {name: pd.concat([tables[name] for tables in blocks], ignore_index=True) for name in blocks[0]}


def _block(cycle: str, number: int, participants: int, seed: int, shapes: LungShapes) -> dict[str, pd.DataFrame]:
    """The tables of one block of people."""
    rng = np.random.default_rng([seed, ord(cycle), number] if number else [seed, ord(cycle)])
    people = _people(cycle, participants, rng)
    people["seqn"] += number * SEQN_STEP
    tested = people[people["blown"]].reset_index(drop=True)
    sessions = _sessions(tested, rng)
    knots = _knots(sessions, shapes)
    shape = shapes.drawn(knots, rng)
    efforts = _efforts(sessions, rng)
    curves = _curves(efforts, expiration.lungs(knots, shape), shape.onset, shapes.flutter, rng)
    efforts["points"] = [len(curve) for curve in curves]
    indices = _measured(efforts, curves)
    return {
        "DEMO": _within_codebook(_demo(people, cycle, rng)),
        "BMX": _within_codebook(_bmx(people)),
        "SPX": _within_codebook(_spx(people, efforts, indices)),
        "SPXRAW": _spxraw(efforts, indices, curves),
    }


# People


def _people(cycle: str, participants: int, rng: Rng) -> pd.DataFrame:
    """Everyone in DEMO, by SEQN: age, sex, ethnicity, body, whether examined, and whether they have curves."""
    first, last = CYCLES[cycle].first_seqn, CYCLES[cycle].last_seqn
    n = min(round(participants / TESTED_SHARE), last - first + 1)
    tested = rng.permutation(n) < participants
    shares = POPULATION.age_band_shares * np.where(
        tested[:, None], POPULATION.blown_shares, 1 - POPULATION.blown_shares
    )
    band = _choose(shares, rng)
    low, high = POPULATION.age_bands[band], POPULATION.age_bands[band + 1]
    people = pd.DataFrame(
        {
            "seqn": first + np.sort(rng.choice(last - first + 1, n, replace=False)),
            "blown": tested,
            "examined": tested | (rng.random(n) < 1 - (1 - EXAMINED_SHARE) / (1 - TESTED_SHARE)),
            "age": rng.integers(low, high),
            "sex": rng.integers(1, 3, n),
            "ethnicity": rng.choice(POPULATION.ethnicities, n, p=POPULATION.ethnicity_shares),
        }
    )
    people["months"] = people["age"] * 12 + rng.integers(0, 12, n)
    people["height"] = np.exp(POPULATION.drawn(POPULATION.height, people, rng.standard_normal(n)))
    mass_index = np.exp(POPULATION.drawn(POPULATION.mass_index, people, rng.standard_normal(n)))
    people["weight"] = mass_index * (people["height"] / 100) ** 2
    people["measured"] = people["examined"] & (people["age"] >= 2) & (rng.random(n) >= NO_HEIGHT_SHARE)
    return people


def _choose(weights: Floats, rng: Rng) -> NDArray[np.int64]:
    """One column (n,) for each row of weights (n, k)."""
    edges = np.cumsum(weights, axis=1)
    return (rng.random((len(weights), 1)) * edges[:, -1:] >= edges[:, :-1]).sum(axis=1)


# Sessions


def _lung_function(people: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """What the best effort of each person gives, before the bronchodilator."""
    names = list(POPULATION.values)
    root = np.linalg.cholesky(POPULATION.covariances)
    scores = rng.standard_normal((len(people), len(root))) @ root.T
    ratio, fvc = scores[:, names.index("ratio")].copy(), scores[:, names.index("fvc")]  # fvc stays part of scores
    scores += np.outer(ratio**2 - 1, POPULATION.bends)
    obstruction = np.maximum(-1 - ratio, 0)  # in it FVC is lower and more varied than the bend says
    fvc *= 1 + 0.15 * obstruction
    fvc -= 0.10 * obstruction
    value = {
        name: POPULATION.drawn(model, people, scores[:, i], PERSON_SPREAD_SHARE.get(name, 1))
        for i, (name, model) in enumerate(POPULATION.values.items())
    }
    person = (people["age"], people["height"], people["sex"])
    expected = np.exp(expiration.log_emptied(np.asarray(reference.gli_global("ratio", *person).m)))
    table = {
        "fvc": np.exp(value["fvc"]) * reference.gli_global("fvc", *person).m / BEST_OF_FVC,
        "pef": np.exp(value["pef"]) * reference.hankinson("pef", *person, 0, extend=True).m / BEST_OF_PEF,
        "emptied": np.exp(value["ratio"]) * expected,  # after 1 s
        "early": expit(value["early"]),  # FEV0.5 over FEV1
        "late": expit(value["late"]),  # FEV3 - FEV1 over FVC - FEV1
        "last": expit(value["last"]),  # FEV6 - FEV3 over FVC - FEV3
        "fet": np.exp(value["fet"]),
        "bev": np.exp(value["bev"]),  # over FVC
    }
    return pd.DataFrame(table)


def _share(emptied: pd.Series) -> pd.Series:
    """The share of FVC given (see `expiration`), held below what can still be drawn through."""
    return (-(1 + expiration.LEFT) * np.expm1(-emptied)).clip(upper=0.985)


def _sessions(people: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """One row for each session of efforts: before the bronchodilator, and for some after it."""
    n = len(people)
    sessions = pd.concat([people[["seqn", "age"]], _lung_function(people, rng)], axis=1)
    sessions["test_type"] = "Pre"
    sessions["btps"] = np.clip(rng.normal(1.085, 0.012, n), 1.039, 1.129).round(3)
    sessions["position"] = np.where(rng.random(n) < 0.995, "Standing", "Sitting")
    # Small children and the old find it harder: shares of efforts that are not A or B, mean losses of FVC.
    trouble = np.interp(people["age"], [6, 8, 10, 14, 20, 55, 80], [0.57, 0.42, 0.35, 0.28, 0.19, 0.19, 0.29])
    sessions["trouble"] = rng.beta(6 * trouble, 6 * (1 - trouble))
    unsteady = np.interp(people["age"], [6, 8, 14, 20, 55, 80], [0.13, 0.11, 0.08, 0.049, 0.049, 0.09])
    sessions["unsteady"] = unsteady * np.exp(0.3 * rng.standard_normal(n))
    hasty = rng.random(n) < HASTY_SHARE * np.maximum(sessions["trouble"] - 0.15, 0)
    sessions["habit"] = np.where(hasty, HASTY_STOP_S * np.exp(0.4 * rng.standard_normal(n)), np.inf)  # s, the longest

    lower_limit = reference.gli_global("ratio", people["age"], people["height"], people["sex"]).lln
    sessions["selected"] = _share(sessions["emptied"]) < np.maximum(lower_limit, OBSTRUCTED_RATIO)
    after = sessions[sessions["selected"] & (rng.random(n) < BRONCHODILATOR_SHARE)].copy()
    opened = np.exp(rng.normal(0.10, 0.08, len(after)))
    after["test_type"] = "Bron"
    after["emptied"] *= opened
    after["pef"] *= np.sqrt(opened)
    after["fvc"] *= np.exp(rng.normal(0.01, 0.02, len(after)))
    return pd.concat([sessions, after]).sort_values("seqn", kind="stable").reset_index(drop=True)


def _knots(sessions: pd.DataFrame, shapes: LungShapes) -> expiration.Knots:
    """What the best effort of each session passes."""
    fev1 = _share(sessions["emptied"])
    fev3 = fev1 + (1 - fev1) * sessions["late"]
    fev6 = fev3 + (1 - fev3) * sessions["last"]
    pef = sessions["pef"] / sessions["fvc"] * np.exp(-shapes.flutter.peak)
    columns = (pef, fev1 * sessions["early"], fev1, fev3, fev6, sessions["fet"], sessions["bev"])
    return expiration.Knots(*(column.to_numpy() for column in columns))


_FAULTS = {  # what is wrong with an effort, by its grade: shares
    "C": {"stopped": 0.86, "slow": 0.14},
    "D": {"short": 0.28, "slow": 0.2, "cough": 0.2, "closed": 0.12, "weak": 0.14, "broken": 0.06},
}


def _efforts(sessions: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """One row an effort, by session: grade, what was wrong with it, and how it falls short of the best.

    A session ends when three efforts are good and two of them agree within 150 mL, or after eight.
    """
    shape = (len(sessions), ATTEMPTS)
    trouble, unsteady = sessions["trouble"].to_numpy()[:, None], sessions["unsteady"].to_numpy()[:, None]
    draw = rng.random(shape)
    grade = np.where(draw < 0.22 * trouble, "D", np.where(draw < trouble, "C", "A"))
    loss = rng.gamma(4, unsteady / 4, shape)
    good = grade == "A"
    grade[good & (rng.random(shape) < 0.24)] = "B"
    hasty = np.isfinite(sessions["habit"].to_numpy())
    good &= ~hasty[:, None] | (rng.random(shape) < 0.35)  # technicians let some of a hasty person's efforts pass
    grade[~good & (grade != "D")] = "C"
    enough = np.zeros(shape, dtype=bool)
    for last in range(2, ATTEMPTS):
        first, second, third = np.sort(np.where(good, loss, 9.0)[:, : last + 1], axis=1)[:, :3].T  # 9: not good
        agree = (second - first) * sessions["fvc"].to_numpy() < 0.150
        enough[:, last] = agree & (third < 9.0) & (rng.random(shape[0]) < 0.48)
    enough[:, 2:] |= hasty[:, None] & (rng.random((shape[0], ATTEMPTS - 2)) < 0.2)  # the technician gives up
    enough[:, -1] = True
    done = np.arange(ATTEMPTS) <= enough.argmax(axis=1)[:, None]
    counted = np.where(done & good, loss, np.inf).min(axis=1)
    loss = np.maximum(loss - np.where(np.isfinite(counted), counted, 0)[:, None], 0)

    session, attempt = np.nonzero(done)
    efforts = sessions.iloc[session].reset_index(drop=True)
    efforts["session"], efforts["number"] = session, attempt + 1
    efforts["grade"], efforts["loss"] = grade[done], loss[done]
    n = len(efforts)
    fault = np.full(n, "", dtype=object)
    habit = efforts["habit"].to_numpy()
    for letter, kinds in _FAULTS.items():
        rows = np.flatnonzero(efforts["grade"] == letter)
        fault[rows] = rng.choice(list(kinds), len(rows), p=list(kinds.values()))
    fault[np.isfinite(habit) & (efforts["grade"] != "D").to_numpy()] = "stopped"
    efforts["fault"] = fault
    _differ(efforts, len(sessions), rng)
    stopped = np.minimum(efforts["fet"] * rng.uniform(0.12, 0.8, n), habit * np.exp(0.15 * rng.standard_normal(n)))
    stop = np.where(fault == "stopped", np.maximum(stopped, 1.1), np.inf)
    stop = np.where(fault == "broken", rng.uniform(0.6, 1.0, n), stop)
    efforts["stop"] = np.where(fault == "closed", rng.uniform(0.25, 1.4, n), stop)
    return efforts


def _differ(efforts: pd.DataFrame, sessions: int, rng: Rng) -> None:
    """How efforts (n rows) of a session differ besides their volume: force, pace, start and length; in place.

    Some people blow more evenly than others: each session has its own sizes. The best effort has none but of length.
    """
    n, session, fault = len(efforts), efforts["session"].to_numpy(), efforts["fault"].to_numpy()
    best = efforts["loss"].to_numpy() == 0
    force, pace, length = rng.standard_normal((3, sessions))
    pace = UNEVEN * force + np.sqrt(1 - UNEVEN**2) * pace
    deficit = rng.exponential(DEFICIT.of(force)[session])
    efforts["deficit"] = np.where(best, 0, np.minimum(deficit, 0.4))
    efforts.loc[fault == "weak", "deficit"] = rng.uniform(0.3, 0.6, n)[fault == "weak"]
    efforts["pace"] = np.where(best, 0, np.clip(PACE.of(pace)[session] * rng.standard_normal(n), -0.6, 0.3))
    efforts["slower"] = np.where(best, 1, np.exp(WITHIN_START * rng.standard_normal(n)))
    efforts.loc[fault == "slow", "slower"] = rng.uniform(2.2, 5, n)[fault == "slow"]
    efforts["fet"] *= np.exp(np.clip(LENGTH.of(length)[session] * rng.standard_t(3, n), -0.7, 0.5))


# Curves


def _curves(
    efforts: pd.DataFrame, lungs: expiration.Lung, onset: Floats, flutter: Flutter, rng: Rng
) -> list[NDArray[np.int16]]:
    """Counts of each effort."""
    curves: list[NDArray[np.int16]] = []
    for start in range(0, len(efforts), CHUNK):
        curves += _some_curves(efforts.iloc[start : start + CHUNK], lungs, onset, flutter, rng)
    return curves


def _some_curves(
    efforts: pd.DataFrame, lungs: expiration.Lung, onset: Floats, flutter: Flutter, rng: Rng
) -> list[NDArray[np.int16]]:
    n = len(efforts)
    column = {name: efforts[name].to_numpy() for name in efforts}
    share = column["pef"] / column["fvc"]
    full = expiration.best_effort(share, column["bev"], onset[column["session"]])
    hesitant = np.where(column["fault"] == "slow", 0.076, np.maximum(MOST_BEV, MOST_BEV_L / column["fvc"]) / share)
    unit = np.minimum(full.unit * column["slower"], hesitant)
    effort = expiration.Effort(full.onset, unit, column["deficit"], column["loss"] / share, column["pace"])
    zero = expiration.time_zero(effort)
    silence = np.clip(rng.normal(0.25, 0.13, n), 0.02, 1.0)  # s of silence before the effort
    ends = np.minimum(column["stop"] + 0.1, column["fet"])
    ends = np.where(column["fault"] == "closed", column["fet"] * rng.uniform(0.3, 1, n), ends)
    first = np.rint(silence / SAMPLE_PERIOD_S).astype(np.int64)
    points = np.minimum(first + np.rint((zero + ends) / SAMPLE_PERIOD_S).astype(np.int64), MOST_POINTS)
    samples = int(points.max())

    flow = expiration.flow(expiration.take(lungs, column["session"]), effort, samples)
    t = (np.arange(samples) + 0.5) * SAMPLE_PERIOD_S - zero[:, None]  # after time zero
    flow *= np.clip((column["stop"][:, None] - t) / 0.05, 0, 1)
    coughs = np.flatnonzero(column["fault"] == "cough")
    for row, at in zip(coughs, rng.uniform(0.2, 0.9, len(coughs)), strict=True):
        flow[row] *= (
            1 - 0.95 * np.exp(-(((t[row] - at) / 0.04) ** 2)) + 0.7 * np.exp(-(((t[row] - at - 0.09) / 0.03) ** 2))
        )
    flow += flutter.drawn(flow, rng)
    flow *= column["fvc"][:, None]
    sample = np.arange(samples) - first[:, None]
    flow = np.where(sample >= 0, np.take_along_axis(flow, np.maximum(sample, 0), axis=1), 0)
    counts = counter.count(flow, column["btps"], rng)
    curves = [row[:length].copy() for row, length in zip(counts, points, strict=True)]  # what lies behind may go
    for row in np.flatnonzero(column["fault"] == "short"):
        wander = lfilter([1], [1, -0.8], rng.normal(0, 1.5, rng.integers(1, 101)))
        curves[row] = np.rint(wander).astype(np.int16)
    return curves


def _measured(efforts: pd.DataFrame, curves: list[NDArray[np.int16]]) -> pd.DataFrame:
    """Indices of every curve, as counted."""
    tables = []
    for start in range(0, len(curves), CHUNK):
        rows = slice(start, start + CHUNK)
        points = efforts["points"].to_numpy()[rows]
        counts = np.zeros((len(points), points.max()), dtype=np.int16)
        for row, curve in zip(counts, curves[rows], strict=True):
            row[: len(curve)] = curve
        flow = counter.flow(counts, efforts["btps"].to_numpy()[rows])
        tables.append(spirometry.indices(flow, points).to_pandas())
    return pd.concat(tables, ignore_index=True)


# Tables


def _within_codebook(table: pd.DataFrame) -> pd.DataFrame:
    """The table with numbers above what the codebooks allow at their limit, while the curves keep theirs: one in some
    50,000 people has such."""
    for name in table.columns:
        limits = CODEBOOK.get(name, CODE)
        if isinstance(limits, Numbers) and (table[name] > limits.highest).any():
            table[name] = table[name].clip(upper=limits.highest)
    return table


def _demo(people: pd.DataFrame, cycle: str, rng: Rng) -> pd.DataFrame:
    n = len(people)
    ethnicity = people["ethnicity"]
    drawn = np.exp(rng.normal(9.9, 0.6, n)) * np.where(ethnicity == 3, 2.2, 0.8)
    weight = drawn.round(6)  # as the CDC's; the last digit of exp is the processor's
    table = {
        "SEQN": people["seqn"],
        "SDDSRVYR": CYCLES[cycle].release + np.zeros(n),
        "RIDSTATR": np.where(people["examined"], 2, 1),
        "RIAGENDR": people["sex"],
        "RIDAGEYR": people["age"],
        "RIDRETH1": ethnicity.replace({6: 5, 7: 5}),
    }
    if cycle == "G":
        table["RIDRETH3"] = ethnicity
    has_months = people["examined"] & (people["age"] < (20 if cycle == "G" else 80))
    table[CYCLES[cycle].exam_months] = people["months"].where(has_months)
    table["WTINT2YR"] = weight
    table["WTMEC2YR"] = np.where(people["examined"], weight * 1.04, 0)
    table["SDMVPSU"] = rng.integers(1, 3, n)
    table["SDMVSTRA"] = rng.integers(90, 104, n)
    return pd.DataFrame({name: table[name] for name in FILES[f"DEMO_{cycle}"].columns[0] if name in table}).astype(
        float
    )


def _bmx(people: pd.DataFrame) -> pd.DataFrame:
    people = people[people["examined"]]
    height = people["height"].where(people["measured"]).round(1)
    weight = people["weight"].round(1)
    table = {
        "SEQN": people["seqn"],
        "BMDSTATS": np.where(people["measured"], 1, 3),
        "BMXWT": weight,
        "BMXHT": height,
        "BMXBMI": (weight / (height / 100) ** 2).round(1),
    }
    return pd.DataFrame(table).astype(float).reset_index(drop=True)


def _spx(people: pd.DataFrame, efforts: pd.DataFrame, indices: pd.DataFrame) -> pd.DataFrame:
    """Published values: maxima over the acceptable curves; the rest from the best of them."""
    invited = people["examined"] & people["age"].between(6, 79)
    table = people.loc[invited, ["seqn", "blown"]].rename(columns={"seqn": "SEQN"}).reset_index(drop=True)
    seqn = table["SEQN"]
    for letter, test_type in (("N", "Pre"), ("B", "Bron")):
        rows = (efforts["test_type"] == test_type).to_numpy()
        usable = rows & efforts["grade"].isin(["A", "B", "C"]).to_numpy() & (efforts["points"] > 100).to_numpy()
        curves = indices[usable].assign(seqn=efforts["seqn"], grade=efforts["grade"])
        by_person = curves.groupby("seqn")
        highest = by_person[["fvc", "fev05", "fev075", "fev1", "fev3", "fev6", "pef"]].max().mul(1000).round()
        is_best = ats_ers.best_efforts(curves["fev1"], curves["fvc"], curves["seqn"], np.full(len(curves), True))
        best = curves[is_best].set_index("seqn")
        for name, index in _PUBLISHED.items():
            source = highest[index] if index in highest else (best[index] * _SCALE[index]).round(_DIGITS[index])
            table[f"SPX{letter}{name}"] = seqn.map(source)
        for name, index in (("QFVC", "fvc"), ("QFV1", "fev1")):
            grades = ats_ers.session_grades_nhanes(curves[index], curves["grade"] != "C", curves["seqn"])
            table[f"SPX{letter}{name}"] = seqn.map(grades).fillna("")
        whole = table[[f"SPX{letter}QFVC", f"SPX{letter}QFV1"]].isin(["A", "B", "C"]).all(axis=1)
        tried = seqn.isin(efforts.loc[rows, "seqn"])
        table[f"SPX{letter}STAT"] = np.where(tried, np.where(whole, 1.0, 2.0), 3.0 if letter == "N" else np.nan)
        table[f"SPD{letter}ACC"] = seqn.map(by_person.size()).where(seqn.isin(highest.index))
        table[f"SPX{letter}QEFF"] = seqn.map(best["grade"]).astype(object).fillna("")
    selected = seqn.isin(efforts.loc[efforts["selected"], "seqn"])
    table["SPDBRONC"] = np.where(selected, 1.0, np.where(table["blown"], 2.0, np.nan))
    table["SEQN"] = table["SEQN"].astype(float)
    return table.drop(columns="blown")


_PUBLISHED = {"FVC": "fvc", "EV": "bev", "FEV5": "fev05", "FEV7": "fev075", "FEV1": "fev1", "FEV3": "fev3"}
_PUBLISHED |= {"FEV6": "fev6", "PEF": "pef", "F257": "fef2575", "FET": "fet"}
_SCALE = {"bev": 1000, "fef2575": 1000, "fet": 1}  # L to mL; s
_DIGITS = {"bev": 0, "fef2575": 0, "fet": 1}


def _spxraw(efforts: pd.DataFrame, indices: pd.DataFrame, curves: list[NDArray[np.int16]]) -> pd.DataFrame:
    plateau = (indices["last_second"] <= spirometry.PLATEAU_L) & (efforts["fault"] != "short")
    table = pd.DataFrame(
        {
            "SEQN": efforts["seqn"].astype(float),
            "SPAMANU": efforts["number"].astype(float),
            "SPAFACT": efforts["btps"],
            "SPXPTS": efforts["points"].astype(float),
            "SPATTYPE": efforts["test_type"],
            "SPAPOS": efforts["position"],
            "SPAPLAT": np.where(plateau, "Y", "N"),
            "SPAACC": np.where(efforts["grade"] == "D", "N", "Y"),
            "SPAQEFF": efforts["grade"],
        }
    )
    table["SPXRAW"] = pd.Series(curves, dtype=object)
    return table
