"""Open the one table inside a file, through nested zip and gzip layers, in bounded space."""

import contextlib
import gzip
import io
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, NamedTuple

from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.formats.sniff import HEAD, TABLES, Kind, kind, page_title

LARGEST = 2 << 30  # bytes unpacked; four times the largest file of the CDC (spxraw_g.sas7bdat, 0.45 GB)
DEEPEST = 3  # archives in archives
BUFFER = 1 << 20  # bytes; also what can be looked at ahead


class Content(NamedTuple):
    """The innermost file."""

    stream: "io.BufferedReader[Any]"
    kind: Kind
    around: tuple[str, ...]  # the archives around it, from the outside

    @property
    def what(self) -> str:
        """The type of the file in words; an HTML page with its title."""
        title = page_title(self.stream.peek(HEAD)[:HEAD]) if self.kind is Kind.HTML else ""
        kind = f"{self.kind} ({title!r})" if title else str(self.kind)
        return " in ".join([kind, *reversed(self.around)])


@contextlib.contextmanager
def opened(path: Path, largest: int = LARGEST) -> Iterator[Content]:
    """Open a file, or the one table in it if it is an archive.

    Raises SpiroError for an archive that is damaged, contains no table or several, names a member outside of the folder
    it would be unpacked in, or unpacks beyond `largest` bytes.
    """
    with contextlib.ExitStack() as stack:
        try:
            raw = stack.enter_context(io.BufferedReader(io.FileIO(path), BUFFER))
        except FileNotFoundError:
            raise SpiroError("no such file; make it with `dvc repro download`") from None
        except OSError as error:
            raise SpiroError(f"cannot be read: {error.strerror}") from None
        with _damage_reported():
            content = _unwrapped(raw, (), largest, stack)
        yield content


@contextlib.contextmanager
def _damage_reported() -> Iterator[None]:
    """Turn the various exceptions of zipfile and gzip for damaged archives into one line."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, RuntimeError) as error:
        reason = printable(str(error) or "it ends too early", 80)
        raise SpiroError(f"is a damaged archive ({reason}); fetch it again") from None


def _unwrapped(
    stream: "io.BufferedReader[Any]", around: tuple[str, ...], largest: int, stack: contextlib.ExitStack
) -> Content:
    found = kind(stream.peek(HEAD)[:HEAD])
    if found not in (Kind.ZIP, Kind.GZIP):
        return Content(stream, found, around)
    if len(around) == DEEPEST:
        raise SpiroError(f"holds archives in archives, more than {DEEPEST} deep")
    inner: IO[bytes] | gzip.GzipFile
    if found is Kind.GZIP:
        inner = stack.enter_context(gzip.GzipFile(fileobj=stream))
    else:
        archive = stack.enter_context(zipfile.ZipFile(_seekable(stream, stack)))
        inner = stack.enter_context(archive.open(_table_in(archive, largest)))
    bounded = io.BufferedReader(_Bounded(inner, largest), BUFFER)
    return _unwrapped(bounded, (*around, str(found)), largest, stack)


def _seekable(stream: "io.BufferedReader[Any]", stack: contextlib.ExitStack) -> IO[bytes]:
    """A seekable stream, which a zip needs: a zip within an archive is unpacked into a temporary file."""
    if stream.seekable():
        return stream
    file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115, closed with the stack
    shutil.copyfileobj(stream, file)
    file.seek(0)
    return file


def _table_in(archive: zipfile.ZipFile, largest: int) -> zipfile.ZipInfo:
    """The one member that is a table (or an archive)."""
    members = [member for member in archive.infolist() if not member.is_dir()]
    for member in members:
        name = member.filename
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if name.startswith(("/", "\\")) or PureWindowsPath(name).drive or ".." in parts:
            raise SpiroError(f"is a zip with a member outside of its folder ({name!r:.80}); it is not the CDC's")
        if member.flag_bits & 1:
            raise SpiroError(f"is an encrypted zip ({name!r:.80})")
        if member.file_size > largest:
            raise SpiroError(f"is a zip that unpacks to {member.file_size:,} bytes; at most {largest:,} are read")
    if len(members) > 1:
        tables = []
        for member in members:
            with archive.open(member) as stream:
                if kind(stream.read(HEAD)) in (*TABLES, Kind.ZIP, Kind.GZIP):
                    tables.append(member)
        members = tables or members
    if len(members) != 1:
        names = ", ".join(printable(member.filename, 40) for member in members[:3]) or "nothing"
        raise SpiroError(f"is a zip of {len(members)} files ({names}); one table is expected")
    return members[0]


class _Bounded(io.RawIOBase):
    """A stream that refuses to give more than `largest` bytes, whatever size its archive states."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, largest: int) -> None:
        self.stream, self.left, self.largest = stream, largest, largest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        with _damage_reported():
            block = self.stream.read(len(buffer))
        self.left -= len(block)
        if self.left < 0:
            raise SpiroError(f"unpacks beyond {self.largest:,} bytes, the most that are read")
        buffer[: len(block)] = block
        return len(block)
