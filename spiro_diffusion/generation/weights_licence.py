"""Which trained weights may be distributed, and under which licence."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spiro_diffusion.core.errors import SpiroError

SHIPPED = "simulated"  # the only source whose weights may be distributed: those of other data may be restricted
NAME = "CC-BY-4.0"
TERMS = f"""The weights in this folder were trained by spiro-diffusion, on simulated people alone.

They are licensed under the Creative Commons Attribution 4.0 International licence ({NAME}):
https://creativecommons.org/licenses/by/4.0/legalcode

The program that draws from them is licensed under Apache-2.0. Simulated; not for diagnosis.
"""


def check(made_from: Mapping[str, Any], models: Path) -> None:
    """Raises SpiroError if weights were trained on anything but simulated people."""
    if made_from["data"] != SHIPPED:
        raise SpiroError(
            f"{models}: was trained on {made_from['data']}; only models of simulated people are given away"
        )
