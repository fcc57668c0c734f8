"""A model's evaluation figures as stored beside it, and warnings at the use of a model that missed its targets."""

import math
from pathlib import Path

from spiro_diffusion.core.artifacts import read_json, sha256
from spiro_diffusion.core.vocabulary import INDICES, JUDGED
from spiro_diffusion.generation.intended_use import EVALUATED

CHECKPOINT = "cldm.safetensors"
WORST_AUC = 0.70  # of the two-sample test of generated and held-out efforts by their indices; 0.5 is chance
COVERED = (0.65, 0.92)  # of the 80 % intervals


def warning(models: Path) -> list[str]:
    """Warnings on a model in a folder that missed evaluation targets; none if it met them, or if its figures are absent
    or those of another model.

    Reads metrics/evaluate beside the folder: `data.models` of judge.json is the SHA-256 of cldm.safetensors.
    """
    folder = models.parent / EVALUATED
    summary, judge = folder / "summary.json", folder / "judge.json"
    if not (summary.is_file() and judge.is_file() and (models / CHECKPOINT).is_file()):
        return []
    if read_json(judge).get("data", {}).get("models") != sha256(models / CHECKPOINT):
        return []
    figures = read_json(summary)
    shortfalls = []
    auc = figures.get("best_auc_clinical")
    if _known(auc) and auc > WORST_AUC:
        shortfalls.append(f"its curves are distinguished from held-out ones by their indices (AUC {auc:.2f})")
    shares = {INDICES[name].label: figures.get(f"best_{name}_coverage_80") for name in JUDGED}
    off = {label: s for label, s in shares.items() if _known(s) and not COVERED[0] <= s <= COVERED[1]}
    if off:
        coverages = ", ".join(f"{100 * share:.0f} % ({label})" for label, share in off.items())
        shortfalls.append(f"of held-out people its 80 % intervals hold {coverages}")
    if not shortfalls:
        return []
    return [f"the figures of this model are bad: {'; '.join(shortfalls)} (of {summary}; see `spiro report`)"]


def _known(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
