"""The configuration in a checkpoint and its training data, read without PyTorch."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from safetensors import SafetensorError, safe_open

from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.core.params import filled

LARGEST = 2 << 30  # bytes; the full-size models have some 100 MB
KEY = "spiro"  # one key that holds sorted JSON: safetensors orders several keys at random
C = TypeVar("C")


@dataclass(frozen=True)
class MadeFrom:
    """What a model was trained on."""

    data: str  # the source
    participants: int
    curves: int
    age: list[float]  # years, lowest and highest
    height: list[float]  # cm
    vqvae: str = ""  # SHA-256 of the checkpoint whose latents it draws
    labels: dict[str, dict[str, int]] = field(default_factory=dict)  # people by label and group, `dataset.label_counts`
    cycles: list[str] = field(default_factory=list)  # of NHANES; none in checkpoints that do not say

    def __post_init__(self) -> None:
        for name in ("age", "height"):
            ends = getattr(self, name)
            if len(ends) != 2 or not 0 <= ends[0] <= ends[1] <= 300:
                raise ValueError(f"{name} is {printable(ends)}; expected the lowest and the highest")

    @classmethod
    def of(
        cls, source: str, train: pd.DataFrame, vqvae: str = "", labels: dict[str, dict[str, int]] | None = None
    ) -> "MadeFrom":
        """Of training curves, a row each with seqn, age, height and cycle."""
        ends = [[float(train[name].min()), float(train[name].max())] for name in ("age", "height")]
        cycles = sorted(train["cycle"].unique())
        return cls(source, train["seqn"].nunique(), len(train), ends[0], ends[1], vqvae, labels or {}, cycles)


def read_config(path: Path, kind: str) -> dict[str, Any]:
    """The configuration of a checkpoint of `kind`.

    Raises SpiroError where the file is missing, too large, damaged or foreign.
    """
    path = Path(path)
    if not path.is_file():
        stages = "train_reconstructor" if kind == "reconstructor" else "train_vqvae train_cldm"
        raise SpiroError(f"{path}: no such checkpoint; fetch it with `dvc pull {stages}` or `make repro`")
    if path.stat().st_size > LARGEST:
        raise SpiroError(f"{path}: has {path.stat().st_size:,} bytes, a checkpoint has at most {LARGEST:,}")
    try:
        with safe_open(path, framework="np") as file:
            head = json.loads((file.metadata() or {}).get(KEY, "{}"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise unreadable(path, error) from None
    if not isinstance(head, dict) or head.get("kind") != kind or not isinstance(head.get("config"), dict):
        found = head.get("kind") if isinstance(head, dict) else None
        found = found if isinstance(found, str) else "another kind of file"
        raise SpiroError(f"{path}: is no '{kind}' checkpoint of this project (found: {printable(found)})")
    config: dict[str, Any] = head["config"]
    return config


def unreadable(path: Path, error: Exception) -> SpiroError:
    """What is said of a damaged file."""
    return SpiroError(f"{path}: not a readable checkpoint ({printable(error, 200)}); fetch it again with `dvc pull`")


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


def read_made_from(path: Path) -> MadeFrom:
    """What the generator in a checkpoint was trained on.

    Raises SpiroError where the checkpoint is missing, damaged or of another kind.
    """
    return configured(MadeFrom, read_config(path, "cldm"), "made_from", path)
