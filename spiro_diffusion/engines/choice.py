"""Which engine opens a folder."""

from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.engine import Engine
from spiro_diffusion.reconstruction.reconstructor import Reconstructor

EXPORTED = "sampler.json"  # in a folder that `spiro export` wrote


class FullEngine(Engine, Protocol):
    """What draws curves and completes efforts."""

    def reconstructor(self, folder: Path) -> Reconstructor:
        """What completes efforts, of a folder with the files that belong to it.

        Raises SpiroError where it has none.
        """


def open_engine(folder: Path, device: str = "auto") -> FullEngine:
    """The trained generator of a folder with checkpoints, or with what `spiro export` wrote.

    Raises SpiroError where a file is missing or damaged, the files do not belong together, or the device or the
    library that computes is not there.
    """
    if not (folder / EXPORTED).is_file():
        if find_spec("torch") is None:
            raise SpiroError(
                f"{folder}: no exported model, and checkpoints need PyTorch: `pip install 'spiro-diffusion[torch]'`"
            )
        from spiro_diffusion.engines.torch_engine import open_torch  # noqa: PLC0415 (seconds of imports)

        return open_torch(folder, device)
    if find_spec("onnxruntime") is None:
        raise SpiroError(f"{folder}: an exported model needs onnxruntime; `pip install onnxruntime`")
    from spiro_diffusion.engines.onnx_engine import OnnxEngine  # noqa: PLC0415

    return OnnxEngine(folder)
