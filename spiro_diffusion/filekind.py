"""What a file is, told by its first bytes and never by its name."""

from enum import StrEnum


class Kind(StrEnum):
    """What a file can turn out to be; the value names it to a user."""

    EMPTY = "empty"
    ZEROS = "nothing but zero bytes"
    XPORT = "SAS XPORT v5"
    XPORT8 = "SAS XPORT v8"
    CPORT = "a SAS CPORT file"
    SAS7BDAT = "SAS7BDAT"
    ZIP = "zip"
    GZIP = "gzip"
    HTML = "an HTML page"
    XML = "an XML document"
    JSON = "JSON"
    CSV = "text in columns, such as CSV"
    TEXT = "plain text"
    PARQUET = "Parquet"
    PDF = "PDF"
    UNKNOWN = "of no known kind"


HEAD = 4096  # bytes that `kind` wants to see
_STARTS = (
    (b"HEADER RECORD*******LIBRARY HEADER RECORD!!!!!!!", Kind.XPORT),
    (b"HEADER RECORD*******LIBV8   HEADER RECORD!!!!!!!", Kind.XPORT8),
    (b"**COMPRESSED** **COMPRESSED**", Kind.CPORT),
    (b"\0" * 12 + b"\xc2\xea\x81\x60", Kind.SAS7BDAT),
    (b"PK\x03\x04", Kind.ZIP),
    (b"PK\x05\x06", Kind.ZIP),
    (b"\x1f\x8b", Kind.GZIP),
    (b"PAR1", Kind.PARQUET),
    (b"%PDF", Kind.PDF),
)


def kind(head: bytes) -> Kind:
    """The kind of a file from its first `HEAD` bytes."""
    if not head:
        return Kind.EMPTY
    for start, found in _STARTS:
        if head.startswith(start):
            return found
    if not head.strip(b"\0"):
        return Kind.ZEROS
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in text[:1024]:
        return Kind.HTML
    if text.startswith(b"<"):
        return Kind.XML
    if text.startswith((b"{", b"[")):
        return Kind.JSON
    if any(byte < 9 or 13 < byte < 32 or byte == 127 for byte in head):
        return Kind.UNKNOWN
    first = head.splitlines()[0]
    return Kind.CSV if any(first.count(mark) for mark in (b",", b";", b"\t")) else Kind.TEXT
