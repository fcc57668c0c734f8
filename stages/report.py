"""The stage `report`: plots and pages of what the stages before stored."""

import sys

from spiro_diffusion.pipeline.stage import main

if __name__ == "__main__":
    main("report", sys.argv[1:])
