"""Choose the engine that opens a model folder."""

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from spiro_diffusion.core.artifacts import read_json
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.engine import Engine
from spiro_diffusion.models.header import read_config, read_made_from
from spiro_diffusion.reconstruction.reconstructor import Reconstructor

CHECKPOINT = "cldm.safetensors"
EXPORTED = "sampler.json"  # in a folder that `spiro export` wrote
COMPLETING = ("reconstructor.safetensors", "reconstructor.json")


class FullEngine(Engine, Protocol):
    """What draws curves and completes efforts."""

    def reconstructor(self, folder: Path) -> Reconstructor:
        """What completes efforts, of a folder with the files that belong to it.

        Raises SpiroError where it has none.
        """

    def model_warnings(self, folder: Path) -> list[str]:
        """What the judge's figures say against the model."""


def made_from(folder: Path) -> dict[str, Any]:
    """What the generator of a folder was trained on, read without the library that computes.

    Raises SpiroError where the folder has no generator, or it is damaged.
    """
    if _takes_checkpoints(folder):
        return asdict(read_made_from(folder / CHECKPOINT))
    try:
        return dict(read_json(folder / EXPORTED)["made_from"])
    except (KeyError, TypeError, ValueError):
        raise SpiroError(f"{folder / EXPORTED}: not what `spiro export` wrote; export it again") from None


def _takes_checkpoints(folder: Path) -> bool:
    """Whether the checkpoints of a folder are opened: it has no export, or both and PyTorch is there."""
    return not (folder / EXPORTED).is_file() or (_has_torch() and (folder / CHECKPOINT).is_file())


def _has_torch() -> bool:
    return find_spec("torch") is not None


def completes(folder: Path) -> Path | None:
    """The file of a folder that completes efforts, where it is there."""
    for name in COMPLETING:
        if (folder / name).is_file():
            return folder / name
    return None


def open_engine(folder: Path, device: str = "auto") -> FullEngine:
    """The trained generator of a folder with checkpoints, or with what `spiro export` wrote; of both the checkpoints,
    where PyTorch is there.

    Raises SpiroError where a file is missing or damaged, the files do not belong together, or the device or the
    library that computes is not there.
    """
    if _takes_checkpoints(folder):
        if not _has_torch():
            raise SpiroError(
                f"{folder}: no exported model is here, and checkpoints need PyTorch (`pip install "
                "'spiro-diffusion[torch]'`); or give --models what `spiro export` wrote, as a folder, .zip or address"
            )
        if "constants" not in read_config(folder / CHECKPOINT, "cldm"):
            raise SpiroError(
                f"{folder / CHECKPOINT}: a checkpoint of spiro-diffusion 0.1, which this version does not read: train "
                "again with `make repro`, or fetch `dvc pull train_vqvae train_cldm` (docs/moving.md)"
            )
        from spiro_diffusion.engines.torch_engine import open_torch  # noqa: PLC0415 (seconds of imports)

        return open_torch(folder, device)
    if find_spec("onnxruntime") is None:
        raise SpiroError(f"{folder}: an exported model needs onnxruntime; `pip install onnxruntime`")
    from spiro_diffusion.engines.onnx_engine import OnnxEngine  # noqa: PLC0415

    return OnnxEngine(folder)
