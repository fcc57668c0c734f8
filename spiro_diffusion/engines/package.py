"""Copy a model into the package for the wheel: python -m spiro_diffusion.engines.package [models]."""

import sys
from pathlib import Path

from spiro_diffusion.core.artifacts import write_text
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.engines import choice, onnx_export, store, torch_engine
from spiro_diffusion.generation import weights_licence


def package(models: Path, out: Path = store.PACKAGED) -> list[Path]:
    """Export a folder of checkpoints into the package, with its licence; the files written.

    Raises SpiroError where they were trained on anything but simulated people.
    """
    weights_licence.check(choice.made_from(models), models)
    engine = torch_engine.open_torch(models, "cpu")
    files = onnx_export.export(engine, out, engine.model_warnings(models), choice.completes(models))
    (out / "sample.py").unlink()  # the package has its own
    write_text(out / "LICENSE", weights_licence.TERMS)
    return [*(file for file in files if file.name != "sample.py"), out / "LICENSE"]


if __name__ == "__main__":
    try:
        written = package(Path(sys.argv[1] if len(sys.argv) > 1 else store.DEFAULT))
    except SpiroError as error:
        sys.exit(f"error: {error}")
    print(f"{sum(file.stat().st_size for file in written) / 1e6:.1f} MB in {written[0].parent}")
