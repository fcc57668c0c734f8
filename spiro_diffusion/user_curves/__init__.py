"""A user's own curves: one reader for every format, and writers."""

from spiro_diffusion.user_curves.efforts import RawBlow, UserCurves, to_efforts
from spiro_diffusion.user_curves.reader import FORMATS, WRITERS, read

__all__ = ["FORMATS", "WRITERS", "RawBlow", "UserCurves", "read", "to_efforts"]
