"""What is known of the CDC's files: cycles, addresses, releases, columns and codes.

Sources: the files' documentation pages (`https://wwwn.cdc.gov/Nchs/Data/Nhanes/Public/2011/DataFiles/SPX_G.htm`
and alike) and the files themselves.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

CycleName = Literal["E", "F", "G"]
HOST = "https://wwwn.cdc.gov"


class Cycle(NamedTuple):
    """Two years of NHANES; each participant (SEQN) belongs to one."""

    begin: int  # year
    first_seqn: int
    last_seqn: int


CYCLES: dict[str, Cycle] = {
    "E": Cycle(2007, 41475, 51623),
    "F": Cycle(2009, 51624, 62160),
    "G": Cycle(2011, 62161, 71916),
}
TABLES = ("DEMO", "BMX", "SPX", "SPXRAW")


class Release(NamedTuple):
    """One publication of a file. The CDC replaces files under the same name."""

    size: int  # bytes
    sha256: str | None = None
    current: bool = True


@dataclass(frozen=True)
class File:
    """One file of the CDC, named as `DEMO_G`."""

    table: str
    cycle: str
    rows: int | None = None
    releases: tuple[Release, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.table}_{self.cycle}"

    @property
    def filename(self) -> str:
        return f"{self.name}.zip" if self.table == "SPXRAW" else f"{self.name}.xpt"

    @property
    def paths(self) -> tuple[str, str]:
        """Paths on the CDC's host: where the file lies since December 2024, and where it lay before."""
        year = CYCLES[self.cycle].begin
        old_name = self.filename if self.table == "SPXRAW" else self.filename.replace(".xpt", ".XPT")
        return (
            f"/Nchs/Data/Nhanes/Public/{year}/DataFiles/{self.filename}",
            f"/Nchs/Nhanes/{year}-{year + 1}/{old_name}",
        )


# Rows and sizes as published; a size or hash is left out where it is not known at first hand.
_FILES = (
    File("DEMO", "E", 10149),
    File("DEMO", "F", 10537),
    File(
        "DEMO",
        "G",
        9756,
        (Release(3_753_760, "eaf0525d1952626885af3e935415a1f66ad62c18698080e7354789c125af252d"),),
    ),
    File("BMX", "E", 9762),
    File("BMX", "F", 10253),
    File(
        "BMX",
        "G",
        9338,
        (
            Release(1_946_720, "4814bfc3047ed400b9d43d285f8c3ea7c940ac6489404a9b699579715d158ec3"),
            Release(1_871_840, "9ae52181ac6e8288581a57b0437ae96420a5b88848a65f46d601c9107a639bd4", current=False),
        ),
    ),
    File("SPX", "E"),
    File("SPX", "F"),
    File("SPX", "G", 7495, (Release(2_751_120, "58177b07ad94a2c005b0c9494cddb82fc94ec8f5c6c13a91b83da035f20770d9"),)),
    File("SPXRAW", "E", 34857),
    File("SPXRAW", "F", 36421),
    File("SPXRAW", "G", 37661),
)
FILES: dict[str, File] = {file.name: file for file in _FILES}


def files(cycles: list[str]) -> list[File]:
    """The files of some cycles."""
    return [FILES[f"{table}_{cycle}"] for cycle in cycles for table in TABLES]
