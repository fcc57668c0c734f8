"""Stage evaluate: judge the generator on participants that training never saw."""

import sys

from spiro_diffusion.compute import runtime
from spiro_diffusion.pipeline.evaluate import Params, evaluate
from spiro_diffusion.pipeline.stage import run_stage

if __name__ == "__main__":
    runtime.spread("stages.evaluate", sys.argv[1:])
    run_stage(evaluate, Params)
