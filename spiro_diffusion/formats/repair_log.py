"""Log of the damage found by repair in a file, and of the corrections."""

from dataclasses import dataclass, field


@dataclass
class Findings:
    """Filled while the file is read; complete after its last row."""

    mended: list[str] = field(default_factory=list)  # damage that was undone exactly
    nulled: dict[str, int] = field(default_factory=dict)  # sentinels that became missing, by column
    compressed: bool = False  # by SAS, in the file itself
    sha256: str = ""  # of the sound XPORT file, after repair
    warnings: list[str] = field(default_factory=list)  # remarks for readers of the table
