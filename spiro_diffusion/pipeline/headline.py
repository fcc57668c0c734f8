"""The headline figures, the one metrics file that DVC lists, small enough for `dvc metrics show`.

The names are short for that; `FIGURES` says where each comes from, docs/experiments_howto.md what it is.
"""

from pathlib import Path
from typing import Any

from spiro_diffusion.core import artifacts

DECIMALS = 3
FIGURES = {  # file of the folder metrics/, and the keys that lead to the figure
    "curves": ("resample/agreement.json", "curves", "curves"),
    "ae_ml": ("evaluate/summary.json", "vqvae_fev1_ml"),
    "crps": ("evaluate/summary.json", "best_fev1_crps"),
    "cover": ("evaluate/summary.json", "best_fev1_coverage_80"),
    "auc": ("evaluate/summary.json", "best_auc_clinical"),
    "fine": ("evaluate/summary.json", "best_auc_fine"),
    "copies": ("evaluate/summary.json", "best_nearest_share"),
    "useful": ("evaluate/summary.json", "best_utility_ratio"),
    "met": ("evaluate/summary.json", "targets_met"),
    "missed": ("evaluate/summary.json", "targets_missed"),
    "cut_ml": ("reconstruct/summary.json", "cut_1_fvc_error_ml"),
}


def headline(metrics: Path) -> dict[str, Any]:
    """The figures by their short names, rounded; None where a figure is not determined.

    Raises SpiroError where a file is missing, KeyError where it lacks a figure.
    """
    found: dict[str, Any] = {}
    for name, (file, *keys) in FIGURES.items():
        value = artifacts.read_json(metrics / file)
        for key in keys:
            value = value[key]
        found[name] = value if value is None else _short(value)
    return found


def _short(value: float) -> float:
    """A figure in at most five characters where it is one below 1,000."""
    return int(value) if float(value).is_integer() else round(value, DECIMALS if abs(value) < 10 else 1)


def write(metrics: Path) -> None:
    """Write `main.json` into the folder `metrics/`, from the figures of its stages."""
    artifacts.write_json(metrics / "main.json", headline(metrics))
