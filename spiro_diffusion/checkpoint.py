"""Checkpoints: safetensors with their configuration inside; nothing in them can run."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from spiro_diffusion.artifacts import atomic
from spiro_diffusion.errors import SpiroError

_KEY = "spiro"  # one key that holds sorted JSON: safetensors orders several keys at random


class Checkpoint(NamedTuple):
    """Tensors by name, and the configuration that was saved with them."""

    tensors: dict[str, torch.Tensor]
    config: dict[str, Any]


def save_checkpoint(path: Path, kind: str, tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    """Write `tensors` and `config` to `path`; the same content gives the same bytes."""
    text = json.dumps({"kind": kind, "config": config}, sort_keys=True, allow_nan=False)
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic(path) as part:
        part.write_bytes(save(held, metadata={_KEY: text}))


def load_checkpoint(path: Path, kind: str) -> Checkpoint:
    """Read a checkpoint of `kind`.

    Raises SpiroError where the file is missing, damaged, foreign, or holds a NaN.
    """
    if not Path(path).is_file():
        raise SpiroError(f"{path}: no such checkpoint; fetch it with `dvc pull train_vqvae train_cldm` or `make repro`")
    try:
        with safe_open(path, framework="pt") as file:
            head = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
    except (SafetensorError, ValueError) as error:
        raise SpiroError(f"{path}: not a readable checkpoint ({error}); fetch it again with `dvc pull`") from None
    if not isinstance(head, dict) or head.get("kind") != kind or not isinstance(head.get("config"), dict):
        found = head.get("kind") if isinstance(head, dict) else None
        raise SpiroError(
            f"{path}: is no '{kind}' checkpoint of this project (found: {found or 'another kind of file'})"
        )
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise SpiroError(f"{path}: tensor '{name}' holds values that are not finite; train again")
    return Checkpoint(tensors, head["config"])


def load_weights(model: torch.nn.Module, tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Put `tensors` into `model`; every name and shape must fit.

    Raises SpiroError that names the first misfit.
    """
    own = model.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        if name not in own or name not in tensors or own[name].shape != tensors[name].shape:
            raise SpiroError(f"{path}: tensor '{name}' does not fit the network that its config describes")
    model.load_state_dict(tensors)
