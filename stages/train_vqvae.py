"""The stage `train_vqvae`: train the VQ-VAE."""

import sys

from spiro_diffusion.pipeline.stage import main

if __name__ == "__main__":
    main("train_vqvae", sys.argv[1:])
