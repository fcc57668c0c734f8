"""The stage `download`: raw files from one of three sources into data/raw."""

from spiro_diffusion.pipeline.download import Params, download
from spiro_diffusion.pipeline.stage import run_stage

if __name__ == "__main__":
    run_stage(download, Params)
