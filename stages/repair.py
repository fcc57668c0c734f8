"""The stage `repair`: each raw file, whatever its state, into one verified table."""

from spiro_diffusion.pipeline.repair import Params, repair
from spiro_diffusion.pipeline.stage import run_stage

if __name__ == "__main__":
    run_stage(repair, Params)
