"""Can the simulator's sessions be told from recorded ones: the judge of sessions on people that its facts leave out.

Usage: python -m benchmarks.simulated_sessions LOOPS [--participants 4000] [--figures FILE]

LOOPS holds people.csv, loops.csv.gz, shape_auc.py, sessions.csv and sessions.npz (see `benchmarks.fit_lung_shapes`):
108 sessions of 62 adults of 18 to 39 years, of which those of three efforts or more are judged. For each fifth of the
people (person modulo 5) the facts of lungs are fitted without it and participants are simulated; each recorded session
gets one of the simulated sessions nearest in age and height, of the sex, with as many good efforts, anew in each of
20 draws. The classifier is the judge's; it sees how efforts of a session differ, without a unit: how long and how
slowly a spirometer's efforts begin is the device's. Prints its AUC and the judge's figures of both.

The sizes of the differences in `simulator` were chosen on these very sessions: only the lungs are out of sample.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from benchmarks import fit_lung_shapes
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.vocabulary import JUDGED
from spiro_diffusion.evaluation import session_figures, session_values, two_sample
from spiro_diffusion.evaluation.baselines import AGE_STEP, HEIGHT_STEP
from spiro_diffusion.evaluation.bootstrap import Resamples
from spiro_diffusion.evaluation.conditional import ReferenceSurface
from spiro_diffusion.physiology import counter, spirometry, time_grid
from spiro_diffusion.simulation import lung_shapes
from spiro_diffusion.simulation.simulator import simulate

AGES = (18, 39)  # years, of the recorded people
FEWEST = 3  # good efforts of a session
SHORTEST_S = 1.5  # of an effort
DRAWS, NEAREST = 20, 20
EFFORT_STEPS = 100.0  # so many steps of age or height is another number of efforts
RESAMPLES = 500
BODY = ["age", "height", "sex"]
FIGURES = tuple(one for one in session_figures.FIGURES if not one.name.startswith("effort_"))  # nobody graded them


class Efforts(NamedTuple):
    """Efforts and their signals (n, 512) in L/s; the table as `session_values.of_efforts` takes it."""

    table: pd.DataFrame
    signals: NDArray


def main(loops: Path, participants: int, figures: Path | None) -> None:
    """Print AUC and figures, and write them where a file is named."""
    if not (loops / "sessions.npz").exists():
        print(f"{loops}: no sessions.npz there; nothing is compared")
        return
    folds = range(fit_lung_shapes.FOLDS)
    pools = [simulated(shapes_without(loops, fold), participants, seed=100 + fold) for fold in folds]
    everyone = pd.concat([pool.table for pool in pools])
    reference_surface = ReferenceSurface.fit(everyone, {name: everyone[name].to_numpy() for name in JUDGED}, JUDGED)
    real = sessions(recorded(loops), reference_surface)
    made = [sessions(pool, reference_surface) for pool in pools]
    draws = [matched(real, made, np.random.default_rng(draw)) for draw in range(DRAWS)]
    scores = [auc(real, drawn, np.random.default_rng(draw)) for draw, drawn in enumerate(draws)]
    table = compared(real, draws)
    mean, sd = float(np.mean(scores)), float(np.std(scores))
    print(f"{len(real)} recorded sessions of {real['seqn'].nunique()} people")
    print(f"AUC {mean:.3f}, SD over {DRAWS} draws {sd:.3f}")
    print(table.to_string())
    holding = int((table["difference"].abs() <= table["half_width"]).sum())
    print(f"{holding} of {len(table)} intervals hold 0")
    if figures:
        rows = table.reset_index().astype(object).to_dict(orient="records")
        artifacts.write_json(figures, {"auc": round(mean, 4), "auc_sd": round(sd, 4), "draws": DRAWS, "figures": rows})


def shapes_without(loops: Path, fold: int) -> lung_shapes.LungShapes:
    """The facts of lungs without one fifth of the people."""
    judge = fit_lung_shapes.judge_of(loops)
    flows, persons = judge.real_expirations()
    people = fit_lung_shapes.people_of(loops, persons)
    others = np.flatnonzero(people["person"].to_numpy() % fit_lung_shapes.FOLDS != fold)
    read = [fit_lung_shapes.read(flows[i]) for i in others]
    return lung_shapes.from_table(fit_lung_shapes.fit(read, people.iloc[others], np.random.default_rng(0)))


def recorded(loops: Path) -> Efforts:
    """The efforts of sessions.npz, until their greatest volume; `test_type` is the visit, and all count as good."""
    table = pd.read_csv(loops / "sessions.csv")
    ends = np.cumsum(table["samples"])
    volumes = np.split(np.load(loops / "sessions.npz", allow_pickle=False)["volume_l"].astype(float), ends[:-1])
    volumes = [volume[: volume.argmax() + 1] - min(volume[0], 0) for volume in volumes]
    flows = [np.diff(volume, prepend=0.0) / spirometry.SAMPLE_PERIOD_S for volume in volumes]
    people = pd.read_csv(loops / "people.csv").set_index("person").loc[table["person"]].reset_index()
    efforts = pd.DataFrame({"seqn": table["person"], "test_type": table["visit"].astype(str), "grade": "A"})
    efforts[["age", "height"]] = people[["age", "height"]].astype(float)
    efforts["sex"] = np.where(people["sex"] == "male", 1, 2)
    return _long(_measured(efforts, flows))


def simulated(shapes: lung_shapes.LungShapes, participants: int, seed: int) -> Efforts:
    """Efforts of grades A and B of simulated people of these ages, before a bronchodilator."""
    tables = simulate("G", participants, seed, shapes)
    raw = tables["SPXRAW"].merge(tables["DEMO"], on="SEQN").merge(tables["BMX"], on="SEQN").dropna(subset="BMXHT")
    kept = raw["RIDAGEYR"].between(*AGES) & (raw["SPATTYPE"] == "Pre") & raw["SPAQEFF"].isin(session_values.GOOD)
    raw = raw[kept].reset_index(drop=True)
    flows = [counter.flow(counts[None], btps)[0] for counts, btps in zip(raw["SPXRAW"], raw["SPAFACT"], strict=True)]
    names = {"SEQN": "seqn", "SPATTYPE": "test_type", "SPAQEFF": "grade"}
    names |= {"RIDAGEYR": "age", "BMXHT": "height", "RIAGENDR": "sex"}
    return _long(_measured(raw[list(names)].rename(columns=names), flows))


def sessions(efforts: Efforts, reference_surface: ReferenceSurface) -> pd.DataFrame:
    """Sessions of enough good efforts, with age, height and sex."""
    found = session_values.of_efforts(efforts.table, efforts.signals, reference_surface)
    body = efforts.table.groupby("seqn")[BODY].first().loc[found["seqn"]].reset_index(drop=True)
    found = pd.concat([found, body], axis=1)
    return found[found["good"] >= FEWEST].reset_index(drop=True)


def matched(real: pd.DataFrame, made: list[pd.DataFrame], rng: np.random.Generator) -> pd.DataFrame:
    """A simulated session for each recorded one, of those nearest to it; none twice."""
    parts: list[pd.DataFrame] = []
    for fold, pool in enumerate(made):
        free = np.ones(len(pool), dtype=bool)
        for _, one in real[real["seqn"] % len(made) == fold].iterrows():
            distance = ((pool["age"] - one["age"]) / AGE_STEP) ** 2 + (
                (pool["height"] - one["height"]) / HEIGHT_STEP
            ) ** 2
            distance += EFFORT_STEPS * (pool["good"] - one["good"]) ** 2 + 1e6 * (pool["sex"] != one["sex"])
            near = np.argsort(np.where(free, distance, np.inf), kind="stable")[:NEAREST]
            chosen = rng.choice(near)
            free[chosen] = False
            parts.append(pool.iloc[[chosen]].assign(seqn=10_000 + len(parts)))  # of folds, people have one number
    return pd.concat(parts, ignore_index=True)


def features(found: pd.DataFrame) -> NDArray[np.float64]:
    """What a classifier sees (n, 14): how the efforts of a session differ, and how many they are."""
    columns = [found[name] for name in ("good", "fvc_skewness", "overlap", "fet_log_sd", "bev_log_sd")]
    for index in session_values.COMPARED:
        columns += [found[f"{index}_cv"], found[f"{index}_gap"] / found[f"{index}_best"], found[f"{index}_first"]]
    return np.column_stack(columns)


def auc(real: pd.DataFrame, drawn: pd.DataFrame, rng: np.random.Generator) -> float:
    """How well drawn sessions are told from recorded ones, out of fold; folds by person."""
    sides = (Resamples(real["seqn"], 1, rng), Resamples(drawn["seqn"], 1, rng))
    found = two_sample.classifier_auc(features(real), features(drawn), sides, two_sample.trees, rng)
    assert found.value is not None
    return found.value


def compared(real: pd.DataFrame, draws: list[pd.DataFrame]) -> pd.DataFrame:
    """Each figure of recorded people and of simulated ones (mean of the draws), and their difference.

    `half_width` is of the difference of one draw, corrected for the number of figures.
    """
    resamples = Resamples(real["seqn"], RESAMPLES, np.random.default_rng(0))
    reach = float(-ndtri(session_figures.ERROR / 2 / len(FIGURES)))
    rows = {}
    for one in FIGURES:
        recorded_values = one.form.scale * one.statistic(real, resamples)
        values = [one.statistic(d, Resamples(d["seqn"], 0, np.random.default_rng(0)))[0] for d in draws]
        made = one.form.scale * np.array(values)
        half = reach * np.hypot(np.std(recorded_values[1:]), np.std(made))
        rows[f"{one.label} ({one.form.unit})".replace(" ()", "")] = {
            "recorded": recorded_values[0],
            "simulated": made.mean(),
            "difference": made.mean() - recorded_values[0],
            "half_width": half,
        }
    return pd.DataFrame(rows).T.round(3).rename_axis("figure")


def _measured(efforts: pd.DataFrame, flows: list[NDArray]) -> Efforts:
    """Efforts with the indices and signals of their flows (L/s each 10 ms)."""
    points = np.array([len(flow) for flow in flows])
    padded = np.zeros((len(flows), points.max()))
    for row, flow in zip(padded, flows, strict=True):
        row[: len(flow)] = flow
    indices = spirometry.indices(padded, points).to_pandas()
    signals = time_grid.to_grid(padded, indices["t0"].to_numpy(), points)
    return Efforts(pd.concat([efforts.reset_index(drop=True), indices], axis=1), signals)


def _long(efforts: Efforts) -> Efforts:
    """Those that last: both sides lose the others."""
    rows = (efforts.table["fet"] > SHORTEST_S).to_numpy()
    return Efforts(efforts.table[rows].reset_index(drop=True), efforts.signals[rows])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loops", type=Path)
    parser.add_argument("--participants", type=int, default=4000)
    parser.add_argument("--figures", type=Path)
    given = parser.parse_args()
    main(given.loops, given.participants, given.figures)
