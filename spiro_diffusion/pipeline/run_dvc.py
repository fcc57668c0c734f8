"""Run DVC as `make` does: repair its files first, end in one line on Ctrl-C, name a remote that does not respond.

python -m spiro_diffusion.pipeline.run_dvc repro
"""

import argparse
import logging
import os
import sys
from pathlib import Path

from spiro_diffusion.core import interrupts
from spiro_diffusion.core.errors import SpiroError

INTERRUPTED = 130
_BY_CTRL_C = (-2, 130)  # statuses of a stage that Ctrl-C ended, without a shell and with one


class _Interrupts(logging.Filter):
    """Drop DVC's account of an interrupt, and remember it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        while error is not None:
            by_stage = str(error).endswith(tuple(f"exited with {status}" for status in _BY_CTRL_C))
            if by_stage or isinstance(error, KeyboardInterrupt):
                self.seen = True
                return False
            error = error.__cause__ or error.__context__
        return True


def run(arguments: list[str]) -> int:
    """Run a DVC command in this folder; its exit status, 130 where it was interrupted.

    Raises SpiroError where DVC's files are damaged while another DVC runs, or a pull failed whose remote cannot be
    reached.
    """
    from dvc.cli import main  # noqa: PLC0415 (Ctrl-C may come while these load)

    from spiro_diffusion.pipeline import dvc_state  # noqa: PLC0415

    for line in dvc_state.repair(Path.cwd()):
        print(line, file=sys.stderr)

    interrupted = _Interrupts()
    for handler in logging.getLogger("dvc").handlers:
        handler.addFilter(interrupted)
    os.environ[interrupts.REPORTED_BY_PARENT] = "1"
    try:
        status = main(arguments)
    except KeyboardInterrupt:  # where DVC itself does not await it
        interrupted.seen = True
    if not interrupted.seen:
        if status and arguments[0] in ("pull", "fetch"):
            _name_the_silent(arguments)
        return int(status)
    print(f"dvc: {interrupts.KEPT}", file=sys.stderr)
    return INTERRUPTED


def _name_the_silent(arguments: list[str]) -> None:
    """DVC says of a web server that does not answer only that files are missing."""
    from spiro_diffusion.pipeline import verify_store  # noqa: PLC0415

    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-r", "--remote")
    verify_store.reach(Path.cwd(), parser.parse_known_args(arguments)[0].remote)


if __name__ == "__main__":
    interrupts.in_one_line()  # while this loads DVC
    try:
        sys.exit(run(sys.argv[1:]))
    except SpiroError as error:
        sys.exit(f"dvc: {error}")
