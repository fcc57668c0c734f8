"""The stage `filter`: which curves are used, and in which split each participant is."""

import sys

from spiro_diffusion.pipeline.stage import main

if __name__ == "__main__":
    main("filter", sys.argv[1:])
