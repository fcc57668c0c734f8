"""SAS7BDAT, the data set file of SAS: what its writer and its reader share.

The format is not published by SAS. The layout follows M. Shotwell, "SAS7BDAT Database Binary Format"
(2013), and what pandas and ReadStat accept; the tests hold both against the writer.

    header   one block: alignment, byte order, sizes
    pages    each with a page header; the first hold subheaders that describe the columns (meta), the
             others rows (data), or both (mix)
"""

import struct
from dataclasses import dataclass

HEADER_SIZE = 1024  # bytes; what SAS writes on Windows, and the least that holds every field
NARROW_MARKS, WIDE_MARK = (0x22, 0x32), 0x33  # bytes 32 and 35 of the header
ROW_SIZE, COLUMN_SIZE, COUNTS = 0xF7F7F7F7, 0xF6F6F6F6, 0xFFFFFC00  # signatures of subheaders
TEXT, NAMES, ATTRIBUTES, FORMAT = 0xFFFFFFFD, 0xFFFFFFFF, 0xFFFFFFFC, 0xFFFFFBFE
META, DATA, MIX = 0x0000, 0x0100, 0x0200  # page types
NUMBER, CHARACTER = 1, 2  # a column's kind
BLANK = 0x20  # behind a text


@dataclass(frozen=True)
class Layout:
    """What changes between the files of 32-bit and 64-bit SAS, and between byte orders."""

    wide: bool = False
    little: bool = True

    @property
    def order(self) -> str:
        return "<" if self.little else ">"

    @property
    def word(self) -> int:
        """Bytes of an integer of the machine's own size."""
        return 8 if self.wide else 4

    @property
    def shift(self) -> int:
        """Bytes by which the header's times and sizes move."""
        return 4 if self.wide else 0

    @property
    def page_header(self) -> int:
        """Bytes before the first row, or subheader pointer, of a page; its three counts are the last 8."""
        return 40 if self.wide else 24

    @property
    def pointer(self) -> int:
        """Bytes of a subheader pointer: offset, length, compression, type."""
        return 24 if self.wide else 12

    def pack(self, codes: str, *values: float) -> bytes:
        """`struct.pack` in this byte order, without padding; `W` is a word."""
        return struct.pack(self.order + codes.replace("W", "Q" if self.wide else "I"), *values)

    def unpack(self, codes: str, data: bytes, offset: int) -> tuple:
        return struct.unpack_from(self.order + codes.replace("W", "Q" if self.wide else "I"), data, offset)


NARROW = Layout()  # little-endian, of 32 bits
