"""Errors, atomic files, batches and parameters, used by all other packages."""
