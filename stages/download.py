"""The stage `download`: raw files from one of three sources into data/raw."""

from dataclasses import dataclass
from pathlib import Path

from spiro_diffusion.download import bring
from spiro_diffusion.nhanes import CycleName
from spiro_diffusion.stage import run_stage


@dataclass(frozen=True)
class Params:
    """Section `download` of params.yaml."""

    source: str  # simulated; nhanes (the CDC) or the address of a mirror; or a folder that holds the files
    cycles: list[CycleName]
    participants: int  # in each cycle, simulated source only
    seed: int  # simulated source only

    def __post_init__(self) -> None:
        if not self.cycles or len(set(self.cycles)) < len(self.cycles):
            raise ValueError(f"cycles is {self.cycles}; expected one or more of E, F, G, each once")
        if self.participants < 1:
            raise ValueError(f"participants is {self.participants}; expected at least 1")


def download(params: Params, *, raw: Path) -> None:
    """Bring the raw files of each cycle into one folder, with a manifest of their sizes and SHA-256."""
    bring(params.source, list(params.cycles), params.participants, params.seed, raw)


if __name__ == "__main__":
    run_stage(download, Params)
