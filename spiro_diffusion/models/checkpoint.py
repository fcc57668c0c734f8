"""Checkpoints: safetensors with all that decides a result inside; nothing in them can run.

Beside weights and shapes a file holds the constants of the code that made it (time grid, conditions, scales); code
with others refuses it.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from spiro_diffusion.core.artifacts import atomic
from spiro_diffusion.core.errors import SpiroError, shown
from spiro_diffusion.core.params import filled
from spiro_diffusion.physiology import mean_surface

LARGEST = 2 << 30  # bytes; the full-size models have some 100 MB
TYPES = {"F32", "F64", "F16", "BF16", "I64", "I32", "U8", "BOOL"}  # of tensors, as safetensors names them

_KEY = "spiro"  # one key that holds sorted JSON: safetensors orders several keys at random
M = TypeVar("M", bound=torch.nn.Module)
C = TypeVar("C")
Constants = dict[str, Any]  # name → number, text, array, or a list or dictionary of these


class Checkpoint(NamedTuple):
    """Tensors by name, and the configuration that was saved with them."""

    tensors: dict[str, torch.Tensor]
    config: dict[str, Any]


@dataclass(frozen=True)
class MadeFrom:
    """What a model was trained on."""

    data: str  # the source
    participants: int
    curves: int
    age: list[float]  # years, lowest and highest
    height: list[float]  # cm
    vqvae: str = ""  # SHA-256 of the checkpoint whose latents it draws

    def __post_init__(self) -> None:
        for name in ("age", "height"):
            ends = getattr(self, name)
            if len(ends) != 2 or not 0 <= ends[0] <= ends[1] <= 300:
                raise ValueError(f"{name} is {shown(ends)}; expected the lowest and the highest")

    @classmethod
    def of(cls, source: str, train: pd.DataFrame, vqvae: str = "") -> "MadeFrom":
        """Of training curves, a row each with seqn, age and height."""
        ends = [[float(train[name].min()), float(train[name].max())] for name in ("age", "height")]
        return cls(source, train["seqn"].nunique(), len(train), ends[0], ends[1], vqvae)


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
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic(path) as part:
        part.write_bytes(save(held, metadata={_KEY: text}))


def load_checkpoint(path: Path, kind: str, constants: Constants | None = None) -> Checkpoint:
    """Read a checkpoint of `kind`, made by code with these `constants`; memory holds as much as the file.

    Raises SpiroError where the file is missing, too large, damaged, foreign, of code with other constants, or holds a
    NaN.
    """
    path = Path(path)
    if not path.is_file():
        stages = "train_reconstructor" if kind == "reconstructor" else "train_vqvae train_cldm"
        raise SpiroError(f"{path}: no such checkpoint; fetch it with `dvc pull {stages}` or `make repro`")
    if path.stat().st_size > LARGEST:
        raise SpiroError(f"{path}: has {path.stat().st_size:,} bytes, a checkpoint has at most {LARGEST:,}")
    try:
        with safe_open(path, framework="pt") as file:
            head = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            names = list(file.keys())
            foreign = [name for name in names if file.get_slice(name).get_dtype() not in TYPES]
            tensors = {} if foreign else {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise SpiroError(
            f"{path}: not a readable checkpoint ({shown(error, 200)}); fetch it again with `dvc pull`"
        ) from None
    if not isinstance(head, dict) or head.get("kind") != kind or not isinstance(head.get("config"), dict):
        found = head.get("kind") if isinstance(head, dict) else None
        found = found if isinstance(found, str) else "another kind of file"
        raise SpiroError(f"{path}: is no '{kind}' checkpoint of this project (found: {shown(found)})")
    if foreign:
        raise SpiroError(f"{path}: tensor '{shown(foreign[0])}' is of a type that no model of this project has")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise SpiroError(f"{path}: tensor '{shown(name)}' holds values that are not finite; train again")
    if constants is not None:
        _check(head["config"].get("constants"), _plain(constants), path)
    return Checkpoint(tensors, head["config"])


def _plain(constants: Constants) -> Any:
    """As JSON gives them back."""
    return json.loads(json.dumps(constants, default=lambda value: np.asarray(value).tolist()))


def _check(saved: Any, own: Any, path: Path) -> None:
    if not isinstance(saved, dict):
        raise SpiroError(f"{path}: its configuration has no part 'constants'; it is of other code than this")
    found = _difference(saved, own, "")
    if found:
        raise SpiroError(f"{path}: {found}; use the code that it was made with, or train again")


def _difference(saved: Any, own: Any, name: str) -> str | None:
    """The first constant in which a file and the code differ, in words; None where there is none."""
    pairs: list[tuple[str, Any, Any]] = []
    if isinstance(own, dict) and isinstance(saved, dict):
        pairs = [(f"{name}.{key}".lstrip("."), saved.get(key), own.get(key)) for key in sorted(own.keys() | saved)]
    elif isinstance(own, list) and isinstance(saved, list) and len(own) == len(saved):
        pairs = [(f"{name}[{i}]", *pair) for i, pair in enumerate(zip(saved, own, strict=True))]
    elif not _same(saved, own):
        return f"{shown(name)} is {shown(saved)} in the file and {shown(own)} in this code"
    return next((found for pair in pairs if (found := _difference(pair[1], pair[2], pair[0]))), None)


def _same(saved: Any, own: Any) -> bool:
    if isinstance(own, float) and type(saved) in (int, float):
        return math.isclose(saved, own, rel_tol=1e-9, abs_tol=1e-12)  # processors differ in the last digits of a power
    return type(saved) is type(own) and saved == own


def configured(cls: type[C], config: dict[str, Any], key: str, path: Path) -> C:
    """The part `key` of a checkpoint's configuration as the dataclass `cls`.

    Raises SpiroError where it is missing, or has other keys, types or values than the class allows.
    """
    values = config.get(key)
    if not isinstance(values, dict):
        raise SpiroError(f"{path}: its configuration has no part '{key}'; it is of other code than this")
    try:
        return filled(cls, values, f"{path}: {key}.")
    except ValueError as error:
        raise SpiroError(f"{path}: {key}: {error}") from None


def rebuilt(make: Callable[[], M], tensors: dict[str, torch.Tensor], path: Path) -> M:
    """The network that `make` gives, with `tensors` in it, in eval mode.

    Names, shapes and types are compared before memory is taken: a network is no larger than its file.

    Raises SpiroError that names the first misfit.
    """
    try:
        with torch.device("meta"):
            own = make().state_dict()
    except (ValueError, RuntimeError) as error:
        raise SpiroError(f"{path}: its configuration describes no network ({error})") from None
    for name in sorted(own.keys() | tensors.keys()):
        if name not in own or name not in tensors or not _alike(own[name], tensors[name]):
            raise SpiroError(f"{path}: tensor '{shown(name)}' does not fit the network that its config describes")
    model = make()
    model.load_state_dict(tensors)
    return model.eval()


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype
