"""Stage encode: every curve as its 64 tokens, with the channels' mean and scale."""

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


def encode(params: Params, *, signals: Path, curves: Path, vqvae: Path, latents: Path, scale: Path) -> None:
    """Write float32 (curves, 64, 128) codebook vectors as a stream, and the train curves' mean and SD a channel."""
    place = runtime.start().exact()
    model = load_vqvae(vqvae).to(place.device)
    split = pd.read_parquet(curves, columns=["split"])["split"].to_numpy()
    flow = load_signals(signals, len(split))
    count, total, squares = 0, np.zeros(CHANNELS), np.zeros(CHANNELS)
    with artifacts.npy_rows(latents, (len(flow), TOKENS, CHANNELS)) as append, torch.inference_mode():
        for part in tqdm(list(training.batches(len(flow), params.batch)), desc="encode", unit="batch", mininterval=1):
            vectors = model.encode(flow[part].to(place.device)).cpu().numpy()
            append(vectors)
            seen = vectors[split[part] == "train"].reshape(-1, CHANNELS).astype(np.float64)
            count, total, squares = count + len(seen), total + seen.sum(0), squares + (seen**2).sum(0)
    mean = total / count
    artifacts.write_json(scale, {"mean": mean, "sd": np.sqrt(np.maximum(squares / count - mean**2, 1e-12))})


if __name__ == "__main__":
    run_stage(encode, Params)
