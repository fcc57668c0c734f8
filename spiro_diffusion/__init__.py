"""Spiro-Diffusion: from raw NHANES spirometry to a proved generator of lung-function curves."""
