"""Stage encode: encode every curve as 64 tokens, with the channels' mean and covariance."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

from spiro_diffusion.compute import distributed, runtime
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.batching import batches
from spiro_diffusion.dataset.raw_curves import read_table
from spiro_diffusion.dataset.signals import load_signals
from spiro_diffusion.models.vqvae import CHANNELS, TOKENS, load_vqvae


@dataclass(frozen=True)
class Params:
    """The section `encode`."""

    batch: int  # curves at a time
    latents: Literal["float32", "float16"]  # as stored


def encode(params: Params, *, signals: Path, curves: Path, vqvae: Path, latents: Path, moments: Path) -> None:
    """Write (curves, 64, 128) tokens as a stream, and mean and covariance of the train curves' channels.

    Mean and covariance are those of the float32 tokens in any case.
    """
    with runtime.start().exact().applied() as compute:
        model = load_vqvae(vqvae).to(compute.device)
        split = read_table(curves, ["split"])["split"].to_numpy()
        flow = load_signals(signals, len(split))
        parts = list(batches(len(flow), params.batch))

        @torch.inference_mode()
        def encoded(part: slice) -> Tensor:
            return model.encode(flow[part].to(compute.device))

        tokens = distributed.in_order(parts, encoded, (TOKENS, CHANNELS))
        if distributed.rank():
            for _ in tokens:
                pass  # each is sent to the first process, which writes
            return
        # sums in torch, whose thread count is fixed: NumPy's may differ between runs, and with it the last digits
        count, total, products = 0, torch.zeros(CHANNELS).double(), torch.zeros(CHANNELS, CHANNELS).double()
        with artifacts.npy_rows(latents, (len(flow), TOKENS, CHANNELS), params.latents) as append:
            bar = tqdm(parts, desc="encode", unit="batch", mininterval=1)
            for part, vectors in zip(bar, tokens, strict=True):
                append(vectors.numpy())
                seen = vectors[torch.from_numpy(split[part] == "train")].reshape(-1, CHANNELS).double()
                count, total, products = count + len(seen), total + seen.sum(0), products + seen.T @ seen
    mean = total / count
    covariance = products / count - torch.outer(mean, mean)
    artifacts.write_json(moments, {"mean": mean.tolist(), "covariance": covariance.tolist()})
