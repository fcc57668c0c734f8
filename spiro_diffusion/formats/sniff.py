"""Detect the type of a file by its first bytes, never by its name."""

import codecs
import re
from enum import StrEnum

SAS7BDAT_MAGIC = bytes.fromhex("000000000000000000000000c2ea8160b31411cfbd92080009c7318c181f1011")


class Kind(StrEnum):
    """The type of a file; the value names it in messages."""

    EMPTY = "empty"
    ZEROS = "nothing but zero bytes"
    XPORT = "SAS XPORT v5"
    XPORT8 = "SAS XPORT v8"
    CPORT = "a SAS CPORT file"
    SAS7BDAT = "SAS7BDAT"
    ZIP = "zip"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    SEVEN_ZIP = "7-zip"
    HTML = "an HTML page"
    XML = "an XML document"
    JSON = "JSON"
    CSV = "text in columns, such as CSV"
    TEXT = "plain text"
    UTF16 = "text in UTF-16 without its mark"
    PARQUET = "Parquet"
    PDF = "PDF"
    RTF = "Rich Text"
    OLD_OFFICE = "an Office document of before 2007, such as .xls"
    PNG = "a PNG picture"
    JPEG = "a JPEG picture"
    HDF5 = "HDF5 or MATLAB data"
    NPY = "a NumPy array"
    SQLITE = "an SQLite database"
    DICOM = "DICOM"
    RDATA = "data of R"
    STATA = "a Stata file"
    SPSS = "an SPSS file"
    UNKNOWN = "of no known kind"


TABLES = (Kind.XPORT, Kind.XPORT8, Kind.SAS7BDAT)  # of the CDC, as `nhanes.repair` reads them
HEAD = 8192  # bytes that `kind` needs; a header may lie behind text that is not the file's
_ANYWHERE = (
    (b"LIBRARY HEADER RECORD!!!!!!!", Kind.XPORT),
    (b"MEMBER  HEADER RECORD!!!!!!!", Kind.XPORT),
    (b"NAMESTR HEADER RECORD!!!!!!!", Kind.XPORT),
    (b"LIBV8   HEADER RECORD!!!!!!!", Kind.XPORT8),
    (b"MEMBV8  HEADER RECORD!!!!!!!", Kind.XPORT8),
    (SAS7BDAT_MAGIC, Kind.SAS7BDAT),
)
_AT_START = (
    (b"**COMPRESSED** **COMPRESSED**", Kind.CPORT),
    (b"PK\x03\x04", Kind.ZIP),
    (b"PK\x05\x06", Kind.ZIP),
    (b"\x1f\x8b", Kind.GZIP),
    (b"BZh", Kind.BZIP2),
    (b"\xfd7zXZ\0", Kind.XZ),
    (b"7z\xbc\xaf\x27\x1c", Kind.SEVEN_ZIP),
    (b"PAR1", Kind.PARQUET),
    (b"%PDF", Kind.PDF),
    (b"{\\rtf", Kind.RTF),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind.OLD_OFFICE),
    (b"\x89PNG", Kind.PNG),
    (b"\xff\xd8\xff", Kind.JPEG),
    (b"\x89HDF\r\n", Kind.HDF5),
    (b"MATLAB 5.0 MAT-file", Kind.HDF5),
    (b"\x93NUMPY", Kind.NPY),
    (b"SQLite format 3", Kind.SQLITE),
    (b"RDX", Kind.RDATA),
    (b"<stata_dta>", Kind.STATA),
    (b"$FL", Kind.SPSS),
)


def kind(head: bytes) -> Kind:  # noqa: PLR0911, a rule a line
    """The kind of a file from its first `HEAD` bytes."""
    if not head:
        return Kind.EMPTY
    if not head.strip(b"\0"):
        return Kind.ZEROS
    for mark, found in _AT_START:
        if head.startswith(mark):
            return found
    for mark, found in _ANYWHERE:
        if mark in head:
            return found
    if head[128:132] == b"DICM":
        return Kind.DICOM
    if head[84:92] == b"SAS FILE":
        return Kind.SAS7BDAT
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        head = head[: len(head) // 2 * 2].decode("utf-16", "replace").encode()
    return _kind_of_text(head)


def _kind_of_text(head: bytes) -> Kind:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in start[:1024]:
        return Kind.HTML
    even, odd = (head[first:200:2].strip(b"\0") for first in (0, 1))
    if len(head) > 16 and bool(even) != bool(odd):  # zeros in every other place, not in all
        return Kind.UTF16
    if any(byte < 7 or 13 < byte < 26 or 27 < byte < 32 for byte in head):  # bell and escape occur in names
        return Kind.UNKNOWN
    if start.startswith(b"<"):
        return Kind.XML
    if start.startswith(b"{") or re.match(rb"\[\s*[\[{\"\d\]-]", start):
        return Kind.JSON
    first = head.splitlines()[0] if head.splitlines() else b""
    return Kind.CSV if any(mark in first for mark in (b",", b";", b"\t")) else Kind.TEXT


def page_title(head: bytes) -> str:
    """The title of an HTML page, or ""."""
    found = re.search(rb"<title>\s*(.{1,80}?)\s*</title>", head, re.IGNORECASE | re.DOTALL)
    return " ".join(found.group(1).decode("utf-8", "replace").split()) if found else ""
