"""Schemas of the tables between stages: type, unit, range and missing-value rule of each column, checked at run time.

docs/data.md is the same in words; a test holds the two together.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.vocabulary import GRADES, SPLITS, TEST_TYPES
from spiro_diffusion.nhanes.codebook import CYCLES, LARGEST_SEQN

Kind = Literal["int", "float", "bool", "text"]


class Column(NamedTuple):
    """What a column may hold."""

    kind: Kind
    low: float | None = None
    high: float | None = None
    unit: str = ""
    missing: bool = False  # may be null
    values: tuple[str, ...] = ()  # of texts


# What counts of -64 to 192 mL in 2,044 samples can give at all, before implausible curves are excluded.
_LITRES = Column("float", -450, 450, "L", missing=True)
_FLOW = Column("float", -25, 25, "L/s", missing=True)
_SECONDS = Column("float", -1000, 1000, "s", missing=True)

ALIGNED: dict[str, Column] = {
    "seqn": Column("int", 1, LARGEST_SEQN),
    "cycle": Column("text", values=tuple(CYCLES)),
    "raw_row": Column("int", 0),
    "curve_number": Column("int", 1, 20),
    "test_type": Column("text", values=TEST_TYPES),
    "grade": Column("text", values=GRADES),
    "plateau": Column("bool"),
    "acceptable": Column("bool"),
    "position": Column("text", values=("Standing", "Sitting")),
    "btps": Column("float", 1.03, 1.15),
    "points": Column("int", 1, 2044, "samples of 10 ms"),
    "age": Column("float", 0, 80, "years", missing=True),
    "age_months": Column("float", 0, 971, "months", missing=True),
    "height": Column("float", 60, 220, "cm", missing=True),
    "weight": Column("float", 2, 450, "kg", missing=True),
    "sex": Column("float", 1, 2, missing=True),
    "ethnicity": Column("int", 1, 5),
    "ethnicity3": Column("float", 1, 7, missing=True),
    "mec_weight": Column("float", 0, 1e6, "people", missing=True),
    "t0": _SECONDS,
    **dict.fromkeys(("bev", "fev05", "fev075", "fev1", "fev3", "fev6", "fvc"), _LITRES),
    "pef": _FLOW,
    "t_pef": _SECONDS,
    "rise_time": Column("float", 0, 1, "s", missing=True),
    "fef2575": _FLOW,
    "fef50": _FLOW,
    "fet": _SECONDS,
    "t99": _SECONDS,
    "last_second": _LITRES,
    "end_flow": _FLOW,
    "cough": _FLOW,
    "cough075": _FLOW,
}
LARGEST_FVC_L = 12.0  # a curve with more is no expiration: the largest published FVC is 9.4 L (SPX_F)
LARGEST_PEF_LPS = 25.0  # the largest published PEF is 19.0 L/s (SPX_G)
KNOWN = {"age", "height", "sex", "t0", "fvc", "fev1", "pef", "mec_weight"}  # must be there from filter on
FILTERED: dict[str, Column] = {
    **{name: column._replace(missing=column.missing and name not in KNOWN) for name, column in ALIGNED.items()},
    "split": Column("text", values=SPLITS),
    "best": Column("bool"),
}
FILTERED |= {
    "sex": Column("int", 1, 2),
    "fvc": Column("float", 0, LARGEST_FVC_L, "L"),
    "pef": Column("float", 0, LARGEST_PEF_LPS, "L/s"),
}
CURVES: dict[str, Column] = {
    **FILTERED,
    "zero_sample": Column("int", -100_000, 100_000, "samples of 10 ms"),
    "lead_volume": Column("float", -450, 450, "L"),
}


def check(table: pd.DataFrame, columns: dict[str, Column], where: Path | str) -> None:
    """Hold a table against its columns.

    Raises SpiroError that names the table, the row, its participant, the column, the value and what it should be.
    """
    for needed in columns:
        if needed not in table:
            raise SpiroError(f"{where}: has no column {needed}; make it again with `dvc repro`")
    for name in table.columns:
        if name not in columns:
            raise SpiroError(f"{where}: column {name} is not in the schema; see docs/data.md")
    for name, column in columns.items():
        _check_column(table, name, column, where)


_DTYPES: dict[str, str] = {"int": "iu", "float": "f", "bool": "b", "text": "OUT"}


def _check_column(table: pd.DataFrame, name: str, column: Column, where: Path | str) -> None:
    values = table[name]
    if values.dtype.kind not in _DTYPES[column.kind]:
        raise SpiroError(f"{where}: column {name} holds {values.dtype}; expected {column.kind}")
    expected = f"{' or '.join(column.values)}" if column.values else f"{column.low:g}" if column.low is not None else ""
    wrong = np.zeros(len(table), dtype=bool)
    if not column.missing:
        wrong |= values.isna().to_numpy()
    if column.kind == "text":
        wrong |= (~values.isin(column.values) & values.notna()).to_numpy()
    if column.low is not None:
        wrong |= (values < column.low).to_numpy()
        expected = f"at least {column.low:g}"
    if column.high is not None:
        wrong |= (values > column.high).to_numpy()
        expected = f"{column.low:g} to {column.high:g}"
    if wrong.any():
        row = int(wrong.argmax())
        seqn = f" (seqn {table['seqn'].iloc[row]})" if "seqn" in table else ""
        more = f"; so are {wrong.sum() - 1} more rows" if wrong.sum() > 1 else ""
        unit = f" {column.unit}" if column.unit else ""
        raise SpiroError(
            f"{where}: row {row}{seqn}: {name} is {values.iloc[row]}, expected {expected or column.kind}{unit}{more}"
        )
