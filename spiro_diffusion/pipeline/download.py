"""Stage download: raw files from one of three sources into data/raw."""

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
    """Bring the raw files of each cycle into one folder, with a manifest of their sizes and SHA-256.

    Raises SpiroError where a file is not there or cannot be fetched.
    """
    source, files = params.source, codebook.files(list(params.cycles))
    manifest: dict[str, Any] = {"source": source if source in ("simulated", "nhanes") else "folder"}
    if source == "simulated":
        manifest |= {"participants": params.participants, "seed": params.seed}
        brought = _simulated(params, raw)
    elif source == "nhanes" or source.startswith(raw_folder.SERVERS):
        host = codebook.HOST if source == "nhanes" else source
        manifest["source"] = source
        brought = raw_folder.from_server(host, files, raw)
    else:
        brought = raw_folder.from_folder(Path(source), files, raw)
    write_json(raw / raw_folder.MANIFEST, manifest | {"files": brought})


def _simulated(params: Params, raw: Path) -> dict[str, Any]:
    from spiro_diffusion.simulation.files import write_cycle  # noqa: PLC0415
    from spiro_diffusion.simulation.simulator import simulate  # noqa: PLC0415, loads scipy, which no other source needs

    brought = {}
    for cycle in tqdm(params.cycles, desc="simulating", unit="cycle"):
        for path in write_cycle(simulate(cycle, params.participants, params.seed), cycle, raw):
            brought[path.name] = raw_folder.facts(path)
    return brought
