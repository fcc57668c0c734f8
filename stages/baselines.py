"""Stage baselines: judge simple rivals with the same questions, on the same participants, beside the generator."""

from spiro_diffusion.pipeline.baselines import Params, baselines
from spiro_diffusion.pipeline.stage import run_stage

if __name__ == "__main__":
    run_stage(baselines, Params)
