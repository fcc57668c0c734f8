"""User curves: one reader for all formats, and writers."""

from spiro_diffusion.user_curves.efforts import RawBlow, UserCurves, to_efforts
from spiro_diffusion.user_curves.reader import FORMATS, WRITERS, read, read_records

__all__ = ["FORMATS", "WRITERS", "RawBlow", "UserCurves", "read", "read_records", "to_efforts"]
