"""Checkpoints of tiny, untrained networks, and the data of a few simulated people, in seconds."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import repaired
import torch

from spiro_diffusion.api import SpiroGenerator
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.params import load_params
from spiro_diffusion.dataset import splits
from spiro_diffusion.models import effort_facts, index_diffusion
from spiro_diffusion.models.edm import Noise
from spiro_diffusion.models.header import MadeFrom
from spiro_diffusion.models.latent_diffusion import CLDM, CLDMConfig, save_cldm
from spiro_diffusion.models.mixture_density import Density, DensityConfig
from spiro_diffusion.models.unet import UNetConfig
from spiro_diffusion.models.vqvae import VQVAE, VQVAEConfig, save_vqvae
from spiro_diffusion.pipeline import align, filter, resample
from spiro_diffusion.reconstruction import examples, sibling_efforts
from spiro_diffusion.reconstruction.corrections import Corrections
from spiro_diffusion.reconstruction.densities import save_densities
from spiro_diffusion.simulation.simulator import simulate

ROOT = Path(__file__).parents[1]


def models(folder: Path) -> Path:
    """Everything but the curves' looks is as in trained ones; something flows in each from begin to end."""
    torch.manual_seed(0)
    network = VQVAEConfig(width=16, blocks=2, groups=4, code_width=4, codes=16)
    vqvae, untrained = folder / "vqvae.safetensors", VQVAE(network)
    assert untrained.out.conv.bias is not None
    untrained.out.conv.bias.data = torch.tensor([0.1, 0.0, 5.0, 5.0])  # mean, spread, begun, going
    save_vqvae(vqvae, network, untrained.state_dict())
    unet = UNetConfig(channels=8, width=16, multipliers=(1, 2), head=16, context=16, facts=len(effort_facts.NAMES))
    config = CLDMConfig(unet, Noise(), index_diffusion.FactsConfig(width=16, blocks=1), Noise())
    made_from = MadeFrom("simulated", 3, 9, [6.0, 79.0], [108.0, 195.0], artifacts.sha256(vqvae))
    save_cldm(folder / "cldm.safetensors", config, CLDM(config).state_dict(), made_from)
    return folder


def lively(generator: SpiroGenerator) -> SpiroGenerator:
    """The generator with nothing zero that starts at zero: every condition, layer and scale decides the curves."""
    random = torch.Generator().manual_seed(1)
    vqvae, cldm = generator._torch.vqvae, generator._torch.cldm
    for tensor in (*vqvae.parameters(), *cldm.parameters(), cldm.mean, cldm.facts.coefficients, cldm.facts.centre):
        if not tensor.any():
            tensor.data = 0.3 * torch.randn(tensor.shape, generator=random)
    cldm.axes.data = vqvae.widen.weight.data.T[:8].clone()  # the directions that codes span
    return generator


def reconstructor(folder: Path, models: Path, data: Path) -> Path:
    """The tiny models in another folder, with densities whose linear start is that of a few simulated people."""
    for name in ("vqvae", "cldm"):
        (folder / f"{name}.safetensors").symlink_to(models / f"{name}.safetensors")
    table, signals = pd.read_parquet(data / "curves.parquet"), np.load(data / "signals_L512.npy")
    rows = np.flatnonzero(examples.full(table, signals))
    densities = {}
    torch.manual_seed(0)
    for name, made in examples.examples(signals, table, rows, 12, seed=0).items():
        given, target = torch.from_numpy(made.features), torch.from_numpy(made.numbers)
        shape = DensityConfig(
            given.shape[1], target.shape[1], target.shape[1] + sibling_efforts.COMPARED, width=16, components=2
        )
        densities[name] = Density(shape).eval()
        densities[name].fit_scales(given, target)
    made_from = MadeFrom.of("simulated", table.iloc[rows])
    save_densities(folder / "reconstructor.safetensors", densities, made_from, Corrections.none())
    return folder


def data(folder: Path, people: int = 40, cycles: str = "G") -> Path:
    """`data/` as the stages repair to resample leave it; so many people of each cycle."""
    for cycle in cycles:
        raw = repaired.write(folder / "repaired", simulate(cycle, people, seed=3), cycle)
    aligned, filtered, trash = folder / "aligned.parquet", folder / "filtered.parquet", folder / "metrics"
    params = ROOT / "params.yaml"
    align.align(
        load_params(align.Params, "align", params),
        repaired=raw,
        aligned=aligned,
        metadata=folder / "metadata_aligned.csv",
        metrics=trash / "align.json",
    )
    filter.filter(
        load_params(filter.Params, "filter", params),
        aligned=aligned,
        filtered=filtered,
        metrics=trash / "filter.json",
    )
    resample.resample(
        load_params(resample.Params, "resample", params),
        repaired=raw,
        filtered=filtered,
        signals=folder / "signals_L512.npy",
        curves=folder / "curves.parquet",
        metrics=trash / "resample.json",
        plot_data=trash / "plot_data.npz",
    )
    return folder


def with_parts(curves: pd.DataFrame) -> pd.DataFrame:
    """The table with other numbers of participants, so that each part has some of them."""
    u = splits.hash_value(numbers := np.arange(50_000, 60_000))
    free: dict[str, list[int]] = {
        part: list(numbers[(u >= low) & (u < high)]) for part, (low, high) in splits.PARTS.items()
    }
    wanted = itertools.cycle(("train", "test", "choosing", "reporting"))
    new = {seqn: free[part].pop() for seqn, part in zip(curves["seqn"].unique(), wanted, strict=False)}
    seqn = curves["seqn"].map(new)
    return curves.assign(seqn=seqn, split=splits.split(seqn))
