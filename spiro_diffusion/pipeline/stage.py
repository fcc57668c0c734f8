"""Common to all stages: reading the section of params.yaml, arguments, and one-line errors."""

import argparse
import contextlib
import errno
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from spiro_diffusion.core import interrupts, portable
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.params import load_params

MAIN = [
    *("download", "repair", "align", "filter", "resample", "train_vqvae", "encode", "train_cldm", "evaluate"),
    *("train_reconstructor", "reconstruct", "report"),
]  # of dvc.yaml, in order; each is the function of its module in this package
BASELINES = ["baselines", "baselines_report"]  # of baselines/dvc.yaml
SPREAD = ("train_vqvae", "encode", "train_cldm", "evaluate")  # over the processes that runtime.workers requests


def main(name: str, argv: list[str]) -> None:
    """Run the stage `name` from the command line and exit."""
    if name not in MAIN + BASELINES:
        sys.exit(f"no stage {name}; there are {', '.join(MAIN + BASELINES)}")
    interrupts.in_one_line()
    with _one_line(name):
        portable.settle(name)
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else pages on others that do not come: a line says it
        module = importlib.import_module(f"{__package__}.{name}")
        if name in SPREAD:
            from spiro_diffusion.compute import runtime  # noqa: PLC0415 (PyTorch, which `settle` must come before)

            runtime.spread(__package__, [name, *argv])
    run_stage(getattr(module, name), getattr(module, "Params", None), argv)


def run_stage(function: Callable[..., None], params_class: type | None, argv: list[str]) -> None:
    """Run a stage's function with the arguments of a command line, and exit where it fails.

    `function(params, *, name: Path, ...)`: each keyword becomes the argument `--name PATH`, which dvc.yaml passes;
    `params` is the section of params.yaml named as the function, left out where the stage has none. Where `dvc repro`
    was killed, its stage goes on: another run of it here is refused until it ends.
    """
    name = function.__name__
    parser = argparse.ArgumentParser(prog=f"stages.{name}", description=inspect.getdoc(function))
    for key, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            required = parameter.default is inspect.Parameter.empty
            parser.add_argument(f"--{key.replace('_', '-')}", type=Path, required=required, default=parameter.default)
    paths = vars(parser.parse_args(argv))
    with _one_line(name), _alone(name):
        function(*([load_params(params_class, name)] if params_class else []), **paths)


@contextlib.contextmanager
def _one_line(name: str) -> Iterator[None]:
    """End the program with one line on errors that a user or the machine causes."""
    try:
        yield
    except SpiroError as error:
        _end(f"{name}: {' '.join(str(error).split())}")
    except (MemoryError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, MemoryError) or _NO_MEMORY.search(reason):
            _end(f"{name}: not enough memory ({reason[:200] or 'MemoryError'}); {_MEMORY_ADVICE}")
        if "gloo" in reason or type(error).__name__ == "DistBackendError":
            _lost(name, reason)
        if not isinstance(error, OSError) or error.errno not in _OF_THE_MACHINE:
            raise
        _end(f"{name}: {error.filename or 'a file'}: {error.strerror}")


def _end(line: str) -> NoReturn:
    """Exit with a line; a process of several does not wait for the others at its end."""
    distributed = sys.modules.get("spiro_diffusion.compute.distributed")  # where it is not, there are no others
    if distributed is not None:
        distributed.fail(line)
    sys.exit(line)


def _lost(name: str, reason: str) -> NoReturn:
    """Exit because a message to or from another process failed: it ended, as its launcher, if any, reports."""
    from spiro_diffusion.compute import launcher, membership  # noqa: PLC0415 (PyTorch, which is here: it failed)

    if launcher.LAUNCHED in os.environ:
        membership.leave(status=launcher.CUT_OFF)
    _end(f"{name}: another of the processes ended, or cannot be reached ({reason[:120]}); {membership.AGAIN}")


_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE}
_NO_MEMORY = re.compile("allocate memory|out of memory|start new thread", re.IGNORECASE)  # as RuntimeError or OSError
_MEMORY_ADVICE = "nothing that was made is lost: give it more, or lower the stage's batch or draws in params.yaml"


def _alone(name: str) -> contextlib.AbstractContextManager[None]:
    """The lock of the stage in this folder, held by the first of the processes that train together."""
    from spiro_diffusion.core.artifacts import SCRATCH, locked  # noqa: PLC0415 (NumPy, which `settle` must come before)

    if os.environ.get("RANK", "0").strip() != "0":
        return contextlib.nullcontext()
    folder = SCRATCH / name
    folder.mkdir(parents=True, exist_ok=True)
    return locked(folder / "stage", "another run of this stage is going on here; wait for it or end it")
