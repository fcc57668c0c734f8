"""Wording for each data source in reports, so that no simulated curve is called real."""

from typing import NamedTuple


class Source(NamedTuple):
    """A source of data, the word for its curves, and what must be said of it."""

    label: str
    word: str  # as in "… curves"
    explanation: str

    @property
    def held_out(self) -> str:
        return f"{self.word}, held out"


_SOURCES = {
    "simulated": Source(
        "simulated source",
        "simulated",
        "The people and their curves were drawn by this program's simulator; no person was measured. "
        "Nothing here is a result on NHANES.",
    ),
    "nhanes": Source(
        "NHANES, the CDC's public files",
        "real",
        "The people were measured in NHANES; the files came from the CDC.",
    ),
    "folder": Source(
        "files of a folder",
        "recorded",
        "The files came from a folder, named as the CDC's. Whether people were measured or drawn is known to whoever "
        "filled it: nothing here may be called a result on NHANES unless they are the CDC's own files.",
    ),
}
_MIRROR = Source(
    "files of a server that stands for the CDC's",
    "recorded",
    "The files came from another server than the CDC's. Whether they are the CDC's own is known to whoever keeps it: "
    "nothing here may be called a result on NHANES unless they are.",
)


def source_of(name: str) -> Source:
    """What is said of a source, as the manifest of the raw files names it: one of the above, or the address of a
    server."""
    return _SOURCES.get(name, _MIRROR)
