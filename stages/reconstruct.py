"""The stage `reconstruct`: judge completions of interrupted held-out efforts."""

import sys

from spiro_diffusion.pipeline.stage import main

if __name__ == "__main__":
    main("reconstruct", sys.argv[1:])
