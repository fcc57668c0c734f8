"""The stage `align`: raw curves joined to the people who blew them, and measured."""

from spiro_diffusion.pipeline.align import Params, align
from spiro_diffusion.pipeline.stage import run_stage

if __name__ == "__main__":
    run_stage(align, Params)
