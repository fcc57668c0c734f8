"""A user's file, from a path or from memory: its first bytes, its content, or a path for other readers."""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.formats import sniff
from spiro_diffusion.formats.dialect import HEAD, decoded
from spiro_diffusion.formats.sniff import Kind

MOST_BYTES = 64 << 20  # of formats that are read whole


@dataclass(frozen=True)
class Source:
    """A file that was found; `where` names it in errors."""

    where: str
    path: Path | None
    data: bytes = b""

    @classmethod
    def of(cls, file: Path | BinaryIO, where: str | None = None) -> "Source":
        """Raises SpiroError where a pipe holds more than MOST_BYTES."""
        if not isinstance(file, str | Path):
            return cls(where or "the file", None, file.read())
        found = cls(where or str(file), Path(file))
        if Path(file).is_fifo() or Path(file).is_char_device():  # can be read but once
            return cls(found.where, None, found.read())
        return found

    @contextlib.contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        try:
            with self.path.open("rb") if self.path else io.BytesIO(self.data) as file:
                yield file
        except OSError as error:
            raise SpiroError(f"{self.where}: {(error.strerror or str(error)).lower()}") from None

    @cached_property
    def head(self) -> bytes:
        """The first 64 KiB."""
        with self.opened() as file:
            return file.read(HEAD)

    @cached_property
    def kind(self) -> Kind:
        return sniff.kind(self.head[: sniff.HEAD])

    @cached_property
    def head_text(self) -> str:
        """The first 64 KiB as text in the first encoding that fits, "" if they are no text."""
        if self.kind not in (Kind.CSV, Kind.TEXT):
            return ""
        return next((text for _, text in decoded(self.head)), "")

    def read(self) -> bytes:
        """All bytes.

        Raises SpiroError if there are more than MOST_BYTES.
        """
        with self.opened() as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise SpiroError(f"{self.where}: has more than {MOST_BYTES >> 20} MB; give it in parts")
        return data

    def text(self) -> str:
        """The whole text, in the first encoding that fits."""
        for _, text in decoded(self.read()):
            return text
        raise SpiroError(f"{self.where}: is in no known encoding; save it as UTF-8")

    @contextlib.contextmanager
    def on_disk(self) -> Iterator[Path]:
        """A path of the file, valid while the block runs."""
        if self.path:
            yield self.path
            return
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "upload"
            file.write_bytes(self.data)
            yield file
