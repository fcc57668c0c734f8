"""Columns of a published population: name, type, unit and meaning, defined once for files, card and metadata."""

from typing import Literal, NamedTuple

from spiro_diffusion.cohorts.prevalences import GRADED
from spiro_diffusion.core.vocabulary import INDICES
from spiro_diffusion.generation.columns import COLUMNS, Z_SCORES
from spiro_diffusion.models.effort_sets import BEST

Kind = Literal["int64", "float64", "string", "bool", "list<float32>"]


class Column(NamedTuple):
    """A column of a Parquet table."""

    name: str
    kind: Kind
    unit: str  # "" where there is none
    meaning: str


PERSONAL = (
    Column("age", "float64", "years", "age"),
    Column("height", "float64", "cm", "standing height"),
    Column("sex", "int64", "", "1 male, 2 female"),
)


def _indices(names: tuple[str, ...], meaning: str = "") -> tuple[Column, ...]:
    return tuple(Column(name, "float64", INDICES[name].unit, meaning + INDICES[name].meaning) for name in names)


Z = tuple(Column(f"{name}_z", "float64", "", f"GLI Global z-score of {INDICES[name].label}") for name in Z_SCORES)

EFFORTS = (
    Column("person", "int64", "", "number of the person, from 0: row of people.parquet"),
    Column("session", "int64", "", "visit of the person, from 1; later ones are retests"),
    Column("effort", "int64", "", "place in its session, from 1, before and after the bronchodilator each"),
    Column("test_type", "string", "", "Pre, or Bron: after the bronchodilator"),
    Column("grade", "string", "", "effort grade A to D as NHANES's readers give it (SPAQEFF), drawn by the model"),
    Column("best", "bool", "", "largest FEV1 + FVC of the efforts graded A to C before the bronchodilator"),
    *PERSONAL,
    *_indices(tuple(column.name for column in COLUMNS)),
    *Z,
    Column("flow_l_s", "list<float32>", "L/s", "flow at BTPS, mean of each 10 ms from 0.50 s before time zero on"),
)
PEOPLE = (
    Column("person", "int64", "", "number of the person, from 0"),
    *PERSONAL,
    Column("sessions", "int64", "", "visits"),
    Column("efforts_before", "int64", "", "efforts of a visit before the bronchodilator"),
    Column("efforts_after", "int64", "", "efforts of a visit after it"),
    *_indices(BEST, "first visit, best value of the efforts graded A to C: "),
    *Z,
    Column("pattern", "string", "", "pattern that the z-scores name, ERS/ATS 2022; empty where they are unknown"),
    *(
        Column(name, "string", "", f"grade of the first visit before the drug: {meaning}")
        for name, meaning in GRADED.items()
    ),
)
