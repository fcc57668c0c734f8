"""Intended use of the model: its training data, and uses that are excluded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

EVALUATED = Path("metrics/evaluate")  # beside the folder of the models, as in dvc.yaml: the judge's figures
LIMITS = (
    "Not for diagnosis: no curve represents a patient, and none may be used for decisions on patients.",
    "Draws no curve beyond the trained ages and heights; near their ends it saw few curves.",
    "A completion of an interrupted effort shows what is likely, not what was measured, and is no diagnosis.",
    "Knows age, height and sex, and weight, ethnicity and cycle where they are given, no smoking or disease: it draws "
    "the population's mixture of conditions that are not given.",
    "A pattern on request is values beyond published limits, no disease; what few training people carry is marked.",
)


def trained_on(made_from: Mapping[str, Any]) -> str:
    """The training data of a model, in words."""
    source = made_from["data"]
    simulated = " (no people: every curve was simulated)" if source == "simulated" else ""
    return f"{made_from['curves']} curves of {made_from['participants']} participants, source '{source}'{simulated}"
