"""Run a stage of the pipeline, as `python -m stages.NAME` does in the repository.

python -m spiro_diffusion.pipeline align --help
"""

import sys

from spiro_diffusion.pipeline.stage import BASELINES, MAIN, main

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"give a stage: {', '.join(MAIN + BASELINES)}")
    main(sys.argv[1], sys.argv[2:])
