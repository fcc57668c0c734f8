"""Stage encode: every curve as its 64 tokens, with the channels' mean and covariance."""

import sys

from spiro_diffusion.compute import runtime
from spiro_diffusion.pipeline.encode import Params, encode
from spiro_diffusion.pipeline.stage import run_stage

if __name__ == "__main__":
    runtime.spread("stages.encode", sys.argv[1:])
    run_stage(encode, Params)
