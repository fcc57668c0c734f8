"""Renew benchmarks/table.md: our models' draws of another seed, the examples of docs/benchmark.md, and recorded rows.

    python -m benchmarks.benchmark_rows --models models --data data --metrics metrics --table benchmarks/table.md

The rows of the generator, the floor and the baselines are those that the stages `evaluate` and `reconstruct` and the
pipeline baselines/dvc.yaml have recorded in `metrics`: run `make repro` and `dvc repro baselines/dvc.yaml` first. Rows
of the same name, data and participants are replaced, others stay.
"""

import argparse
import datetime
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.benchmark import protocol, score, table, task
from spiro_diffusion.benchmark.protocol import DRAWS, Source, Task
from spiro_diffusion.compute import runtime
from spiro_diffusion.core.artifacts import write_npz
from spiro_diffusion.evaluation import completion
from spiro_diffusion.generation.generator import Generator
from spiro_diffusion.generation.sessions import draw_sessions
from spiro_diffusion.models.effort_sets import PLACES
from spiro_diffusion.reconstruction.densities import load_reconstructor

PAGE = Path(__file__).parents[1] / "docs/benchmark.md"
AGAIN: dict[Task, str] = {
    "generation": "our generator, drawn again",
    "sessions": "our sessions, drawn again",
    "completion": "our completions, drawn again",
}
EXAMPLE = "example of docs/benchmark.md"
EXAMPLES: dict[Task, str] = {"generation": "theirs.npz", "sessions": "blown.npz", "completion": "completed.npz"}
Arrays = dict[str, NDArray]
SEED = 20_261_127  # another than the stages'


def draw(models: Path, source: Source, tasks: list[Task], folder: Path) -> dict[Task, Path]:
    """A submission of each of the tasks by the models, from what `spiro benchmark prepare` hands out."""
    vqvae, cldm, reconstructor = (models / f"{name}.safetensors" for name in ("vqvae", "cldm", "reconstructor"))
    generator = Generator.from_checkpoints(vqvae, cldm, runtime.start())
    makers: dict[Task, Callable[[Generator, Path], Arrays]] = {
        "generation": generated,
        "sessions": blown,
        "completion": partial(completed, reconstructor, source),
    }
    files = {name: folder / f"our_{name}.npz" for name in tasks}
    for name, file in files.items():
        write_npz(file, makers[name](generator, folder / "task"))
    return files


def generated(generator: Generator, task: Path) -> Arrays:
    """Curves for the rows of generation.csv."""
    requested = pd.read_csv(task / "generation.csv")
    flow = generator.sample(requested.drop(columns="id"), DRAWS["generation"], SEED)
    return {"id": requested["id"].to_numpy(str), "flow_l_s": flow, "smooth": np.array(True)}


def blown(generator: Generator, task: Path) -> Arrays:
    """Sessions for the rows of sessions.csv."""
    efforts = pd.read_csv(task / "sessions.csv")
    more, slot = np.divmod(efforts["place"].to_numpy() - 1, PLACES)  # a set holds PLACES efforts; the rest are another
    sets = efforts.assign(person=efforts["person"] * (1 + PLACES) + more, place=slot + 1)
    drawn = draw_sessions(generator, sets.drop(columns="id"), SEED)
    arrays = {"id": efforts["id"].to_numpy(str), "grade": drawn.table["grade"].to_numpy(str)}
    return arrays | {"flow_l_s": drawn.signals, "smooth": np.array(True)}


def completed(reconstructor: Path, source: Source, generator: Generator, task: Path) -> Arrays:
    """Volumes of the efforts of completion.npz, which are the protocol's cases."""
    del task
    model, cases = load_reconstructor(reconstructor, generator), protocol.completion(source)
    draws = DRAWS["completion"]
    drawn = [completion.draw(model, case, draws, SEED + i)[1] for i, case in enumerate(cases)]
    volumes = {name: np.concatenate([one[name] for one in drawn]) for name in ("fvc", "fef2575")}
    return {"id": np.concatenate([protocol.case_ids(case) for case in cases]), **volumes}


def examples(tasks: list[Task], folder: Path) -> dict[Task, Path]:
    """The submissions of the tasks that the code of the page makes."""
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
        subprocess.run([sys.executable, "-c", block], cwd=folder, check=True)
    return {name: folder / EXAMPLES[name] for name in tasks}


def main() -> None:
    """Draw, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--metrics", type=Path, default=Path("metrics"))
    parser.add_argument("--table", type=Path, default=Path("benchmarks/table.md"))
    parser.add_argument("--tasks", nargs="+", choices=[*DRAWS], default=[*DRAWS])
    options = parser.parse_args()
    tasks: list[Task] = options.tasks
    source, date = Source.of(options.data), datetime.date.today().isoformat()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task.prepare(source, folder / "task")
        for label, made in ((EXAMPLE, partial(examples, tasks)), ("", partial(draw, options.models, source, tasks))):
            for what, file in made(folder).items():
                found = score.score(what, source, options.metrics, file, label or AGAIN[what])
                table.update(options.table, found, date)
                print(f"{what}: {', '.join(found.rows)} ({time.perf_counter() - began:.0f} s)", flush=True)
                for note in found.notes:
                    print(f"  {note}", flush=True)


if __name__ == "__main__":
    main()
