"""How long the page takes to answer with a session of one lung, from a warm process.

    OMP_NUM_THREADS=2 python benchmarks/session_answers.py --models models

A line a request: median and slowest of several answers (drawing, indices, plots and tables), s, each with another seed;
and the median of the processor's time, which other programs do not lengthen.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from plotly.utils import PlotlyJSONEncoder

from spiro_diffusion.api import SpiroGenerator
from spiro_diffusion.app import generate
from spiro_diffusion.app.requests import EITHER, Drawer
from spiro_diffusion.core.errors import SpiroError

FIRST: dict[str, Any] = {"age": 62, "height": 172, "sex": "male", "n": 32, "guidance": 1, "effort": "best"}
FIRST |= {"draw": "session", "before": 8, "after": 0, "spoiled": EITHER, "pattern": EITHER}
REQUESTS: dict[str, dict[str, Any]] = {
    "session of eight": {},
    "eight before, eight after": {"after": 8},
    "obstruction": {"pattern": "obstruction"},
    "possible restriction": {"pattern": "possible-restriction"},
    "GOLD 2, eight after": {"pattern": "gold-2", "after": 8},
    "FEV1 of 2.5 L": {"fev1": "2.5"},
    "a cough": {"spoiled": "cough"},
    "32 single efforts": {"draw": "efforts"},
}


def answer(drawer: Drawer, controls: dict[str, Any]) -> tuple[float, float]:
    """s from what a browser sends to what it is sent, by the clock and of the processor."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    response = generate.outputs(drawer, generate.Sent(controls, None, None))
    json.dumps(response, cls=PlotlyJSONEncoder)
    return time.perf_counter() - begin, time.process_time() - begin_cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    drawer = Drawer(SpiroGenerator.from_checkpoint(options.models))
    for name, change in REQUESTS.items():
        taken = []
        for seed in range(options.times + 1):
            try:
                taken.append(answer(drawer, FIRST | change | {"seed": seed}))
            except SpiroError as error:
                print(f"{name}: {error}")
                break
        else:
            clock, processor = zip(*taken[1:], strict=True)  # the first is to warm up
            median, busy = statistics.median(clock), statistics.median(processor)
            print(f"{name}: median {median:.2f} s, slowest {max(clock):.2f} s, processor {busy:.2f} s", flush=True)


if __name__ == "__main__":
    main()
