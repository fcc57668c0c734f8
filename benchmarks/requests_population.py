"""Whether people put together from requests, by pattern or by range, are the people drawn without a request.

python -m benchmarks.requests_population --models models --data data [--part reporting] [-n 40] [--device cpu]

For the best effort of each held-out person `n` curves are drawn without a request, three times. The first says how
often this person's curves carry each pattern, or lie in each range of FEV1 in percent of predicted; so many are drawn
on request. The second and the third are held against these: AUC of trees that are to tell them apart by all indices,
age, height and sex, with a 95 % interval clustered by person, and by index the difference of means and the
Kolmogorov-Smirnov distance with the 95 % limit that exchanging labels within each person gives. Second against third
shows what chance does.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.dataset.splits import PARTS, rows_of_part
from spiro_diffusion.engines.torch_engine import TorchEngine, open_torch
from spiro_diffusion.evaluation import two_sample
from spiro_diffusion.evaluation.bootstrap import Resamples
from spiro_diffusion.generation import conditional_draws, requests
from spiro_diffusion.generation.engine import SingleEfforts
from spiro_diffusion.generation.requests import Request
from spiro_diffusion.physiology import patterns, spirometry, time_grid
from spiro_diffusion.physiology.reference import gli_global

RESAMPLES, EXCHANGES = 1000, 400
RANGES = (":70%", "70%:90%", "90%:110%", "110%:")  # of FEV1
ENDS = (70.0, 90.0, 110.0)
INDICES = ("fev1", "fvc", "ratio", "pef", "fef2575", "bev", "fet")


def read(signals: NDArray) -> pd.DataFrame:
    """INDICES of curves (n, 512)."""
    flow = time_grid.to_10ms(signals)
    found = spirometry.indices(flow, spirometry.end_of_flow(flow))
    return found.to_pandas().assign(ratio=found.fev1 / found.fvc)[[*INDICES]]


def drawn(
    generator: TorchEngine, people: pd.DataFrame, requests_of_people: list[dict[str, Any]], seed: int
) -> pd.DataFrame:
    """A curve for each row of `people` that meets what is said of it: `row` and INDICES."""
    required = requests.requirements([Request.of(one) for one in requests_of_people], people, {})
    efforts = people.assign(person=np.arange(len(people)), place=np.nan)
    found = conditional_draws.draw(SingleEfforts(generator), efforts, required, 1, seed, progress=True)
    return read(found.signals).assign(row=found.efforts["person"].to_numpy())


def kolmogorov(label: NDArray[np.bool_]) -> float:
    """The Kolmogorov-Smirnov distance of two samples, whose values in rising order are of the second where `label`."""
    return float(np.abs(np.cumsum(label) / label.sum() - np.cumsum(~label) / (~label).sum()).max())


def compare(first: pd.DataFrame, second: pd.DataFrame) -> list[str]:
    """Lines on two sets of curves: `person`, INDICES, age, height and sex."""
    sides = Resamples(first["person"], RESAMPLES, np.random.default_rng(0))
    both = sides, sides.of(second["person"])
    columns = [*INDICES, "age", "height", "sex"]
    tables = [side[columns].to_numpy(float) for side in (first, second)]
    auc = two_sample.classifier_auc(tables[0], tables[1], both, two_sample.trees, np.random.default_rng(1))
    low, high = auc.interval or (np.nan, np.nan)
    lines = [f"  AUC {auc.value:.3f} ({low:.3f} to {high:.3f}), {len(first)} and {len(second)} curves"]
    person = np.concatenate([first["person"], second["person"]])
    rng = np.random.default_rng(2)
    for name in INDICES:
        values = np.concatenate([first[name], second[name]])
        sorting = np.argsort(values)[: np.isfinite(values).sum()]
        label = np.repeat([False, True], [len(first), len(second)])
        distance, chance = kolmogorov(label[sorting]), []
        for _ in range(EXCHANGES):
            order = np.lexsort((rng.random(len(person)), person))
            mixed = np.empty_like(label)
            mixed[order] = label[np.argsort(person, kind="stable")]  # exchanged within each person
            chance.append(kolmogorov(mixed[sorting]))
        means = [b.means(v[name].fillna(v[name].mean()).to_numpy()) for b, v in zip(both, (first, second), strict=True)]
        change = 100 * (means[1] / means[0] - 1)
        low, high = np.percentile(change[1:], [2.5, 97.5])
        lines.append(
            f"  {name}: mean {change[0]:+.2f} % ({low:+.2f} to {high:+.2f}), KS {distance:.3f}, "
            f"chance up to {np.quantile(chance, 0.95):.3f}"
        )
    return lines


def main() -> None:
    """Print what was compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--part", choices=PARTS, default="reporting")
    parser.add_argument("--device", default="auto")
    parser.add_argument("-n", type=int, default=40)
    options = parser.parse_args()
    generator = open_torch(options.models, options.device)
    table = pd.read_parquet(options.data / "curves.parquet")
    part_table = table.iloc[rows_of_part(table, options.part)]
    best = part_table[part_table["best"]].drop_duplicates("seqn")[["age", "height", "sex"]].reset_index(drop=True)
    kept, _ = requests.accept(best, generator.made_from, {})
    people = kept.table.loc[kept.table.index.repeat(options.n)]
    owner, people = people.index.to_numpy(), people.reset_index(drop=True)
    about = people[["age", "height", "sex"]]

    def joined(found: pd.DataFrame) -> pd.DataFrame:
        rows = found["row"].to_numpy()
        return found.join(about.iloc[rows].reset_index(drop=True)).assign(person=owner[rows])

    began = time.perf_counter()
    free = [joined(drawn(generator, people, [{}] * len(people), seed)) for seed in (1, 2, 3)]
    print(f"{len(kept.table)} people of {options.part}, {options.n} curves each, {time.perf_counter() - began:.0f} s")
    print("\n".join(["without a request, twice", *compare(free[1], free[2])]), flush=True)
    first = free[0]
    args = first["age"], first["height"], first["sex"]
    carried = patterns.labels(first["fev1"], first["fvc"], *args, np.zeros(len(first), bool))[[*patterns.PARTITION]]
    predicted = gli_global("fev1", *args).percent(first["fev1"].to_numpy())
    by_pattern = [{"pattern": patterns.PARTITION[int(row.argmax())]} if row.any() else {} for row in carried.to_numpy()]
    by_range = [{"fev1": RANGES[i]} for i in np.digitize(predicted, ENDS)]
    for label, made_requests, key in (("by pattern", by_pattern, "pattern"), ("by range of FEV1", by_range, "fev1")):
        began = time.perf_counter()
        found = joined(drawn(generator, people.iloc[first["row"]].reset_index(drop=True), made_requests, 4))
        requested = pd.Series([str(one.get(key)) for one in made_requests]).value_counts()
        print(
            f"{label}: {', '.join(f'{k} {v}' for k, v in requested.items())}; "
            f"found {len(found)} of {len(made_requests)}"
        )
        print(f"  {time.perf_counter() - began:.0f} s", flush=True)
        print("\n".join(compare(free[1], found)), flush=True)


if __name__ == "__main__":
    main()
