"""Interval corrections, measured on people whom the densities of tails were not trained on."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.reconstruction.calibration import Calibration
from spiro_diffusion.reconstruction.dissimilarity import Limits


class Corrections(NamedTuple):
    """Corrections of the intervals of tails, fitted to people outside the training data of the densities."""

    alone: Calibration  # of an effort of which nothing else is known
    given: Calibration  # of one beside other efforts of the person
    limits: Limits  # for efforts similar to the training efforts
    axes: NDArray[np.float64]  # (f, f) on which that is measured, see `dissimilarity`; (0, 0) where it is not

    @classmethod
    def none(cls) -> "Corrections":
        """The corrections of densities that were not validated."""
        return cls(Calibration.none(), Calibration.none(), Limits([], [], 1.0), np.zeros((0, 0)))
