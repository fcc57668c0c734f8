"""The command `app`, which serves the web page."""

import contextlib
from typing import Annotated

import typer

from spiro_diffusion.cli.options import MODELS, Calibration, Models
from spiro_diffusion.cli.program import command
from spiro_diffusion.cli.screen import print_line
from spiro_diffusion.core.errors import SpiroError


@command("spiro app --port 8050", name="app")
def page(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 for a free one.")] = 8050,
    models: Models = MODELS,
    calibration: Calibration = None,
) -> None:
    """Serve the app to the browser of this computer: curves for a subject, with your own effort beside them."""
    try:
        from spiro_diffusion.app.server import HOST, open_server  # noqa: PLC0415 (dash)
    except ModuleNotFoundError as error:
        raise SpiroError(f"the page needs {error.name}: pip install 'spiro-diffusion[app]'") from None
    from spiro_diffusion.api import SpiroGenerator  # noqa: PLC0415 (torch)
    from spiro_diffusion.app.requests import Drawer  # noqa: PLC0415

    server = open_server(Drawer(SpiroGenerator.from_checkpoint(models, calibration=calibration)), port)
    print_line(f"http://{HOST}:{server.port} (ends with Ctrl-C)")
    with contextlib.closing(server.socket), contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
