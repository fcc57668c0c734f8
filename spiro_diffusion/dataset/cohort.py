"""Join curves to participants, filter them, split the participants, and count the exclusions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.dataset import raw_curves as curves
from spiro_diffusion.nhanes.codebook import CYCLES
from spiro_diffusion.physiology import ats_ers, spirometry


class Joined(NamedTuple):
    """Where a column about participants comes from."""

    table: str
    columns: tuple[str, ...]  # of the CDC; of several, which are in some cycles only, the first that has a value
    every_cycle: bool = True
    words: Mapping[float, str] | None = None  # of the CDC's codes; any other code is treated as missing


_SPXRAW = ["SEQN", "SPAMANU", "SPAFACT", "SPXPTS", "SPATTYPE", "SPAPOS", "SPAPLAT", "SPAACC", "SPAQEFF"]
PARTICIPANT: dict[str, Joined] = {  # a further one is a line here, one in `schema`, and its file in nhanes.codebook
    "age": Joined("DEMO", ("RIDAGEYR",)),
    "age_months": Joined("DEMO", ("RIDEXAGM", "RIDAGEEX"), every_cycle=False),  # in G up to 19 years, else up to 79
    "height": Joined("BMX", ("BMXHT",)),
    "weight": Joined("BMX", ("BMXWT",)),
    "sex": Joined("DEMO", ("RIAGENDR",)),
    "ethnicity": Joined("DEMO", ("RIDRETH1",)),
    "ethnicity3": Joined("DEMO", ("RIDRETH3",), every_cycle=False),
    "mec_weight": Joined("DEMO", ("WTMEC2YR",)),
}


def cycles(repaired: Path) -> list[str]:
    """The cycles whose raw curves lie in a folder, in order.

    Raises SpiroError where there is none.
    """
    found = [cycle for cycle in CYCLES if (repaired / f"SPXRAW_{cycle}.parquet").exists()]
    if not found:
        raise SpiroError(f"{repaired}: holds no SPXRAW table; make it with `dvc repro repair`")
    return found


def raw_curves(repaired: Path, cycle: str) -> pd.DataFrame:
    """One row a raw curve of a cycle, with what SPXRAW says of it, and what the other tables say of the participant.

    Raises SpiroError where one of them has a participant twice.
    """
    raw = curves.read_table(repaired / f"SPXRAW_{cycle}.parquet", _SPXRAW)
    names = dict.fromkeys(joined.table for joined in PARTICIPANT.values())
    tables = {name: _participants(repaired, name, cycle) for name in names}
    places = {name: pd.Index(table["SEQN"]).get_indexer(raw["SEQN"]) for name, table in tables.items()}

    def values(joined: Joined) -> NDArray[np.float64]:
        table, at = tables[joined.table], places[joined.table]
        found = np.full(len(raw), np.nan)
        for column in joined.columns:
            if column in table:
                found = np.where((at >= 0) & np.isnan(found), table[column].to_numpy(dtype=np.float64)[at], found)
        return found

    people: dict[str, Any] = {name: values(joined) for name, joined in PARTICIPANT.items()}
    for name, joined in PARTICIPANT.items():
        if joined.words:
            people[name] = [joined.words.get(code) for code in people[name]]
    nameless = (places["DEMO"] >= 0) & np.isnan(people["ethnicity"])
    if nameless.any():
        row = int(places["DEMO"][nameless][0])
        seqn = tables["DEMO"]["SEQN"][row]
        raise SpiroError(f"DEMO_{cycle}: row {row} (SEQN {seqn:.0f}): RIDRETH1 is missing, expected 1 to 5")
    return pd.DataFrame(
        {
            "seqn": raw["SEQN"].astype(np.int64),
            "cycle": cycle,
            "raw_row": np.arange(len(raw)),
            "curve_number": raw["SPAMANU"].astype(np.int64),
            "test_type": raw["SPATTYPE"],
            "grade": raw["SPAQEFF"],
            "plateau": raw["SPAPLAT"] == "Y",
            "acceptable": raw["SPAACC"] == "Y",
            "position": raw["SPAPOS"],
            "btps": raw["SPAFACT"].astype(np.float64),
            "points": raw["SPXPTS"].astype(np.int64),
            **people,
            "in_demo": places["DEMO"] >= 0,
            "in_bmx": places["BMX"] >= 0,
        }
    )


def _participants(repaired: Path, name: str, cycle: str) -> pd.DataFrame:
    """The columns of a table that are joined; SpiroError where it has a participant twice."""
    required = [joined for joined in PARTICIPANT.values() if joined.table == name]
    always = [column for joined in required if joined.every_cycle for column in joined.columns]
    perhaps = tuple(column for joined in required if not joined.every_cycle for column in joined.columns)
    people = curves.read_table(repaired / f"{name}_{cycle}.parquet", ["SEQN", *always], optional=perhaps)
    twice = people.index[people["SEQN"].duplicated()]
    if len(twice):
        seqn = people["SEQN"][twice[0]]
        raise SpiroError(
            f"{name}_{cycle}: SEQN {seqn:.0f} is there twice, again in row {twice[0]}; fetch the file again"
        )
    return people


def measured(repaired: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The table with the indices of each raw curve (see spirometry.Indices) as further columns."""

    indices = spirometry.empty(len(table))

    def read_off(batch: curves.Batch) -> None:
        for group in curves.by_length(batch):
            spirometry.put(indices, group.rows, spirometry.indices(group.flow, group.points))

    for _ in curves.each(read_off, curves.batches(repaired, table, "align")):
        pass
    return pd.concat([table.reset_index(drop=True), indices.to_pandas()], axis=1)


def best_efforts(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Each participant's best acceptable effort before the bronchodilator, as a mask (n,).

    The best has the largest FEV1 + FVC (ATS/ERS 2005); of equals it is the first.
    """
    allowed = table["acceptable"] & (table["test_type"] == "Pre")
    return ats_ers.best_efforts(table["fev1"], table["fvc"], table["seqn"], allowed)


def drop(table: pd.DataFrame, reasons: Mapping[str, NDArray | pd.Series]) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Take rows away, reason by reason in order; a row leaves for its first one.

    Args:
        table: rows with `seqn`.
        reasons: name and mask (n,) of the rows of `table` to take away.

    Returns:
        What is left, and for each reason its `curves`, their `participants`, and `participants_lost`, those who
        have no curve left after it.
    """
    kept = np.ones(len(table), dtype=bool)
    seqn = table["seqn"].to_numpy()
    counts = []
    for reason, mask in reasons.items():
        leaving = kept & np.asarray(mask, dtype=bool)
        before = len(np.unique(seqn[kept]))
        kept &= ~leaving
        lost = before - len(np.unique(seqn[kept]))
        people = len(np.unique(seqn[leaving]))
        counts.append(
            {"reason": reason, "curves": int(leaving.sum()), "participants": people, "participants_lost": lost}
        )
    return table[kept].reset_index(drop=True), counts


def size(table: pd.DataFrame) -> dict[str, int]:
    """Curves and participants of a table."""
    return {"curves": len(table), "participants": int(table["seqn"].nunique())}


def refuse_empty(table: pd.DataFrame, dropped: list[dict[str, Any]]) -> None:
    """Raise SpiroError, with the counts of all reasons, where nothing is left."""
    if not len(table):
        counts = ", ".join(f"{d['reason']} {d['curves']}" for d in dropped if d["curves"])
        raise SpiroError(f"no curve is left (dropped: {counts}); change the section filter of params.yaml")


def metadata(table: pd.DataFrame) -> str:
    """The aligned participants' SEQN, age, height and gender as CSV (RFC 4180), one line a curve."""
    columns = {"seqn": "SEQN", "age": "age", "height": "height", "sex": "gender"}
    people = table[list(columns)].rename(columns=columns).astype({"gender": "Int64"})
    return people.to_csv(index=False, lineterminator="\r\n")
