"""Stage train_vqvae: teach the VQ-VAE to write a curve as 64 tokens and read it back."""

import sys

from spiro_diffusion.compute import runtime
from spiro_diffusion.pipeline.stage import run_stage
from spiro_diffusion.pipeline.train_vqvae import Params, train_vqvae

if __name__ == "__main__":
    runtime.spread("stages.train_vqvae", sys.argv[1:])
    run_stage(train_vqvae, Params)
