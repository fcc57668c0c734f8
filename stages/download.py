"""The stage `download`: raw files from one of three sources into data/raw."""

import sys

from spiro_diffusion.pipeline.stage import main

if __name__ == "__main__":
    main("download", sys.argv[1:])
