"""The stages of dvc.yaml, a file each."""

from spiro_diffusion.pipeline import interrupts

interrupts.in_one_line()
