"""How a trained generator answers requests: what it tries, how long it takes, and what its curves carry.

python -m benchmarks.patients --models models [--device cuda] [-n 100]
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.engines.torch_engine import TorchEngine, open_torch
from spiro_diffusion.generation import conditional_draws, requests
from spiro_diffusion.generation.engine import SingleEfforts
from spiro_diffusion.generation.matching import MAXIMA
from spiro_diffusion.physiology import counter, effort_kinds, patterns, spirometry, time_grid

PEOPLE: tuple[dict[str, Any], ...] = (
    {"age": 45, "height": 175, "sex": "male"},
    {"age": 66, "height": 162, "sex": "female"},
    {"age": 12, "height": 150, "sex": "female"},
)
KNOWN: tuple[dict[str, Any], ...] = (
    {"fev1": "100%"},
    {"fev1": "z-2.5"},
    {"fev1": "70%", "fvc": "80%"},
    {"fev1": "90%", "fvc": "95%", "pef": 6.0},
    {"ratio": "z-1"},
    {"fev1": "70%:80%", "fvc": "z-1:z0"},
)
BTPS = 1.1


def row(generator: TorchEngine, person: dict[str, Any], request: dict[str, Any], n: int) -> dict:
    """One request: draws found, tried, seconds, and the shares that meet it after a counter of its own."""
    line: dict[str, Any] = {"person": f"{person['sex'][0]}{person['age']}", "asked": str(request)}
    try:
        kept, required = requests.accept(pd.DataFrame([person]), generator.made_from, request)
    except SpiroError as error:
        return line | {"refused": str(error)[:60]}
    assert required is not None
    began = time.perf_counter()
    efforts = kept.table.assign(person=0, place=np.nan)
    found = conditional_draws.draw(SingleEfforts(generator), efforts, required, n, 0)
    line |= {"found": int(found.counts[0]), "facts": int(found.facts[0]), "curves": int(found.curves[0])}
    line["seconds"] = round(time.perf_counter() - began, 1)
    if not len(found.signals):
        return line
    counts = counter.count(time_grid.to_10ms(found.signals), BTPS, np.random.default_rng(1))
    flow = counter.flow(counts, BTPS)
    read = spirometry.indices(flow, spirometry.end_of_flow(flow))
    ok = np.ones(len(flow), dtype=bool)
    values = {name: getattr(read, name) for name in MAXIMA} | {"ratio": read.fev1 / read.fvc}
    for name, box in required.known.items():
        ok &= box.take(np.zeros(len(flow), dtype=np.int64)).holds(values[name], name)
    requested, table = required.requests[0], kept.table.iloc[0]
    if requested.pattern:
        ok &= patterns.carries(requested.pattern, read.fev1, read.fvc, table["age"], table["height"], table["sex"])
    if requested.effort:
        ok &= effort_kinds.carries(requested.effort, read, table["age"])
    return line | {"met": round(float(ok.mean()), 3)}


def main() -> None:
    """Print a table, a row a request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("-n", type=int, default=50)
    options = parser.parse_args()
    generator = open_torch(options.models, options.device)
    labels: list[dict[str, Any]] = [{"pattern": label} for label in patterns.LABELS]
    requested = [*KNOWN, *labels, *({"effort": kind} for kind in effort_kinds.KINDS)]
    rows = []
    for person in PEOPLE:
        for request in requested:
            rows.append(row(generator, person, request, options.n))
            print(rows[-1], flush=True)
    print(pd.DataFrame(rows).to_string())


if __name__ == "__main__":
    main()
