"""Errors, atomic files, batches and parameters: what every other package uses."""
