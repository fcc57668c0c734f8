"""The densities of missing segments in one checkpoint, with the corrections of their intervals."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from spiro_diffusion.compute.runtime import Runtime
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.generator import Generator
from spiro_diffusion.models import mixture_density
from spiro_diffusion.models.checkpoint import Constants, load_checkpoint, mean_surface_probe, rebuilt, save_checkpoint
from spiro_diffusion.models.header import MadeFrom, configured
from spiro_diffusion.models.mixture_density import Density, DensityConfig
from spiro_diffusion.models.mixtures import Floats
from spiro_diffusion.physiology import time_grid
from spiro_diffusion.reconstruction import calibration, dissimilarity, segments
from spiro_diffusion.reconstruction.calibration import Calibration
from spiro_diffusion.reconstruction.corrections import Corrections
from spiro_diffusion.reconstruction.dissimilarity import Limits
from spiro_diffusion.reconstruction.reconstructor import Reconstructor
from spiro_diffusion.reconstruction.segments import Segment

KIND = "reconstructor"
AXES = "unlikeness.axes"


def constants() -> Constants:
    """The constants that determine draws, beside weights and shapes."""
    settings = {name.lower(): value for name, value in vars(segments).items() if name.isupper()}
    density = {"least_sd": mixture_density.LEAST_SD, "shown": mixture_density.FEATURE_LIMIT_SD}
    corrected = {"levels": calibration.LEVELS, "farthest": dissimilarity.FARTHEST}
    parts = {"segments": settings, "density": density, "corrections": corrected}
    return {"time_grid": {"edges_s": time_grid.EDGES_S}, **parts, **mean_surface_probe()}


def save_densities(
    path: Path, densities: dict[Segment, Density], made_from: MadeFrom, corrections: Corrections
) -> None:
    """Write the densities with their training data and the corrections of their intervals."""
    tensors = {f"{name}.{k}": v for name, model in densities.items() for k, v in model.state_dict().items()}
    tensors[AXES] = torch.from_numpy(corrections.axes.astype(np.float32))
    config = {"densities": {name: asdict(m.config) for name, m in densities.items()}, "made_from": asdict(made_from)}
    config |= {name: asdict(getattr(corrections, name)) for name in ("alone", "given", "limits")}
    save_checkpoint(path, KIND, tensors, config, constants())


def load_densities(path: Path) -> tuple[dict[Segment, Density], MadeFrom, Corrections]:
    """Load the densities in eval mode on the CPU, their training data, and the corrections of their intervals.

    Raises SpiroError if the checkpoint is missing, damaged, of another kind, or made by code with other constants.
    """
    tensors, config = load_checkpoint(path, KIND, constants())
    made_from, densities = configured(MadeFrom, config, "made_from", path), {}
    for name in Segment:
        shape = configured(DensityConfig, config.get("densities", {}), name, path)
        weights = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
        densities[name] = rebuilt(partial(Density, shape), weights, path)
    alone, given = (configured(Calibration, config, name, path) for name in ("alone", "given"))
    axes, limits = tensors.get(AXES), configured(Limits, config, "limits", path)
    features = densities[Segment.TAIL].config.features - densities[Segment.TAIL].config.optional
    if axes is None or axes.shape not in ((0, 0), (features, features)):
        raise SpiroError(f"{path}: its tensor '{AXES}' is missing or of another shape; it is of other code than this")
    return densities, made_from, Corrections(alone, given, limits, axes.numpy().astype(np.float64))


class DeviceDensity(NamedTuple):
    """A density on a device; see `mixtures.Mixtures`."""

    model: Density
    runtime: Runtime

    @classmethod
    def all(cls, densities: dict[Segment, Density], runtime: Runtime) -> "dict[Segment, DeviceDensity]":
        """Densities on a device."""
        return {name: cls(model.to(runtime.device).eval(), runtime) for name, model in densities.items()}

    @property
    def optional(self) -> int:
        return self.model.optional

    def draw(self, features: NDArray, draws: int, rng: np.random.Generator) -> Floats:
        with self.runtime.applied():
            return self.model.draw(features, draws, rng)

    def quantiles(self, features: NDArray, levels: Sequence[float]) -> Floats:
        with self.runtime.applied():
            return self.model.quantiles(features, levels)

    def standardised(self, features: NDArray) -> Floats:
        return self.model.standardised(features)


def load_reconstructor(path: Path, generator: Generator) -> Reconstructor:
    """Load `reconstructor.safetensors` for use with a generator.

    Raises SpiroError if it is missing, damaged, or made by code with other constants.
    """
    densities, made_from, corrections = load_densities(path)
    return Reconstructor(DeviceDensity.all(densities, generator.runtime), generator, asdict(made_from), corrections)
