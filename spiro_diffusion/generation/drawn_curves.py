"""Curves as a user gets them: long tables, arrays, indices with z-scores, and a picture."""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from spiro_diffusion.core.artifacts import atomic
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.subjects import check_range, conditioned
from spiro_diffusion.physiology import ats_ers, reference, spirometry, time_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Grid = Literal["10ms", "512"]
ENDINGS = (".csv", ".parquet", ".npz")
RESERVED = ("time_s", "edges_s", "flow_l_s", "volume_l", "person", "draw")  # names of our own arrays
SHOWN = ("fev1", "fvc", "ratio", "pef", "fef2575", "fev6", "bev", "fet")  # L, L, -, L/s, L/s, L, L, s
Z_SCORES = ("fev1", "fvc", "ratio")  # GLI Global has no others
CHUNK = 256  # curves a piece of a long table: 524,288 rows, 20 MB
GLI_RANGE = {"age": (3.0, 95.0), "height": (60.0, 230.0)}  # years (Bowerman 2023); cm: only to catch another unit
LEGEND = 6  # people; with more, colours cannot be told apart
SHOWN_S = 10.0  # of a curve in the picture


class Sampled(NamedTuple):
    """Some curves on one grid: `time` (T,) s from time zero, `flow` (m, T) L/s, `volume` (m, T) L."""

    time: NDArray[np.float64]
    flow: NDArray[np.float32]
    volume: NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class Curves:
    """N generated curves of the people in a table.

    `signals` (N, 512) float32, L/s at BTPS: mean flow of each bin of the warped grid, between `grid.EDGES_S`.
    `person` (N,): row of `people`, `draw` (N,): number among that person's.

    On the 10 ms axis, made when first asked for: `time` (2048,), s from time zero, from -0.50; `flow` (N, 2048)
    float32, L/s: mean of the 10 ms that begin at each of `time`; `volume` (N, 2048) float32, L: expired until then.
    """

    people: pd.DataFrame
    person: NDArray[np.int64]
    draw: NDArray[np.int64]
    signals: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.person)

    @functools.cached_property
    def _fine(self) -> Sampled:
        return sampled(self.signals, "10ms")

    @property
    def time(self) -> NDArray[np.float64]:
        return self._fine.time

    @property
    def flow(self) -> NDArray[np.float32]:
        return self._fine.flow

    @property
    def volume(self) -> NDArray[np.float32]:
        return self._fine.volume

    def indices(self) -> pd.DataFrame:
        """Person, draw, age, height, sex, the indices in SHOWN (L, L/s, s) and GLI Global z-scores: a row a curve."""
        people = self.people.iloc[self.person].reset_index(drop=True)
        keys = pd.DataFrame({"person": self.person, "draw": self.draw, **people[["age", "height", "sex"]]})
        return keys.join(indices_table(self.flow, ends(self.flow), people["age"], people["height"], people["sex"]))

    def to_pandas(self, *, wide: bool = False, grid: Grid = "10ms") -> pd.DataFrame:
        """A row a sample: person, draw, time_s, flow_l_s, volume_l. Or `wide`, a row a curve: person, draw, age,
        height, sex, and flow (L/s) in a column a sample, t_-0.50 and so on, named by the time (s) it begins at.

        `grid` "512" gives the 512 samples of the warped grid instead of one each 10 ms.
        """
        return _piece(self, slice(None), wide, grid)

    def plot(self, path: str | Path | None = None) -> "Figure":
        """Flow against volume and volume against time, a colour a person; with `path` also written there as PNG."""
        import matplotlib as mpl  # noqa: PLC0415 (a second of imports that most commands do without)

        from spiro_diffusion.plotting import style  # noqa: PLC0415

        with mpl.rc_context(style.STYLE):
            figure = _figure(self)
        if path is not None:
            style.save(Path(path), lambda: figure)
        return figure


def from_signals(signals: NDArray, people: pd.DataFrame) -> Curves:
    """Curves of signals (people, draws, 512) in L/s."""
    n, draws, samples = signals.shape
    return Curves(people, np.repeat(np.arange(n), draws), np.tile(np.arange(draws), n), signals.reshape(-1, samples))


def sampled(signals: NDArray[np.float32], on: Grid) -> Sampled:
    """Signals (m, 512) in L/s on the axis of 10 ms from -0.50 s, or as they are, with the volumes at each begin."""
    if on == "512":
        return Sampled(time_grid.EDGES_S[:-1].round(4), signals, time_grid.volume(signals)[:, :-1].astype(np.float32))
    time = np.round(np.arange(time_grid.N_10MS) * spirometry.SAMPLE_PERIOD_S - time_grid.LEAD_S, 2)
    flow = time_grid.to_10ms(signals)
    volume = np.empty_like(flow)
    for start in range(0, len(flow), CHUNK):
        rows = slice(start, start + CHUNK)
        volume[rows] = spirometry.volume(flow[rows])[:, :-1]
    return Sampled(time, flow, volume)


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
        with np.errstate(invalid="ignore"):  # what is breathed in has no z-score: NaN
            for name in Z_SCORES:
                table[f"{name}_z"] = reference.gli_global(name, age, height, sex).z(table[name])
    return table


def person_table(
    flow: NDArray, points: NDArray, age: float | None, height: float | None, sex: str | None
) -> pd.DataFrame:
    """Indices of one person's own efforts; with age, height and sex z-scores, acceptability and the grades of the
    session (ATS/ERS 2019).

    Raises SpiroError where GLI Global has no values for such a person.
    """
    if age is None:
        return indices_table(flow, points)
    people = pd.DataFrame({"age": [age], "height": [height], "sex": [sex]}).iloc[np.zeros(len(flow), int)]
    return _judged_table(flow, points, conditioned(people), np.zeros(len(flow), int))


def people_table(
    flow: NDArray, points: NDArray, about: pd.DataFrame, age: float | None, height: float | None, sex: str | None
) -> pd.DataFrame:
    """As `person_table`, of NHANES's efforts: `about` (n rows) has seqn and test_type, and age, height and sex where
    they are known. The efforts of a participant before, and those after the bronchodilator, are a session each.

    Raises SpiroError where age, height and sex are given for several participants.
    """
    if age is not None:
        if about["seqn"].nunique() > 1:
            raise SpiroError(f"{about['seqn'].nunique()} participants are not one of {age:g} years; choose by --seqn")
        about = about.assign(age=age, height=height, sex=sex)
    if "age" not in about:
        return indices_table(flow, points)
    table = indices_table(flow, points)
    people = about[["age", "height", "sex"]]
    known = people.notna().all(axis=1).to_numpy()
    if known.any():
        session = about.groupby(["seqn", "test_type"], sort=False).ngroup().to_numpy()
        judged = _judged_table(flow[known], points[known], conditioned(people[known]), session[known])
        table = table.join(judged.drop(columns=list(table)).set_index(table.index[known]))
    return table


def _judged_table(flow: NDArray, points: NDArray, people: pd.DataFrame, session: NDArray) -> pd.DataFrame:
    """Indices, z-scores, acceptability and session grades of n efforts of `people` (n rows) in sessions (n,)."""
    check_range(people, GLI_RANGE, "z-scores are given for")
    age = people["age"].to_numpy(np.float64)
    table = indices_table(flow, points, age, people["height"].to_numpy(), people["sex"].to_numpy())
    judged = ats_ers.judge_sessions(spirometry.indices(flow, points), age, session)
    return table.join(judged.drop(columns=["usable_fev1", "usable_fvc"]))


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


def write_curves(
    path: Path, curves: Curves, progress: bool = False, *, wide: bool = False, grid: Grid = "10ms"
) -> None:
    """Write curves by the file's ending: a CSV or Parquet table as `Curves.to_pandas` gives it, or NPZ arrays.

    NPZ has time_s (T,), flow_l_s and volume_l (N, T), person and draw (N,), on the 512-sample grid edges_s (513,),
    and the people's columns (n,), texts with "" for what is unknown.
    """
    check_ending(path, ENDINGS)
    with atomic(path) as part:
        if path.suffix.lower() == ".npz":
            _write_npz(part, curves, grid)
            return
        starts = range(0, len(curves), CHUNK)
        bar = tqdm(starts, desc=f"write {path.name}", unit="piece", disable=not progress, delay=1)
        pieces = (_piece(curves, slice(start, start + CHUNK), wide, grid) for start in bar)
        if path.suffix.lower() == ".csv":
            with part.open("w", encoding="utf-8", newline="") as file:
                for i, piece in enumerate(pieces):
                    piece.to_csv(file, index=False, header=i == 0, lineterminator="\n")
        else:
            write_parquet(part, pieces)


def write_indices(path: Path, table: pd.DataFrame) -> None:
    """Write a table of indices as CSV: volumes to 0.1 mL."""
    with atomic(path) as part:
        table.round(4).to_csv(part, index=False, lineterminator="\n")


def who(people: pd.DataFrame) -> str:
    """One person in words, or how many."""
    return describe(people.iloc[0]) if len(people) == 1 else f"{len(people)} people"


def describe(person: pd.Series) -> str:
    """A person in words."""
    return f"{reference.SEXES[int(person['sex'])]}, {person['age']:g} y, {person['height']:g} cm"


def write_parquet(path: Path, pieces: Iterator[pd.DataFrame]) -> None:
    """Write tables of the same columns as one Parquet table, a row group each."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    writer = None
    for piece in pieces:
        table = pa.Table.from_pandas(piece, preserve_index=False)
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _piece(curves: Curves, rows: slice, wide: bool, on: Grid) -> pd.DataFrame:
    time, exact, volume = sampled(curves.signals[rows], on)
    flow = exact.astype(np.float64).round(4)  # 0.1 mL/s
    keys = {"person": curves.person[rows], "draw": curves.draw[rows]}
    if wide:
        people = curves.people.iloc[keys["person"]][["age", "height", "sex"]].reset_index(drop=True)
        names = [f"t_{t:.{2 if on == '10ms' else 4}f}" for t in time]
        return pd.concat([pd.DataFrame(keys), people, pd.DataFrame(flow, columns=names)], axis=1)
    return pd.DataFrame(
        {
            **{name: np.repeat(column, len(time)) for name, column in keys.items()},
            "time_s": np.tile(time, len(flow)),
            "flow_l_s": flow.ravel(),
            "volume_l": volume.ravel().astype(np.float64).round(5),  # 0.01 mL
        }
    )


def _write_npz(part: Path, curves: Curves, on: Grid) -> None:
    arrays: dict[str, NDArray] = {}
    for name, column in curves.people.items():
        plain = column.dtype.kind in "iufb"
        texts = ["" if pd.isna(v) else str(v) for v in column]
        arrays[str(name)] = column.to_numpy() if plain else np.array(texts, dtype=np.str_)
    time, flow, volume = sampled(curves.signals, on)
    arrays |= {"time_s": time, "flow_l_s": flow, "volume_l": volume, "person": curves.person, "draw": curves.draw}
    if on == "512":
        arrays["edges_s"] = time_grid.EDGES_S
    with part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _figure(curves: Curves) -> "Figure":
    from matplotlib.figure import Figure  # noqa: PLC0415

    from spiro_diffusion.plotting import style  # noqa: PLC0415

    few = len(curves.people) <= LEGEND
    named = few and len(curves.people) > 1
    # blue, vermilion, green, ...: safe for the colour blind
    colours = (style.SERIES[0], style.ALERT, *style.SERIES[4:])
    alpha = float(np.clip(6 / np.sqrt(len(curves)), 0.15, 0.8))
    last = np.minimum(ends(curves.flow), int((curves.time < SHOWN_S).sum()))
    canvas = Figure(figsize=(9.6, 4.4), layout="constrained")
    loops, spirograms = canvas.subplots(1, 2)
    for i, (person, end) in enumerate(zip(curves.person, last, strict=True)):
        label = describe(curves.people.iloc[person]) if named and curves.draw[i] == 0 else None
        line: Any = {"color": colours[person] if few else colours[0], "lw": 0.9, "alpha": alpha}
        smooth = np.convolve(curves.flow[i], np.ones(3) / 3, mode="same")  # 30 ms, as a spirometer's screen shows it
        loops.plot(curves.volume[i], smooth, label=label, **line)
        spirograms.plot(curves.time[:end], curves.volume[i, :end], **line)
    loops.set(xlabel="volume (L)", ylabel="flow (L/s)")
    spirograms.set(xlabel="time (s)", ylabel="volume (L)")
    for ax in (loops, spirograms):
        ax.axhline(0, color="#cccccc", lw=0.6, zorder=0)
    canvas.suptitle(f"{len(curves)} generated curves: {who(curves.people)}", fontsize=11)
    if named:
        for line in loops.legend(fontsize=8).get_lines():
            line.set_alpha(1)
    return canvas
