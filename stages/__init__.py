"""The stages of dvc.yaml, a file each."""

from spiro_diffusion.core import interrupts

interrupts.in_one_line()
