"""End a program on Ctrl-C with one line, also while it is still importing libraries."""

import os
import sys
from pathlib import Path
from types import TracebackType

KEPT = (
    "interrupted; finished stages are kept; `make repro` or `dvc repro` continues, and a training continues from its "
    "last saved state"
)

# in the environment of stages whose parent, `pipeline.run_dvc`, prints the line
REPORTED_BY_PARENT = "SPIRO_INTERRUPT_TOLD"


def in_one_line() -> None:
    """Let KeyboardInterrupt print one line in place of a traceback.

    The process still ends by the signal, as a shell and DVC expect (status 130, or -2 for `subprocess`).
    """
    sys.excepthook = _hook


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        if REPORTED_BY_PARENT not in os.environ:
            print(f"{Path(sys.argv[0]).stem}: {KEPT}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
