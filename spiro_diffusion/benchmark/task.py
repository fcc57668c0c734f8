"""Write the task folder of the benchmark: conditions, interrupted efforts, splits, time grid, description."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spiro_diffusion.benchmark import protocol
from spiro_diffusion.benchmark.protocol import CONDITIONS, DRAWS, SESSION_CONDITIONS, Source
from spiro_diffusion.core.artifacts import write_json, write_npz, write_text
from spiro_diffusion.core.version import VERSION
from spiro_diffusion.dataset.raw_curves import read_table
from spiro_diffusion.dataset.splits import PARTS, hash_value
from spiro_diffusion.physiology import time_grid

FILES = ("generation.csv", "sessions.csv", "completion.npz", "splits.csv", "grid.csv", "task.json")


def prepare(source: Source, out: Path) -> list[Path]:
    """Write FILES (docs/benchmark.md) into the folder `out`; no truth of a held-out curve is among them.

    Raises SpiroError where the data are missing or of too few participants.
    """
    requested, efforts, cases = protocol.generation(source), protocol.sessions(source), protocol.completion(source)
    table = read_table(source.curves, ["seqn"])
    _write_table(out / "generation.csv", requested[["id", *CONDITIONS]])
    _write_table(out / "sessions.csv", efforts[["id", *SESSION_CONDITIONS]])
    people = pd.concat([case.people for case in cases])
    write_npz(
        out / "completion.npz",
        {
            "id": np.concatenate([protocol.case_ids(case) for case in cases]),
            "case": np.repeat([case.how.name for case in cases], [len(case.rows) for case in cases]),
            "flow_l_s": np.concatenate([case.signals for case in cases]).astype(np.float32),
            "seen": np.concatenate([case.trusted for case in cases]),
            **{name: people[name].to_numpy(float) for name in ("age", "height", "sex")},
            "edges_s": time_grid.EDGES_S,
        },
    )
    _write_table(out / "splits.csv", splits(table["seqn"].unique()))
    edges = np.round(time_grid.EDGES_S, 6)
    _write_table(out / "grid.csv", pd.DataFrame({"begin_s": edges[:-1], "end_s": edges[1:]}))
    counts = {
        "generation": len(requested),
        "sessions": len(efforts),
        **{case.how.name: len(case.rows) for case in cases},
    }
    write_json(out / "task.json", about(source, counts))
    return [out / name for name in FILES]


def splits(seqn: np.ndarray) -> pd.DataFrame:
    """`seqn`, `u` (0 to 99, `splits.hash_value`) and `part` of each participant (n,)."""
    u = hash_value(seqn)
    ends = [high for _, high in PARTS.values()]
    part = np.array(list(PARTS))[np.searchsorted(ends, u, side="right")]
    return pd.DataFrame({"seqn": seqn, "u": u, "part": part})


def about(source: Source, counts: dict[str, int]) -> dict[str, Any]:
    """What the task is, for `task.json`; `counts`: rows of the tasks of generation and sessions, and of each case."""
    return {
        "version": VERSION,
        "source": source.source,
        "judged_part": source.part,
        "rows": counts,
        "least_draws": DRAWS,
        "units": {"flow_l_s": "L/s at BTPS", "age": "years", "height": "cm", "sex": "1 male, 2 female"},
        "bins": time_grid.N_SAMPLES,
        "samples_of_10_ms": time_grid.N_10MS,
        "begins_s": -time_grid.LEAD_S,
        "rules": [
            "train on the participants of the part train alone; choose by those of the part choosing",
            "draw the sessions of a person as of one lung, and their grades; each effort once",
            "complete each row of completion.npz from that row alone",
            "not for diagnosis",
        ],
    }


def _write_table(path: Path, table: pd.DataFrame) -> None:
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
