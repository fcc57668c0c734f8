"""The stage `train_cldm`: train the diffusions of the indices and of the latents."""

import sys

from spiro_diffusion.pipeline.stage import main

if __name__ == "__main__":
    main("train_cldm", sys.argv[1:])
