"""Calibration of completions to a user's recorded efforts, for their spirometer and patients, as a small file."""

from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from spiro_diffusion.core import artifacts
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.models.header import configured
from spiro_diffusion.reconstruction.cohort_calibration import CohortCalibration

KIND = "spiro calibration"
FILE = "calibration.json"


@dataclass(frozen=True)
class UserCalibration:
    """A correction, the model that it corrects, and the people on whose efforts it was measured."""

    calibration: CohortCalibration
    reconstructor: str  # SHA-256 of the checkpoint
    people: int
    age: tuple[float, float]  # years, lowest and highest
    height: tuple[float, float]  # cm

    @classmethod
    def of(cls, calibration: CohortCalibration, checkpoint: Path, people: pd.DataFrame) -> "UserCalibration":
        """From the correction and its people, n rows with age and height, for the model in `checkpoint`."""
        age, height = ((float(people[name].min()), float(people[name].max())) for name in ("age", "height"))
        return cls(calibration, artifacts.sha256(checkpoint), len(people), age, height)

    @property
    def words(self) -> str:
        """The people whose efforts were used, in words."""
        return f"{self.people} people of your own, {self.age[0]:g} to {self.age[1]:g} years"

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        artifacts.write_json(path, {"kind": KIND, **asdict(self)})


def read(path: Path, checkpoint: Path) -> UserCalibration:
    """Read the correction in a file, for the model in `checkpoint`.

    Raises SpiroError if the file is missing, is no calibration, or was measured with another model.
    """
    content = artifacts.read_json(path)
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise SpiroError(f"{path}: is no calibration; make one with `spiro reconstruct --calibrate FOLDER`")
    calibration = configured(CohortCalibration, content, "calibration", path)
    try:
        age, height = ((float(low), float(high)) for low, high in (content["age"], content["height"]))
        found = UserCalibration(calibration, str(content["reconstructor"]), int(content["people"]), age, height)
    except (KeyError, TypeError, ValueError):
        raise SpiroError(f"{path}: is a damaged calibration; make it anew from your efforts") from None
    if found.reconstructor != artifacts.sha256(checkpoint):
        raise SpiroError(f"{path}: was measured with another model than {checkpoint}; make it anew with this one")
    return found
