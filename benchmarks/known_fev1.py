"""How well a trained generator draws the other indices of people whose FEV1 is known, beside a conditional Gaussian.

python -m benchmarks.known_fev1 --models models --data data [--part reporting] [-n 20] [--out metrics/known_fev1.json]

The FEV1 of each held-out participant's best effort before a bronchodilator is given, as `spiro generate --fev1` takes
it, and curves are drawn that have it. The baseline is a normal distribution of the logarithm of each index given age,
height, sex and log FEV1, fitted to the training participants.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.artifacts import read_json, write_json
from spiro_diffusion.dataset.splits import PARTS, rows_of_part
from spiro_diffusion.engines.torch_engine import TorchEngine, open_torch
from spiro_diffusion.evaluation.bootstrap import Resamples
from spiro_diffusion.evaluation.conditional import calibration, crps_ratio
from spiro_diffusion.evaluation.figures import to_json
from spiro_diffusion.generation import conditional_draws, requests
from spiro_diffusion.generation.engine import SingleEfforts
from spiro_diffusion.physiology import mean_surface, spirometry, time_grid

JUDGED = ("fvc", "pef", "fef2575")  # L, L/s, L/s
COLUMNS = ["seqn", "age", "height", "sex", "best", "test_type", "fev1", *JUDGED]
RESAMPLES, GAUSSIAN_DRAWS = 2000, 200


def best_efforts(data: Path) -> pd.DataFrame:
    """Each participant's best effort before a bronchodilator, with usable indices."""
    table = pd.read_parquet(data / "curves.parquet", columns=COLUMNS)
    best = table[table["best"].astype(bool) & (table["test_type"] == "Pre")].drop_duplicates("seqn")
    return best[(best[["fev1", *JUDGED]] > 0).all(axis=1)].reset_index(drop=True)


def gaussian(train: pd.DataFrame, held_out: pd.DataFrame, name: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draws (n, GAUSSIAN_DRAWS) of an index of the held-out people, given their FEV1."""
    x, x_held_out = (np.column_stack([mean_surface.features(t), np.log(t["fev1"])]) for t in (train, held_out))
    log = np.log(train[name].to_numpy())
    coefficients = np.linalg.lstsq(x, log, rcond=None)[0]
    sd = (log - x @ coefficients).std(ddof=x.shape[1])
    return np.exp((x_held_out @ coefficients)[:, None] + sd * rng.standard_normal((len(held_out), GAUSSIAN_DRAWS)))


def drawn(generator: TorchEngine, held_out: pd.DataFrame, n: int) -> tuple[NDArray[np.int64], dict[str, NDArray]]:
    """Rows of the people for whom all `n` curves were found, and their indices (m, n)."""
    people = held_out[["age", "height", "sex"]].assign(known_fev1=held_out["fev1"].astype(object))
    kept, wanted = requests.accept(people, generator.made_from, {}, skip_invalid=True)
    assert wanted is not None
    efforts = kept.table.assign(person=np.arange(len(kept.table)), place=np.nan)
    found = conditional_draws.draw(SingleEfforts(generator), efforts, wanted, n, 0, progress=True)
    full = np.flatnonzero(found.counts == n)
    rows = np.isin(found.efforts["person"].to_numpy(), full)
    flow = time_grid.to_10ms(found.signals[rows])
    read = spirometry.indices(flow, spirometry.end_of_flow(flow))
    return np.asarray(kept.rows)[full], {name: getattr(read, name).reshape(-1, n) for name in JUDGED}


def judge(generator: TorchEngine, table: pd.DataFrame, part: Any, n: int) -> dict[str, Any]:
    """For each index CRPS beside the Gaussian's, and coverage."""
    held_out = table.iloc[rows_of_part(table, part)].reset_index(drop=True)
    train = table.iloc[rows_of_part(table, "train")]
    rng = np.random.default_rng(0)
    began = time.perf_counter()
    rows, draws = drawn(generator, held_out, n)
    result: dict[str, Any] = {"part": part, "people": len(held_out), "drawn": len(rows), "draws": n}
    result |= {"seconds": round(time.perf_counter() - began, 1)}
    resamples = Resamples(held_out["seqn"].to_numpy()[rows], RESAMPLES, rng)
    weights = np.ones(len(rows))
    for name in JUDGED:
        observed, baseline = held_out[name].to_numpy()[rows], gaussian(train, held_out.iloc[rows], name, rng)
        scores = crps_ratio(observed, draws[name], baseline, weights, resamples)
        covered_by = calibration(observed, draws[name], weights, resamples)
        assert isinstance(scores, dict)
        assert isinstance(covered_by, dict)
        covered_by.pop("pit")
        result[name] = to_json({**covered_by, "gaussian_crps": scores["baseline"], "ratio": scores["ratio"]})
    return result


def main() -> None:
    """Judge, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--part", choices=PARTS, default="reporting")
    parser.add_argument("--device", default="auto")
    parser.add_argument("-n", type=int, default=20, help="curves for each person")
    parser.add_argument("--out", type=Path, help="JSON; what is there already under other names stays")
    parser.add_argument("--name", default="default", help="under which the figures are written")
    options = parser.parse_args()
    generator = open_torch(options.models, options.device)
    result = judge(generator, best_efforts(options.data), options.part, options.n)
    for name in JUDGED:
        print(name, {key: value for key, value in result[name].items() if key != "pit_distance"})
    print({key: value for key, value in result.items() if key not in JUDGED})
    if options.out:
        before = read_json(options.out) if options.out.is_file() else {}
        write_json(options.out, before | {options.name: result})


if __name__ == "__main__":
    main()
