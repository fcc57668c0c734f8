"""Read a section of params.yaml into its dataclass; unknown keys, missing keys and wrong types are one-line errors."""

import dataclasses
import re
import types
import typing
from pathlib import Path
from typing import Any

import yaml

from spiro_diffusion.core.errors import SpiroError, printable

P = typing.TypeVar("P")
PARAMS_FILE = Path("params.yaml")


class _Loader(yaml.SafeLoader):
    """SafeLoader that also reads 1e-05 as a number, which YAML 1.1 takes for text and DVC writes."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)$"),
    list("-+.0123456789"),
)


def read_params(file: Path = PARAMS_FILE) -> dict[str, Any]:
    """All sections of a params file as plain dictionaries."""
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise SpiroError(f"{file}: no such file; run from the root of the repository") from None
    except yaml.YAMLError as error:
        raise SpiroError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise SpiroError(f"{file}: holds no sections")
    return content


def load_params(cls: type[P], section: str, file: Path = PARAMS_FILE) -> P:
    """Read one section of a params file into the dataclass `cls`.

    Every key of the section must be a field and every field without a default must be there, each
    with the type that the field declares (an integer will do for a float).

    Raises SpiroError that names the key and what was expected.
    """
    values = read_params(file).get(section)
    if not isinstance(values, dict):
        raise SpiroError(f"{file}: section '{section}' is missing or is no mapping")
    try:
        return filled(cls, values, f"{file}: {section}.")
    except ValueError as error:
        raise SpiroError(f"{file}: {section}: {error}") from None


def filled(cls: type[P], values: dict[str, Any], where: str) -> P:
    """The dataclass `cls` with `values`, checked as `load_params` says; `where` is put before a key's name.

    Raises SpiroError that names a wrong key, ValueError where the class refuses a value.
    """
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise SpiroError(f"{where}{printable(key)} is not a parameter; known: {', '.join(fields)}")
    checked = {}
    for name, field in fields.items():
        if name in values:
            checked[name] = _checked(values[name], hints[name], f"{where}{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise SpiroError(f"{where}{name} is missing")
    return cls(**checked)


def _checked(value: Any, hint: Any, where: str) -> Any:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in options:
            return None
        (hint,) = [o for o in options if o is not type(None)]
        return _checked(value, hint, where)
    if origin is typing.Literal:
        if value not in options:
            raise SpiroError(f"{where} is {printable(repr(value))}; expected one of {', '.join(map(repr, options))}")
        return value
    if origin in (list, tuple, dict):  # YAML and JSON have no tuples
        return _collected(value, origin, options, where)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise SpiroError(f"{where} is {printable(repr(value))}; expected {hint.__name__}")
    return value


def _collected(value: Any, origin: Any, options: tuple[Any, ...], where: str) -> Any:
    if origin is dict:
        if not isinstance(value, dict):
            raise SpiroError(f"{where} is {printable(repr(value))}; expected a mapping")
        return {str(key): _checked(v, options[1], f"{where}.{printable(key)}") for key, v in value.items()}
    if not isinstance(value, list):
        raise SpiroError(f"{where} is {printable(repr(value))}; expected a list")
    return origin(_checked(v, options[0], where) for v in value)
