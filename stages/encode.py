"""Stage encode: every curve as its 64 tokens, with the channels' mean and covariance."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from spiro_diffusion import artifacts, runtime, training
from spiro_diffusion.signals import load_signals
from spiro_diffusion.stage import run_stage
from spiro_diffusion.vqvae import CHANNELS, TOKENS, load_vqvae


@dataclass(frozen=True)
class Params:
    """The section `encode`."""

    batch: int  # curves at a time


def encode(params: Params, *, signals: Path, curves: Path, vqvae: Path, latents: Path, moments: Path) -> None:
    """Write float32 (curves, 64, 128) tokens as a stream, and mean and covariance of the train curves' channels."""
    place = runtime.start().exact()
    model = load_vqvae(vqvae).to(place.device)
    split = pd.read_parquet(curves, columns=["split"])["split"].to_numpy()
    flow = load_signals(signals, len(split))
    count, total, products = 0, np.zeros(CHANNELS), np.zeros((CHANNELS, CHANNELS))
    with artifacts.npy_rows(latents, (len(flow), TOKENS, CHANNELS)) as append, torch.inference_mode():
        for part in tqdm(list(training.batches(len(flow), params.batch)), desc="encode", unit="batch", mininterval=1):
            vectors = model.encode(flow[part].to(place.device)).cpu().numpy()
            append(vectors)
            seen = vectors[split[part] == "train"].reshape(-1, CHANNELS).astype(np.float64)
            count, total, products = count + len(seen), total + seen.sum(0), products + seen.T @ seen
    mean = total / count
    covariance = products / count - np.outer(mean, mean)
    artifacts.write_json(moments, {"mean": mean, "covariance": covariance})


if __name__ == "__main__":
    run_stage(encode, Params)
