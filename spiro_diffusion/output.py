"""Curves as a user gets them: long tables, arrays, indices with z-scores, and a picture."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from spiro_diffusion import grid, quality, reference, spirometry
from spiro_diffusion.artifacts import atomic
from spiro_diffusion.errors import SpiroError
from spiro_diffusion.people import check_range, conditioned

ENDINGS = (".csv", ".parquet", ".npz")
RESERVED = ("time_s", "flow_l_s", "volume_l", "person", "draw")  # names of our own arrays
SHOWN = ("fev1", "fvc", "ratio", "pef", "fef2575", "fev6", "bev", "fet")  # L, L, -, L/s, L/s, L, L, s
Z_SCORES = ("fev1", "fvc", "ratio")  # GLI Global has no others
CHUNK = 256  # curves a piece of a long table: 524,288 rows, 20 MB
GLI_RANGE = {"age": (3.0, 95.0), "height": (60.0, 230.0)}  # years (Bowerman 2023); cm: only to catch another unit
LEGEND = 6  # people; with more, colours cannot be told apart
SHOWN_S = 10.0  # of a curve in the picture


@dataclasses.dataclass(frozen=True)
class Curves:
    """N curves of the people in a table.

    `flow` (N, T) float32, L/s at BTPS: mean of the 10 ms that begin at each of `time`. `volume` (N, T) float32,
    L: expired until then. `time` (T,), s from time zero. `person` (N,): row of `people`, `draw` (N,): number
    among that person's.
    """

    people: pd.DataFrame
    person: NDArray[np.int64]
    draw: NDArray[np.int64]
    time: NDArray[np.float64]
    flow: NDArray[np.float32]
    volume: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.person)


def from_signals(signals: NDArray, people: pd.DataFrame) -> Curves:
    """Curves on the 10 ms axis from -0.50 s, of signals (people, draws, 512) in L/s."""
    n, draws, samples = signals.shape
    flow = grid.to_10ms(signals.reshape(n * draws, samples))
    volume = np.empty_like(flow)
    for start in range(0, len(flow), CHUNK):
        rows = slice(start, start + CHUNK)
        volume[rows] = spirometry.volume(flow[rows])[:, :-1]
    time = np.round(np.arange(grid.N_10MS) * spirometry.SAMPLE_PERIOD_S - grid.LEAD_S, 2)
    return Curves(people, np.repeat(np.arange(n), draws), np.tile(np.arange(draws), n), time, flow, volume)


def ends(flow: NDArray) -> NDArray[np.int64]:
    """Samples (n,) up to the last with flow, of flow (n, T): a generated curve is 0 after its end."""
    return np.where((flow != 0).any(axis=1), flow.shape[1] - (flow[:, ::-1] != 0).argmax(axis=1), 0)


def indices_table(flow: NDArray, points: NDArray, age: Any = None, height: Any = None, sex: Any = None) -> pd.DataFrame:
    """Indices of flow (n, T) in L/s of each 10 ms, of which `points` (n,) are the curve: those in SHOWN, a row a curve.

    With age (years), height (cm) and sex (1 or 2), one each or (n,), also GLI Global z-scores: fev1_z, fvc_z, ratio_z.
    """
    found = spirometry.indices(flow, points).to_pandas()
    found["ratio"] = found["fev1"] / found["fvc"]
    table = found[list(SHOWN)].copy()
    if age is not None:
        for name in Z_SCORES:
            table[f"{name}_z"] = reference.gli_global(name, age, height, sex).z(table[name])
    return table


def person_table(
    flow: NDArray, points: NDArray, age: float | None, height: float | None, sex: str | None
) -> pd.DataFrame:
    """Indices of one person's own efforts; with age, height and sex z-scores and acceptability (ATS/ERS 2019).

    Raises SpiroError where GLI Global has no values for such a person.
    """
    if age is None:
        return indices_table(flow, points)
    person = conditioned(pd.DataFrame({"age": [age], "height": [height], "sex": [sex]})).iloc[0]
    check_range(person.to_frame().T, GLI_RANGE, "z-scores are given for")
    table = indices_table(flow, points, person["age"], person["height"], person["sex"])
    judged = quality.judge_2019(spirometry.indices(flow, points), np.full(len(flow), age))
    return table.assign(acceptable_fev1=judged.fev1, acceptable_fvc=judged.fvc)


def indices(curves: Curves) -> pd.DataFrame:
    """Person, draw, age, height, sex, indices and z-scores of each curve."""
    people = curves.people.iloc[curves.person].reset_index(drop=True)
    keys = pd.DataFrame({"person": curves.person, "draw": curves.draw, **people[["age", "height", "sex"]]})
    return keys.join(indices_table(curves.flow, ends(curves.flow), people["age"], people["height"], people["sex"]))


def check_paths(paths: list[Path], force: bool) -> None:
    """Raises SpiroError where a file is there already and `force` is not given."""
    for path in paths:
        if path.is_dir():
            raise SpiroError(f"{path}: is a folder; name a file")
        if path.exists() and not force:
            raise SpiroError(f"{path}: is there already; give another name, or --force to write over it")


def check_ending(path: Path, endings: tuple[str, ...]) -> None:
    """Raises SpiroError where a file's ending is none of `endings`."""
    if path.suffix.lower() not in endings:
        raise SpiroError(f"{path}: ending {path.suffix!r} is not known; expected {', '.join(endings)}")


def check_columns(people: pd.DataFrame) -> None:
    """Raises SpiroError where a column of the people is named as one of the output's own."""
    taken = [name for name in RESERVED if name in people]
    if taken:
        raise SpiroError(f"people: column {taken[0]!r} is a name of the output; rename it")


def indices_path(out: Path) -> Path:
    """Where the table of indices goes, beside the curves."""
    return out.with_name(f"{out.stem}_indices.csv")


def write_curves(path: Path, curves: Curves, progress: bool = False) -> None:
    """Write curves by the file's ending: a long CSV or Parquet table, or NPZ arrays.

    The table has person, draw, time_s, flow_l_s, volume_l. NPZ has time_s (T,), flow_l_s and volume_l (N, T),
    person and draw (N,), and the people's columns (n,), texts with "" for what is unknown.
    """
    check_ending(path, ENDINGS)
    with atomic(path) as part:
        if path.suffix.lower() == ".npz":
            _write_npz(part, curves)
        elif path.suffix.lower() == ".csv":
            with part.open("w", encoding="utf-8", newline="") as file:
                for i, piece in enumerate(_pieces(curves, path, progress)):
                    piece.to_csv(file, index=False, header=i == 0, lineterminator="\n")
        else:
            _write_parquet(part, _pieces(curves, path, progress))


def write_indices(path: Path, table: pd.DataFrame) -> None:
    """Write a table of indices as CSV: volumes to 0.1 mL."""
    with atomic(path) as part:
        table.round(4).to_csv(part, index=False, lineterminator="\n")


def plot(path: Path, curves: Curves) -> None:
    """A PNG of flow against volume and volume against time, a colour a person."""
    from matplotlib.figure import Figure  # noqa: PLC0415 (a second of imports that most commands do without)

    from spiro_diffusion import plots  # noqa: PLC0415

    few = len(curves.people) <= LEGEND
    colours = (
        plots.SERIES[0],
        plots.ALERT,
        *plots.SERIES[4:],
    )  # blue, vermilion, green, ...: safe for the colour blind
    alpha = float(np.clip(6 / np.sqrt(len(curves)), 0.15, 0.8))
    last = np.minimum(ends(curves.flow), int((curves.time < SHOWN_S).sum()))

    def draw() -> Figure:
        canvas = Figure(figsize=(9.6, 4.4), layout="constrained")
        loops, spirograms = canvas.subplots(1, 2)
        for i in range(len(curves)):
            person = curves.person[i]
            label = None
            if few and curves.draw[i] == 0 and len(curves.people) > 1:
                label = describe(curves.people.iloc[person])
            style: Any = {"color": colours[person] if few else colours[0], "lw": 0.9, "alpha": alpha}
            smooth = np.convolve(
                curves.flow[i], np.ones(3) / 3, mode="same"
            )  # 30 ms, as a spirometer's screen shows it
            loops.plot(curves.volume[i], smooth, label=label, **style)
            spirograms.plot(curves.time[: last[i]], curves.volume[i, : last[i]], **style)
        loops.set(xlabel="volume (L)", ylabel="flow (L/s)")
        spirograms.set(xlabel="time (s)", ylabel="volume (L)")
        for ax in (loops, spirograms):
            ax.axhline(0, color="#cccccc", lw=0.6, zorder=0)
        who = describe(curves.people.iloc[0]) if len(curves.people) == 1 else f"{len(curves.people)} people"
        canvas.suptitle(f"{len(curves)} generated curves: {who}", fontsize=11)
        if few and len(curves.people) > 1:
            for line in loops.legend(fontsize=8).get_lines():
                line.set_alpha(1)
        return canvas

    plots.save(path, draw)


def describe(person: pd.Series) -> str:
    """A person in words."""
    return f"{reference.SEXES[int(person['sex'])]}, {person['age']:g} y, {person['height']:g} cm"


def _pieces(curves: Curves, path: Path, progress: bool) -> Iterator[pd.DataFrame]:
    samples = len(curves.time)
    starts = range(0, len(curves), CHUNK)
    for start in tqdm(starts, desc=f"write {path.name}", unit="piece", disable=not progress, delay=1):
        rows = slice(start, start + CHUNK)
        count = len(curves.person[rows])
        yield pd.DataFrame(
            {
                "person": np.repeat(curves.person[rows], samples),
                "draw": np.repeat(curves.draw[rows], samples),
                "time_s": np.tile(curves.time, count),
                "flow_l_s": curves.flow[rows].ravel().astype(np.float64).round(4),  # 0.1 mL/s
                "volume_l": curves.volume[rows].ravel().astype(np.float64).round(5),  # 0.01 mL
            }
        )


def _write_parquet(part: Path, pieces: Iterator[pd.DataFrame]) -> None:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    writer = None
    for piece in pieces:
        table = pa.Table.from_pandas(piece, preserve_index=False)
        writer = writer or pq.ParquetWriter(part, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _write_npz(part: Path, curves: Curves) -> None:
    arrays: dict[str, NDArray] = {}
    for name, column in curves.people.items():
        plain = column.dtype.kind in "iufb"
        texts = ["" if pd.isna(v) else str(v) for v in column]
        arrays[str(name)] = column.to_numpy() if plain else np.array(texts, dtype=np.str_)
    arrays |= {"time_s": curves.time, "flow_l_s": curves.flow, "volume_l": curves.volume}
    arrays |= {"person": curves.person, "draw": curves.draw}
    with part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
