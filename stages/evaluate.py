"""The stage `evaluate`: judge the generator on participants that training never saw."""

import sys

from spiro_diffusion.pipeline.stage import main

if __name__ == "__main__":
    main("evaluate", sys.argv[1:])
