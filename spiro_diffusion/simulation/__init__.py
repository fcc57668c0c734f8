"""Simulated participants, sessions and expirations in the form of NHANES."""
