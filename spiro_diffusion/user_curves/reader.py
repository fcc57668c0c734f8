"""Read user curves for every command and the app; the format is detected by content, never by name.

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
    """A format of blows; FORMATS has the order in which they are tried."""

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
    """Read the curves of a file in any supported format (docs/formats.md).

    Args:
        file: a path, or an open binary file.
        where: names the file in errors; by default its path.
        btps: the factor to BTPS for a file that does not state it; 1 for data at BTPS.
        seqn: for SPXRAW of NHANES, only this participant.
        people: for SPXRAW of NHANES, join age, sex and height from DEMO and BMX of the same folder.

    Raises SpiroError that names the problem with the file, or its type if it is none of these formats.
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
    """Blows and notes of the first format that recognises a file.

    Raises SpiroError if none does.
    """
    for reader in FORMATS:
        if reader.recognises(source):
            return reader.read(source)
    raise SpiroError(
        f"{source.where}: is {source.kind}, not a readable CSV table or another format of curves (docs/formats.md)"
    )
