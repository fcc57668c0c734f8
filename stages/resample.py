"""The stage `resample`: every curve as 512 samples of flow, and how well that and the raw curves agree."""

import sys

from spiro_diffusion.pipeline.stage import main

if __name__ == "__main__":
    main("resample", sys.argv[1:])
