"""Read a submission (NPZ), bring it into the task's order, and reject what does not fit with a one-line error."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.benchmark.protocol import DRAWS, Task
from spiro_diffusion.core.artifacts import read_npz
from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.core.vocabulary import GRADES
from spiro_diffusion.physiology import time_grid

FLOW = "flow_l_s"
VOLUMES = ("fvc", "fef2575")  # of completions that are no curves: L, L/s
SESSION = ("person", "test_type")  # an effort's session: whose, and before or after the bronchodilator
MOST = {FLOW: 30.0, "fvc": 20.0, "fef2575": 30.0}  # L/s, L: the median of the largest values lies below in any unit
SEE = "see docs/benchmark.md"


class Curves(NamedTuple):
    """Signals (n, draws, 512) L/s in the order of the task; `smooth`: means without flutter from the first bin on."""

    signals: NDArray[np.float32]
    smooth: bool


class Sessions(NamedTuple):
    """Efforts in the order of the task: signals (n, 512) L/s, grades (n,) A to D; `smooth` as of `Curves`."""

    signals: NDArray[np.float32]
    grades: NDArray[np.str_]
    smooth: bool


def read_curves(path: Path, ids: Sequence[str]) -> Curves:
    """The curves of a submission, one row for each of `ids`; 10 ms samples are brought to the 512 bins.

    Raises SpiroError where the file, an array, an id, a number or the unit is not what it should be.
    """
    arrays, order = _read(path, ids)
    smooth = _smooth(path, arrays)
    return Curves(_signals(path, arrays, len(ids), "generation")[order], smooth)


def read_sessions(path: Path, requested: pd.DataFrame) -> Sessions:
    """The efforts of a submission for the rows of `protocol.sessions`.

    Raises SpiroError as `read_curves` does, and where a grade is none, or `person` or `test_type`, which may be
    repeated from the task, put an effort into another session than the task does.
    """
    arrays, order = _read(path, requested["id"].tolist())
    smooth = _smooth(path, arrays)
    grades = _texts(path, arrays, "grade", order)
    if foreign := sorted(set(grades.tolist()) - set(GRADES)):
        raise SpiroError(f"{path}: grade {printable(foreign[0])}; expected one of {', '.join(GRADES)}; {SEE}")
    for name in SESSION:
        if name not in arrays:
            continue
        texts = _texts(path, arrays, name, order)
        if len(wrong := np.flatnonzero(texts != requested[name].to_numpy(str))):
            row = requested.iloc[wrong[0]]
            raise SpiroError(
                f"{path}: {name} of the effort {row['id']} is {printable(texts[wrong[0]])}, in sessions.csv {row[name]}"
                "; efforts stay in the sessions of the task"
            )
    if FLOW in arrays and arrays[FLOW].ndim == 2:
        arrays[FLOW] = arrays[FLOW][:, None]
    signals = _signals(path, arrays, len(requested), "sessions")
    if signals.shape[1] != 1:
        raise SpiroError(f"{path}: {FLOW} has {signals.shape[1]} curves an effort; a session is one draw; {SEE}")
    return Sessions(signals[order, 0], grades, smooth)


def _smooth(path: Path, arrays: dict[str, NDArray]) -> bool:
    smooth = arrays.get("smooth", np.array(False))
    if smooth.shape != () or smooth.dtype.kind not in "biu":
        raise SpiroError(f"{path}: smooth is {smooth.dtype} {smooth.shape}; expected one true or false; {SEE}")
    return bool(smooth)


def _texts(path: Path, arrays: dict[str, NDArray], name: str, order: NDArray[np.int64]) -> NDArray[np.str_]:
    """A column (n,) of texts or whole numbers, as texts in the task's order."""
    if name not in arrays:
        raise SpiroError(f"{path}: has no array {name}, only {_named(arrays)}; {SEE}")
    values = arrays[name]
    if values.shape != order.shape or values.dtype.kind not in "Uiu":
        raise SpiroError(f"{path}: {name} is {values.dtype} {values.shape}; expected one for each id; {SEE}")
    return values[order].astype(str)


def read_completions(path: Path, ids: Sequence[str]) -> dict[str, NDArray[np.float64]] | NDArray[np.float32]:
    """Completed curves (n, draws, 512) L/s; or where the file has none, `fvc` (n, draws) L and perhaps `fef2575` L/s.

    Raises SpiroError as `read_curves` does.
    """
    arrays, order = _read(path, ids)
    if FLOW in arrays:
        return _signals(path, arrays, len(ids), "completion")[order]
    if "fvc" not in arrays:
        raise SpiroError(f"{path}: has neither {FLOW} nor fvc, only {_named(arrays)}; {SEE}")
    least = DRAWS["completion"]
    found = {name: _numbers(path, name, arrays[name]) for name in VOLUMES if name in arrays}
    for name, values in found.items():
        if values.ndim != 2 or len(values) != len(ids) or values.shape[1] < least:
            raise SpiroError(
                f"{path}: {name} is {values.shape}; expected ({len(ids)}, draws) with {least} draws or more; {SEE}"
            )
        _check_unit(path, name, values)
    return {name: values[order].astype(np.float64) for name, values in found.items()}


def _read(path: Path, ids: Sequence[str]) -> tuple[dict[str, NDArray], NDArray[np.int64]]:
    """All arrays, and the row of each of `ids`."""
    if not path.is_file():
        raise SpiroError(f"{path}: no such file; name the .npz that holds the curves; {SEE}")
    arrays = read_npz(path)
    if "id" not in arrays:
        raise SpiroError(f"{path}: has no array id, only {_named(arrays)}; {SEE}")
    ids_of_file = arrays["id"]
    if ids_of_file.ndim != 1 or ids_of_file.dtype.kind != "U":
        raise SpiroError(
            f"{path}: id is {ids_of_file.dtype} {ids_of_file.shape}; expected the task's ids as texts (n,); {SEE}"
        )
    row = {name: i for i, name in enumerate(ids_of_file.tolist())}
    absent, unknown = [name for name in ids if name not in row], row.keys() - set(ids)
    if absent or unknown or len(row) != len(ids_of_file):
        differences = f"{len(absent)} missing, {len(unknown)} unknown, {len(ids_of_file) - len(row)} twice"
        first = printable((absent or sorted(unknown) or ["none"])[0])
        raise SpiroError(
            f"{path}: of {len(ids)} ids {differences} (the first: {first}); give each id of `spiro benchmark prepare` "
            "on these data once"
        )
    return arrays, np.array([row[name] for name in ids])


def _signals(path: Path, arrays: dict[str, NDArray], count: int, task: Task) -> NDArray[np.float32]:
    """Signals (count, draws, 512) of the array `flow_l_s`."""
    if FLOW not in arrays:
        raise SpiroError(f"{path}: has no array {FLOW}, only {_named(arrays)}; {SEE}")
    flow, least, widths = _numbers(path, FLOW, arrays[FLOW]), DRAWS[task], (time_grid.N_SAMPLES, time_grid.N_10MS)
    if flow.ndim != 3 or len(flow) != count or flow.shape[1] < least or flow.shape[2] not in widths:
        raise SpiroError(
            f"{path}: {FLOW} is {flow.shape}; expected ({count}, draws, {widths[0]} or {widths[1]}) with {least} "
            f"draws or more; {SEE}"
        )
    _check_unit(path, FLOW, flow.max(axis=2))
    signals = flow.astype(np.float32)
    if flow.shape[2] == time_grid.N_SAMPLES:
        return signals
    flat = signals.reshape(-1, time_grid.N_10MS)
    return time_grid.to_grid(flat, np.full(len(flat), time_grid.LEAD_S)).reshape(*flow.shape[:2], -1)


def _numbers(path: Path, name: str, values: NDArray) -> NDArray:
    """The array, all of whose values are finite numbers."""
    if values.dtype.kind not in "fiu":
        raise SpiroError(f"{path}: {name} is {values.dtype}; expected numbers as float32; {SEE}")
    bad = ~np.isfinite(values)
    if bad.any():
        raise SpiroError(
            f"{path}: {name} has {int(bad.sum())} of {bad.size} values that are NaN or infinite; draw again"
        )
    return values


def _check_unit(path: Path, name: str, largest: NDArray) -> None:
    middle, unit = float(np.median(largest)), "L" if name == "fvc" else "L/s"
    if middle > MOST[name]:
        what = "the median peak" if name == FLOW else "the median"
        raise SpiroError(
            f"{path}: {what} of {name} is {middle:.0f}, more than any person's in {unit}; give {unit} at BTPS, not mL "
            "or L/min"
        )


def _named(arrays: dict[str, NDArray]) -> str:
    return printable(", ".join(sorted(arrays)) or "nothing")
