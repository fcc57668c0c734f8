"""The densities of the hidden segments in one checkpoint."""

from dataclasses import asdict
from functools import partial
from pathlib import Path

from spiro_diffusion.models import mixture_density
from spiro_diffusion.models.checkpoint import Constants, load_checkpoint, mean_surface_probe, rebuilt, save_checkpoint
from spiro_diffusion.models.header import MadeFrom, configured
from spiro_diffusion.models.mixture_density import Density, DensityConfig
from spiro_diffusion.physiology import time_grid
from spiro_diffusion.reconstruction import segments
from spiro_diffusion.reconstruction.segments import Segment

KIND = "reconstructor"


def constants() -> Constants:
    """What decides a draw beside weights and shapes."""
    own = {name.lower(): value for name, value in vars(segments).items() if name.isupper()}
    density = {"least_sd": mixture_density.LEAST_SD, "shown": mixture_density.SHOWN}
    return {"time_grid": {"edges_s": time_grid.EDGES_S}, "segments": own, "density": density, **mean_surface_probe()}


def save_densities(path: Path, densities: dict[Segment, Density], made_from: MadeFrom) -> None:
    """Write the densities, and on what they were trained."""
    tensors = {f"{name}.{k}": v for name, model in densities.items() for k, v in model.state_dict().items()}
    config = {"densities": {name: asdict(m.config) for name, m in densities.items()}, "made_from": asdict(made_from)}
    save_checkpoint(path, KIND, tensors, config, constants())


def load_densities(path: Path) -> tuple[dict[Segment, Density], MadeFrom]:
    """The densities in eval mode on the CPU, and on what they were trained.

    Raises SpiroError where the checkpoint is missing, damaged, of another kind or of code with other constants.
    """
    tensors, config = load_checkpoint(path, KIND, constants())
    made_from, densities = configured(MadeFrom, config, "made_from", path), {}
    for name in Segment:
        network = configured(DensityConfig, config.get("densities", {}), name, path)
        own = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
        densities[name] = rebuilt(partial(Density, network), own, path)
    return densities, made_from
