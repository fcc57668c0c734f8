"""The stage `encode`: every curve as its 64 tokens."""

import sys

from spiro_diffusion.pipeline.stage import main

if __name__ == "__main__":
    main("encode", sys.argv[1:])
