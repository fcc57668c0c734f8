"""Stage train_cldm: teach two networks to draw the facts of an effort for a person, and its latents for both."""

import sys

from spiro_diffusion.compute import runtime
from spiro_diffusion.pipeline.stage import run_stage
from spiro_diffusion.pipeline.train_cldm import Params, train_cldm

if __name__ == "__main__":
    runtime.spread("stages.train_cldm", sys.argv[1:])
    run_stage(train_cldm, Params)
