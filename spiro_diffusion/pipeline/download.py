"""The stage `download`: raw files from one of three sources into data/raw."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from spiro_diffusion.core.artifacts import write_json
from spiro_diffusion.nhanes import codebook, raw_folder
from spiro_diffusion.nhanes.codebook import CycleName


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


def bring(source: str, cycles: list[str], participants: int, seed: int, raw: Path) -> None:
    """Bring the files of some cycles into `raw`.

    Args:
        source: `simulated`; `nhanes`, the CDC, or the address of a mirror of its paths; or a folder.
        cycles: of `E`, `F` and `G`.
        participants, seed: of each simulated cycle.
        raw: the folder they go to.

    Raises:
        SpiroError: a file that is not there or cannot be fetched.
    """
    manifest: dict[str, Any] = {"source": source if source in ("simulated", "nhanes") else "folder"}
    files = codebook.files(cycles)
    if source == "simulated":
        manifest |= {"participants": participants, "seed": seed}
        brought = _simulated(cycles, participants, seed, raw)
    elif source == "nhanes" or source.startswith(raw_folder.SERVERS):
        host = codebook.HOST if source == "nhanes" else source
        manifest["source"] = source
        brought = raw_folder.from_server(host, files, raw)
    else:
        brought = raw_folder.from_folder(Path(source), files, raw)
    write_json(raw / raw_folder.MANIFEST, manifest | {"files": brought})


def _simulated(cycles: list[str], participants: int, seed: int, raw: Path) -> dict[str, Any]:
    from spiro_diffusion.simulation.files import write_cycle  # noqa: PLC0415
    from spiro_diffusion.simulation.simulator import simulate  # noqa: PLC0415, loads scipy, which no other source needs

    brought = {}
    for cycle in tqdm(cycles, desc="simulating", unit="cycle"):
        for path in write_cycle(simulate(cycle, participants, seed), cycle, raw):
            brought[path.name] = raw_folder.facts(path)
    return brought
