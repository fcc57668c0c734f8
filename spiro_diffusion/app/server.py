"""The web server, bound to the loopback interface only."""

import errno
import logging
import socket

from dash import Dash
from flask import Flask, Response, abort, request
from werkzeug.serving import BaseWSGIServer, make_server

from spiro_diffusion.app import page, user_effort
from spiro_diffusion.app.requests import Drawer, Request
from spiro_diffusion.core.errors import SpiroError

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")  # a request for another name came here through a hostile name server
BASE64 = 4 / 3  # how much an upload grows on its way
BESIDES = 8 * 2**20  # bytes of a request besides an upload: the efforts that the browser kept


def open_server(drawer: Drawer, port: int) -> BaseWSGIServer:
    """A server of the page at 127.0.0.1; port 0 takes any free one. `serve_forever` runs it.

    Raises SpiroError if the port is taken.
    """
    drawer(Request.first(drawer.generator.made_from))  # the first draw takes longest
    app = guarded(page.make(drawer))
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each request
    try:
        listening = socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        why = "taken by another program" if getattr(error, "errno", None) == errno.EADDRINUSE else str(error)
        raise SpiroError(f"port {port} of {HOST}: {why}; give another with --port") from None
    return make_server(HOST, listening.getsockname()[1], app, threaded=True, fd=listening.detach())


def guarded(app: Dash) -> Flask:
    """The application with limits on requests, and headers that restrict it to its own address.

    Call it when the page is complete: the headers contain hashes of its scripts.
    """
    server: Flask = app.server
    server.config["MAX_CONTENT_LENGTH"] = int(user_effort.MOST_BYTES * BASE64) + BESIDES
    policy = "; ".join(
        (
            "default-src 'self'",
            "script-src 'self' " + " ".join(app.csp_hashes()),
            "style-src 'self' 'unsafe-inline'",  # Plotly and Dash style elements one by one
            "img-src 'self' data: blob:",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )

    @server.before_request
    def only_from_here() -> None:
        name = request.host.rpartition(":")[0] or request.host
        origin = request.headers.get("Origin")
        if name not in NAMES or (origin is not None and origin != f"http://{request.host}"):
            abort(403)

    @server.after_request
    def only_to_here(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return server
