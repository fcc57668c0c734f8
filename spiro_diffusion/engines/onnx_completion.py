"""Completion densities as ONNX: their export, and drawing from them with onnxruntime."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.artifacts import read_json, write_json
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.params import filled
from spiro_diffusion.models import mixtures
from spiro_diffusion.models.mixtures import Floats, Scales
from spiro_diffusion.reconstruction.calibration import Calibration
from spiro_diffusion.reconstruction.corrections import Corrections
from spiro_diffusion.reconstruction.dissimilarity import Limits
from spiro_diffusion.reconstruction.reconstructor import CurveDrawer, Reconstructor
from spiro_diffusion.reconstruction.segments import Segment

if TYPE_CHECKING:
    from spiro_diffusion.models.mixture_density import Density

FILE = "reconstructor.json"
FILES = (*(f"{segment}_draw.onnx" for segment in Segment), f"{Segment.TAIL}_first.onnx", FILE)


def write(
    folder: Path,
    densities: "dict[Segment, Density]",
    made_from: dict[str, Any],
    corrections: Corrections,
    network: Callable[..., None],
) -> None:
    """Write FILES of densities on the CPU; `network` writes one, as `onnx_export` does."""
    import torch  # noqa: PLC0415 (who draws needs none)

    from spiro_diffusion.models.mixture_density import First  # noqa: PLC0415

    described = {}
    for segment, density in densities.items():
        rows, numbers = torch.zeros(2, density.config.features), torch.zeros(2, density.config.numbers)
        network(folder / f"{segment}_draw.onnx", density, features=rows, chance=numbers, noise=numbers)
        scales = {name: value.tolist() for name, value in density.scales._asdict().items()}
        limits = {name: getattr(density, name).tolist() for name in ("lowest", "highest")}
        described[str(segment)] = {
            "optional": density.optional,
            "numbers": density.config.numbers,
            "scales": scales,
            **limits,
        }
    rows = torch.zeros(2, densities[Segment.TAIL].config.features)
    network(folder / f"{Segment.TAIL}_first.onnx", First(densities[Segment.TAIL]), features=rows)
    stored = {name: asdict(getattr(corrections, name)) for name in ("alone", "given", "limits")}
    content = {
        "densities": described,
        "made_from": made_from,
        "corrections": stored | {"axes": corrections.axes.tolist()},
    }
    write_json(folder / FILE, content)


def load_reconstructor(folder: Path, generator: CurveDrawer) -> Reconstructor:
    """What completes efforts, of an exported folder.

    Raises SpiroError where it has none, or a file is damaged.
    """
    if not (folder / FILE).is_file():
        raise SpiroError(f"{folder / FILE}: no such file; export a model with reconstructor.safetensors beside it")
    content = read_json(folder / FILE)
    try:
        densities = {segment: OnnxDensity(folder, segment, content["densities"][segment]) for segment in Segment}
        stored = content["corrections"]
        alone, given = (filled(Calibration, stored[name], name) for name in ("alone", "given"))
        axes = np.array(stored["axes"], np.float64)
        axes = axes if axes.size else np.zeros((0, 0))
        corrections = Corrections(alone, given, filled(Limits, stored["limits"], "limits"), axes)
        return Reconstructor(densities, generator, content["made_from"], corrections)
    except (KeyError, TypeError, ValueError) as error:
        raise SpiroError(f"{folder / FILE}: not what `spiro export` wrote ({error!r}); export it again") from None


class OnnxDensity:
    """See `mixtures.Mixtures`."""

    def __init__(self, folder: Path, segment: Segment, content: dict[str, Any]) -> None:
        self.optional, self.numbers = int(content["optional"]), int(content["numbers"])
        self._files = {what: folder / f"{segment}_{what}.onnx" for what in ("draw", "first")}
        self._scales = Scales(**{name: np.array(value) for name, value in content["scales"].items()})
        self._limits = np.array(content["lowest"]), np.array(content["highest"])
        self._networks: dict[str, Any] = {}

    def draw(self, features: NDArray, draws: int, rng: np.random.Generator) -> Floats:
        """As `Mixtures.draw`."""
        given = np.repeat(features, draws, axis=0).astype(np.float32)
        chance, noise = mixtures.chances(len(given), self.numbers, rng)
        drawn = self._run("draw", features=given, chance=chance, noise=noise)[0]
        return mixtures.within_range(drawn, *self._limits).reshape(len(features), draws, -1)

    def quantiles(self, features: NDArray, levels: Sequence[float]) -> Floats:
        """As `Mixtures.quantiles`."""
        parts = self._run("first", features=features.astype(np.float32))
        return mixtures.quantiles([part.astype(np.float64) for part in parts], levels)

    def standardised(self, features: NDArray) -> Floats:
        """As `Mixtures.standardised`."""
        return self._scales.standardised(features)

    def _run(self, what: str, **inputs: NDArray) -> list[NDArray]:
        if what not in self._networks:
            onnxruntime = importlib.import_module("onnxruntime")
            providers = ["CPUExecutionProvider"]
            self._networks[what] = onnxruntime.InferenceSession(str(self._files[what]), providers=providers)
        return self._networks[what].run(None, inputs)
