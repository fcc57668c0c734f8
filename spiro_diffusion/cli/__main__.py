"""`python -m spiro_diffusion.cli`."""

import sys

from spiro_diffusion.cli import main

if __name__ == "__main__":
    sys.exit(main())
