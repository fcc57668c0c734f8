"""Write a synthetic population as a folder, atomically: complete or not at all."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from spiro_diffusion.cohorts import card, metadata, parts
from spiro_diffusion.cohorts.metadata import About, File
from spiro_diffusion.cohorts.parts import Drawn, Size
from spiro_diffusion.cohorts.prevalences import Means, of_participants
from spiro_diffusion.core.artifacts import TOKEN_BYTES, folder_beside, locked, read_json, sha256, write_json, write_text
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.engine import Engine
from spiro_diffusion.generation.intended_use import EVALUATED, trained_on

CARD, CROISSANT, CRATE = "README.md", "croissant.json", "ro-crate-metadata.json"
LICENSE, CITATION, SUMS = "LICENSE", "CITATION.cff", "SHA256SUMS"
FILES = (parts.EFFORTS, parts.PEOPLE, CARD, CROISSANT, CRATE, LICENSE, CITATION, SUMS)


class Written(NamedTuple):
    """The files of a population, and its comparison with the participants that it is modelled on."""

    files: list[Path]
    drawn: Drawn
    participants: Means

    @property
    def seconds_per_1000(self) -> float:
        """s that 1,000 efforts took to draw, measure and write."""
        return 1000 * self.drawn.seconds / self.drawn.efforts


def write_cohort(
    folder: Path,
    generator: Engine,
    curves: pd.DataFrame,
    data: Path,
    size: Size,
    *,
    seed: int,
    force: bool = False,
    progress: bool = False,
) -> Written:
    """Draw people modelled on the participants `curves` of the pipeline's `data`, and write a folder ready to publish:
    `efforts/` and people.parquet (`columns`), a data card, Croissant and RO-Crate metadata, a licence, a citation
    and the SHA-256 of all other files. The same seed gives the same tables.

    Raises SpiroError if the folder exists and not `force`, is no population, or cannot be written.
    """
    check(folder, force)
    with appearing(folder) as part:
        drawn = parts.write(part, generator, curves, size, seed, progress)
        participants = of_participants(curves)
        about = About(folder.resolve().name, _described(drawn, generator.made_from), metadata.today())
        shutil.copyfile(metadata.LICENSE, part / LICENSE)
        write_text(part / CITATION, metadata.citation(about))
        made = card.Made(size.retests, seed, generator.made_from, data / "curves.parquet", curves["seqn"].nunique())
        write_text(part / CARD, card.card(about, made, drawn, participants, _judged(data)))
        files = [_file(part, file) for file in sorted(part.rglob("*")) if file.is_file()]
        write_json(part / CROISSANT, metadata.croissant(about, files))
        files.append(_file(part, part / CROISSANT))
        write_json(part / CRATE, metadata.ro_crate(about, files))
        files.append(_file(part, part / CRATE))
        write_text(part / SUMS, "".join(f"{file.sha256}  {file.path}\n" for file in files))
    return Written([*(folder / file.path for file in files), folder / SUMS], drawn, participants)


def check(folder: Path, force: bool, replaceable: Sequence[str] = FILES, what: str = "population") -> None:
    """Raises SpiroError if no population, or another folder with these files, can be written there."""
    if folder.suffix in (".parquet", ".csv", ".npz"):
        raise SpiroError(f"{folder}: a {what} is a folder of several files; name a folder, as {folder.stem}")
    if folder.name in ("", ".."):
        raise SpiroError(f"{folder}: give the folder a name, as cohort")
    if not os.path.lexists(folder):
        return
    if not folder.is_dir() or folder.is_symlink():
        raise SpiroError(f"{folder}: is no folder; give another name")
    others = sorted(file.name for file in folder.iterdir() if file.name not in replaceable)
    if others:
        raise SpiroError(f"{folder}: holds {others[0]!r}, which is not of a {what}; give another name")
    if any(folder.iterdir()) and not force:
        raise SpiroError(f"{folder}: exists already; give another name, or --force to overwrite it")


@contextlib.contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that is renamed to `folder` if the block succeeds, and deleted if not."""
    lock = folder.with_name(f".{folder.name}.lock.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(lock, f"{folder}: another process is writing it; wait for it or end it"):
            try:
                with folder_beside(folder) as part:
                    yield part
                    for file in part.rglob("*"):
                        _sync(file)
                    if folder.exists():
                        # under a name that the next run removes, should this one be killed here
                        folder.rename(old := part.with_name(f".{folder.name}.{secrets.token_hex(TOKEN_BYTES)}.part"))
                        part.rename(folder)
                        shutil.rmtree(old)
                    else:
                        part.rename(folder)
            finally:
                with contextlib.suppress(PermissionError):  # Windows removes no file that is open
                    lock.unlink(missing_ok=True)
    except OSError as error:
        raise SpiroError(f"{folder}: cannot be written: {error.strerror or error}") from error


def _sync(file: Path) -> None:
    """Flush a file or folder to the disk; Windows cannot open folders, and flushes their entries itself."""
    if os.name == "nt" and file.is_dir():
        return
    descriptor = os.open(file, os.O_RDWR if file.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _file(folder: Path, file: Path) -> File:
    """A file of a folder."""
    return File(file.relative_to(folder).as_posix(), sha256(file), file.stat().st_size)


def _described(drawn: Drawn, made_from: dict[str, Any]) -> str:
    return (
        f"{drawn.efforts} forced expirations of {drawn.people} synthetic people, drawn by a generative model "
        f"that was trained on {trained_on(made_from)}. For research; not for diagnosis."
    )


def _judged(data: Path) -> dict[str, float | None]:
    """The evaluation summary beside the folder of the data, as in dvc.yaml; empty if there is none."""
    summary = data.parent / EVALUATED / "summary.json"
    return read_json(summary) if summary.is_file() else {}
