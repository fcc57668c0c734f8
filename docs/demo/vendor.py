"""Put onnxruntime-web and an exported model beside the demonstration's page, for `mkdocs build` to copy into the site.

    spiro export --out onnx
    python docs/demo/vendor.py --model onnx      # from the repository's root; `make demo` does both, and the site

onnxruntime-web comes from npm (`npm pack`), of one version and with one checksum. Git ignores both folders.
"""

import argparse
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from spiro_diffusion.core.artifacts import read_json, write_json
from spiro_diffusion.generation.intended_use import trained_on
from spiro_diffusion.physiology.reference import gli_global
from spiro_diffusion.simulation.population import POPULATION

HERE = Path(__file__).parent
RUNTIME, MODEL = HERE / "onnxruntime", HERE / "model"
PACKAGE, VERSION = "onnxruntime-web", "1.22.0"
SHA256 = "e293551f9d36d003e293d0f2937fee7b3dfdcef76d71d1449b55e2d4157c7aea"
SCRIPTS = {  # as they are called here: some web servers do not know what .mjs is
    "ort.js": "ort.wasm.min.mjs",
    "ort-wasm.js": "ort-wasm-simd-threaded.mjs",
    "ort.wasm": "ort-wasm-simd-threaded.wasm",
}
NETWORKS = ("sampler.json", "facts.onnx", "sessions.onnx", "denoiser.onnx", "decoder.onnx")


def runtime(archive: Path | None) -> None:
    """The scripts of onnxruntime-web, fetched with npm unless the package is at hand.

    Raises ValueError where the package is not the one that was pinned.
    """
    if archive is None and all((RUNTIME / name).exists() for name in SCRIPTS):
        return
    with tempfile.TemporaryDirectory() as folder:
        if archive is None:
            subprocess.run(["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}"], cwd=folder, check=True)
            archive = Path(folder) / f"{PACKAGE}-{VERSION}.tgz"
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != SHA256:
            raise ValueError(f"{archive.name} has the SHA-256 {found}; expected {SHA256}")
        RUNTIME.mkdir(exist_ok=True)
        with tarfile.open(archive) as package:
            for name, original in SCRIPTS.items():
                member = package.extractfile(f"package/dist/{original}")
                assert member
                (RUNTIME / name).write_bytes(member.read())


def model(exported: Path, folder: Path = MODEL) -> None:
    """What the page needs of a folder that `spiro export` wrote, and the norms of the people whom it draws."""
    folder.mkdir(exist_ok=True)
    for name in NETWORKS:
        shutil.copyfile(exported / name, folder / name)
    made_from = read_json(folder / "sampler.json")["made_from"]
    write_json(folder / "norms.json", {"trained_on": trained_on(made_from), **norms(*made_from["age"])})


def norms(youngest: float, oldest: float) -> dict[str, object]:
    """For whole years of age: usual heights (cm), and L, M at 165 cm and S of GLI Global, whose medians M go with a
    power of the height."""
    ages = np.arange(np.ceil(youngest), np.floor(oldest) + 1)
    found: dict[str, object] = {"ages": ages}
    for name, sex in (("male", 1), ("female", 2)):
        equations: dict[str, object] = {
            "heights": np.stack(POPULATION.usual_heights(ages, np.full(len(ages), sex)), axis=1)
        }
        for index in ("fev1", "fvc", "ratio"):
            sexes = np.full(len(ages), sex)
            at_165, at_180 = (gli_global(index, ages, np.full(len(ages), cm), sexes) for cm in (165, 180))
            power = np.log(at_180.m / at_165.m) / np.log(180 / 165)
            equations[index] = np.stack([at_165.l, at_165.m, at_165.s, power], axis=1)
        found[name] = equations
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="what `spiro export` wrote")
    parser.add_argument("--package", type=Path, metavar="TGZ", help=f"{PACKAGE} {VERSION}, fetched already")
    options = parser.parse_args()
    runtime(options.package)
    if options.model:
        model(options.model)
