"""Read user curves for every command and the page; the format is detected by content, never by name.

A new format is a file with `recognises(source)` and `read(source)`, and a line in FORMATS.
"""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.formats.sniff import Kind
from spiro_diffusion.user_curves import (
    ats_record,
    delimited,
    easyone,
    excel,
    fhir,
    nhanes_files,
    uk_biobank,
    waveform_file,
)
from spiro_diffusion.user_curves.efforts import RawBlow, Record, UserCurves, to_efforts, to_records
from spiro_diffusion.user_curves.source import Source


class Format(NamedTuple):
    """A format of blows, in the order in which they are tried."""

    name: str
    recognises: Callable[[Source], bool]
    read: Callable[[Source], tuple[list[RawBlow], list[str]]]


FORMATS = (
    Format("Excel workbook", excel.recognises, excel.read),
    Format("ndd EasyOne XML", easyone.recognises, easyone.read),
    Format("FHIR Observation", fhir.recognises, fhir.read),
    Format("waveform file", waveform_file.recognises, waveform_file.read),
    Format("UK Biobank field 3066", uk_biobank.recognises, uk_biobank.read),
    Format("ATS/ERS 2005 test record", ats_record.recognises, ats_record.read),
    Format("delimited text", lambda source: source.kind in (Kind.CSV, Kind.TEXT, Kind.EMPTY), delimited.read),
)
WRITERS: dict[str, Callable[[Path, UserCurves], None]] = {
    "csv": delimited.write,
    "ukb": uk_biobank.write,
    "fhir": fhir.write,
}


def read(
    file: Path | BinaryIO,
    where: str | None = None,
    *,
    btps: float | None = None,
    seqn: int | None = None,
    people: bool = True,
) -> UserCurves:
    """The curves of a file in any format that is known (docs/formats.md).

    Args:
        file: a path, or an open binary file.
        where: names the file in errors; without it its path does.
        btps: the factor to BTPS of a file that does not say its own; 1 where it is at BTPS.
        seqn: of NHANES's SPXRAW, this participant alone.
        people: of NHANES's SPXRAW, join age, sex and height from DEMO and BMX beside it.

    Raises SpiroError that says what is wrong with the file, or what it is where it is none of these.
    """
    source = Source.of(file, where)
    if not excel.recognises(source) and nhanes_files.recognises(source):
        return nhanes_files.read(source, seqn, people)
    if seqn is not None:
        raise SpiroError(f"{source.where}: --seqn is for NHANES's SPXRAW; this is another table")
    blows, notes = _blows(source)
    return to_efforts(blows, source.where, btps, notes)


def read_records(file: Path | BinaryIO, where: str | None = None, *, btps: float | None = None) -> list[Record]:
    """All flow of a file, as of a syringe's strokes, each record at its own rate; arguments and errors as `read`."""
    source = Source.of(file, where)
    return to_records(_blows(source)[0], source.where, btps)


def _blows(source: Source) -> tuple[list[RawBlow], list[str]]:
    """What the first format reads that recognises a file, and notes.

    Raises SpiroError where none does.
    """
    for reader in FORMATS:
        if reader.recognises(source):
            return reader.read(source)
    raise SpiroError(
        f"{source.where}: is {source.kind}, not a readable CSV table or another format of curves (docs/formats.md)"
    )
