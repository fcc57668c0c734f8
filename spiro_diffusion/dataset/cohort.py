"""Who and what is in the data: curves joined to people, filters, splits, and the count of all that leaves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.dataset import raw_curves as curves
from spiro_diffusion.nhanes.codebook import CYCLES
from spiro_diffusion.physiology import ats_ers, spirometry

_SPXRAW = ["SEQN", "SPAMANU", "SPAFACT", "SPXPTS", "SPATTYPE", "SPAPOS", "SPAPLAT", "SPAACC", "SPAQEFF"]
_DEMO = ["SEQN", "RIDAGEYR", "RIAGENDR", "RIDRETH1", "WTMEC2YR"]
_BMX = ["SEQN", "BMXHT", "BMXWT"]
AGE_MONTHS = ("RIDEXAGM", "RIDAGEEX")  # at the examination: in G up to 19 years, in E and F up to 79


def cycles(repaired: Path) -> list[str]:
    """The cycles whose raw curves lie in a folder, in order.

    Raises SpiroError where there is none.
    """
    found = [cycle for cycle in CYCLES if (repaired / f"SPXRAW_{cycle}.parquet").exists()]
    if not found:
        raise SpiroError(f"{repaired}: holds no SPXRAW table; make it with `dvc repro repair`")
    return found


def raw_curves(repaired: Path, cycle: str) -> pd.DataFrame:
    """One row a raw curve of a cycle, with what SPXRAW says of it, and whether DEMO and BMX have the participant.

    Raises SpiroError where DEMO or BMX has a participant twice.
    """
    raw = curves.read_table(repaired / f"SPXRAW_{cycle}.parquet", _SPXRAW)
    demo = curves.read_table(repaired / f"DEMO_{cycle}.parquet", _DEMO, optional=("RIDRETH3", *AGE_MONTHS))
    bmx = curves.read_table(repaired / f"BMX_{cycle}.parquet", _BMX)
    for name, people in ((f"DEMO_{cycle}", demo), (f"BMX_{cycle}", bmx)):
        twice = people.index[people["SEQN"].duplicated()]
        if len(twice):
            seqn = people["SEQN"][twice[0]]
            raise SpiroError(f"{name}: SEQN {seqn:.0f} is there twice, again in row {twice[0]}; fetch the file again")
    at_demo = pd.Index(demo["SEQN"]).get_indexer(raw["SEQN"])
    at_bmx = pd.Index(bmx["SEQN"]).get_indexer(raw["SEQN"])

    def joined(people: pd.DataFrame, at: NDArray, name: str) -> NDArray[np.float64]:
        if name not in people:
            return np.full(len(raw), np.nan)
        return np.where(at >= 0, people[name].to_numpy(dtype=np.float64)[at], np.nan)

    nameless = (at_demo >= 0) & np.isnan(joined(demo, at_demo, "RIDRETH1"))
    if nameless.any():
        row = int(at_demo[nameless][0])
        raise SpiroError(
            f"DEMO_{cycle}: row {row} (SEQN {demo['SEQN'][row]:.0f}): RIDRETH1 is missing, expected 1 to 5"
        )
    months = [joined(demo, at_demo, name) for name in AGE_MONTHS]
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
            "age": joined(demo, at_demo, "RIDAGEYR"),
            "age_months": np.where(np.isnan(months[0]), months[1], months[0]),
            "height": joined(bmx, at_bmx, "BMXHT"),
            "weight": joined(bmx, at_bmx, "BMXWT"),
            "sex": joined(demo, at_demo, "RIAGENDR"),
            "ethnicity": joined(demo, at_demo, "RIDRETH1"),
            "ethnicity3": joined(demo, at_demo, "RIDRETH3"),
            "mec_weight": joined(demo, at_demo, "WTMEC2YR"),
            "in_demo": at_demo >= 0,
            "in_bmx": at_bmx >= 0,
        }
    )


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
