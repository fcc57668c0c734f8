"""Stage reconstruct: teach small densities what a spoiled effort hides, and judge reconstructions of held-out ones."""

from spiro_diffusion.pipeline.reconstruct import Params, reconstruct
from spiro_diffusion.pipeline.stage import run_stage

if __name__ == "__main__":
    run_stage(reconstruct, Params)
