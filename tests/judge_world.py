"""A small world with known laws, for tests of the judge: people, their efforts, and a perfect generator of both.

A curve is a short rise and a two-speed fall; its size is log-normal around a surface of age, height and sex.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from spiro_diffusion.core.vocabulary import JUDGED
from spiro_diffusion.dataset import splits
from spiro_diffusion.evaluation import measured
from spiro_diffusion.evaluation.real import Real
from spiro_diffusion.physiology import counter, spirometry, time_grid

PERSON_SD = np.array([0.14, 0.16, 0.40])  # of the logarithms of FVC, PEF and the slow share, between people
EFFORT_SD = np.array([0.03, 0.05, 0.10])  # between the efforts of one person
TREMOR_L_S = 0.04


def people(count: int, seed: int, first: int = 1) -> pd.DataFrame:
    """One row a person."""
    rng = np.random.default_rng(seed)
    sex = rng.integers(1, 3, count)
    age = rng.uniform(8, 79, count)
    grown = 1 - np.exp(-(age - 2) / 7)
    height = np.where(sex == 1, 176, 163) * grown * np.exp(0.04 * rng.standard_normal(count))
    return pd.DataFrame(
        {
            "seqn": first + np.arange(count),
            "cycle": "G",
            "age": age,
            "height": height,
            "sex": sex,
            "ethnicity": rng.integers(1, 6, count),
            "mec_weight": rng.uniform(1e3, 1e5, count),
            "btps": rng.uniform(1.06, 1.11, count),
        }
    )


def efforts(persons: pd.DataFrame, each: int) -> pd.DataFrame:
    """One row an effort; the first of each person is the best."""
    table = persons.loc[persons.index.repeat(each)].reset_index(drop=True)
    number = table.groupby("seqn").cumcount()
    return table.assign(test_type="Pre", grade=np.where(number % 3 == 2, "B", "A"), best=number == 0)


def sizes(table: pd.DataFrame) -> np.ndarray:
    """Mean logarithms (n, 3) of FVC (L), of PEF (L/s) and of the slow share of the fall."""
    age, height = table["age"].to_numpy(), np.log(table["height"].to_numpy() / 170)
    male = (table["sex"] == 1).to_numpy()
    old = np.maximum(age - 25, 0)
    fvc = np.log(4.0) + 2.2 * height + 0.12 * male - 0.006 * old
    pef = np.log(8.0) + 1.6 * height + 0.18 * male - 0.005 * old
    return np.stack([fvc, pef, np.log(0.1) + 0.01 * old], axis=1)


def signals(table: pd.DataFrame, deviation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Signals (n, 512) in L/s of efforts whose logarithms deviate (n, 3) from the mean."""
    fvc, pef, slow = np.exp(sizes(table) + deviation).T[:, :, None]
    fvc = fvc * np.where(table["best"].to_numpy()[:, None], 1.0, 0.97)
    slow = np.minimum(slow, 0.5)
    t = (time_grid.EDGES_S[:-1] + time_grid.WIDTHS_S / 2)[None]
    rise, after = np.clip(t / 0.06, 0, 1), np.maximum(t - 0.06, 0)
    speed = ((1 - slow) + slow / 0.3) / (fvc / pef - 0.03)  # so that the flow adds up to FVC
    flow = pef * rise * ((1 - slow) * np.exp(-speed * after) + slow * np.exp(-0.3 * speed * after))
    flow += TREMOR_L_S * rng.standard_normal(flow.shape) * (rise > 0) * np.sqrt(0.01 / time_grid.WIDTHS_S)
    return flow.astype(np.float32)


def perfect(table: pd.DataFrame, draws: int, seed: int) -> np.ndarray:
    """The generator that knows the world's laws: signals (n, draws, 512)."""
    rng = np.random.default_rng(seed)
    many = table.loc[table.index.repeat(draws)].reset_index(drop=True)
    deviation = rng.standard_normal((len(many), 3)) * np.hypot(PERSON_SD, EFFORT_SD)
    return signals(many, deviation, rng).reshape(len(table), draws, -1)


def measure(persons: pd.DataFrame, each: int, seed: int) -> tuple[measured.Measured, np.ndarray]:
    """What real people blow: their efforts after the counter, and as signals."""
    rng = np.random.default_rng(seed)
    table = efforts(persons, each)
    of_person = (rng.standard_normal((len(persons), 3)) * PERSON_SD).repeat(each, axis=0)
    flow = time_grid.to_10ms(signals(table, of_person + rng.standard_normal((len(table), 3)) * EFFORT_SD, rng))
    counts = counter.count(flow, table["btps"].to_numpy(), rng)
    found = spirometry.indices(counter.flow(counts, table["btps"].to_numpy()))
    curves = measured.real(table.assign(t0=found.t0), counts)
    return curves, time_grid.to_grid(counter.flow(counts, table["btps"].to_numpy()), found.t0)


def real(held_out: int = 150, each: int = 3, seed: int = 0) -> Real:
    """Held-out people and five times as many training people."""
    judges, _ = measure(people(held_out, seed), each, seed)
    train, shapes = measure(people(5 * held_out, seed + 1, first=100_000), each, seed + 1)
    person = train.people["seqn"].to_numpy() - 100_000
    return Real(
        held_out=judges,
        members=train.take(person < held_out),
        others=train.take((person >= held_out) & (person < 2 * held_out)),
        train=train.people,
        train_indices={k: train.indices[k] for k in (*JUDGED, "ratio")},
        train_signals=shapes,
    )


def numbers(**counts: int) -> np.ndarray:
    """As many SEQN as asked for of each split, in the order of the splits given."""
    many = np.arange(1, 100 * sum(counts.values()))
    split = splits.split(many)
    return np.concatenate([many[split == name][:count] for name, count in counts.items()])


def write_files(folder: Path, held_out: int, train: int, validation: int = 0) -> None:
    """The world as the pipeline's files: signals, table of curves, raw counts; `held_out` are the test participants."""
    everybody = people(held_out + train + validation, 5)
    everybody["seqn"] = numbers(test=held_out, train=train, validation=validation)
    curves, shapes = measure(everybody, 3, 5)
    table = curves.people.assign(raw_row=np.arange(len(curves)), points=time_grid.N_10MS)
    table = table.assign(**curves.indices)  # time zero, too: the counts are cut to the window
    table["split"] = splits.split(table["seqn"])
    (folder / "repaired").mkdir(parents=True)
    raw = pa.table({"SPXRAW": pa.array(list(curves.counts)), "SPXPTS": pa.array(table["points"].astype(float))})
    pq.write_table(raw, folder / "repaired" / "SPXRAW_G.parquet")
    table.to_parquet(folder / "curves.parquet")
    np.save(folder / "signals_L512.npy", shapes)
