"""The program `spiro`: registration of commands, and exit status and messages common to all."""

import dataclasses
import functools
import inspect
import os
import sys
import typing
from collections.abc import Callable
from typing import Annotated, Any

import typer

from spiro_diffusion.cli.screen import print_error
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.version import VERSION

EXTRAS = {"torch": "torch", "sklearn": "torch", "onnx": "export", "dash": "app", "plotly": "app", "dvc": "pipeline"}
INTERRUPTED = 130  # the exit status

app = typer.Typer(
    name="spiro",
    help="Lung-function curves for people of a given age, height and sex. Not for diagnosis.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def group(name: str, help: str, example: str) -> typer.Typer:
    """A command that has commands of its own, registered with `under`."""
    made = typer.Typer(name=name, help=help, epilog=f"Example: {example}", no_args_is_help=True)
    app.add_typer(made)
    return made


def command(
    example: str, name: str | None = None, under: typer.Typer = app
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command, whose help ends with an example. A parameter that is a dataclass of `options` becomes an
    option for each of its fields."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        under.command(name=name, epilog=f"Example: {example}")(_flat(function))
        return function

    return register


def _flat(function: Callable[..., None]) -> Callable[..., None]:
    """The function with the fields of its dataclasses as parameters."""
    hints = typing.get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    parameters = []
    for name, parameter in inspect.signature(function).parameters.items():
        fields = inspect.signature(groups[name]).parameters if name in groups else {name: parameter}
        group_hints = typing.get_type_hints(groups[name], include_extras=True) if name in groups else hints
        parameters += [
            field.replace(annotation=group_hints[key], kind=field.KEYWORD_ONLY) for key, field in fields.items()
        ]

    @functools.wraps(function)
    def call(**values: Any) -> None:
        option_groups = {name: cls(**{key: values.pop(key) for key in _names(cls)}) for name, cls in groups.items()}
        function(**option_groups, **values)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    # typer would read the hints of what is wrapped
    del call.__wrapped__
    return call


def _names(cls: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


@app.callback(invoke_without_command=True)
def _spiro(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(VERSION)


def main(argv: list[str] | None = None) -> int:
    """Run `spiro`; the exit status: 0, 1 on bad input, 2 on a wrong option, 130 when interrupted."""
    try:
        status = int(app(argv, standalone_mode=False) or 0)
        sys.stdout.flush()
        if status == INTERRUPTED:  # typer makes it of Ctrl-C, without a word
            print_error("interrupted")
        return status
    except (SpiroError, ModuleNotFoundError) as error:
        print_error(_extra(error) if isinstance(error, ModuleNotFoundError) else str(error))
        return 1
    except BrokenPipeError:  # of `spiro ... | head`: the reader has closed the pipe
        _leave_stdout()
        return 1
    except OSError as error:  # a full disk, a file that may not be read, a name that is too long
        _leave_stdout()
        print_error(f"{error.filename or 'output'}: {error.strerror or error}")
        return 1
    except (KeyboardInterrupt, typer.Abort):
        print_error("interrupted")
        return INTERRUPTED
    except Exception as error:
        if not hasattr(error, "format_message"):  # what click raises on a wrong option
            raise
        if message := error.format_message():  # none where a command without arguments printed its help
            print_error(f"{message} (see spiro --help)")
        return 2


def _extra(error: ModuleNotFoundError) -> str:
    """What to install for a package of an extra; an error of another package is raised."""
    if error.name not in EXTRAS:
        raise error
    return f"this needs {error.name}: pip install 'spiro-diffusion[{EXTRAS[error.name]}]'"


def _leave_stdout() -> None:
    """What is still to be written to a standard output that takes nothing would fail again at the end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
