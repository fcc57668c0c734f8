"""The stage `train_reconstructor`: train the densities of what an interrupted effort hides."""

import sys

from spiro_diffusion.pipeline.stage import main

if __name__ == "__main__":
    main("train_reconstructor", sys.argv[1:])
