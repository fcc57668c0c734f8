"""The Python API: curves of the trained generator and of the pipeline's data, and the reading of users' sessions.

    generator = SpiroGenerator.from_checkpoint("models")
    curves = generator.generate(age=45, height=175, sex="male", n=20, seed=0)
    curves.flow, curves.indices(), curves.to_pandas(), curves.plot("curves.png")

    for batch in load_curves("train").flow():
        batch.flow

    read = interpret(read_session("visit.csv", Person(age=45, height=175, sex="male")))
    read.findings["pre"].pattern, read.sentences()

The command line draws its curves through this module.
"""

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.vocabulary import SPLITS, Split
from spiro_diffusion.dataset import raw_curves as raw
from spiro_diffusion.dataset.signals import load_rows
from spiro_diffusion.engines import choice, store
from spiro_diffusion.engines.choice import FullEngine, open_engine
from spiro_diffusion.generation import drawn_curves, requested_curves, requests, session_curves
from spiro_diffusion.generation.conditions import Patient, Subject
from spiro_diffusion.generation.drawn_curves import Curves
from spiro_diffusion.generation.engine import SessionEfforts, SingleEfforts
from spiro_diffusion.generation.session_curves import Size
from spiro_diffusion.generation.subjects import REQUIRED, accepted, as_table
from spiro_diffusion.models.effort_sets import PLACES
from spiro_diffusion.physiology.time_grid import N_SAMPLES
from spiro_diffusion.reconstruction import user_calibration
from spiro_diffusion.reconstruction.completion import Recovered, parse_mask, recover
from spiro_diffusion.reconstruction.reconstructor import Reconstructor
from spiro_diffusion.reconstruction.user_calibration import UserCalibration
from spiro_diffusion.sessions import Interpretation, Person, Previous, Session, Visit, interpret, read_session
from spiro_diffusion.user_curves import UserCurves

if TYPE_CHECKING:
    from spiro_diffusion.cohorts.folder import Written
    from spiro_diffusion.engines.torch_engine import TorchEngine

__all__ = [
    "Curves",
    "Data",
    "Interpretation",
    "Person",
    "Previous",
    "Recovered",
    "Session",
    "SpiroGenerator",
    "Visit",
    "interpret",
    "load_curves",
    "read_session",
]

MOST_CURVES = 50_000  # in memory at once, 18 kB a curve
MOST_RECONSTRUCTIONS = 5000
MOST_RETESTS = 100
MOST_GUIDANCE = 100.0
RECONSTRUCTOR = "reconstructor.safetensors"
LARGEST_SEED = 2**63 - 1


class SpiroGenerator:
    """The trained generator of spirometry curves, conditioned on age, height and sex. Not for diagnosis.

    `made_from` describes its training data: `data` (the source), `participants`, `curves`, `age` and `height`
    (lowest and highest, years and cm). `warnings` lists the evaluation targets that the model missed; each use warns
    of them.
    """

    def __init__(self, generator: FullEngine, folder: Path | None = None, calibration: Path | None = None) -> None:
        self._generator, self._folder, self._calibration = generator, folder, calibration
        self._reconstructor: Reconstructor | None = None  # loaded when first used
        self.made_from: dict[str, Any] = generator.made_from
        self.warnings = generator.model_warnings(folder) if folder else []

    @classmethod
    def from_checkpoint(
        cls, folder: str | Path = store.DEFAULT, device: str = "auto", calibration: str | Path | None = None
    ) -> "SpiroGenerator":
        """Load a model.

        Drawing uses one thread of the CPU whatever PyTorch's settings, so that results are the same to the last digit
        on any number of cores.

        Args:
            folder: a folder with the checkpoints or with the files of `spiro export`; a .zip of such a folder; the
                http(s) address of such a .zip (`#sha256=…` is verified); or a name of the registry. By default the
                folder `models`, or else the model that the wheel contains.
            device: auto, cpu or cuda; for checkpoints only.
            calibration: a file made by `calibrate`, for the spirometer and population whose efforts are completed.

        Raises SpiroError if a file is missing or damaged, the two checkpoints do not belong together, or the device is
        not available.
        """
        folder, calibrated = store.located(folder), None if calibration is None else Path(calibration)
        found = cls(open_engine(folder, device), folder, calibrated)
        if calibrated is not None:
            _ = found.reconstructor  # a calibration of another model is refused at once
        return found

    def generate(
        self,
        people: pd.DataFrame | Mapping[str, Any] | None = None,
        *,
        n: int = 1,
        seed: int = 0,
        any_effort: bool = False,
        skip_invalid: bool = False,
        guidance: float = 1.0,
        progress: bool = False,
        tell: Callable[[str], object] = warnings.warn,
        **subject: Unpack[Patient],
    ) -> Curves:
        """Draw `n` curves for each person: best acceptable efforts before a bronchodilator, unless others are chosen.

        Known values of a patient (FEV1, FVC, FEV1/FVC, PEF, FEF25-75), a pattern or a kind of effort can be requested
        (docs/patients.md): curves are drawn until `n` meet the request; if the search budget is spent first, a warning
        reports how many were found.

        Args:
            people: a table or a mapping with age (years), height (cm) and sex (male or female, or 1 or 2),
                optionally grade, test_type, weight, bmi, ethnicity, cycle and requests (known_fev1, known_fvc,
                known_ratio, known_pef, known_fef2575, pattern, effort); other columns are kept.
            seed: the same seed and people give the same curves.
            any_effort: draw any effort, not a person's best.
            skip_invalid: leave out invalid rows of `people`, with a warning.
            guidance: 1 draws the spread of the population; larger values exaggerate the effect of age, height and sex,
                and take twice the time.
            progress: show a progress bar.
            tell: called with each warning: that the model missed targets, or that a subject is rare in its training
                data.
            subject: one person's `age`, `height` and `sex` instead of `people`; `grade` (A, B, C or D; default A),
                `test_type` (Pre, or Bron for after the bronchodilator; default Pre) and the other keys of
                `conditions.Patient`, for all rows whose cell is empty.

        Raises SpiroError if rows are invalid, beyond the trained ages and heights or contradictory in their requests,
        or if too many curves are requested at once.
        """
        given: dict[str, Any] = dict(subject)
        table = as_table(people, **{name: given.pop(name, None) for name in REQUIRED})
        drawn_curves.check_columns(table)
        _check("n", n, 1, np.inf)
        _check("seed", seed, 0, LARGEST_SEED)
        _check("guidance", guidance, 0, MOST_GUIDANCE)
        kept, required = requests.accept(table, self.made_from, given, skip_invalid=skip_invalid, any_effort=any_effort)
        if len(kept.table) * n > MOST_CURVES:
            raise SpiroError(
                f"{len(kept.table) * n} curves are more than {MOST_CURVES} at once; draw parts with other seeds"
            )
        self._warn(tell, [*kept.warnings, *requested_curves.notes(kept.table)])
        if required is None:
            return self.draw(kept.table, n, seed, guidance=guidance, progress=progress, given=kept.given)
        if guidance != 1.0:
            raise SpiroError("guidance overstates what is known; leave it out with a request for the curves")
        drawer = SingleEfforts(self._generator)
        return requested_curves.curves(
            drawer, kept, required, self.made_from, each=n, seed=seed, tell=tell, progress=progress
        )

    def sessions(
        self,
        people: pd.DataFrame | Mapping[str, Any] | None = None,
        *,
        efforts: int = 6,
        after: int = 0,
        n: int = 1,
        seed: int = 0,
        skip_invalid: bool = False,
        tell: Callable[[str], object] = warnings.warn,
        **person: Any,
    ) -> Curves:
        """Draw `n` lungs for each person, and a session of each: efforts of one lung, with their grades.

        A known value is the best of the session, a pattern is that of its best values, and a requested kind of effort
        occurs at least once in each session.

        Args:
            people: as for `generate`, or one person's `age`, `height` and `sex` as keywords, with `weight`, `bmi`,
                `ethnicity`, `cycle` and requests (fev1, fvc, ratio, pef, fef2575, pattern, effort).
            efforts: number of efforts of each session, 1 to 8.
            after: number of efforts after a bronchodilator (two puffs, at least ten minutes later), 0 to 8.

        Raises SpiroError if rows are invalid or beyond the trained ages and heights, or if too many efforts are
        requested.
        """
        given: dict[str, Any] = dict(person)
        table = as_table(people, **{name: given.pop(name, None) for name in REQUIRED})
        drawn_curves.check_columns(table, (*drawn_curves.RESERVED, "best"))
        for name, number, least in (("efforts", efforts, 1), ("after", after, 0)):
            _check(name, number, least, PLACES)
        _check("n", n, 1, np.inf)
        _check("seed", seed, 0, LARGEST_SEED)
        kept, required = requests.accept(table, self.made_from, given, skip_invalid=skip_invalid)
        size, total = Size(n, efforts, after), len(kept.table) * n * (efforts + after)
        if total > MOST_CURVES:
            raise SpiroError(f"{total} curves are more than {MOST_CURVES} at once; draw parts with other seeds")
        if required is not None:
            session_curves.check(required, size)
        self._warn(tell, [*kept.warnings, *([requested_curves.AFTER] if after else [])])
        if required is None:
            return session_curves.curves_of(self._generator, kept.table, kept.given, size, seed)
        drawer = SessionEfforts(self._generator)
        return requested_curves.curves(drawer, kept, required, self.made_from, each=size, seed=seed, tell=tell)

    @property
    def reconstructor_file(self) -> Path | None:
        """The checkpoint that `reconstruct` needs; None if it is missing."""
        return choice.completes(self._folder) if self._folder else None

    def reconstruct(
        self,
        flow: NDArray,
        *,
        mask: str | None = None,
        others: Sequence[NDArray] | UserCurves = (),
        n: int = 100,
        seed: int = 0,
        notes: list[str] | None = None,
        tell: Callable[[str], object] = warnings.warn,
        **subject: Unpack[Subject],
    ) -> Recovered:
        """Complete an interrupted or faulty effort `flow` (T,), L/s of each 10 ms at BTPS.

        Args:
            mask: the trusted parts, s from time zero, as `0:2.0` or `0:0.6,1.1:2.0`; by default all but the detected
                faults.
            others: other efforts of the same person: flow as above, or the result of `user_curves.read`.
            n: number of reconstructions.
            notes: remarks on the reading of the curve, which the result keeps.
            subject: `age` (years), `height` (cm) and `sex` of the person.

        Raises SpiroError if the folder contains no reconstructor, the person is beyond the trained ages and heights,
        too little of the effort is trusted, or one of `others` is the same effort or no forced expiration.
        """
        _check("n", n, 1, MOST_RECONSTRUCTIONS)
        _check("seed", seed, 0, LARGEST_SEED)
        kept = accepted(as_table(**subject), self.made_from)
        self._warn(tell, kept.warnings)
        spans = None if mask is None else parse_mask(mask)
        options: dict[str, Any] = {"spans": spans, "others": others, "draws": n, "seed": seed, "notes": notes}
        return recover(self.reconstructor, flow, kept.table, **options)

    @property
    def reconstructor(self) -> Reconstructor:
        """The model that completes efforts, loaded when it is first used.

        Raises SpiroError if the folder contains none, or the calibration belongs to another one.
        """
        if self._reconstructor is None:
            model = self._generator.reconstructor(self._checkpoint.parent)
            if self._calibration is not None:
                calibrated = user_calibration.read(self._calibration, self._checkpoint)
                model = model.calibrated(calibrated.calibration, calibrated.words)
            self._reconstructor = model
        return self._reconstructor

    @property
    def _checkpoint(self) -> Path:
        if self._folder is None:
            raise SpiroError("this generator was not loaded from a folder; use SpiroGenerator.from_checkpoint")
        return choice.completes(self._folder) or self._folder / RECONSTRUCTOR

    def validate(
        self,
        folder: str | Path,
        *,
        btps: float | None = None,
        n: int = 200,
        tell: Callable[[str], object] = warnings.warn,
    ) -> pd.DataFrame:
        """Validate completions on recorded efforts: a row for each time of interruption, see `validation.table`.

        Args:
            folder: curves and people.csv, see `user_curves.people`.
            btps: the factor to BTPS for files that do not state it.
            n: completions of each effort.
            tell: called with each warning: that the model missed targets, or that people are left out.

        Raises SpiroError if there are no usable efforts of people within the trained ages and heights.
        """
        from spiro_diffusion.reconstruction import validation  # noqa: PLC0415 (scipy.stats: a second)

        efforts = validation.read(Path(folder), self.reconstructor, btps=btps)
        self._warn(tell, efforts.notes)
        return validation.table(self.reconstructor, efforts, draws=n, seed=0)

    def calibrate(
        self, folder: str | Path, *, btps: float | None = None, tell: Callable[[str], object] = warnings.warn
    ) -> UserCalibration:
        """Calibrate the intervals of completions to recorded efforts of another spirometer or population.

        Arguments as for `validate`; the best effort of each person counts. Write the result to a file to give it to
        `from_checkpoint`.

        Raises SpiroError as `validate` does, and for fewer than 20 people.
        """
        from spiro_diffusion.reconstruction import validation  # noqa: PLC0415

        efforts = validation.read(Path(folder), self.reconstructor, btps=btps)
        self._warn(tell, efforts.notes)
        try:
            found = validation.calibrated(self.reconstructor, efforts)
        except SpiroError as error:
            raise SpiroError(f"{folder}: {error}") from None
        return UserCalibration.of(found, self._checkpoint, efforts.people)

    def draw(
        self,
        table: pd.DataFrame,
        n: int,
        seed: int,
        *,
        guidance: float = 1.0,
        batch: int | None = None,
        progress: bool = False,
        given: pd.DataFrame | None = None,
    ) -> Curves:
        """Draw `n` curves for each row of a table in the form of `subjects.conditioned`: age, height, sex (1 or 2),
        grade, test_type and best, None where unknown. The table is not checked.

        `batch`: curves in the network at once; by default a number that suits the device. `given`: the rows as the
        user gave them, which the curves keep.
        """
        signals = self._generator.sample(table, n, seed, guidance=guidance, batch=batch, progress=progress)
        return drawn_curves.from_signals(signals, table, given)

    def _warn(self, tell: Callable[[str], object], of_people: Sequence[str] = ()) -> None:
        """Warn of a model that missed its targets, and of people rare in its training data."""
        for warning in (*self.warnings, *of_people):
            tell(warning)

    def write_cohort(
        self,
        folder: str | Path,
        people: int,
        seed: int = 0,
        *,
        retests: int = 0,
        data: str | Path = "data",
        force: bool = False,
        progress: bool = False,
        tell: Callable[[str], object] = warnings.warn,
    ) -> "Written":
        """Write a synthetic population, modelled on the participants of the pipeline's `data`, as a folder ready to
        publish (docs/datasets.md).

        Args:
            retests: further visits of each person; their variation is taken from publications (`populations`).
            force: overwrite an existing population.
            tell: called with a warning if the model missed targets.

        Returns:
            the files written, and shares and means of the population beside those of the participants.

        Raises SpiroError if `data` has no curves.parquet, or the folder exists or cannot be written.
        """
        _check("people", people, 1, np.inf)
        _check("retests", retests, 0, MOST_RETESTS)
        _check("seed", seed, 0, LARGEST_SEED)
        self._warn(tell)
        from spiro_diffusion.cohorts import folder as cohorts  # noqa: PLC0415 (needed for populations only)
        from spiro_diffusion.generation import populations  # noqa: PLC0415

        curves, size = populations.read_participants(Path(data)), cohorts.Size(people, retests)
        options: dict[str, Any] = {"seed": seed, "force": force, "progress": progress}
        return cohorts.write_cohort(Path(folder), self._generator, curves, Path(data), size, **options)

    def export(self, folder: str | Path, *, tell: Callable[[str], object] = warnings.warn) -> list[Path]:
        """Write the generator as ONNX networks, `sampler.json` and `sample.py`, which draws the same curves with
        numpy and onnxruntime alone. Existing files are overwritten.

        Args:
            tell: called with a warning if the model missed targets.

        Returns:
            the files written.

        Raises SpiroError if the package onnx is not installed.
        """
        self._warn(tell)
        from spiro_diffusion.engines import onnx_export  # noqa: PLC0415 (needed for exports only)

        return onnx_export.export(self._torch, Path(folder), self.warnings, self.reconstructor_file)

    def export_difference(self, folder: str | Path) -> float | None:
        """Largest difference in flow (L/s) between curves drawn by this generator and by the export in `folder`; None
        if onnxruntime is not installed."""
        from spiro_diffusion.engines import onnx_export  # noqa: PLC0415

        return onnx_export.largest_difference(self._torch, Path(folder))

    @property
    def _torch(self) -> "TorchEngine":
        """The generator in PyTorch.

        Raises SpiroError if the generator was loaded from an export.
        """
        from spiro_diffusion.engines.torch_engine import TorchEngine  # noqa: PLC0415 (torch)

        if not isinstance(self._generator, TorchEngine):
            raise SpiroError("this model is an export already; to export one, open the folder with its checkpoints")
        return self._generator


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """The pipeline's n curves, or those of one split.

    `table`: a row a curve (docs/data.md). `signals` (n, 512) float32: mean flow of each bin of the grid, L/s at BTPS.
    """

    table: pd.DataFrame
    signals: NDArray[np.float32]
    repaired: Path

    def __len__(self) -> int:
        return len(self.table)

    def flow(self, size: int = raw.BATCH) -> Iterator[raw.Batch]:
        """The raw curves, up to `size` at a time: `rows` of the table; `flow` (m, T), L/s at BTPS in steps of 10 ms,
        0 after `points` (m,); `counts` (m, T), mL at ATPS.

        Memory does not grow with the table. Raises SpiroError if the raw curves are missing or are not those of the
        table.
        """
        return raw.batches(self.repaired, self.table, "read", size)


def _check(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:  # NaN neither
        raise SpiroError(f"{name} is {value}; expected {least} to {most}")


def load_curves(split: Split | None = None, folder: str | Path = "data") -> Data:
    """The curves that the pipeline made in `folder`, of one split (train, validation, test) or of all.

    Raises SpiroError if there are none, or for an unknown split.
    """
    folder = Path(folder)
    table = raw.read_table(folder / "curves.parquet")
    signals = load_rows(folder / "signals_L512.npy", len(table), (N_SAMPLES,))
    if split is not None:
        if split not in SPLITS:
            raise SpiroError(f"split is {split!r}; expected one of {', '.join(SPLITS)}")
        rows = np.flatnonzero(table["split"] == split)
        table, signals = table.iloc[rows].reset_index(drop=True), signals[rows]
    return Data(table, signals, folder / "repaired")
