"""Checkpoints: safetensors that hold everything that decides a result, and nothing executable.

Beside weights and shapes a file holds the constants of the code that made it (time grid, conditions, scales); code
with others refuses it.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch.overrides import TorchFunctionMode

from spiro_diffusion.core.artifacts import atomic
from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.models.header import KEY, read_config, unreadable
from spiro_diffusion.physiology import mean_surface

LEAST = 1 << 16  # elements that any tensor of a network may have while it is made
TYPES = {"F32", "F64", "F16", "BF16", "I64", "I32", "U8", "BOOL"}  # of tensors, as safetensors names them

M = TypeVar("M", bound=torch.nn.Module)
Constants = dict[str, Any]  # name → number, text, array, or a list or dictionary of these


class Checkpoint(NamedTuple):
    """Tensors by name, and the configuration that was saved with them."""

    tensors: dict[str, torch.Tensor]
    config: dict[str, Any]


def mean_surface_probe() -> Constants:
    """The mean surface as a constant of the code: its features of one person."""
    person = pd.DataFrame({"age": [30.0], "height": [150.0], "sex": [2]})
    return {"mean_surface_of_a_woman_of_30_years_150_cm": mean_surface.features(person)[0]}


def save_checkpoint(
    path: Path, kind: str, tensors: dict[str, torch.Tensor], config: dict[str, Any], constants: Constants | None = None
) -> None:
    """Write `tensors`, `config` and the code's `constants` to `path`; the same content gives the same bytes."""
    config = config | ({} if constants is None else {"constants": _plain(constants)})
    text = json.dumps({"kind": kind, "config": config}, sort_keys=True, allow_nan=False)
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic(path) as part:
        part.write_bytes(save(stored, metadata={KEY: text}))


def load_checkpoint(path: Path, kind: str, constants: Constants | None = None) -> Checkpoint:
    """Read a checkpoint of `kind`, made by code with these `constants`; memory holds as much as the file.

    Raises SpiroError where the file is missing, too large, damaged, foreign, of code with other constants, or holds a
    NaN.
    """
    config = read_config(path, kind)
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            foreign = [name for name in names if file.get_slice(name).get_dtype() not in TYPES]
            tensors = {} if foreign else {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise unreadable(path, error) from None
    if foreign:
        raise SpiroError(f"{path}: tensor '{printable(foreign[0])}' is of a type that no model of this project has")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise SpiroError(f"{path}: tensor '{printable(name)}' holds values that are not finite; train again")
    if constants is not None:
        _check(config.get("constants"), _plain(constants), path)
    return Checkpoint(tensors, config)


def _plain(constants: Constants) -> Any:
    """As JSON gives them back."""
    return json.loads(json.dumps(constants, default=lambda value: np.asarray(value).tolist()))


def _check(saved: Any, current: Any, path: Path) -> None:
    if not isinstance(saved, dict):
        raise SpiroError(f"{path}: its configuration has no part 'constants'; it is of other code than this")
    found = _difference(saved, current, "")
    if found:
        raise SpiroError(f"{path}: {found}; use the code that it was made with, or train again")


def _difference(saved: Any, current: Any, name: str) -> str | None:
    """The first constant in which a file and the code differ, in words; None where there is none."""
    pairs: list[tuple[str, Any, Any]] = []
    if isinstance(current, dict) and isinstance(saved, dict):
        pairs = [
            (f"{name}.{key}".lstrip("."), saved.get(key), current.get(key)) for key in sorted(current.keys() | saved)
        ]
    elif isinstance(current, list) and isinstance(saved, list) and len(current) == len(saved):
        pairs = [(f"{name}[{i}]", *pair) for i, pair in enumerate(zip(saved, current, strict=True))]
    elif not _same(saved, current):
        return f"{printable(name)} is {printable(saved)} in the file and {printable(current)} in this code"
    return next((found for pair in pairs if (found := _difference(pair[1], pair[2], pair[0]))), None)


def _same(saved: Any, current: Any) -> bool:
    if isinstance(current, float) and type(saved) in (int, float):
        return math.isclose(
            saved, current, rel_tol=1e-9, abs_tol=1e-12
        )  # processors differ in the last digits of a power
    return type(saved) is type(current) and saved == current


class _Unfilled(TorchFunctionMode):
    """Networks are made without starting values, and no tensor of them has more than `most` elements (ValueError).

    Of a tensor that nothing fills the system gives no memory. The device "meta" would do the same, and import
    torch._dynamo for it, which takes longer than to draw.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__.endswith(("normal_", "uniform_")):
            return kwargs["tensor"] if kwargs and "tensor" in kwargs else args[0]
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.numel() > self.most:
            raise ValueError(f"a tensor of {made.numel()} elements")
        return made


def rebuilt(make: Callable[[], M], tensors: dict[str, torch.Tensor], path: Path) -> M:
    """The network that `make` gives, with `tensors` in it, in eval mode.

    Names, shapes and types are compared before memory is taken: a network is no larger than its file.

    Raises SpiroError that names the first misfit.
    """
    try:
        with _Unfilled(max([LEAST, *(tensor.numel() for tensor in tensors.values())])):
            model = make()
    except (ValueError, RuntimeError) as error:
        raise SpiroError(f"{path}: does not fit the network that its config describes ({error})") from None
    current = model.state_dict()
    for name in sorted(current.keys() | tensors.keys()):
        if name not in current or name not in tensors or not _alike(current[name], tensors[name]):
            raise SpiroError(f"{path}: tensor '{printable(name)}' does not fit the network that its config describes")
    model.load_state_dict(tensors)
    return model.eval()


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype
