"""The stage `download`: raw files from one of three sources into data/raw."""

from dataclasses import dataclass
from pathlib import Path

from spiro_diffusion import download as sources
from spiro_diffusion import nhanes
from spiro_diffusion.artifacts import write_json
from spiro_diffusion.errors import SpiroError
from spiro_diffusion.stage import run_stage


@dataclass(frozen=True)
class Params:
    """Section `download` of params.yaml."""

    source: str  # simulated, nhanes (the CDC), or a folder that holds the files
    cycles: list[nhanes.CycleName]
    participants: int  # of each cycle, simulated source only
    seed: int  # simulated source only


def download(params: Params, *, raw: Path) -> None:
    """Bring the raw files of each cycle into one folder, with a manifest of their sizes and SHA-256."""
    files = nhanes.files(list(params.cycles))
    if params.source == "simulated":
        from spiro_diffusion.simulator import simulate  # noqa: PLC0415, heavy, and only this source needs it

        for cycle in params.cycles:
            sources.write_simulated(simulate(cycle, params.participants, params.seed), cycle, raw)
    elif params.source == "nhanes":
        raise SpiroError("download.source nhanes: not there yet")
    else:
        sources.copy_folder(Path(params.source), files, raw)
    source = params.source if params.source in ("simulated", "nhanes") else "folder"
    write_json(raw / "manifest.json", {"source": source, "files": sources.manifest(raw, files)})


if __name__ == "__main__":
    run_stage(download, Params)
