"""The stage `baselines`: judge simple baselines as the generator was judged."""

import sys

from spiro_diffusion.pipeline.stage import main

if __name__ == "__main__":
    main("baselines", sys.argv[1:])
