"""The commands that README.md and the pages of docs/ show."""

import re

from repository import ROOT


def blocks(page: str, language: str = "bash") -> list[str]:
    """The blocks of code in a language, of a page named from the repository's root."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.S)


def lines(block: str) -> list[str]:
    """The commands of a block, without comments."""
    bare = [re.sub(r"(^|\s)#.*", "", line).strip() for line in block.splitlines()]
    return [line for line in bare if line]


def commands(page: str, start: str) -> list[str]:
    """The commands of the one block of a page that holds a line beginning with `start`."""
    (block,) = [b for b in blocks(page) if any(line.startswith(start) for line in b.splitlines())]
    return lines(block)
