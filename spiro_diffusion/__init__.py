"""Spiro-Diffusion: from raw NHANES spirometry to a proved generator of lung-function curves."""

import sys


class _PathsOf01:
    """Asked for a module of this package that no other finder has: one of version 0.1 is named by its new path."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name.startswith(f"{__name__}."):
            from spiro_diffusion.core import moved  # noqa: PLC0415 (needed for names that are not there alone)

            moved.refuse(name)


sys.meta_path.append(_PathsOf01)
