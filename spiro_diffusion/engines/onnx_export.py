"""Export the trained generator as ONNX, to a folder that needs only numpy and onnxruntime."""

import importlib.util
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from spiro_diffusion.core.artifacts import atomic, write_json
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.version import VERSION
from spiro_diffusion.engines import manifest, onnx_completion, torch_engine
from spiro_diffusion.generation import sessions
from spiro_diffusion.generation.generator import FACT_STREAM, LATENT_STREAM, LUNG_STREAM, Generator
from spiro_diffusion.models import conditioning, effort_facts, effort_sets, index_diffusion, volumes
from spiro_diffusion.physiology import time_grid
from spiro_diffusion.reconstruction.densities import load_densities

OPSET = 18  # every onnxruntime since 1.14 (2023) runs it
OUTPUTS = {"sessions": ["logs", "grades"], "draw": ["numbers"], "first": ["weights", "means", "sds", "start", "sd"]}
COMPARED = 64  # curves
SAMPLERS = "euler", "dpmpp_2m"  # that `onnx_sampler` and the page without a server have
NETWORKS = ("facts", "known_best", "sessions", "denoiser", "decoder")
FILES = (*(f"{name}.onnx" for name in NETWORKS), "sampler.json", "sample.py", manifest.FILE)


class Decoder(nn.Module):
    """Clean latents (B, 64, r) of the denoiser and facts (B, 9) → flow (B, 512), L/s: back to tokens, snapped to codes,
    decoded, bent to the volumes of the facts."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.cldm, self.vqvae = generator.cldm, generator.vqvae
        # the pseudo-inverse that `VQVAE.snap` uses; ONNX has no operator for it
        self.register_buffer("narrow", torch.linalg.pinv(self.vqvae.widen.weight.float()).T.contiguous())
        self.narrow: Tensor

    def forward(self, latents: Tensor, facts: Tensor) -> Tensor:
        codes = self.vqvae.quantiser(self.cldm.restore(latents) @ self.narrow)
        flow = self.vqvae.decode(self.vqvae.widen(codes.vectors)).flow
        return volumes.with_volumes(flow, index_diffusion.target_volumes(facts))


class KnownBest(nn.Module):
    """Best values (B, 5), NaN where unknown, of people with features (B, 12) → (B, 5), as conditions of the facts."""

    def __init__(self, facts: index_diffusion.Facts) -> None:
        super().__init__()
        self.facts = facts

    def forward(self, values: Tensor, features: Tensor) -> Tensor:
        return self.facts.known_best(values, features)


class Sessions(nn.Module):
    """Drawn sets (P, TOKENS, CHANNELS) of people whose slots are taken (P, EFFORTS), with features of each slot
    (P, EFFORTS, 12) → facts of the efforts (P, EFFORTS, 9), and their grades (P, EFFORTS)."""

    def __init__(self, facts: index_diffusion.Facts) -> None:
        super().__init__()
        self.facts = facts

    def forward(self, drawn: Tensor, present: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        efforts = self.facts.of_set(drawn, present)
        return self.facts.restore(efforts, features), index_diffusion.grades(efforts)


def export(
    generator: Generator, folder: Path, model_warnings: Sequence[str] = (), reconstructor: Path | None = None
) -> list[Path]:
    """Write FILES: the networks, the numbers that the sampler needs, and the sampler (`onnx_sampler`) itself, which
    repeats the warnings on the model; and with a reconstructor's checkpoint what completes efforts too.

    Raises SpiroError where the package onnx is not installed, or the model's samplers are not among those of
    `onnx_sampler`.
    """
    if importlib.util.find_spec("onnx") is None:
        raise SpiroError("the export needs the package onnx; `python -m pip install onnx onnxruntime`")
    sampling = generator.cldm.config.sampling
    for sampler in (sampling.sampler, sampling.facts_sampler):
        if sampler not in SAMPLERS:
            raise SpiroError(f"the model draws by the sampler {sampler}; an export draws by {' or '.join(SAMPLERS)}")
    model, rows = generator.cldm.cpu(), 2
    fact_shape, latent_shape = generator.fact_shape, generator.latent_shape
    # a whole set: what is traced with a set of one has no attention, and sets are drawn with the same network
    conditions = index_diffusion.alone(torch.zeros(rows, len(conditioning.NAMES))).repeat(1, index_diffusion.TOKENS, 1)
    both = torch.zeros(rows, len(conditioning.NAMES) + len(effort_facts.NAMES))
    features, present = torch.zeros(rows, len(model.facts.coefficients)), torch.ones(rows, effort_sets.EFFORTS)
    sets = torch.zeros(rows, index_diffusion.TOKENS, effort_facts.CHANNELS)
    _write(folder / "facts.onnx", model.facts.denoiser, noisy=sets, conditions=conditions)
    _write(
        folder / "known_best.onnx",
        KnownBest(model.facts),
        values=torch.ones(rows, len(effort_sets.BEST)),
        features=features,
    )
    repeated = features[:, None].expand(-1, effort_sets.EFFORTS, -1).contiguous()
    _write(folder / "sessions.onnx", Sessions(model.facts), drawn=sets, present=present, features=repeated)
    _write(folder / "denoiser.onnx", model.denoiser, noisy=torch.zeros(rows, *latent_shape), conditions=both)
    facts = torch.zeros(rows, len(effort_facts.NAMES))
    _write(folder / "decoder.onnx", Decoder(generator), latents=torch.zeros(rows, *latent_shape), facts=facts)
    numbers = _numbers(generator, fact_shape, latent_shape)
    write_json(folder / "sampler.json", numbers | {"warnings": list(model_warnings)})
    with atomic(folder / "sample.py") as part:
        shutil.copyfile(Path(__file__).with_name("onnx_sampler.py"), part)
    names = [name for name in FILES if name != manifest.FILE]
    if reconstructor is not None:
        densities, trained, corrections = load_densities(reconstructor)
        onnx_completion.write(folder, densities, asdict(trained), corrections, _write)
        names += onnx_completion.FILES
    files = [folder / name for name in names]
    return [*files, manifest.write(folder, (file for file in files if file.suffix != ".py"))]


def largest_difference(generator: Generator, folder: Path) -> float | None:
    """Largest difference in flow (L/s) between COMPARED curves of a generator and of its export; None where
    onnxruntime is not installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    from spiro_diffusion.engines.onnx_sampler import Sampler  # noqa: PLC0415 (onnxruntime is optional)

    middle = {name: float(np.mean(generator.made_from[name])) for name in ("age", "height")}
    person = {**middle, "sex": 1, "grade": "A", "test_type": "Pre", "best": True}
    drawn = generator.sample(pd.DataFrame([person]), COMPARED, 0, progress=False)[0]
    return float(np.abs(Sampler(folder).draw([person], COMPARED, seed=0) - drawn).max())


def _write(path: Path, network: nn.Module, **inputs: Tensor) -> None:
    """One network as ONNX, for any number of rows; a denoiser's second input is `sigma` (B,)."""
    if "conditions" in inputs:
        conditions = inputs.pop("conditions")
        inputs |= {"sigma": torch.ones(len(conditions)), "conditions": conditions}
    sets = {name: {1: "efforts"} for name in ("noisy", "conditions", "clean")} if path.stem == "facts" else {}
    outputs = OUTPUTS.get(path.stem.rpartition("_")[2], ["clean"])
    with atomic(path) as part, warnings.catch_warnings():
        # The TorchScript exporter: deprecated for the one on torch.export, which takes 20 times as long here, needs
        # two packages more and fixes the decoder's number of rows (PyTorch 2.13). A test compares what comes out.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            tuple(inputs.values()),
            str(part),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes={name: {0: "curves", **sets.get(name, {})} for name in [*inputs, *outputs]},
        )


def _numbers(generator: Generator, fact_shape: tuple[int, ...], latent_shape: tuple[int, ...]) -> dict[str, Any]:
    """What the sampler needs beside the networks, in its order of use."""
    model = generator.cldm
    noise, facts_noise, sampling = model.config.noise, model.config.facts_noise, model.config.sampling
    scales = {name: getattr(model.facts, name).numpy() for name in ("coefficients", "residual_sd", "centre", "spread")}
    return {
        "version": VERSION,
        "made_from": generator.made_from,
        "numbers": [
            {"name": c.name, "centre": c.centre, "spread": c.spread, "optional": c.optional}
            for c in conditioning.NUMBERS
        ],
        "categories": [{"name": c.name, "values": c.values} for c in conditioning.CATEGORIES],
        "facts": {
            "names": effort_facts.NAMES,
            "known_best": effort_sets.BEST,
            "reached": effort_facts.REACHED,
            "place": effort_facts.PLACE,
            "places": effort_sets.PLACES,
            "grades": effort_facts.BITS,
            "scales": scales,
            "shape": fact_shape,
            "sampler": sampling.facts_sampler,
            "steps": sampling.facts_steps,
            "noise": (facts_noise.minimum, facts_noise.maximum, sampling.facts_rho),
            "stream": FACT_STREAM,
            "stream_alone": torch_engine.STREAM,
            "stream_sessions": sessions.STREAM,
        },
        "denoiser": {
            "shape": latent_shape,
            "sampler": sampling.sampler,
            "steps": sampling.steps,
            "noise": (noise.minimum, noise.maximum),
            "stream": LATENT_STREAM,
            "stream_lungs": LUNG_STREAM,
            "lung_share": sampling.lung_share,
        },
        "noise_block": sampling.noise_block,
        "edges_s": np.asarray(time_grid.EDGES_S),
    }
