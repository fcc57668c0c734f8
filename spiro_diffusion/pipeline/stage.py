"""What every stage shares: its section of params.yaml, its arguments, and how it ends on an error."""

import argparse
import contextlib
import errno
import inspect
import os
import re
import sys
import typing
from collections.abc import Callable
from pathlib import Path

from spiro_diffusion.core.artifacts import SCRATCH, locked
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.params import load_params

P = typing.TypeVar("P")


def run_stage(function: Callable[..., None], params_class: type[P], argv: list[str] | None = None) -> None:
    """Run a stage from the command line and exit.

    `function(params, *, name: Path, ...)`: each keyword becomes the argument `--name PATH`, which
    dvc.yaml passes; `params` is the section of params.yaml named as the function. Where `dvc repro` was killed,
    its stage goes on: another run of it here is refused until it ends.
    """
    parser = argparse.ArgumentParser(prog=f"stages.{function.__name__}", description=inspect.getdoc(function))
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        required = parameter.default is inspect.Parameter.empty
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=required, default=parameter.default)
    arguments = vars(parser.parse_args(argv))
    name = function.__name__
    try:
        with _alone(name):
            function(load_params(params_class, name), **arguments)
    except SpiroError as error:
        sys.exit(f"{name}: {' '.join(str(error).split())}")
    except (MemoryError, RuntimeError, OSError) as error:
        said = " ".join(str(error).split())
        if isinstance(error, MemoryError) or _NO_MEMORY.search(said):
            sys.exit(f"{name}: not enough memory ({said[:200] or 'MemoryError'}); {_MEMORY_ADVICE}")
        if not isinstance(error, OSError) or error.errno not in _OF_THE_MACHINE:
            raise
        sys.exit(f"{name}: {error.filename or 'a file'}: {error.strerror}")


_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE}
_NO_MEMORY = re.compile("allocate memory|out of memory|start new thread", re.IGNORECASE)  # as RuntimeError or OSError
_MEMORY_ADVICE = "nothing that was made is lost: give it more, or lower the stage's batch or draws in params.yaml"


def _alone(name: str) -> contextlib.AbstractContextManager[None]:
    """The lock of the stage in this folder, held by the first of the processes that train together."""
    if int(os.environ.get("RANK", "0")):
        return contextlib.nullcontext()
    folder = SCRATCH / name
    folder.mkdir(parents=True, exist_ok=True)
    return locked(folder / "stage", "another run of this stage is going on here; wait for it or end it")
