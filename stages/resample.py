"""The stage `resample`: every curve as 512 samples of flow, and how well that and the raw curves agree."""

from spiro_diffusion.pipeline.resample import Params, resample
from spiro_diffusion.pipeline.stage import run_stage

if __name__ == "__main__":
    run_stage(resample, Params)
