"""Stage filter: select the curves to use, and assign participants to splits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spiro_diffusion.core.artifacts import write_json
from spiro_diffusion.core.vocabulary import SPLITS
from spiro_diffusion.dataset import cohort, schema, splits
from spiro_diffusion.dataset.raw_curves import read_table, write_table


@dataclass(frozen=True)
class Params:
    """Section `filter` of params.yaml. Age, height, sex and time zero must be known in any case."""

    grades: list[Literal["A", "B", "C", "D"]]  # effort grades that stay
    test_types: list[Literal["Pre", "Bron"]]  # before and after the bronchodilator
    plateau_only: bool  # only curves that reached a plateau (SPAPLAT)
    min_age: float  # years
    max_age: float
    curves: Literal["all", "best"]  # of each participant

    def __post_init__(self) -> None:
        for name in ("grades", "test_types"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty: no curve would stay")
        if self.min_age > self.max_age:
            raise ValueError(f"min_age {self.min_age:g} is above max_age {self.max_age:g}: no curve would stay")


def filter(params: Params, *, aligned: Path, filtered: Path, metrics: Path) -> None:
    """Leave out curves that lack what a condition needs, and those that the parameters leave out."""
    table = read_table(aligned)
    schema.check(table, schema.ALIGNED, aligned)
    table["split"], table["best"] = splits.split(table["seqn"]), cohort.best_efforts(table)
    reasons = {
        "no_age": table["age"].isna(),
        "no_sex": table["sex"].isna(),
        "no_height": table["height"].isna(),
        "no_time_zero": table["t0"].isna(),
        "impossible": (table["fvc"] > schema.LARGEST_FVC_L) | (table["pef"] > schema.LARGEST_PEF_LPS),
        "grade": ~table["grade"].isin(params.grades),
        "test_type": ~table["test_type"].isin(params.test_types),
        "no_plateau": ~table["plateau"] & params.plateau_only,
        "age": ~table["age"].between(params.min_age, params.max_age),
        "not_best": ~table["best"] & (params.curves == "best"),
    }
    kept, dropped = cohort.drop(table, reasons)
    kept = kept.astype({"sex": "int64"})
    cohort.refuse_empty(kept, dropped)
    schema.check(kept, schema.FILTERED, filtered)
    by_split = {name: cohort.size(kept[kept["split"] == name]) for name in SPLITS}
    write_table(filtered, kept)
    flow = {"aligned": cohort.size(table), "dropped": dropped, "filtered": cohort.size(kept)}
    write_json(metrics, {"flow": flow, "splits": by_split})
