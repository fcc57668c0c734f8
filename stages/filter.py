"""The stage `filter`: which curves are used, and in which split each participant is."""

from spiro_diffusion.pipeline.filter import Params, filter
from spiro_diffusion.pipeline.stage import run_stage

if __name__ == "__main__":
    run_stage(filter, Params)
