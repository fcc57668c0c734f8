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

HERE = Path(__file__).parent
RUNTIME, MODEL = HERE / "onnxruntime", HERE / "model"
PACKAGE, VERSION = "onnxruntime-web", "1.22.0"
SHA256 = "e293551f9d36d003e293d0f2937fee7b3dfdcef76d71d1449b55e2d4157c7aea"
SCRIPTS = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
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
            for name in SCRIPTS:
                member = package.extractfile(f"package/dist/{name}")
                assert member
                (RUNTIME / name).write_bytes(member.read())


def model(exported: Path) -> None:
    """What the page needs of a folder that `spiro export` wrote."""
    MODEL.mkdir(exist_ok=True)
    for name in NETWORKS:
        shutil.copyfile(exported / name, MODEL / name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="what `spiro export` wrote")
    parser.add_argument("--package", type=Path, metavar="TGZ", help=f"{PACKAGE} {VERSION}, fetched already")
    options = parser.parse_args()
    runtime(options.package)
    if options.model:
        model(options.model)
