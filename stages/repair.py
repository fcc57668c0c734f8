"""The stage `repair`: each raw file, whatever its state, into one verified table."""

import sys

from spiro_diffusion.pipeline.stage import main

if __name__ == "__main__":
    main("repair", sys.argv[1:])
