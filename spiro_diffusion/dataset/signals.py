"""Read the arrays of resample and encode, checked against the table of curves."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.artifacts import release
from spiro_diffusion.core.batching import batches
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.dataset.splits import Part, rows_of_part
from spiro_diffusion.physiology.time_grid import N_SAMPLES

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PIECE = 512  # rows: 16 MB of tokens


def load_rows(path: Path, rows: int, shape: tuple[int, ...], half: bool = False) -> np.ndarray:
    """Memory map (copy on write) of float32 (rows, *shape), or where `half` is allowed perhaps float16.

    Raises SpiroError where the file is missing, no such array, or of another shape.
    """
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except FileNotFoundError:
        raise SpiroError(f"{path}: no such file; make it with `dvc repro` or fetch it with `dvc pull`") from None
    except (ValueError, EOFError) as error:
        raise SpiroError(f"{path}: not a NumPy array ({error}); make it again with `dvc repro --force`") from None
    if array.shape != (rows, *shape) or array.dtype not in ("float32", "float16")[: 1 + half]:
        raise SpiroError(
            f"{path}: holds {array.dtype} {array.shape}, expected float32 {(rows, *shape)}; "
            "it does not belong to these curves: run `dvc repro`"
        )
    return array


def load_signals(path: Path, rows: int) -> "Tensor":
    """The resampled curves as a tensor (rows, bins), L/s."""
    import torch  # noqa: PLC0415 (who reads arrays needs none)

    return torch.from_numpy(load_rows(path, rows, (N_SAMPLES,)))


def pieces(array: np.ndarray, rows: NDArray[np.int64]) -> Iterator[tuple[slice, np.ndarray]]:
    """These rows of the map that `load_rows` gives, PIECE at a time: their places among `rows`, and a float32 copy.

    Memory holds one piece, and nothing of the map.
    """
    for part in batches(len(rows), PIECE):
        yield part, array[rows[part]].astype(np.float32, copy=False)
        release(array)


def rows_of(table: pd.DataFrame, part: Part, device: "torch.device") -> "Tensor":
    """`splits.rows_of_part` as a tensor."""
    import torch  # noqa: PLC0415

    return torch.from_numpy(rows_of_part(table, part)).to(device)
