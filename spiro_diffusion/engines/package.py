"""Put a model into the package, for the wheel: python -m spiro_diffusion.engines.package [models]."""

import sys
from pathlib import Path

from spiro_diffusion.core.artifacts import write_text
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.engines import choice, onnx_export, store, torch_engine

SHIPPED = "simulated"  # the only source whose models are given away: that of others may not be ours to give
LICENSE = """The model in this folder (*.onnx and *.json) was trained by spiro-diffusion, on simulated people alone.

It is licensed under the Creative Commons Attribution 4.0 International licence:
https://creativecommons.org/licenses/by/4.0/legalcode

The program that draws from it has the licence of spiro-diffusion. Simulated; not for diagnosis.
"""


def package(models: Path, out: Path = store.PACKAGED) -> list[Path]:
    """Export a folder of checkpoints into the package, with its licence; the files written.

    Raises SpiroError where they were trained on anything but simulated people.
    """
    source = choice.made_from(models)["data"]
    if source != SHIPPED:
        raise SpiroError(f"{models}: was trained on {source}; only models of simulated people go into a wheel")
    engine = torch_engine.open_torch(models, "cpu")
    files = onnx_export.export(engine, out, engine.model_warnings(models), choice.completes(models))
    (out / "sample.py").unlink()  # the package has its own
    write_text(out / "LICENSE", LICENSE)
    return [*(file for file in files if file.name != "sample.py"), out / "LICENSE"]


if __name__ == "__main__":
    try:
        written = package(Path(sys.argv[1] if len(sys.argv) > 1 else store.DEFAULT))
    except SpiroError as error:
        sys.exit(f"error: {error}")
    print(f"{sum(file.stat().st_size for file in written) / 1e6:.1f} MB in {written[0].parent}")
