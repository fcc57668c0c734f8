"""The command line `spiro`, one file for each group of commands.

What they do lies in the library; pandas and torch are imported by the commands that need them.
"""

from spiro_diffusion.cli import benchmark, convert, draw, judge, page, read, selftest, session  # noqa: F401 (each registers its commands)
from spiro_diffusion.cli.program import app, main

__all__ = ["app", "main"]
