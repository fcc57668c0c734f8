"""The stage `align`: raw curves joined to participants, with their indices."""

import sys

from spiro_diffusion.pipeline.stage import main

if __name__ == "__main__":
    main("align", sys.argv[1:])
