"""The name that `spiro_diffusion.pipeline.run` had in 0.1."""

import sys

if __name__ == "__main__":
    sys.exit("error: spiro_diffusion.bare was renamed in 0.2: python -m spiro_diffusion.pipeline.run (docs/moving.md)")
