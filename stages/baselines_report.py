"""The stage `baselines_report`: plots and page of the baselines beside the generator."""

import sys

from spiro_diffusion.pipeline.stage import main

if __name__ == "__main__":
    main("baselines_report", sys.argv[1:])
