"""The version of the installed package, from its metadata."""

from importlib import metadata

try:
    VERSION = metadata.version("spiro-diffusion")
except metadata.PackageNotFoundError:  # run from a folder that was not installed
    VERSION = "unknown"
