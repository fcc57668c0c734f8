"""The former name (0.1) of `spiro_diffusion.pipeline.run`."""

import sys

if __name__ == "__main__":
    sys.exit("error: spiro_diffusion.bare was renamed in 0.2: python -m spiro_diffusion.pipeline.run (docs/moving.md)")
