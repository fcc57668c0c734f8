"""Log of the damage that repair finds in a file and of what it does about it."""

from dataclasses import dataclass, field


@dataclass
class Findings:
    """Filled on the way through the file; complete when its last row has been read."""

    mended: list[str] = field(default_factory=list)  # damage that was undone exactly
    nulled: dict[str, int] = field(default_factory=dict)  # sentinels that became missing, by column
    compressed: bool = False  # by SAS, in the file itself
    sha256: str = ""  # of the sound XPORT file, after repair
    warnings: list[str] = field(default_factory=list)  # remarks for readers of the table
