"""Files that stages write: atomically, and with the same bytes for the same content."""

import contextlib
import hashlib
import io
import json
import mmap
import os
import re
import secrets
import shutil
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError, printable

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

TOKEN_BYTES = 8  # of a temporary name
SCRATCH = Path(".scratch")  # ignored by git and DVC: DVC removes outs before a stage runs, not this


@contextlib.contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Make the file `path` if there is none, and hold its lock, which ends with this process however that ends.

    Raises SpiroError with the text `refusal` where another process holds it.
    """
    while True:
        with open(path, "a", opener=not_following) as file:
            if not _locked(file.fileno()):
                raise SpiroError(refusal)
            if not _names(path, file.fileno()):  # the last holder has renamed or removed it since
                continue
            yield
            return


def _locked(descriptor: int) -> bool:
    """Take the lock of an open file, unless another process holds it."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the latter on Windows
        return False
    return True


def not_following(path: str, flags: int) -> int:
    """As `opener` of `open`: a symbolic link under the name, perhaps planted by someone else, is refused (OSError).

    Windows has no such refusal; there only few may make links.
    """
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _names(path: Path, descriptor: int) -> bool:
    """Whether the open file is still the one under `path`."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield the path of a new empty file beside `path`; on success it takes the name `path`, else it goes.

    A reader sees the old file or the new one, never a part, and a hardlink into DVC's cache is
    replaced instead of written through. The name of the temporary file cannot be foreseen, so that no
    link can be planted there; what a killed process leaves is removed by the next.

    Raises SpiroError where the disk does not take it, or another process is writing it.
    """
    path = Path(path)
    lock, part = path.with_name(f".{path.name}.lock.part"), _unforeseen(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(lock, f"{path}: another process is writing it; wait for it or end it"):
            try:
                for left in _left_behind(path):
                    left.unlink(missing_ok=True)
                os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
                yield part
                with part.open("r+b") as file:
                    os.fsync(file.fileno())
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
                with contextlib.suppress(PermissionError):  # Windows removes no file that is open; the next run may
                    lock.unlink(missing_ok=True)
    except OSError as error:
        raise SpiroError(f"{path}: cannot be written: {error.strerror or error}") from error


def _unforeseen(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(TOKEN_BYTES)}.part")


def _left_behind(path: Path) -> list[Path]:
    """What killed processes left of writes of `path`."""
    left = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{{2 * TOKEN_BYTES}}}\.part")
    return [other for other in path.parent.iterdir() if left.fullmatch(other.name)]


@contextlib.contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` that goes when the block ends; what a killed process left goes first."""
    folder = _unforeseen(Path(path))
    for left in _left_behind(Path(path)) if folder.parent.is_dir() else ():
        shutil.rmtree(left, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with LF line ends."""
    with atomic(path) as part:
        part.write_bytes(text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys; a NaN or an infinity is refused (ValueError)."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises SpiroError where the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpiroError(f"{path}: no such file; make it with `dvc repro` or fetch it with `dvc pull`") from None
    except ValueError as error:
        raise SpiroError(f"{path}: not a JSON file ({error})") from None


def write_npz(path: Path, arrays: Mapping[str, NDArray]) -> None:
    """Write arrays to one compressed .npz file; the same arrays give the same bytes. None may hold objects."""
    with atomic(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(arrays[name], order="C"), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, content.getvalue(), zipfile.ZIP_DEFLATED)


def read_npz(path: Path) -> dict[str, NDArray]:
    """The arrays of an .npz file, by name.

    Raises SpiroError where the file is missing, damaged or no such archive.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except FileNotFoundError:
        raise SpiroError(f"{path}: no such file; make it with `dvc repro` or fetch it with `dvc pull`") from None
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise SpiroError(f"{path}: not a readable .npz file ({printable(error, 200)}); make it again") from None


@contextlib.contextmanager
def npy_stream(path: Path, shape: tuple[int, ...], dtype: str = "float32") -> Iterator[np.memmap]:
    """Yield a writable memory map of an .npy file that takes the name `path` when the block ends."""
    with atomic(path) as part:
        array = np.lib.format.open_memmap(part, mode="w+", dtype=np.dtype(dtype), shape=shape)
        if hasattr(os, "posix_fallocate"):  # reports a full disk here; met through the map, it would kill the process
            with part.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
        yield array
        array.flush()


def release(array: np.ndarray) -> None:
    """Leave to the disk what has been read from or written to the map of an .npy file; memory would else hold it whole.

    Not for a map whose numbers were changed without their file (copy on write): they are forgotten.
    """
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


@contextlib.contextmanager
def npy_rows(path: Path, shape: tuple[int, ...], dtype: str = "float32") -> Iterator[Callable[[np.ndarray], None]]:
    """Yield a function that appends rows to an .npy file of `shape`; memory holds one piece at a time.

    Raises ValueError where the rows appended are not as many as `shape` says.
    """
    with atomic(path) as part, part.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()

        def append(rows: np.ndarray) -> None:
            if rows.shape[1:] != shape[1:]:
                raise ValueError(f"{path}: rows of shape {rows.shape[1:]}, expected {shape[1:]}")
            file.write(np.ascontiguousarray(rows, dtype=dtype).data)

        yield append
        if file.tell() - start != int(np.prod(shape)) * np.dtype(dtype).itemsize:
            raise ValueError(f"{path}: fewer or more rows than {shape[0]} were written")


def sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal text."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
